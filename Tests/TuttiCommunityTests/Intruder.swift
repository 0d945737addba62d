// SPDX-License-Identifier: Apache-2.0
import Foundation
import NIOCore
import Synchronization
import Testing
import Tutti
import TuttiBase
import TuttiCommunity
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal
import TuttiNodeCore

func wallClock() -> Double { Date().timeIntervalSince1970 }

/// A peer of a community's nodes that says whatever a test wants, over real connections: it has the keys of a member (or
/// of nobody), signs what it likes, and answers as `replies` says. It keeps no replica and follows no rule by itself.
final class Intruder: Sendable {
    enum Reply: Sendable {
        case answer(SyncAnswer)
        /// The bytes of a message, behind their length.
        case message(ByteBuffer)
        /// Bytes on the stream as they are, and its end.
        case last(ByteBuffer)
        case silence
    }

    typealias Replies = @Sendable (SyncRequest, SyncAnswer) -> Reply

    private struct State {
        var pen: Pen
        var asked: [SyncRequest] = []
        var replies: Replies
        var told: [ByteBuffer] = []
    }

    static let sync = JournalPort.syncProtocol
    private static let gossip: ProtocolID = "/meshsub/1.1.0"

    let node: Node
    let victim: PeerID
    let community: CommunityID
    let device: KeyPair
    private let state: Mutex<State>
    private let gossipStream = Mutex<NodeStream?>(nil)

    private init(_ node: Node, _ victim: PeerID, _ pen: Pen, _ replies: @escaping Replies) {
        self.node = node
        self.victim = victim
        community = pen.community
        device = pen.key
        state = Mutex(State(pen: pen, replies: replies))
    }

    /// Connects with the victim; as a member it joins by the link first.
    /// - Parameter pen: of an earlier one, to come again as the same device.
    static func run(
        at victim: CommunityNode, _ link: InviteLink, isMember: Bool = true, pen old: Pen? = nil,
        replies: @escaping Replies = { _, answer in .answer(answer) },
        _ body: @escaping @Sendable (Intruder) async throws -> Void
    ) async throws {
        var pen = old ?? Pen(KeyPair(), link.community, governance: link.invite)
        if isMember, old == nil {
            pen.write(
                try CommunityCore.join(link, nickname: "intruder", memberKey: KeyPair(), device: pen.device))
        }
        var configuration = NodeConfiguration()
        configuration.limits = .lab
        configuration.listen = []
        let node = try Node(configuration: configuration)
        let intruder = Intruder(node, victim.node.peerID, pen, replies)
        node.handle(sync, inboundMax: 8) { try await intruder.serve($0) }
        node.handle(gossip, inboundMax: 8) { stream in
            while let batch = try await stream.readBatch() {
                intruder.state.withLock { if $0.told.count < 4_096 { $0.told += batch } }
            }
        }
        let addresses = try await victim.node.listenAddresses
        try await withNode(node) { _ in
            try await node.dial(victim.node.peerID, at: addresses)
            // The victim has looked at who we are.
            try await until { victim.node.peers.contains(node.peerID) }
            _ = try await victim.node.profile(of: node.peerID)
            if isMember {
                try await intruder.introduce()
                try await until { try await victim.replica { $0.connectedPeers.contains(node.peerID) } }
            }
            try await body(intruder)
        }
    }

    // MARK: Writing

    var pen: Pen { state.withLock { $0.pen } }

    @discardableResult
    func write<Value: Sendable>(_ body: (inout Pen) -> Value) -> Value { state.withLock { body(&$0.pen) } }

    // MARK: Sync

