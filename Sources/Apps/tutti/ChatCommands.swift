// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import TuttiCommunity

struct ChatGroup: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "chat", abstract: "Talk in channels, and with members alone.",
        subcommands: [Send.self, Read.self, Talk.self], defaultSubcommand: Talk.self)
}

extension ChatGroup {
    struct Send: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Send one message.")
        @Argument(help: "A channel, or @MEMBER.") var channel: String
        @Argument(help: "The text.") var text: String
        @OptionGroup var options: CommunityOptions
        func run() async throws { try await options.ask(.send(channel: channel, text: text)) }
    }

    struct Read: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Print messages, oldest first.")
        @Argument(help: "A channel, or @MEMBER.") var channel = "general"
        @Option(help: "At most so many.") var count = 50
        @Flag(help: "Go on with those that come.") var follow = false
        @OptionGroup var options: CommunityOptions
        func run() async throws { try await options.ask(.read(channel: channel, count: count, follow: follow)) }
    }

    struct Talk: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Read a channel as it goes on, and send each line that is typed.")
        @Argument(help: "A channel, or @MEMBER.") var channel = "general"
        @OptionGroup var options: CommunityOptions

        func run() async throws {
            let (channel, options) = (channel, options)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await options.ask(.read(channel: channel, count: 20, follow: true)) }
                group.addTask {
                    for await line in Console.lines where !line.isEmpty {
                        try await options.ask(.send(channel: channel, text: line))
                    }
                }
                try await group.next()
                group.cancelAll()
            }
        }
    }
}
