// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Testing
import TuttiBase
import TuttiIdentity
import TuttiMembership

@Suite("The wire of /tutti/mesh/1") struct WireTests {
    /// Peers are named by ids that hold their number; those from 100 on have no name.
    static func name(_ peer: PeerIndex, _ isDialled: Bool) -> NamedPeer? {
        guard peer.value < 100 else { return nil }
        guard let id = try? PeerID(multihash: [0x00, 0x01, UInt8(peer.value)]) else { return nil }
        return NamedPeer(
            id: id, addresses: isDialled ? [Multiaddr("/ip4/192.0.2.\(peer.value)/tcp/4001")].compactMap(\.self) : [])
    }

    static func index(_ peer: NamedPeer) -> PeerIndex? {
        peer.id.bytes.last.map { PeerIndex(UInt32($0)) }
    }

    static func encode(_ message: MembershipMessage) -> ByteBuffer? {
        MembershipWire.encode(message, limits: MembershipLimits(), named: name)
    }

    static func decode(_ bytes: ByteBuffer) throws -> MembershipMessage? {
        try MembershipWire.decode(bytes, limits: MembershipLimits(), index: index)
    }

    static let p = (1...5).map { PeerIndex($0) }
    static let updates = [
        MemberUpdate(peer: p[0], incarnation: 3, state: .suspect, accuser: p[1]),
        MemberUpdate(peer: p[2], incarnation: 0, state: .left),
    ]
    static let messages: [MembershipMessage] = [
        .join, .forwardJoin(p[0], timeToLive: 6), .neighbour(isHighPriority: true), .neighbour(isHighPriority: false),
        .neighbourAnswer(isAccepted: true), .disconnect, .shuffle(origin: p[0], peers: [p[1], p[2]], timeToLive: 5),
        .shuffleAnswer([p[3], p[4]]), .shuffleAnswer([]), .probe(sequence: 300, updates), .ack(sequence: .max, updates),
        .nack(sequence: 1), .indirectProbe(sequence: 9, p[3], updates), .updates(updates),
        .query(
            SearchQuery(
                search: .max, origin: p[0], kind: .walk, timeToLive: 255, hops: 7, question: ByteBuffer(string: "lute"))
        ),
        .hit(search: 5, at: p[1], ByteBuffer(string: "here")), .walkCheck(search: 6),
        .walkCheckAnswer(search: 6, isOpen: true), .payload(BroadcastID(1 << 63), hops: .max, ByteBuffer(string: "x")),
        .announce([Announcement(id: BroadcastID(1), hops: 2), Announcement(id: BroadcastID(0), hops: 0)]),
        .graft(BroadcastID(4)), .graft(nil), .prune,
    ]

    @Test("Every message survives its encoding", arguments: messages)
    func roundTrip(message: MembershipMessage) throws {
        let bytes = try #require(Self.encode(message))
        #expect(try Self.decode(bytes) == message)
    }

    @Test(
        "The bytes are these",
        arguments: [
            (.join, [0x08, 0x01]),
            (.neighbour(isHighPriority: true), [0x08, 0x03, 0x28, 0x01]),
            (.nack(sequence: 300), [0x08, 0x0A, 0x18, 0xAC, 0x02]),
            (
                .forwardJoin(PeerIndex(1), timeToLive: 6),
                [
                    0x08, 0x02, 0x12, 0x0F, 0x0A, 0x03, 0x00, 0x01, 0x01, 0x12, 0x08, 0x04, 0xC0, 0x00, 0x02, 0x01,
                    0x06,
                    0x0F, 0xA1, 0x20, 0x06,
                ]
            ),
            (
                .updates([MemberUpdate(peer: PeerIndex(1), incarnation: 3, state: .suspect, accuser: PeerIndex(2))]),
                [
                    0x08, 0x0C, 0x12, 0x05, 0x0A, 0x03, 0x00, 0x01, 0x01, 0x12, 0x05, 0x0A, 0x03, 0x00, 0x01, 0x02,
                    0x32,
                    0x08, 0x08, 0x00, 0x10, 0x03, 0x18, 0x01, 0x20, 0x01,
                ]
            ),
            (
                .payload(BroadcastID(5), hops: 2, ByteBuffer(bytes: [0xAA])),
                [0x08, 0x11, 0x58, 0x05, 0x40, 0x02, 0x52, 0x01, 0xAA]
            ),
        ] as [(MembershipMessage, [UInt8])])
    func golden(message: MembershipMessage, bytes: [UInt8]) throws {
        #expect(Self.encode(message).map { Array($0.readableBytesView) } == bytes)
        #expect(try Self.decode(ByteBuffer(bytes: bytes)) == message)
    }