    var hello: SyncHello {
        get throws {
            try #require(
                SyncHello(
                    community: community, own: node.peerID, remote: victim, join: pen.entries.first,
                    signedWith: device))
        }
    }

    private func introduce() async throws {
        let answer = try await ask(.hello(try hello))
        guard answer == .accepted else { throw TestFailure("not let in: \(answer)") }
    }

    /// What the victim has asked so far.
    var asked: [SyncRequest] { state.withLock { $0.asked } }

    func setReplies(_ replies: @escaping Replies) { state.withLock { $0.replies = replies } }

    func ask(_ request: SyncRequest) async throws -> SyncAnswer {
        var bytes = ByteBuffer()
        SyncWire.encode(request, into: &bytes)
        let stream = try await node.open(Self.sync, to: victim)
        defer { stream.reset() }
        var message = ByteBuffer()
        message.writeDelimited(bytes)
        try await stream.write(message)
        return try SyncWire.decodeAnswer(try await Self.message(of: stream))
    }

    /// The same question so many times at once. Returns how many were answered with this refusal.
    func flood(_ request: SyncRequest, count: Int, refused refusal: SyncRefusal) async throws -> Int {
        var (bytes, all) = (ByteBuffer(), ByteBuffer())
        SyncWire.encode(request, into: &bytes)
        for _ in 0..<count { all.writeDelimited(bytes) }
        let stream = try await node.open(Self.sync, to: victim)
        defer { stream.reset() }
        try await stream.write(all)
        var refused = 0
        for _ in 0..<count {
            let answer = try SyncWire.decodeAnswer(try await Self.message(of: stream))
            if answer == .refused(refusal) { refused += 1 }
        }
        return refused
    }

    /// Raw bytes as a question, then the end of the stream. Returns when the victim has ended its side or answered.
    func say(_ bytes: ByteBuffer) async throws {
        let stream = try await node.open(Self.sync, to: victim)
        defer { stream.reset() }
        try await stream.write(bytes)
        stream.closeWriting()
        _ = try? await stream.read(deadline: .seconds(10))
    }

    /// Says what we hold, as a reconciliation of ours would.
    func claim(_ feeds: [SyncFeed] = [], governance: [EntryID] = []) async throws {
        var parts = SyncParts(stamp: 1)
        if !feeds.isEmpty {
            parts.feeds = [SyncPart(prefix: .root, content: .told(feeds.sorted { $0.device < $1.device }))]
        }
        if !governance.isEmpty { parts.governance = [SyncPart(prefix: .root, content: .told(governance.sorted()))] }
        _ = try await ask(.parts(parts))
    }

    func claim(_ device: DeviceID, head: FeedPoint, low: EntrySequence = .first) async throws {
        try await claim([SyncFeed(device: device, state: .held(low: low, head: head))])
    }

    private func serve(_ stream: NodeStream) async throws {
        while true {
            let request = try SyncWire.decodeRequest(try await Self.message(of: stream))
            let (reply, isAnswered) = state.withLock { state -> (Reply, Bool) in
                if state.asked.count < 65_536 { state.asked.append(request) }
                if case .receipts = request { return (.silence, false) }
                return (state.replies(request, Self.answer(request, state.pen.entries)), true)
            }
            guard isAnswered else { continue }
            var bytes = ByteBuffer()
            switch reply {
            case .answer(let answer):
                var message = ByteBuffer()
                SyncWire.encode(answer, into: &message)
                bytes.writeDelimited(message)
            case .message(let message): bytes.writeDelimited(message)
            case .last(let last):
                try await stream.write(last)
                stream.closeWriting()
                return
            case .silence:
                while try await stream.readBatch() != nil {}
                return
            }
            try await stream.write(bytes)
        }
    }

    /// As one would who is the same as the other, and has only its own feed besides.
    private static func answer(_ request: SyncRequest, _ entries: [Entry]) -> SyncAnswer {
        switch request {
        case .hello: return .accepted
        case .roots(let theirs): return .roots(theirs, SyncParts(stamp: theirs.stamp))
        case .parts(let parts): return .parts(SyncParts(stamp: parts.stamp))
        case .feeds: return .feeds([])
        case .entries(let ranges, let bytesMax, _):
            var bytes = 0
            return .entries(
                ranges.map { range in
                    let page = entries.filter {
                        $0.header.device == range.device && range.sequences.contains($0.header.sequence)
                    }
                    let wanted = (range.isNewestFirst ? page.reversed() : page).prefix(range.countMax)
                    return Array(
                        wanted.prefix { entry in
                            bytes += entry.encodedBytesCount
                            return bytes + Entry.bytesMax <= bytesMax
                        })
                })
        case .governance(let after, _, _): return .governance([], next: after, isEnd: true)
        case .named(let ids, _): return .named(entries.filter { ids.contains($0.id) })
        case .proofs, .receipts: return .proofs([])
        }
    }

    private static func message(of stream: NodeStream) async throws -> ByteBuffer {
        var count = 0
        for shift in stride(from: 0, to: 28, by: 7) {
            let byte = try await stream.read(exactly: 1).getInteger(at: 0, as: UInt8.self) ?? 0
            count |= Int(byte & 0x7F) << shift
            if byte < 0x80 { break }
        }
        guard count > 0 else { return ByteBuffer() }
        // A copy: what is read is a slice of something larger.
        return ByteBuffer(bytes: try await stream.read(exactly: count).readableBytesView)
    }

    // MARK: Gossip

    func gossip(_ entry: Entry, withBody: Bool = true) async throws {
        var bytes = ByteBuffer()
        entry.encode(into: &bytes, withBody: withBody)
        try await gossip(bytes)
    }

    func gossip(_ proof: FaultProof) async throws {
        var bytes = ByteBuffer()
        proof.encode(into: &bytes)
        try await gossip(bytes)
    }

    /// One message on the community's topic.
    func gossip(_ data: ByteBuffer) async throws {
        var message = ByteBuffer()
        message.writeProtobuf(2, bytes: Array(data.readableBytesView))
        message.writeProtobuf(4, string: JournalPort.topic(of: community).name)
        var rpc = ByteBuffer()
        rpc.writeProtobuf(2, message: message)
        try await sendGossip(rpc)
    }

    func sendGossip(_ rpc: ByteBuffer) async throws {
        var bytes = ByteBuffer()
        bytes.writeDelimited(rpc)
        if let stream = gossipStream.withLock({ $0 }) { return try await stream.write(bytes) }
        let stream = try await node.open(Self.gossip, to: victim)
        gossipStream.withLock { $0 = stream }
        try await stream.write(bytes)
    }

    /// Whether bytes of this have reached us by gossip.
    func heard(_ part: [UInt8]) -> Bool {
        let all = state.withLock { state in state.told.flatMap { Array($0.readableBytesView) } }
        guard all.count >= part.count else { return false }
        return (0...(all.count - part.count)).contains { all[$0..<($0 + part.count)].elementsEqual(part) }
    }
}
