// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity
import TuttiKademlia

struct CoreTests {
    /// A value that is newer the larger its byte is.
    static var withValues: KademliaConfiguration {
        var configuration = KademliaConfiguration.lab
        configuration.validator = KademliaValidator(
            accepts: { _, value in !value.isEmpty }, prefers: { _, value, other in value[0] > other[0] })
        return configuration
    }

    func named(_ text: String) -> KademliaTarget { KademliaNames.target(Array(text.utf8)) }

    func put(_ value: UInt8, _ target: KademliaTarget, by peer: Int, in network: TinyNetwork) -> KademliaOutcome? {
        let id = network.request(
            {
                .putRequested(
                    $0, target, KademliaRecord(value: [value]), deadline: network.now + .seconds(60))
            }, of: peer)
        network.run(until: id)
        return network.outcomes[id]?.outcome
    }

    func provide(_ target: KademliaTarget, by peer: Int, in network: TinyNetwork) -> KademliaOutcome? {
        let id = network.request(
            { .provideRequested($0, target, deadline: network.now + .seconds(60)) }, of: peer)
        network.run(until: id)
        return network.outcomes[id]?.outcome
    }

    @Test("What one puts others get; it lies with the twenty closest")
    func putAndGet() throws {
        let network = TinyNetwork(300, seed: 1, Self.withValues)
        network.settle()
        let outcome = try #require(put(7, named("/x/a"), by: 5, in: network))
        #expect(outcome.status == .done)
        #expect(outcome.storedCount == 20)
        for peer in network.closest(to: named("/x/a"), except: [5]).prefix(20) {
            #expect(network.cores[Int(peer.value)].recordCount == 1)
        }
        let got = try #require(network.find(.value(named("/x/a"), quorum: 1), by: 200))
        #expect(got.record?.value == [7])
        let none = try #require(network.find(.value(named("/x/b"), quorum: 1), by: 200))
        #expect(none.status == .notFound)
    }

    @Test("The best value wins, and who held an older one or none is corrected")
    func correction() throws {
        let network = TinyNetwork(200, seed: 2, Self.withValues)
        network.settle()
        let target = named("/x/c")
        _ = put(1, target, by: 5, in: network)
        // The newer one reaches only three of the twenty.
        let holders = network.closest(to: target, except: [5, 6]).prefix(20).map { Int($0.value) }
        for holder in holders.prefix(3) {
            network.input(
                .asked(
                    RequestID(0), by: PeerIndex(6), group: .none,
                    .putValue(target, KademliaRecord(value: [2]))), to: holder)
        }
        let got = try #require(network.find(.value(target, quorum: 20), by: 100))
        #expect(got.record?.value == [2])
        network.run(for: .seconds(1))
        for holder in holders {
            let again = network.find(.value(target, quorum: 1), by: holder)
            #expect(again?.record?.value == [2])
        }
        // An older one isn't taken back.
        let refused = network.cores[holders[0]].stats.recordsRefused
        _ = put(1, target, by: 7, in: network)
        #expect(network.cores[holders[0]].stats.recordsRefused > refused)
    }

    @Test("Values are stored only under names that their validator accepts; a key proves its own")
    func validators() throws {
        var configuration = KademliaConfiguration()
        configuration.isServer = true
        let network = TinyNetwork(2, seed: 3, configuration)
        let key: [UInt8] = [0x08, 0x01, 0x12, 0x20] + Array(1...32)
        let name = Array("/pk/".utf8) + [0x00, 36] + key
        func status(_ name: [UInt8], _ value: [UInt8]) -> KademliaOutcome.Status? {
            let id = network.request(
                {
                    .putRequested(
                        $0, KademliaNames.target(name), KademliaRecord(value: value), deadline: .distantFuture)
                }, of: 0)
            return network.outcomes[id]?.outcome.status
        }
        #expect(status(name, key) == .noPeers)
        #expect(status(name, key.dropLast() + [9]) == .invalidRecord)
        #expect(status(name.dropLast() + [9], key) == .invalidRecord)
        #expect(status(Array("/pk/".utf8), []) == .invalidRecord)
        #expect(status(Array("/other/a".utf8), [1]) == .invalidRecord)
        let long: [UInt8] = [0x08, 0x00, 0x12, 0x80, 0x01] + Array(repeating: 5, count: 128)
        #expect(status(Array("/pk/".utf8) + Multihash(sha256Of: long).bytes, long) == .noPeers)
        #expect(network.cores[0].recordCount == 2)
    }

