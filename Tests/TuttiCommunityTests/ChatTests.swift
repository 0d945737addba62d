// SPDX-License-Identifier: Apache-2.0
import Foundation
import Synchronization
import Testing
import Tutti
import TuttiCommunity

/// A member's node on loopback, in a folder of its own.
private final class Person: Sendable {
    private let data: Folder
    private let running = Mutex<(node: CommunityNode, run: Task<Void, any Error>)?>(nil)
    var folder: String { data.path }

    init() throws { data = try Folder() }

    func start(knowing others: [Person] = []) async throws {
        var configuration = data.configuration()
        for other in others { configuration.node.bootstrap += try await other.node.addresses }
        let node = try CommunityNode(configuration: configuration)
        let run = Task { try await node.run() }
        running.withLock { $0 = (node, run) }
        try await node.started()
    }

    func stop() async {
        let run = running.withLock { running in
            defer { running = nil }
            return running?.run
        }
        run?.cancel()
        _ = await run?.result
    }

    var node: CommunityNode {
        get throws { try #require(running.withLock { $0?.node }) }
    }

    @discardableResult
    func ask(_ command: CommunityCommand) async throws -> [CommunityReply] { try await node.ask(command) }

    func messages(_ place: String) async throws -> [MessageSummary] {
        try await ask(.read(channel: place, count: 1_000, follow: false)).compactMap {
            if case .message(let message) = $0 { message } else { nil }
        }
    }

    func texts(_ place: String) async throws -> [String] { try await messages(place).map(\.text) }

    private struct Found: Error {}

    /// Reads on until there is such a message.
    func wait(_ place: String, for condition: @escaping @Sendable (MessageSummary) -> Bool) async throws {
        do {
            try await node.perform(.read(channel: place, count: 1_000, follow: true)) { reply in
                if case .message(let message) = reply, condition(message) { throw Found() }
            }
        } catch is Found {}
    }

    /// Whether some file of the folder has the bytes of the text.
    func holds(_ text: String) throws -> Bool {
        let files = FileManager.default.enumerator(atPath: folder)?.allObjects.compactMap { $0 as? String } ?? []
        return try files.contains { name in
            var isFolder: ObjCBool = false
            let path = folder + "/" + name
            guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), !isFolder.boolValue,
                !name.hasSuffix("control")
            else { return false }
            return try Data(contentsOf: URL(fileURLWithPath: path)).range(of: Data(text.utf8)) != nil
        }
    }
}

private struct Missing: Error {
    let what: String
}

/// Camila's community, with Rosa and Jun.
private struct House {
    let camila: Person
    let rosa: Person
    let jun: Person

    static func with(_ names: [String] = ["rosa", "jun"], _ body: (House) async throws -> Void) async throws {
        let people = [try Person(), try Person(), try Person()]
        do {
            try await people[0].start()
            try await people[0].ask(.create(name: "Rare gear", nickname: "camila"))
            guard
                case .invited(let link)? = try await people[0].ask(
                    .govern(.invite(uses: 10, days: 7, role: "member", note: ""))
                ).first
            else {
                throw Missing(what: "no invite")
            }
            for (person, name) in zip(people[1...], names) {
                try await person.start()
                try await person.ask(.join(link: link, nickname: name))
            }
            try await body(House(camila: people[0], rosa: people[1], jun: people[2]))
        } catch {
            for person in people { await person.stop() }
            throw error
        }
        for person in people { await person.stop() }
    }

    /// Everybody has everybody's mailbox keys: each has read a word of each.
    func greet() async throws {
        for person in [camila, rosa, jun] { try await person.ask(.send(channel: "general", text: "hello")) }
        for person in [camila, rosa, jun] {
            for name in ["camila", "rosa", "jun"] {
                try await person.wait("general") { $0.nickname == name && $0.text == "hello" }
            }
        }
    }
}

@Suite("Chat over real nodes", .timeLimit(.minutes(2)))
struct ChatTests {
    private static let secret = "only for rosa: 0dd5ecre7"

