// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Testing
import TuttiBase
import TuttiIdentity
import TuttiPeers

struct PeerStoreSnapshotTests {
    private static let key = KeyPair()
    private static let addresses = ["/ip4/192.0.2.1/tcp/4001", "/ip6/2001:db8::1/tcp/4001"].compactMap { Multiaddr($0) }

    private static var snapshot: PeerStoreSnapshot {
        var snapshot = PeerStoreSnapshot()
        let record = PeerRecord(peerID: key.peerID, sequence: 3, addresses: addresses).sealed(with: key)
        snapshot.peers = [
            .init(
                id: key.peerID, addresses: addresses, record: Array(record.readableBytesView), lastGood: addresses[1]),
            .init(id: KeyPair().peerID, addresses: [addresses[0]]),
        ]
        snapshot.table = [snapshot.peers[1].id, key.peerID]
        snapshot.anchors = [key.peerID]
        return snapshot
    }

    @Test("What is written is read again")
    func roundTrip() throws {
        let snapshot = Self.snapshot
        #expect(try PeerStoreSnapshot(snapshot.encoded()) == snapshot)
        #expect(try PeerStoreSnapshot(PeerStoreSnapshot().encoded()) == PeerStoreSnapshot())
    }

    @Test("A file begins with its name and version and ends with the SHA-256 of what is before")
    func layout() {
        let bytes = Array(PeerStoreSnapshot().encoded().readableBytesView)
        #expect(Array(bytes.prefix(8)) == Array("TUTTIPS".utf8) + [1])
        #expect(Array(bytes.dropFirst(8)) == KeyDerivation.sha256(Array(bytes.prefix(8))).bytes)
    }

    @Test("A file cut at any length, or with any byte changed, is refused")
    func damage() {
        let bytes = Array(Self.snapshot.encoded().readableBytesView)
        for length in 0..<bytes.count {
            #expect(throws: DecodeError.self) { try PeerStoreSnapshot(ByteBuffer(bytes: bytes[..<length])) }
        }
        for position in bytes.indices {
            var damaged = bytes
            damaged[position] ^= 0x10
            #expect(throws: DecodeError.self) { try PeerStoreSnapshot(ByteBuffer(bytes: damaged)) }
        }
    }

    @Test("A later version is told apart from damage")
    func version() {
        var bytes = Array(PeerStoreSnapshot().encoded().readableBytesView)
        bytes[7] = 2
        #expect(throws: DecodeError.unsupported("peer file version")) {
            try PeerStoreSnapshot(ByteBuffer(bytes: bytes))
        }
    }

    /// With a valid checksum, so that the body is read.
    private func file(_ body: ByteBuffer) -> ByteBuffer {
        var file = ByteBuffer(bytes: Array("TUTTIPS".utf8) + [1])
        file.writeImmutableBuffer(body)
        file.writeBytes(KeyDerivation.sha256(Array(file.readableBytesView)).bytes)
        return file
    }

    @Test("Counts over their limits are refused, whatever the checksum says")
    func limits() {
        var anchors = ByteBuffer()
        for _ in 0...PeerStoreSnapshot.anchorsMax { anchors.writeProtobuf(3, bytes: Self.key.peerID.bytes) }
        #expect(throws: DecodeError.tooLarge("peer file anchors", limit: 16)) { try PeerStoreSnapshot(file(anchors)) }
        var table = ByteBuffer()
        for _ in 0...PeerStoreSnapshot.tableMax { table.writeProtobuf(2, bytes: Self.key.peerID.bytes) }
        #expect(throws: DecodeError.tooLarge("peer file table", limit: 4_096)) { try PeerStoreSnapshot(file(table)) }
        var peer = ByteBuffer()
        peer.writeProtobuf(1, bytes: Self.key.peerID.bytes)
        peer.writeProtobuf(3, bytes: [UInt8](repeating: 0, count: PeerStoreSnapshot.recordBytesMax + 1))
        var body = ByteBuffer()
        body.writeProtobuf(1, message: peer)
        #expect(throws: DecodeError.tooLarge("peer file record", limit: 8_192)) { try PeerStoreSnapshot(file(body)) }
    }

    @Test("Random bodies under a valid checksum never do more than be refused", arguments: [1, 2] as [UInt64])
    func fuzz(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let golden = Array(Self.snapshot.encoded().readableBytesView.dropFirst(8).dropLast(32))
        for _ in 0..<5_000 {
            var bytes = golden
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                bytes[Int.random(in: 0..<bytes.count, using: &generator)] = .random(in: 0...255, using: &generator)
            }
            let snapshot = try? PeerStoreSnapshot(file(ByteBuffer(bytes: bytes)))
            #expect((snapshot?.peers.count ?? 0) <= PeerStoreSnapshot.peersMax)
        }
    }

    @Test("A store takes in what another held: addresses, what worked last first, and the signed record")
    func restore() {
        var store = PeerStore(limits: .internet)
        for peer in Self.snapshot.peers { store.restore(peer) }
        #expect(store.count == 2)
        #expect(store.addresses(of: Self.key.peerID).sorted() == Self.addresses.sorted())
        #expect(store.addresses(of: Self.key.peerID).count == 2)
        #expect(store.certifiedAddresses(of: Self.key.peerID) == Self.addresses)
        #expect(store.sequence(of: Self.key.peerID) == 3)
        #expect(store.mostUseful(countMax: 10).count == 2)
        #expect(store.mostUseful(countMax: 1).count == 1)
    }

    @Test("A record that another peer signed certifies nothing")
    func forged() {
        let other = KeyPair()
        let record = PeerRecord(peerID: other.peerID, sequence: 9, addresses: Self.addresses).sealed(with: other)
        var store = PeerStore(limits: .internet)
        store.restore(
            .init(id: Self.key.peerID, addresses: Self.addresses, record: Array(record.readableBytesView)))
        #expect(store.certifiedAddresses(of: Self.key.peerID).isEmpty)
        #expect(store.sequence(of: Self.key.peerID) == nil)
        #expect(store.record(of: other.peerID) == nil)
    }

    @Test("However many peers are made up, the store's size and the snapshot's are bounded")
    func stuffing() {
        var limits = NodeLimits.internet
        limits.peersMax = 50
        var store = PeerStore(limits: limits)
        store.connected(Self.key.peerID)
        store.add(Self.addresses, to: Self.key.peerID)
        for _ in 0..<500 { store.restore(.init(id: KeyPair().peerID, addresses: Self.addresses)) }
        #expect(store.count == 50)
        #expect(store.slotCount <= 51)
        #expect(store.mostUseful(countMax: 10).first == Self.key.peerID)
    }
}
