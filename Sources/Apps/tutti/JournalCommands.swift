// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import TuttiCommunity

struct JournalGroup: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "journal", abstract: "Look at what this node holds of the community.",
        subcommands: [Log.self, Verify.self, Sync.self, Counts.self], defaultSubcommand: Log.self)
}

extension JournalGroup {
    struct Log: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "The newest entries, oldest first.")
        @Option(help: "At most so many.") var count = 50
        @OptionGroup var options: CommunityOptions
        func run() async throws { try await options.ask(.log(count: count)) }
    }

    struct Verify: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Check every signature, link and digest that is on the disk.")
        @OptionGroup var options: CommunityOptions
        func run() async throws { try await options.ask(.verify) }
    }

    struct Counts: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "What was taken and what was refused, and why, since the node started.",
            discussion: "Counts of zero are left out; --json has all of them.")
        @OptionGroup var options: CommunityOptions
        func run() async throws { try await options.ask(.counts) }
    }

    struct Sync: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Take from connected members what is missing.")
        @Option(help: "Wait at most so long.") var seconds = 10
        @OptionGroup var options: CommunityOptions
        func run() async throws { try await options.ask(.sync(seconds: seconds)) }
    }
}
