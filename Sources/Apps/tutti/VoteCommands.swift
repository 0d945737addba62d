// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import TuttiCommunity

/// The rules, and how they and other things are decided.
extension CommunityGroup {
    struct CharterCommand: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "charter", abstract: "The rules in force; with --json as `propose --amend` takes them.")
        @OptionGroup var options: CommunityOptions
        func run() async throws { try await options.ask(.govern(.charter)) }
    }

    struct Propose: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Propose something; without an option the words are all.")
        @Argument(help: "The title.") var title: String
        @Option(help: "The text.") var text = ""
        @Option(help: "Give a member a role: MEMBER=ROLE.") var grant: String?
        @Option(help: "Take a role from a member: MEMBER=ROLE.") var removeRole: String?
        @Option(help: "Remove a member; the text is the reason.") var removeMember: String?
        @Option(
            help: "A file with other rules, made from what `tutti community charter --json` prints.",
            completion: .file())
        var amend: String?
        @OptionGroup var options: CommunityOptions

        func run() async throws {
            try await options.ask(.govern(.propose(title: title, text: text, action: try action())))
        }

        private func action() throws -> ProposedAction {
            let given = [grant, removeRole, removeMember, amend].compactMap { $0 }
            guard given.count <= 1 else { throw ValidationError("a proposal does one thing: give one option") }
            if let grant {
                let (member, role) = try pair(grant)
                return .grant(member: member, role: role)
            }
            if let removeRole {
                let (member, role) = try pair(removeRole)
                return .removeRole(member: member, role: role)
            }
            if let removeMember { return .removeMember(member: removeMember, reason: text) }
            if let amend {
                guard let charter = try? String(contentsOfFile: amend, encoding: .utf8) else {
                    throw ValidationError("the file \(amend) can't be read: check its name and mode")
                }
                return .amend(try CharterDocument(json: charter))
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
        func run() async throws { try await options.ask(.govern(.proposals)) }
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
        func run() async throws { try await options.ask(.govern(.vote(proposal: proposal, choice: choice))) }
    }

    struct Close: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Sign for the end of a proposal; for the charter's closers.")
        @Argument(help: "The proposal's id, or how it begins.") var proposal: String
        @Flag(help: "Before its time is over or everybody has voted.") var early = false
        @OptionGroup var options: CommunityOptions
        func run() async throws { try await options.ask(.govern(.close(proposal: proposal, early: early))) }
    }
}