    @Test("A message cut anywhere is refused or a shorter one, and never a trap", arguments: messages)
    func cut(message: MembershipMessage) throws {
        // What is false when it is absent is whole without its end.
        guard message != .neighbour(isHighPriority: false) else { return }
        let bytes = Array(try #require(Self.encode(message)).readableBytesView)
        for length in 0..<bytes.count {
            let part = try? Self.decode(ByteBuffer(bytes: bytes[..<length]))
            #expect(part != message)
        }
    }

    @Test("Kinds and fields of later versions are passed over")
    func unknown() throws {
        #expect(try Self.decode(ByteBuffer(bytes: [0x08, 0x63])) == nil)
        #expect(try Self.decode(ByteBuffer(bytes: [0x08, 0x01, 0xA8, 0x06, 0x07])) == .join)
        #expect(throws: DecodeError.truncated("mesh message kind")) { try Self.decode(ByteBuffer()) }
    }

    @Test("What is over a limit or refers to nobody is refused")
    func limits() {
        let tooLong = ByteBuffer(repeating: 0, count: 64 * 1_024 + 1)
        #expect(throws: DecodeError.tooLarge("mesh message", limit: 65_536)) { try Self.decode(tooLong) }
        var many = ByteBuffer(bytes: [0x08, 0x07])
        for _ in 0..<66 { many.writeBytes([0x12, 0x05, 0x0A, 0x03, 0x00, 0x01, 0x01]) }
        #expect(throws: DecodeError.tooLarge("mesh peers", limit: 65)) { try Self.decode(many) }
        let nobody = ByteBuffer(bytes: [0x08, 0x0C, 0x32, 0x06, 0x08, 0x00, 0x10, 0x03, 0x18, 0x01])
        #expect(throws: DecodeError.malformed("mesh update (of nobody)")) { try Self.decode(nobody) }
        let timeToLive = ByteBuffer(bytes: [0x08, 0x02, 0x20, 0x80, 0x02])
        #expect(throws: DecodeError.malformed("mesh time to live")) { try Self.decode(timeToLive) }
    }

    @Test("A peer without a name is left out of lists, and a message about it is not sent")
    func nameless() throws {
        let list = try #require(Self.encode(.shuffleAnswer([PeerIndex(1), PeerIndex(100), PeerIndex(2)])))
        #expect(try Self.decode(list) == .shuffleAnswer([PeerIndex(1), PeerIndex(2)]))
        #expect(Self.encode(.forwardJoin(PeerIndex(100), timeToLive: 1)) == nil)
    }

    @Test("Of a peer's addresses the first four go out, or its signed record instead")
    func addresses() throws {
        let addresses = (1...6).compactMap { Multiaddr("/ip4/192.0.2.\($0)/tcp/1") }
        let record = ByteBuffer(bytes: [1, 2, 3])
        for hasRecord in [false, true] {
            let bytes = try #require(
                MembershipWire.encode(.forwardJoin(PeerIndex(1), timeToLive: 1), limits: MembershipLimits()) {
                    peer, _ in
                    Self.name(peer, false).map {
                        NamedPeer(id: $0.id, addresses: addresses, record: hasRecord ? record : nil)
                    }
                })
            var read: NamedPeer?
            _ = try MembershipWire.decode(bytes, limits: MembershipLimits()) { peer in
                read = peer
                return PeerIndex(1)
            }
            #expect(read?.addresses == (hasRecord ? [] : Array(addresses.prefix(4))))
            #expect(read?.record == (hasRecord ? record : nil))
        }
    }
}
