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
              tutti community admit jun
              tutti community grant rosa moderator
              tutti community propose "Thursday jam" --text "Who comes?"
              tutti community charter --json > rules; $EDITOR rules
              tutti community propose "Two days to vote" --amend rules
            """,
        subcommands: [
            Create.self, Join.self, Status.self, Leave.self,
            Invite.self, Invites.self, Members.self, Admit.self, Grant.self, RemoveRole.self, RemoveMember.self,
            Vouch.self, Label.self, Labels.self, Block.self, Unblock.self, Hide.self, Show.self,
            CharterCommand.self, Propose.self, Proposals.self, Vote.self, Close.self,
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

    struct Leave: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Leave the community.")
        @Flag(help: "Although nobody else could end proposals.") var anyway = false
        @OptionGroup var options: CommunityOptions
        func run() async throws { try await options.ask(.govern(.leave(anyway: anyway))) }
    }
}
