// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity
import TuttiPeers

@Suite("Peer store")
struct PeerStoreTests {
    /// An identity multihash of an Ed25519 key made of a number: cheap, and a valid peer id.
    private static func id(_ number: UInt64) throws -> PeerID {
        var bytes: [UInt8] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20]
        var generator = SeededGenerator(seed: number)
        for _ in 0..<4 {
            let word = generator.next()
            for shift in stride(from: 0, to: 64, by: 8) {
                bytes.append(UInt8(truncatingIfNeeded: word >> UInt64(shift)))
            }
        }
        return try PeerID(multihash: bytes)
    }

    @Test("A million made-up ids displace only each other", .timeLimit(.minutes(2)))
    func flood() throws {
        var store = PeerStore(limits: .internet)
        let connected = try Self.id(1)
        let once = try Self.id(2)
        store.add([address("/ip4/8.8.8.1/tcp/1")], to: connected)
        store.connected(connected)
        store.succeeded(once, at: address("/ip4/8.8.8.2/tcp/1"), with: .noise)
        store.connected(once)
        store.disconnected(once)
        let told = [address("/ip4/8.8.8.3/tcp/1")]
        for number in UInt64(10)..<1_000_010 {
            store.add(told, to: try Self.id(number))
        }
        #expect(store.count == 20_000)
        #expect(store.addresses(of: connected).count == 1)
        #expect(store.security(of: once) == .noise)
        #expect(store.addresses(of: try Self.id(1_000_009)) == told)
        #expect(store.addresses(of: try Self.id(10)).isEmpty)
        #expect(store.slotCount <= 20_000)
    }

    @Test("Peers once connected go after those only heard of, the longest unused first")
    func usefulness() throws {
        var limits = NodeLimits.internet
        limits.peersMax = 4
        var store = PeerStore(limits: limits)
        let told = [address("/ip4/8.8.8.3/tcp/1")]
        let ids = try (0..<8).map { try Self.id($0) }
        for id in ids[0..<4] { store.add(told, to: id) }
        for id in ids[0..<2] {
            store.connected(id)
            store.disconnected(id)
        }
        store.add(told, to: ids[4])
        #expect(store.addresses(of: ids[2]).isEmpty)
        store.connected(ids[3])
        store.add(told, to: ids[5])
        #expect(store.addresses(of: ids[4]).isEmpty)
        store.add(told, to: ids[5])
        store.connected(ids[5])
        store.add(told, to: ids[6])
        #expect(store.addresses(of: ids[0]).isEmpty, "no one only heard of is left")
        #expect(!store.addresses(of: ids[1]).isEmpty)
        store.connected(ids[1])
        store.connected(ids[6])
        store.add(told, to: ids[7])
        #expect(store.addresses(of: ids[7]).isEmpty, "all are connected: the newcomer isn't remembered")
        #expect(store.count == 4)
    }

    @Test("16 addresses a peer; certified ones stay, the earliest others give way")
    func addresses() throws {
        var store = PeerStore(limits: .internet)
        let id = key(5).peerID
        let certified = (1...3).map { address("/ip4/9.9.9.\($0)/tcp/1") }
        store.certify(
            PeerRecord(peerID: id, sequence: 5, addresses: certified), addresses: certified, envelope: [1, 2])
        for port in 1...20 { store.add([address("/ip4/8.8.8.8/tcp/\(port)")], to: id) }
        let known = store.addresses(of: id)
        #expect(known.count == 16)
        #expect(Array(known.prefix(3)) == certified)
        #expect(known.last == address("/ip4/8.8.8.8/tcp/20"))
        #expect(known[3] == address("/ip4/8.8.8.8/tcp/8"))
        store.succeeded(id, at: address("/ip4/8.8.8.8/tcp/15"), with: .tls)
        #expect(store.addresses(of: id).first == address("/ip4/8.8.8.8/tcp/15"))
        store.forget(address("/ip4/9.9.9.2/tcp/1"), of: id)
        #expect(store.certifiedAddresses(of: id) == [certified[0], certified[2]])
    }

    @Test("Only a newer record replaces a record")
    func sequence() {
        var store = PeerStore(limits: .internet)
        let id = key(5).peerID
        func certify(_ sequence: UInt64, _ text: String) {
            let list = [address(text)]
            store.certify(
                PeerRecord(peerID: id, sequence: sequence, addresses: list), addresses: list,
                envelope: [UInt8(sequence)])
        }
        certify(5, "/ip4/9.9.9.5/tcp/1")
        certify(4, "/ip4/9.9.9.4/tcp/1")
        certify(5, "/ip4/9.9.9.6/tcp/1")
        #expect(store.addresses(of: id) == [address("/ip4/9.9.9.5/tcp/1")])
        certify(6, "/ip4/9.9.9.7/tcp/1")
        #expect(store.addresses(of: id) == [address("/ip4/9.9.9.7/tcp/1")])
        #expect(store.record(of: id) == [6])
    }

    @Test("The bytes of records are bounded, one and all")
    func recordBytes() throws {
        var limits = NodeLimits.internet
        limits.recordBytesTotalMax = 20_000
        var store = PeerStore(limits: limits)
        for number in UInt64(0)..<100 {
            let record = PeerRecord(peerID: try Self.id(number), sequence: 1, addresses: [])
            store.certify(record, addresses: [], envelope: [UInt8](repeating: 1, count: number == 50 ? 8_193 : 3_000))
            #expect(store.recordBytesTotal <= 20_000)
        }
        #expect(store.count == 6)
        #expect(store.record(of: try Self.id(50)) == nil)
    }
}