    @Test("Providers are found as they come, each once, and expire")
    func providers() throws {
        var configuration = KademliaConfiguration.lab
        configuration.refreshInterval = .zero
        let network = TinyNetwork(60, seed: 4, configuration)
        network.settle()
        let target = point(4)
        for peer in [3, 4] { #expect(provide(target, by: peer, in: network)?.storedCount == 20) }
        let found = try #require(network.find(.providers(target, countMax: 2), by: 50))
        #expect(Set(found.providers.map(\.value)) == [3, 4])
        #expect(network.foundProviders == found.providers)
        let all = try #require(network.find(.providers(target, countMax: 10), by: 51))
        #expect(all.providers.count == 2)
        // Peer 3 goes on providing, peer 4 doesn't.
        network.input(.provideWithdrawn(target), to: 4)
        network.run(for: .seconds(50 * 3_600))
        let later = try #require(network.find(.providers(target, countMax: 10), by: 52))
        #expect(later.providers == [PeerIndex(3)])
    }

    @Test("A provide with an eye on the size of the network stores as well and ends earlier")
    func optimisticProvide() throws {
        func run(_ isOptimistic: Bool) throws -> (stored: Int, time: Duration) {
            var configuration = KademliaConfiguration.lab
            configuration.isProvideOptimistic = isOptimistic
            let network = TinyNetwork(500, seed: 5, configuration)
            network.settle()
            network.silent = Set((0..<500).filter { $0 % 7 == 0 })
            var stored = 0
            var time = Duration.zero
            for number in UInt64(0)..<10 {
                let start = network.now
                _ = try #require(provide(point(number), by: 8, in: network))
                time = time + (network.now - start)
                network.run(for: .seconds(30))
                let closest = network.closest(to: point(number), except: network.silent.union([8])).prefix(15)
                stored += closest.filter { network.cores[Int($0.value)].providerRecordCount > Int(number) / 2 }.count
                let found = try #require(network.find(.providers(point(number), countMax: 1), by: 401))
                #expect(found.providers == [PeerIndex(8)])
            }
            return (stored, time)
        }
        let (plain, hurried) = (try run(false), try run(true))
        #expect(hurried.time * 2 < plain.time)
        #expect(hurried.stored * 10 > plain.stored * 6)
    }

    @Test("A client doesn't answer; who turns client leaves the tables")
    func clients() {
        let network = TinyNetwork(3, seed: 6)
        network.settle()
        #expect(network.cores[0].tableCount == 2)
        network.input(.peerIdentified(PeerIndex(2), isServer: false, group: .none), to: 0)
        #expect(!network.cores[0].contains(PeerIndex(2), keys: network.keys))
        network.input(.modeChanged(isServer: false), to: 1)
        let outcome = network.find(.closest(point(1)), by: 0)
        #expect(outcome?.closest.isEmpty == true)
        #expect(network.cores[1].stats.requestsRefused > 0)
        #expect(network.cores[1].stats.answers == 0)
    }

    @Test("Answers name neither the asker nor the answerer")
    func closerPeers() {
        let network = TinyNetwork(10, seed: 7)
        network.settle()
        var core = network.cores[0]
        core.handle(
            .asked(RequestID(1), by: PeerIndex(3), group: .none, .findNode(point(1))), at: network.now,
            keys: network.keys)
        guard case .answer(_, let response) = core.nextEffect() else {
            Issue.record("no answer")
            return
        }
        #expect(Set(response.closer.map(\.value)) == [1, 2, 4, 5, 6, 7, 8, 9])
    }

    @Test("New nodes that know one other knit themselves into a network")
    func joining() {
        let network = TinyNetwork(40, seed: 8)
        network.areAskersIdentified = true
        for peer in 1..<40 {
            network.input(.peerIdentified(PeerIndex(0), isServer: true, group: .none), to: peer)
            network.input(.peerIdentified(PeerIndex(UInt32(peer)), isServer: true, group: .none), to: 0)
            network.run(for: .milliseconds(200))
        }
        network.run(for: .seconds(60))
        var found = 0
        for number in 0..<40 {
            let target = point(UInt64(number))
            let outcome = network.find(.closest(target), by: number)
            if outcome?.closest.first == network.closest(to: target, except: [number]).first { found += 1 }
        }
        #expect(found >= 38)
    }

    @Test("An idle node asks one contact a minute and lets go of those that are silent")
    func idle() {
        let network = TinyNetwork(100, seed: 9)
        network.settle()
        network.run(for: .seconds(3_500))
        let calls = network.cores.reduce(0) { $0 + Int($1.stats.calls) }
        // 100 nodes, 58 minutes.
        #expect((5_200...6_400).contains(calls))
        network.silent = [7]
        network.run(for: .seconds(10 * 3_600))
        #expect(!network.cores.contains { $0.own.value != 7 && $0.contains(PeerIndex(7), keys: network.keys) })
    }

    @Test("An attacker with many ids in three address groups holds nine places at most and no bucket")
    func eclipse() {
        var configuration = KademliaConfiguration.lab
        configuration.limits.groupPerBucketMax = 2
        configuration.limits.groupPerTableMax = 3
        configuration.areAnswerersAdded = false
        let network = TinyNetwork(400, seed: 10, configuration)
        network.settle(0..<200)
        for round in 0..<3 {
            for sybil in 200..<400 {
                let group = AddressGroup(UInt64(sybil % 3 + 1))
                network.input(
                    .peerIdentified(PeerIndex(UInt32(sybil)), isServer: true, group: group), to: round)
            }
            network.run(for: .seconds(7_200))
        }
        for victim in 0..<3 {
            let table = network.cores[victim].table
            let held = (200..<400).filter { network.cores[victim].contains(PeerIndex(UInt32($0)), keys: network.keys) }
            #expect(held.count <= 9)
            for bucket in 0..<32 where table.count(inBucket: bucket) > 0 {
                let sybils = held.filter { table.bucket(of: network.keys.word(of: PeerIndex(UInt32($0)))) == bucket }
                #expect(sybils.count <= 6)
            }
            let outcome = network.find(.closest(point(3)), by: victim)
            let honest = (outcome?.closest ?? []).filter { $0.value < 200 }
            #expect(honest.first == network.closest(to: point(3), among: 0..<200, except: [victim]).first)
        }
    }

    @Test("Sybils around a key hide it, unless the region is searched", arguments: [false, true])
    func sybils(isMitigated: Bool) throws {
        var configuration = KademliaConfiguration.lab
        configuration.isSybilMitigationOn = isMitigated
        let honestCount = 400
        let target = point(99)
        let derived = Keyspace(derivedFrom: 11)
        var words = (0..<honestCount).map { derived.key(of: PeerIndex(UInt32($0))).bytes }
        // 45 keys that share 40 bits with the target.
        for number in 0..<45 {
            words.append(
                Bytes32(words: (target.key.word ^ UInt64(number + 1) << 10, UInt64(number), 0, 0)))
        }
        let network = TinyNetwork(words.count, seed: 11, configuration, keys: Keyspace(words))
        network.settle()
        // They name each other, and answer nothing else.
        let sybils = peers(UInt32(honestCount)..<UInt32(words.count))
        for sybil in honestCount..<words.count { network.liars[sybil] = Array(sybils.prefix(20)) }
        let outcome = try #require(provide(target, by: 5, in: network))
        #expect(outcome.isDense)
        var found = 0
        for asker in stride(from: 20, to: 400, by: 20) {
            let result = network.find(.providers(target, countMax: 1), by: asker)
            if result?.providers == [PeerIndex(5)] { found += 1 }
        }
        // Of 19.
        #expect(isMitigated ? found >= 18 : found == 0)
        // Other keys are not taken for crowded.
        let other = try #require(network.find(.providers(point(5), countMax: 1), by: 30))
        #expect(!other.isDense)
    }

    @Test("The size of the network is known within a third")
    func networkSize() throws {
        let network = TinyNetwork(800, seed: 12)
        network.settle()
        let first = try #require(network.cores[3].networkSize)
        #expect((200...2_400).contains(first))
        for number in UInt64(0)..<20 { _ = network.find(.closest(point(number)), by: 3) }
        let later = try #require(network.cores[3].networkSize)
        #expect((540...1_060).contains(later))
    }

    @Test("Remembered peers are asked, and the table is told most useful first")
    func remembering() {
        let network = TinyNetwork(30, seed: 13)
        network.silent = [4]
        network.input(.peersRemembered(peers(1..<20)), to: 0)
        network.run(for: .seconds(60))
        #expect(network.cores[0].tableCount >= 18)
        #expect(!network.cores[0].contains(PeerIndex(4), keys: network.keys))
        let snapshot = network.cores[0].snapshot()
        #expect(snapshot.count == network.cores[0].tableCount)
        let buckets = snapshot.map { network.cores[0].table.bucket(of: network.keys.word(of: $0)) }
        #expect(buckets == buckets.sorted(by: >))
    }

    @Test("A flood of records by one peer stays within its caps and displaces nobody's")
    func recordFlood() {
        var configuration = Self.withValues
        configuration.limits.recordsMax = 100
        configuration.limits.recordsPerPeerMax = 10
        let network = TinyNetwork(3, seed: 14, configuration)
        func store(_ name: String, from peer: UInt32) {
            network.input(
                .asked(
                    RequestID(0), by: PeerIndex(peer), group: .none,
                    .putValue(named(name), KademliaRecord(value: [1]))), to: 0)
        }
        func prepare() { _ = network.find(.closest(point(1)), by: 1) }
        network.settle()
        // The network needs one call of its own before answers to made-up ones can be told.
        prepare()
        store("/x/honest", from: 2)
        for number in 0..<1_000 { store("/x/\(number)", from: 1) }
        #expect(network.cores[0].recordCount == 11)
        #expect(network.cores[0].stats.recordsRefused == 990)
        let kept = network.find(.value(named("/x/honest"), quorum: 1), by: 0)
        #expect(kept?.record?.value == [1])
    }

    @Test("Whoever asks too often is refused, others are answered")
    func requestFlood() {
        var configuration = KademliaConfiguration.lab
        configuration.limits.requestInterval = .milliseconds(100)
        let network = TinyNetwork(3, seed: 15, configuration)
        network.settle()
        _ = network.find(.closest(point(1)), by: 1)
        let before = network.cores[0].stats.requestsRefused
        for _ in 0..<200 {
            network.input(.asked(RequestID(0), by: PeerIndex(1), group: .none, .findNode(point(2))), to: 0)
        }
        #expect((149...152).contains(network.cores[0].stats.requestsRefused - before))
        let outcome = network.find(.closest(point(3)), by: 2)
        #expect(outcome?.closest.contains(PeerIndex(0)) == true)
    }

    @Test("The same seed gives the same run, another one another")
    func determinism() {
        func digest(_ seed: UInt64) -> UInt64 {
            let network = TinyNetwork(120, seed: seed, Self.withValues)
            network.settle(seed: seed)
            network.silent = [3, 50, 70]
            for number in 0..<20 {
                _ = network.find(.closest(point(UInt64(number))), by: number)
                _ = provide(point(UInt64(number + 100)), by: number, in: network)
                _ = put(1, named("/x/\(number)"), by: number, in: network)
            }
            network.run(for: .seconds(4_000))
            #expect(network.eventCount > 10_000)
            return network.digest
        }
        #expect(digest(1) == digest(1))
        #expect(digest(1) != digest(2))
    }

    @Test("Every peer that the core may name is marked")
    func marks() {
        let network = TinyNetwork(200, seed: 16)
        network.settle()
        _ = provide(point(1), by: 9, in: network)
        _ = network.request({ .lookupRequested($0, .closest(point(2)), deadline: .distantFuture) }, of: 0)
        var core = network.cores[0]
        var marked: Set<PeerIndex> = []
        core.forEachPeer { marked.insert($0) }
        #expect(marked.count >= core.tableCount)
        for peer in core.snapshot() { #expect(marked.contains(peer)) }
        core.handle(
            .asked(RequestID(1), by: PeerIndex(150), group: .none, .addProvider(point(3))), at: network.now,
            keys: network.keys)
        var again: Set<PeerIndex> = []
        core.forEachPeer { again.insert($0) }
        #expect(again.contains(PeerIndex(150)))
    }
}
