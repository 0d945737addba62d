// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import TuttiCommunity

struct ChatGroup: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "chat",
        abstract: "Talk in channels, and with members alone.",
        discussion: """
            A place is a channel's name, or @ and a member's name. What is said to a member
            alone is sealed: only your devices and theirs can read it, and every node keeps it
            for them, so neither has to be online when the other is.

            Examples:
              tutti chat                              (talk in general)
              tutti chat @rosa                        (talk with rosa alone)
              tutti chat send @rosa "is it still there?"
              tutti chat read general --ids
              tutti chat edit general 3fa9c2d1 "a 1963 bass"
            """,
        subcommands: [Send.self, Read.self, Edit.self, Delete.self, Channels.self, Open.self, Talk.self],
        defaultSubcommand: Talk.self)
}

extension ChatGroup {
    struct Send: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Send one message.")
        @Argument(help: "A channel, or @MEMBER.") var place: String
        @Argument(help: "The text.") var text: String
        @OptionGroup var options: CommunityOptions
        func run() async throws { try await options.ask(.send(channel: place, text: text)) }
    }

    struct Read: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print messages, oldest first, and let the other of a conversation know.")
        @Argument(help: "A channel, or @MEMBER.") var place = "general"
        @Option(help: "At most so many.") var count = 50
        @Flag(help: "Go on with those that come.") var follow = false
        @Flag(help: "How each message's id begins before it, for edit and delete.") var ids = false
        @Flag(help: "Tell nobody that these were read.") var quietly = false
        @OptionGroup var options: CommunityOptions

        func run() async throws {
            let screen = ChatScreen(place: place, options: options, showsIDs: ids, isQuiet: quietly)
            try await options.keepOpen { try await screen.read(count: count, follow: follow) }
        }
    }

    struct Edit: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Change a message of yours.")
        @Argument(help: "A channel, or @MEMBER.") var place: String
        @Argument(help: "How the message's id begins, or last.") var message: String
        @Argument(help: "The new text.") var text: String
        @OptionGroup var options: CommunityOptions
        func run() async throws { try await options.ask(.chat(.edit(place: place, message: message, text: text))) }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Take back a message of yours; who has read it has read it.")
        @Argument(help: "A channel, or @MEMBER.") var place: String
        @Argument(help: "How the message's id begins, or last.") var message: String
        @OptionGroup var options: CommunityOptions
        func run() async throws { try await options.ask(.chat(.delete(place: place, message: message))) }
    }

    struct Channels: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Which channels are open, and with whom you have talked.")
        @OptionGroup var options: CommunityOptions
        func run() async throws { try await options.ask(.chat(.channels)) }
    }

    struct Open: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Open a channel.")
        @Argument(help: "Its name, in lower case.") var name: String
        @Option(help: "What it is for.") var purpose = ""
        @OptionGroup var options: CommunityOptions
        func run() async throws { try await options.ask(.chat(.open(channel: name, purpose: purpose))) }
    }

    struct Talk: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Read a place as it goes on, and send each line that is typed.",
            discussion: ChatScreen.help)
        @Argument(help: "A channel, or @MEMBER.") var place = "general"
        @Flag(help: "Tell nobody what you have read.") var quietly = false
        @OptionGroup var options: CommunityOptions

        func run() async throws {
            let screen = ChatScreen(place: place, options: options, isQuiet: quietly)
            try await options.keepOpen { try await screen.talk() }
        }
    }
}
