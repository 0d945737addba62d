// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiKademlia

private final class Records {
    var store = RecordStore(ownKey: KademliaKey(.zero))
    var limits = KademliaLimits()

    func put(_ number: UInt64, _ bytes: Int = 10, from peer: UInt32 = 1, group: UInt64 = 0, until: Int64 = 100) -> Bool
    {
        store.put(
            KademliaRecord(value: Array(repeating: 7, count: bytes)), for: near(number), from: PeerIndex(peer),
            group: AddressGroup(group), until: Instant(nanoseconds: until), limits: limits)
    }
    func holds(_ number: UInt64, at now: Int64 = 0) -> Bool {
        store.record(for: near(number), at: Instant(nanoseconds: now)) != nil
    }
}

private final class Providers {
    var store = ProviderStore(ownKey: KademliaKey(.zero))
    var limits = KademliaLimits()

    func add(_ peer: UInt32, _ number: UInt64, group: UInt64 = 0, until: Int64 = 100) -> Bool {
        store.add(
            PeerIndex(peer), group: AddressGroup(group), for: near(number).key, until: Instant(nanoseconds: until),
            limits: limits)
    }
    func list(_ number: UInt64, at now: Int64 = 0) -> [UInt32] {
        store.providers(of: near(number).key, at: Instant(nanoseconds: now), countMax: 100).map(\.value)
    }
}

/// A target at this distance from the key of zeros.
private func near(_ distance: UInt64) -> KademliaTarget {
    KademliaTarget(key: KademliaKey(Bytes32(words: (distance, 0, 0, 0))))
}

struct StoreTests {
    @Test("A full record store keeps what is nearest to its own key")
    func recordsByUsefulness() {
        let records = Records()
        records.limits.recordsMax = 3
        for number in [UInt64(50), 40, 30] { #expect(records.put(number)) }
        #expect(!records.put(60))
        #expect(records.put(20))
        #expect(!records.holds(50))
        #expect(records.holds(20) && records.holds(30) && records.holds(40))
        #expect(records.store.count == 3)
    }

    @Test("Record bytes are bounded and counted right through replacing and expiring")
    func recordBytes() {
        let records = Records()
        records.limits.recordBytesMax = 100
        #expect(records.put(1, 60))
        #expect(records.put(2, 30))
        #expect(records.store.byteCount == 90)
        #expect(records.put(1, 20))
        #expect(records.store.byteCount == 50)
        #expect(records.put(1, 90, until: 50))
        #expect(records.store.byteCount == 90)
        #expect(!records.holds(2))
        #expect(!records.put(0, 101))
        #expect(records.store.expire(at: Instant(nanoseconds: 50)) == .distantFuture)
        #expect(records.store.byteCount == 0)
    }

    @Test("Neither a peer nor an address group fills the store")
    func recordCaps() {
        let records = Records()
        records.limits.recordsPerPeerMax = 4
        records.limits.recordsPerGroupMax = 6
        let byOne = (UInt64(0)..<100).filter { records.put($0, from: 1, group: 5) }
        #expect(byOne.count == 4)
        let byOther = (UInt64(100)..<200).filter { records.put($0, from: 2, group: 5) }
        #expect(byOther.count == 2)
        #expect(records.put(500, from: 3, group: 6))
        // Renewing is not a new record.
        #expect(records.put(0, from: 1, group: 5, until: 900))
        #expect(records.holds(0, at: 899))
    }

    @Test("Records are gone at their expiry, before any clearing up")
    func recordExpiry() {
        let records = Records()
        #expect(records.put(1, until: 100))
        #expect(records.put(2, until: 200))
        #expect(records.holds(1, at: 99))
        #expect(!records.holds(1, at: 100))
        #expect(records.store.expire(at: Instant(nanoseconds: 100)) == Instant(nanoseconds: 200))
        #expect(records.store.count == 1)
    }

    @Test("Providers: the one heard of longest ago gives way, a repeated one doesn't count twice")
    func providersPerKey() {
        let providers = Providers()
        providers.limits.providersPerKeyMax = 3
        for peer in [UInt32(1), 2, 3, 1, 4] { #expect(providers.add(peer, 9)) }
        #expect(providers.list(9) == [4, 1, 3])
        #expect(providers.store.recordCount == 3)
        providers.store.remove(PeerIndex(1), for: near(9).key)
        #expect(providers.list(9) == [4, 3])
    }

    @Test("Providers are capped by peer, by group under a key and in all, and by number of keys")
    func providerCaps() {
        let providers = Providers()
        providers.limits.providerRecordsPerPeerMax = 5
        providers.limits.providersPerKeyGroupMax = 2
        providers.limits.providerRecordsPerGroupMax = 7
        #expect((UInt64(0)..<20).filter { providers.add(1, $0) }.count == 5)
        #expect((UInt32(10)..<20).filter { providers.add($0, 100, group: 3) }.count == 2)
        #expect((UInt32(10)..<20).filter { providers.add($0, 200 + UInt64($0), group: 3) }.count == 5)
        providers.limits.providerKeysMax = providers.store.keyCount
        #expect(!providers.add(99, 5_000))
        let farthest = providers.list(216)
        #expect(providers.add(99, 50))
        #expect(farthest.isEmpty || providers.list(216).isEmpty || providers.store.keyCount <= 11)
        #expect(providers.store.keyCount == providers.limits.providerKeysMax)
    }

    @Test("What expires gives its places back")
    func providerExpiry() {
        let providers = Providers()
        providers.limits.providerRecordsPerPeerMax = 2
        #expect(providers.add(1, 1, until: 10))
        #expect(providers.add(1, 2, until: 20))
        #expect(!providers.add(1, 3))
        #expect(providers.list(1, at: 10).isEmpty)
        #expect(providers.store.expire(at: Instant(nanoseconds: 10)) == Instant(nanoseconds: 20))
        #expect(providers.store.keyCount == 1)
        #expect(providers.add(1, 3))
    }

    @Test("A peer may ask at its rate, others don't suffer, and few are remembered")
    func requestRate() {
        var limits = KademliaLimits()
        limits.requestersMax = 8
        var limiter = RequestLimiter(limits: limits)
        func count(_ peer: UInt32, _ tries: Int, at now: Instant) -> Int {
            (0..<tries).reduce(0) { sum, _ in sum + (limiter.take(PeerIndex(peer), at: now) ? 1 : 0) }
        }
        #expect(count(1, 100, at: .zero) == 50)
        #expect(count(2, 10, at: .zero) == 10)
        #expect(count(1, 100, at: .zero + .seconds(1)) == 10)
        #expect(count(1, 100, at: .zero + .seconds(100)) == 50)
        // Strangers displace those who have tokens left, not the one who has none.
        for stranger in UInt32(10)..<200 { _ = limiter.take(PeerIndex(stranger), at: .zero + .seconds(100)) }
        #expect(count(1, 100, at: .zero + .seconds(100)) == 0)
    }
}
