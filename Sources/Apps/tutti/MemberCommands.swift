// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import TuttiCommunity

/// Members, their roles, and what is said of them.
extension CommunityGroup {
    struct Members: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Everybody, with their roles, vouches and labels, and who waits to be admitted.")
        @OptionGroup var options: CommunityOptions
        func run() async throws { try await options.ask(.govern(.members)) }
    }

    struct Admit: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Let in somebody who waits.")
        @Argument(help: "The member's name, or how the id begins.") var member: String
        @OptionGroup var options: CommunityOptions
        func run() async throws { try await options.ask(.govern(.admit(member: member))) }
    }

    struct Grant: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Give a member a role below your own.")
        @Argument(help: "The member's name, or how the id begins.") var member: String
        @Argument(help: "admin, moderator, arbiter, witness, trader, member, guest or observer.") var role: String
        @OptionGroup var options: CommunityOptions
        func run() async throws { try await options.ask(.govern(.grant(member: member, role: role))) }
    }

    struct RemoveRole: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Take a role from a member, or from yourself.")
        @Argument(help: "The member's name, or how the id begins.") var member: String
        @Argument(help: "The role.") var role: String
        @Option(help: "Why.") var reason = ""
        @OptionGroup var options: CommunityOptions
        func run() async throws {
            try await options.ask(.govern(.removeRole(member: member, role: role, reason: reason)))
        }
    }

    struct RemoveMember: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Remove a member of a lower rank; what its devices write from now on counts for nothing.")
        @Argument(help: "The member's name, or how the id begins.") var member: String
        @Option(help: "Why.") var reason: String
        @OptionGroup var options: CommunityOptions
        func run() async throws { try await options.ask(.govern(.removeMember(member: member, reason: reason))) }
    }

    struct Vouch: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Say that you answer for a member.")
        @Argument(help: "The member's name, or how the id begins.") var member: String
        @Option(help: "For how much, in minor units of what the community counts in.") var amount: Int64 = 0
        @Option(help: "Why.") var note = ""
        @Flag(help: "Take back what you have vouched for the member.") var takeBack = false
        @OptionGroup var options: CommunityOptions

        func run() async throws {
            try await options.ask(
                .govern(
                    takeBack
                        ? .withdrawVouches(member: member) : .vouch(member: member, amount: amount, note: note)))
        }
    }

    struct Label: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Put a word beside a member or an entry, for everybody to see, with your reason.",
            discussion: """
                What is labelled hidden, spam or blocked isn't shown, unless its reader
                says otherwise (`tutti community show`). Any other word is only shown.
                """)
        @Argument(help: "A member's name, an id, or how it begins; with --take-back the label's id.") var subject:
            String
        @Argument(help: "The word: lower-case letters, digits, hyphens.") var label: String?
        @Option(help: "Why.") var reason = ""
        @Flag(help: "Take a label back.") var takeBack = false
        @OptionGroup var options: CommunityOptions

        func run() async throws {
            guard !takeBack else {
                try await options.ask(.govern(.withdrawLabel(label: subject, reason: reason)))
                return
            }
            guard let label else { throw ValidationError("which word? for instance hidden, spam or blocked") }
            try await options.ask(.govern(.label(subject: subject, label: label, reason: reason)))
        }
    }

    struct Labels: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "All labels, with reasons, also those taken back.")
        @OptionGroup var options: CommunityOptions
        func run() async throws { try await options.ask(.govern(.labels)) }
    }

    struct Block: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show nothing of a member on this machine; nobody else learns of it.")
        @Argument(help: "The member's name, or how the id begins.") var member: String
        @OptionGroup var options: CommunityOptions
        func run() async throws { try await options.ask(.govern(.choose(subject: member, choice: .hide))) }
    }

    struct Unblock: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show a member on this machine again, whatever you or moderators said.")
        @Argument(help: "The member's name, or how the id begins.") var member: String
        @OptionGroup var options: CommunityOptions
        func run() async throws { try await options.ask(.govern(.choose(subject: member, choice: .show))) }
    }

    struct Hide: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Don't show a message on this machine.")
        @Argument(help: "The message's id, or how it begins.") var message: String
        @OptionGroup var options: CommunityOptions
        func run() async throws { try await options.ask(.govern(.choose(subject: message, choice: .hide))) }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show a message on this machine, whatever you or moderators said.")
        @Argument(help: "The message's id, or how it begins.") var message: String
        @OptionGroup var options: CommunityOptions
        func run() async throws { try await options.ask(.govern(.choose(subject: message, choice: .show))) }
    }
}
