// SPDX-License-Identifier: Apache-2.0
import Foundation
import TuttiCommunity

/// A place of chat on a terminal, or in a pipe: prints each message once, and again what becomes of it.
actor ChatScreen {
    static let help = """
        Lines that begin with / are not sent:
          /edit TEXT   the text of your last message becomes this
          /delete      takes your last message back
          /quit        ends, as the end of the input does
          //TEXT       sends /TEXT
        """

    private static let markInterval = Duration.seconds(2)

    private let place: String
    private let options: CommunityOptions
    private let showsIDs: Bool
    private let isQuiet: Bool
    private var shown: [String: MessageSummary] = [:]
    /// Of others, the newest that was printed and the newest that was marked as read.
    private var newest: String?
    private var marked: String?

    init(place: String, options: CommunityOptions, showsIDs: Bool = false, isQuiet: Bool) {
        self.place = place
        self.options = options
        self.showsIDs = showsIDs
        self.isQuiet = isQuiet
    }

    func read(count: Int, follow: Bool) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await self.print(.read(channel: self.place, count: count, follow: follow)) }
            if follow { group.addTask { try await self.keepMarking() } }
            defer { group.cancelAll() }
            try await group.next()
        }
        try await mark()
    }

    func talk() async throws {
        if Console.isTerminal {
            Console.note("\(CommunityText.printable(place)): /quit ends, /help says what else there is")
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await self.print(.read(channel: self.place, count: 20, follow: true)) }
            group.addTask { try await self.keepMarking() }
            group.addTask {
                for await line in Console.lines {
                    guard try await self.typed(line) else { break }
                }
            }
            defer { group.cancelAll() }
            try await group.next()
        }
        try await mark()
    }

    /// - Returns: whether to go on.
    private func typed(_ line: String) async throws -> Bool {
        if Console.isTerminal, Console.isTyped { Console.erase() }
        let words = line.split(separator: " ", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        do {
            switch words.first ?? "" {
            case "": break
            case "/quit": return false
            case "/help": Console.note(Self.help)
            case "/edit" where words.count == 2:
                try await print(.chat(.edit(place: place, message: "last", text: words[1])))
            case "/delete": try await print(.chat(.delete(place: place, message: "last")))
            case let word where word.hasPrefix("//"):
                try await print(.send(channel: place, text: String(line.dropFirst())))
            case let word where word.hasPrefix("/"): Console.note("there is no \(word): /help says what there is")
            default: try await print(.send(channel: place, text: line))
            }
        } catch let error as CommunityError {
            // One message that can't be sent isn't the end of a talk.
            Console.note("not done: \(error.message)")
        }
        return true
    }

    private func print(_ command: CommunityCommand) async throws {
        try await options.exchange(command) { reply in
            if case .message(let message) = reply { try await self.show(message) }
        }
    }

    private func show(_ message: MessageSummary) throws {
        let earlier = shown.updateValue(message, forKey: message.id)
        guard earlier != message else { return }
        if !message.isOwn { newest = message.id }
        if options.json { return Console.print(try CommunityText.json(.message(message))) }
        if let earlier, earlier.text == message.text, earlier.isEdited == message.isEdited {
            guard let state = CommunityText.delivery(message), state != CommunityText.delivery(earlier) else { return }
            return Console.print("    \(state): \(CommunityText.printable(String(message.text.prefix(40))))")
        }
        let id = showsIDs ? "\(message.id.prefix(12)) " : ""
        Console.print(id + CommunityText.message(message))
    }

    // MARK: What was read

    private func keepMarking() async throws {
        while true {
            try await Task.sleep(for: Self.markInterval)
            try await mark()
        }
    }

    private func mark() async throws {
        guard !isQuiet, let newest, newest != marked else { return }
        do {
            try await options.exchange(.chat(.read(place: place, through: newest))) { _ in }
            marked = newest
        } catch is CommunityError {
            // Who can't write (a copied folder, a guest) reads all the same; who can't write yet tries again.
        }
    }
}