    @Test("A message to one member reaches it from a third node, when the sender is gone, and the third can't read it")
    func directMessage() async throws {
        try await House.with { house in
            try await house.greet()
            await house.rosa.stop()
            let sent = try await house.camila.ask(.send(channel: "@rosa", text: Self.secret))
            guard case .message(let message)? = sent.first else { throw Missing(what: "no answer") }
            #expect(message.text == Self.secret && message.place == "@rosa" && message.isOwn && !message.isRead)
            #expect(message.holders.map { $0 <= 1 } == true)
            try await house.jun.ask(.sync(seconds: 20))
            // Jun's node says so when it has it on disk.
            while try await house.camila.messages("@rosa").first?.holders != 1 { await Task.yield() }
            await house.camila.stop()

            try await house.rosa.start(knowing: [house.jun])
            try await house.rosa.wait("@camila") { $0.text == Self.secret && !$0.isOwn && $0.nickname == "camila" }
            for name in ["@camila", "@rosa"] { #expect(try await house.jun.texts(name).isEmpty) }
            let export = house.jun.folder + "/export"
            try await house.jun.ask(.export(path: export))
            await house.jun.stop()
            await house.rosa.stop()
            // The search finds it where it must be.
            #expect(try [house.rosa, house.camila].allSatisfy { try $0.holds(Self.secret) })
            #expect(try !house.jun.holds(Self.secret))
        }
    }

    @Test("What is said alone is changed, taken back and read by both, also after a start and a repair")
    func conversation() async throws {
        try await House.with { house in
            try await house.greet()
            try await house.camila.ask(.send(channel: "@rosa", text: "one"))
            try await house.camila.ask(.send(channel: "@rosa", text: "two"))
            try await house.rosa.wait("@camila") { $0.text == "two" }
            try await house.camila.ask(.chat(.edit(place: "@rosa", message: "last", text: "2")))
            try await house.rosa.wait("@camila") { $0.text == "2" && $0.isEdited }
            let first = try #require(try await house.camila.messages("@rosa").first)
            try await house.camila.ask(.chat(.delete(place: "@rosa", message: String(first.id.prefix(12)))))
            try await house.rosa.wait("@camila") { $0.text == "[taken back by its author]" }
            let last = try #require(try await house.rosa.messages("@camila").last)
            try await house.rosa.ask(.chat(.read(place: "@camila", through: last.id)))
            try await house.camila.wait("@rosa") { $0.text == "2" && $0.isRead }
            await #expect(throws: CommunityError.self) {
                try await house.rosa.ask(.chat(.edit(place: "@camila", message: last.id, text: "mine")))
            }

            let before = try await house.rosa.messages("@camila")
            await house.rosa.stop()
            _ = try CommunityFiles.repair(house.rosa.folder)
            try await house.rosa.start(knowing: [house.camila])
            #expect(try await house.rosa.messages("@camila") == before)
            #expect(try await house.camila.messages("@rosa").map(\.isRead) == [true, true])
        }
    }

    @Test("Channels are opened, listed and talked in; one that isn't open says how to open it")
    func channels() async throws {
        try await House.with { house in
            try await house.greet()
            let unopened = await #expect(throws: CommunityError.self) {
                try await house.camila.ask(.send(channel: "gear", text: "mine"))
            }
            #expect(unopened?.code == .notFound && unopened?.message.contains("tutti chat open gear") == true)
            try await house.camila.ask(.chat(.open(channel: "gear", purpose: "What we own")))
            try await house.camila.ask(.send(channel: "gear", text: "mine"))
            // The word in general comes after the opening in Camila's feed.
            try await house.camila.ask(.send(channel: "general", text: "come to gear"))
            try await house.rosa.wait("general") { $0.text == "come to gear" }
            #expect(try await house.rosa.texts("gear") == ["mine"])
            guard case .channels(let all)? = try await house.rosa.ask(.chat(.channels)).first else {
                throw Missing(what: "no channels")
            }
            #expect(all.map(\.place) == ["general", "gear"] && all.map(\.purpose) == ["", "What we own"])
            for name in ["Gear", " gear", "@gear", "", "a\u{7}"] {
                await #expect(throws: CommunityError.self) {
                    try await house.camila.ask(.chat(.open(channel: name, purpose: "")))
                }
            }
            for text in ["", "\u{1B}[2J", String(repeating: "a", count: 9_000)] {
                await #expect(throws: CommunityError.self) {
                    try await house.camila.ask(.send(channel: "general", text: text))
                }
            }
        }
    }

    @Test("Who is called the same is named by id, and who isn't here says so")
    func names() async throws {
        try await House.with(["rosa", "rosa"]) { house in
            try await house.jun.ask(.send(channel: "general", text: "hello"))
            try await house.camila.wait("general") { $0.text == "hello" }
            let ambiguous = await #expect(throws: CommunityError.self) {
                try await house.camila.ask(.send(channel: "@rosa", text: "which?"))
            }
            let message = try #require(ambiguous?.message)
            #expect(message.contains("2 members are called 'rosa'"))
            let id = try #require(try await house.camila.messages("general").first { !$0.isOwn }?.author)
            #expect(message.contains("@\(id.prefix(12))"))
            try await house.camila.ask(.send(channel: "@\(id.prefix(12))", text: "you"))
            try await house.jun.wait("@camila") { $0.text == "you" }
            #expect(try await house.rosa.texts("@camila").isEmpty)
            let missing = await #expect(throws: CommunityError.self) {
                try await house.camila.ask(.send(channel: "@nobody", text: "?"))
            }
            #expect(missing?.code == .notFound)
        }
    }
}
