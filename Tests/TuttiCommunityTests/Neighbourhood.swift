// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import Tutti
import TuttiBase
import TuttiCommunity
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal
import TuttiNodeCore

/// Camila, who founded a community, and Rosa, who joined it: honest nodes that are connected, each with its disk.
struct Neighbourhood: Sendable {
    let camila: CommunityNode
    let rosa: CommunityNode
    let link: InviteLink
    var community: CommunityID { link.community }

    /// - Parameter isWhole: whether both must be well and the same at the end.
    static func run(
        isWhole: Bool = true, at place: String? = nil,
        configure: @escaping @Sendable (inout CommunityNodeConfiguration) -> Void = { _ in },
        _ body: @escaping @Sendable (Neighbourhood) async throws -> Void
    ) async throws {
        let (one, other) = (try Folder(), try Folder())
        try await withCommunityNode(place ?? one.path, configure: configure) { [other] camila in
            try await camila.perform(.create(name: "Rare gear", nickname: "camila")) { _ in }
            let link = try await camila.inviteLink()
            try await withCommunityNode(other.path) { rosa in
                try await rosa.perform(.join(link: link.text, nickname: "rosa")) { _ in }
                try await until { try await camila.knows(rosa) }
                let device = try #require(try await rosa.device)
                try await until(syncing: camila) {
                    let (own, seen) = try await (rosa.head(of: device), camila.head(of: device))
                    return own == seen && own.map { $0.sequence >= EntrySequence(2) } == true
                }
                let all = Neighbourhood(camila: camila, rosa: rosa, link: link)
                try await body(all)
                if isWhole { try await all.expectWhole() }
            }
        }
        withExtendedLifetime((one, other)) {}
    }

    /// What one writes the other gets, both ways; nobody honest looks guilty; disks hold what they should.
    func expectWhole(sourceLocation: SourceLocation = #_sourceLocation) async throws {
        for (author, reader) in [(camila, rosa), (rosa, camila)] {
            let text = "still here \(UInt64.random(in: .min ... .max))"
            try await author.perform(.send(channel: "general", text: text)) { _ in }
            try await until(syncing: reader) { try await reader.texts().contains(text) }
        }
        for node in [camila, rosa] {
            let honest = [try await camila.device, try await rosa.device]
            let frozen = try await node.replica { port in port.journal.feeds.filter(\.isFrozen).map(\.device) }
            #expect(Set(frozen).isDisjoint(with: honest.compactMap(\.self)), sourceLocation: sourceLocation)
            try await node.perform(.verify) { reply in
                guard case .verified(let summary) = reply else { return }
                #expect(summary.problems.isEmpty, sourceLocation: sourceLocation)
            }
        }
        try await until(syncing: camila, rosa) {
            let states = try await [camila.governance, rosa.governance]
            return states[0] == states[1]
        }
    }
}

extension CommunityNode {
    func replica<Value: Sendable>(
        _ body: @escaping @Sendable (borrowing JournalPort) -> Value
    ) async throws -> Value {
        try #require(try await node.readReplica(body))
    }

    var device: DeviceID? { get async throws { try await replica { $0.journal.ownDevice } } }

    /// A digest of who belongs here and what was decided.
    var governance: Bytes32 { get async throws { try await replica { $0.community.state.digest } } }

    func count(_ name: String, _ group: JournalCount.Group = .journal) async throws -> UInt64 {
        let counts = try await counts()
        return try #require(counts.first { $0.group == group && $0.name == name }?.count, "no count \(name)")
    }

    func inviteLink() async throws -> InviteLink {
        let (stream, continuation) = AsyncStream<String>.makeStream()
        try await perform(.govern(.invite(uses: 500, days: 1, role: "member", note: ""))) { reply in
            if case .invited(let link) = reply { continuation.yield(link) }
        }
        continuation.finish()
        for await text in stream { return try InviteLink(text: text) }
        throw TestFailure("no invite")
    }

    func texts(_ channel: String = "general") async throws -> [String] {
        let (stream, continuation) = AsyncStream<String>.makeStream()
        try await perform(.read(channel: channel, count: 1_000, follow: false)) { reply in
            if case .message(let message) = reply { continuation.yield(message.text) }
        }
        continuation.finish()
        return await stream.reduce(into: []) { $0.append($1) }
    }

    func knows(_ other: CommunityNode) async throws -> Bool {
        guard let device = try await other.device else { return false }
        return try await holds(device)
    }

    /// Whether the device is one of the community, for this node.
    func holds(_ device: DeviceID) async throws -> Bool {
        try await replica { $0.community.roster.devices[device] != nil }
    }

    func head(of device: DeviceID) async throws -> FeedPoint? {
        try await replica { $0.journal.feed(device)?.head }
    }

    func isFrozen(_ device: DeviceID) async throws -> Bool {
        try await replica { $0.journal.feed(device)?.isFrozen ?? false }
    }

    /// An entry as this node has it on disk.
    func entry(_ device: DeviceID, _ sequence: EntrySequence) async throws -> Entry {
        try #require(try await entries(of: device).first { $0.header.sequence == sequence })
    }
}