@Suite("Reachability")
struct ReachabilityTests {
    private static let ours = address("/ip4/44.1.2.3/tcp/4001")

    private static func judge(_ number: UInt64) -> ReachabilityTable.Judge { .group(AddressGroup(number)) }

    @Test("What others saw makes no address reachable, and gives way to what they see later")
    func observations() {
        var table = ReachabilityTable()
        #expect(table.state(of: Self.ours) == .unknown)
        for high in [8, 9, 11, 12, 13] { table.observed(Self.ours, by: address("/ip4/\(high).8.8.8/tcp/1")) }
        #expect(table.state(of: Self.ours) == .observed)
        #expect(table.summary(isOutside: false) == .unknown)
        table.observed(address("/ip4/44.1.2.3/tcp/5"), by: address("/ip4/8.8.8.8/tcp/1"))
        #expect(table.observed.first == Self.ours, "the most often seen first")
        for port in 1...100 {
            table.observed(address("/ip4/203.0.113.6/tcp/\(port)"), by: address("/ip4/8.8.8.8/tcp/1"))
        }
        #expect(table.state(of: Self.ours) == .unknown, "bounded: displaced by later ones")
    }

    @Test("A dial-back makes an address reachable until more judges failed than got through")
    func judgements() {
        var table = ReachabilityTable()
        table.judged(Self.ours, by: Self.judge(1), isReachable: true)
        #expect(table.state(of: Self.ours) == .reachable)
        #expect(table.announceable.isEmpty, "one could lie")
        table.judged(Self.ours, by: Self.judge(2), isReachable: false)
        #expect(table.state(of: Self.ours) == .reachable)
        for _ in 0..<5 { table.judged(Self.ours, by: Self.judge(3), isReachable: false) }
        #expect(table.state(of: Self.ours) == .unreachable)
        #expect(table.judgements(of: Self.ours) == (1, 3), "each judge counts once")
        #expect(table.summary(isOutside: true) == .nowhere)
        for number in 4..<20 { table.judged(Self.ours, by: Self.judge(UInt64(number)), isReachable: true) }
        #expect(table.judgements(of: Self.ours) == (8, 8), "the oldest gave way")
        #expect(table.announceable == [Self.ours])
        for port in 1...100 {
            table.observed(address("/ip4/203.0.113.6/tcp/\(port)"), by: address("/ip4/8.8.8.8/tcp/1"))
        }
        #expect(table.state(of: Self.ours) == .reachable, "what was tried outlasts what is said")
    }

    @Test("A local address is enough for those who deal with nobody outside")
    func summary() {
        var table = ReachabilityTable()
        table.judged(address("/ip4/192.168.1.5/tcp/4001"), by: Self.judge(1), isReachable: true)
        #expect(table.summary(isOutside: false) == .local)
        #expect(table.summary(isOutside: true) == .unknown)
        table.judged(Self.ours, by: Self.judge(1), isReachable: false)
        #expect(table.summary(isOutside: true) == .nowhere)
        table.judged(Self.ours, by: Self.judge(1), isReachable: true)
        #expect(table.summary(isOutside: true) == .everywhere)
    }
}
