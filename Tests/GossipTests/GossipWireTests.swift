// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiGossip
import TuttiIdentity

import struct NIOCore.ByteBuffer

@Suite(.timeLimit(.minutes(1))) struct GossipWireTests {
    static func encoded(_ rpc: GossipRPC) -> ByteBuffer {
        var buffer = ByteBuffer()
        GossipWire.encode(rpc, into: &buffer) { peer in ([UInt8(truncatingIfNeeded: peer.value)], [0xEE]) }
        return buffer
    }

    static func id(_ bytes: [UInt8]) throws -> MessageID { try #require(MessageID(bytes)) }

    /// One of everything.
    static func full() throws -> GossipRPC {
        var rpc = GossipRPC()
        rpc.subscriptions = [("a", true), ("b", false)]
        rpc.messages = [GossipMessage(topic: "a", data: ByteBuffer(bytes: [7, 8]), author: [1], sequence: [2])]
        rpc.ihave = [("a", [try id([1, 2]), try id([3])])]
        rpc.iwant = [try id([4])]
        rpc.graft = ["a"]
        rpc.prune = [GossipRPC.Prune(topic: "b", backoffSeconds: 60, exchanged: [.known(PeerIndex(9))])]
        rpc.idontwant = [try id([5])]
        return rpc
    }

    static let golden: [UInt8] =
        [0x0A, 5, 0x08, 1, 0x12, 1, 0x61, 0x0A, 5, 0x08, 0, 0x12, 1, 0x62]
        + [0x12, 13, 0x0A, 1, 1, 0x12, 2, 7, 8, 0x1A, 1, 2, 0x22, 1, 0x61]
        + [0x1A, 42]
        + [0x0A, 10, 0x0A, 1, 0x61, 0x12, 2, 1, 2, 0x12, 1, 3]
        + [0x12, 3, 0x0A, 1, 4]
        + [0x1A, 3, 0x0A, 1, 0x61]
        + [0x22, 13, 0x0A, 1, 0x62, 0x12, 6, 0x0A, 1, 9, 0x12, 1, 0xEE, 0x18, 60]
        + [0x2A, 3, 0x0A, 1, 5]

    @Test("an RPC with one of everything has the bytes of the specification")
    func goldenBytes() throws {
        let rpc = try Self.full()
        #expect(Array(Self.encoded(rpc).readableBytesView) == Self.golden)
    }

    @Test("what was encoded is what is read, and reading and writing again gives the same bytes")
    func roundTrip() throws {
        // Not at the start of its buffer, as on a stream.
        var buffer = ByteBuffer(repeating: 0xFF, count: 3)
        buffer.writeBytes(Self.golden)
        buffer.moveReaderIndex(forwardBy: 3)
        let rpc = try GossipWire.decode(buffer, limits: GossipLimits())
        #expect(
            rpc.subscriptions.map(\.topic) == ["a", "b"] && rpc.subscriptions.map(\.isSubscribed) == [true, false])
        let message = try #require(rpc.messages.first)
        #expect(message.topic == "a" && message.author == [1] && message.sequence == [2])
        #expect(message.data == ByteBuffer(bytes: [7, 8]) && message.signature.isEmpty && message.key.isEmpty)
        #expect(rpc.ihave.map(\.topic) == ["a"] && rpc.ihave.first?.ids.map(\.bytes) == [[1, 2], [3]])
        #expect(rpc.iwant.map(\.bytes) == [[4]] && rpc.idontwant.map(\.bytes) == [[5]] && rpc.graft == ["a"])
        #expect(rpc.prune.first?.topic == "b" && rpc.prune.first?.backoffSeconds == 60)
        guard case .heard(let id, let record) = rpc.prune.first?.exchanged.first else {
            Issue.record("the peer is missing")
            return
        }
        #expect(id == [9] && record == [0xEE])
        #expect(Array(Self.encoded(rpc).readableBytesView) == Self.golden)
    }

    @Test("an RPC cut anywhere is an error or the parts before the cut")
    func cut() {
        // Only between the top fields is the rest a whole RPC.
        let boundaries: Set<Int> = [0, 7, 14, 29]
        for length in 0..<Self.golden.count {
            let part = ByteBuffer(bytes: Self.golden[..<length])
            if boundaries.contains(length) {
                #expect(throws: Never.self) { try GossipWire.decode(part, limits: GossipLimits()) }
            } else {
                #expect(throws: DecodeError.self) { try GossipWire.decode(part, limits: GossipLimits()) }
            }
        }
    }

    @Test(
        "what breaks the format is refused",
        arguments: [
            [0x08, 0x01],  // messages as a number: field 1 as varint
            [0x12, 0x03, 0x0A, 0x02, 0x01],  // an author longer than its message
            [0x12, 0x04, 0x22, 0x00, 0x22, 0x00],  // the topic twice
            [0x12, 0x02, 0x20, 0x01],  // a topic that is a number
            [0x0A, 0x03, 0x12, 0x01, 0xFF],  // a topic that is no text
            [0x1A, 0x05, 0x22, 0x03, 0x1A, 0x01, 0x01],  // a backoff that is bytes
            [0x03], [0x00, 0x00],  // groups, field 0
            [0x12, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],  // 2^64 - 1 bytes
            [0x12, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],  // a varint of 11 bytes
        ] as [[UInt8]])
    func malformed(_ bytes: [UInt8]) {
        #expect(throws: DecodeError.self) { try GossipWire.decode(ByteBuffer(bytes: bytes), limits: GossipLimits()) }
    }

    @Test("unknown fields of every wire type are passed over")
    func unknownFields() throws {
        let unknown: [UInt8] = [0x78, 1, 0x79, 1, 2, 3, 4, 5, 6, 7, 8, 0x7A, 1, 9, 0x7D, 1, 2, 3, 4]
        let bytes = unknown + [0x0A, 24, 0x08, 1, 0x12, 1, 0x61] + unknown + unknown
        let rpc = try GossipWire.decode(ByteBuffer(bytes: bytes), limits: GossipLimits())
        #expect(rpc.subscriptions.map(\.topic) == ["a"])
    }

    @Test("lists are cut at their limits, and what is too long is left out")
    func limits() throws {
        var limits = GossipLimits()
        limits.idsPerRPCMax = 2
        limits.messagesPerRPCMax = 1
        limits.subscriptionsPerRPCMax = 1
        limits.controlEntriesPerRPCMax = 1
        limits.topicBytesMax = 3
        limits.exchangedPerPruneMax = 1
        var rpc = GossipRPC()
        let ids = try (0..<5).map { try Self.id([$0]) }
        rpc.subscriptions = [("long", true), ("a", true), ("b", true)]
        rpc.messages = (0..<3).map { GossipMessage(topic: "a", data: ByteBuffer(bytes: [$0])) }
        rpc.ihave = [("a", ids), ("b", ids)]
        rpc.iwant = ids
        rpc.graft = ["a", "b"]
        rpc.prune = [
            .init(
                topic: "a", backoffSeconds: .max, exchanged: [.heard(id: [1], record: []), .heard(id: [2], record: [])])
        ]
        let read = try GossipWire.decode(Self.encoded(rpc), limits: limits)
        #expect(read.subscriptions.map(\.topic) == ["a"] && read.messages.count == 1 && read.iwant.count == 2)
        #expect(read.ihave.count == 1 && read.ihave.first?.ids.count == 2 && read.graft == ["a"])
        #expect(read.prune.first?.exchanged.count == 1 && read.prune.first?.backoffSeconds == .max)
        limits.rpcBytesMax = 10
        #expect(throws: DecodeError.self) { try GossipWire.decode(Self.encoded(rpc), limits: limits) }
        // An id of 64 bytes can't be one of ours; one of 63 can.
        let long = [0x1A, 0x44, 0x12, 0x42, 0x0A, 0x40] + [UInt8](repeating: 1, count: 64)
        let none = try GossipWire.decode(ByteBuffer(bytes: long), limits: GossipLimits())
        #expect(none.iwant.isEmpty)
        #expect(MessageID([UInt8](repeating: 1, count: 63))?.count == 63)
    }

    @Test("ids hold, compare and order their bytes", arguments: [0, 1, 7, 8, 9, 46, 55, 56, 57, 63])
    func ids(_ count: Int) throws {
        let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ 200) }
        let id = try Self.id(bytes)
        #expect(id.bytes == bytes && id.count == count)
        for split in 0...count {
            let message = GossipMessage(
                topic: "a", data: ByteBuffer(), author: Array(bytes[..<split]), sequence: Array(bytes[split...]))
            #expect(MessageID.ofOrigin(message) == id)
        }
        if count < 63 {
            let longer = try Self.id(bytes + [0])
            #expect(id < longer && id != longer)
        }
        #expect(MessageID([UInt8](repeating: 0, count: 64)) == nil)
    }

    @Test("a signature holds for its message and for no other, with the key in the id or beside it")
    func signatures() throws {
        let key = KeyPair(seed: Bytes32(words: (1, 2, 3, 4)))
        let message = GossipMessage.signed(
            topic: "news", data: ByteBuffer(string: "hello"), author: key.peerID.bytes, sequence: 77, by: key)
        #expect(GossipSignature.isValid(message))
        #expect(message.sequenceNumber == 77 && message.data == ByteBuffer(string: "hello"))
        let bytes = Array(message.encoded.readableBytesView)
        for place in bytes.indices {
            var damaged = bytes
            damaged[place] ^= 1
            guard let other = try? GossipMessage(decoding: ByteBuffer(bytes: damaged)) else { continue }
            #expect(!GossipSignature.isValid(other), "byte \(place)")
        }
        func with(key bytes: [UInt8]) throws -> GossipMessage {
            var buffer = message.encoded
            buffer.writeProtobuf(6, bytes: bytes)
            return try GossipMessage(decoding: buffer)
        }
        let (right, wrong) = (
            try with(key: key.publicKey.protobuf), try with(key: KeyPair(seed: .zero).publicKey.protobuf)
        )
        #expect(GossipSignature.isValid(right) && !GossipSignature.isValid(wrong))
        // An unknown field is signed too: nobody can add one.
        var added = message.encoded
        added.writeProtobuf(9, bytes: [1])
        let extended = try GossipMessage(decoding: added)
        #expect(!GossipSignature.isValid(extended))
    }

    @Test("an RPC that has grown too large goes in parts, each within the limit, nothing lost or doubled")
    func split() throws {
        var rpc = GossipRPC()
        rpc.subscriptions = (0..<100).map { (Topic("topic-\($0)"), true) }
        rpc.messages = (0..<50).map { GossipMessage(topic: "a", data: ByteBuffer(repeating: $0, count: 300)) }
        rpc.ihave = [
            ("a", try (0..<200).map { try Self.id([UInt8](repeating: $0, count: 46)) }), ("b", [try Self.id([1])]),
        ]
        rpc.iwant = try (0..<200).map { try Self.id([UInt8](repeating: $0, count: 46)) }
        rpc.graft = (0..<50).map { Topic("topic-\($0)") }
        rpc.prune = (0..<50).map { .init(topic: Topic("topic-\($0)"), backoffSeconds: 1) }
        var all = GossipRPC()
        var rest = rpc
        var parts = 0
        while !rest.isEmpty, parts < 1_000 {
            let part = rest.splitOff(bytesMax: 4_096)
            #expect(Self.encoded(part).readableBytes <= 4_096 && !part.isEmpty)
            all.subscriptions += part.subscriptions
            all.messages += part.messages
            all.ihave += part.ihave
            all.iwant += part.iwant
            all.graft += part.graft
            all.prune += part.prune
            parts += 1
        }
        #expect(parts > 5)
        #expect(all.subscriptions.map(\.topic) == rpc.subscriptions.map(\.topic) && all.graft == rpc.graft)
        #expect(all.messages.map(\.encoded) == rpc.messages.map(\.encoded) && all.iwant == rpc.iwant)
        #expect(all.ihave.flatMap(\.ids) == rpc.ihave.flatMap(\.ids) && all.prune.count == 50)
    }
}
