// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import TuttiCommunity

struct CommunityGroup: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "community",
        abstract: "Make, join and govern a community.",
        discussion: """
            A command asks the node that runs in the data folder (`tutti up`), or starts one
            for as long as it takes.

            Examples:
              tutti community create "Rare gear" --as camila
              tutti community invite
              tutti community join tutti://join/… --as rosa
              tutti community propose "Thursday jam" --text "Who comes?"
            """,
        subcommands: [
            Create.self, Invite.self, Join.self, Status.self, Members.self, CharterCommand.self, Propose.self,
            Proposals.self, Vote.self, Close.self, Leave.self,
        ],
        defaultSubcommand: Status.self)
}

extension CommunityGroup {
    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Found a community; prints your recovery code.")
        @Argument(help: "Its name.") var name: String
        @Option(name: .customLong("as"), help: "Your name in it.") var nickname: String
        @OptionGroup var options: CommunityOptions
        func run() async throws { try await options.ask(.create(name: name, nickname: nickname)) }
    }

    struct Invite: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Make a link by which others join.")
        @Option(help: "How many may join by it.") var uses = 1
        @Option(help: "For how many days.") var days = 7
        @Option(help: "A note to yourself.") var note = ""
        @OptionGroup var options: CommunityOptions
        func run() async throws { try await options.ask(.invite(uses: uses, days: days, note: note)) }
    }

    struct Join: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Join by a link; prints your recovery code.")
        @Argument(help: "The link.") var link: String
        @Option(name: .customLong("as"), help: "Your name in the community.") var nickname: String
        @OptionGroup var options: CommunityOptions
        func run() async throws { try await options.ask(.join(link: link, nickname: nickname)) }
    }

    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Who you are in which community.")
        @OptionGroup var options: CommunityOptions
        func run() async throws { try await options.ask(.status) }
    }

    struct Members: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Everybody, with their roles.")
        @OptionGroup var options: CommunityOptions
        func run() async throws { try await options.ask(.members) }
    }

    struct CharterCommand: AsyncParsableCommand {
        static let configuration = CommandConfiguration(commandName: "charter", abstract: "The rules in force.")
        @OptionGroup var options: CommunityOptions
        func run() async throws { try await options.ask(.charter) }
    }

    struct Propose: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Propose something; without an option the words are all.")
        @Argument(help: "The title.") var title: String
        @Option(help: "The text.") var text = ""
        @Option(help: "Give a member a role: MEMBER=ROLE.") var grant: String?
        @Option(help: "Take a role from a member: MEMBER=ROLE.") var removeRole: String?
        @Option(help: "Remove a member; the text is the reason.") var removeMember: String?
        @Option(help: "A file with the amended charter (JSON).", completion: .file()) var amend: String?
        @OptionGroup var options: CommunityOptions

        func run() async throws {
            try await options.ask(.propose(title: title, text: text, action: try action()))
        }

        private func action() throws -> ProposedAction {
            let given = [grant, removeRole, removeMember, amend].compactMap { $0 }
            guard given.count <= 1 else { throw ValidationError("a proposal does one thing: give one option") }
            if let grant { return .grant(member: try pair(grant).0, role: try pair(grant).1) }
            if let removeRole { return .removeRole(member: try pair(removeRole).0, role: try pair(removeRole).1) }
            if let removeMember { return .removeMember(member: removeMember, reason: text) }
            if let amend {
                guard let charter = try? String(contentsOfFile: amend, encoding: .utf8) else {
                    throw ValidationError("the file \(amend) can't be read: check its name and mode")
                }
                return .amend(charter: charter)
            }
            return .resolution
        }

        private func pair(_ text: String) throws -> (String, String) {
            let parts = text.split(separator: "=", maxSplits: 1).map(String.init)
            guard parts.count == 2 else { throw ValidationError("'\(text)' is not MEMBER=ROLE") }
            return (parts[0], parts[1])
        }
    }

    struct Proposals: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "What was proposed, and how it stands.")
        @OptionGroup var options: CommunityOptions
        func run() async throws { try await options.ask(.proposals) }
    }

    struct Vote: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Vote on a proposal: yes, no or abstain.")
        @Argument(help: "The proposal's id, or how it begins.") var proposal: String
        @Argument(
            help: "yes, no or abstain.",
            transform: {
                guard let choice = VoteChoice(rawValue: $0) else { throw ValidationError("'\($0)' is not a vote") }
                return choice
            }) var choice: VoteChoice
        @OptionGroup var options: CommunityOptions
        func run() async throws { try await options.ask(.vote(proposal: proposal, choice: choice)) }
    }

    struct Close: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Sign for the end of a proposal; for the charter's closers.")
        @Argument(help: "The proposal's id, or how it begins.") var proposal: String
        @OptionGroup var options: CommunityOptions
        func run() async throws { try await options.ask(.close(proposal: proposal)) }
    }

    struct Leave: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Leave the community.")
        @OptionGroup var options: CommunityOptions
        func run() async throws { try await options.ask(.leave) }
    }
}
