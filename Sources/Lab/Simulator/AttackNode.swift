// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiIdentity
import TuttiKademlia
import TuttiPeers

/// Attacks on what a node remembers, and clocks that are wrong.
enum AttackNode {
    // MARK: Peer store

    static let store = Scenario(
        "attack-14-peer-store", "made-up peers and addresses are told to a node without end",
        [
            ScenarioParameter("ids", 100_000, 1...100_000_000, "made-up peers"),
            ScenarioParameter("bounded", 1, 0...1, "0: any number of peers and addresses is remembered"),
        ]
    ) { settings, progress in
        let bound = NodeLimits.internet
        var limits = bound
        if settings["bounded"] == 0 {
            limits.peersMax = .max
            limits.addressesPerPeerMax = .max
        }
        var store = PeerStore(limits: limits)
        var draws = DrawStream(seed: settings.seed, .traffic)
        let known = (0..<100).map { _ in id(&draws) }
        let addresses = (1...64).map { address($0) }
        for (number, peer) in known.enumerated() {
            store.add([addresses[0]], to: peer)
            store.connected(peer)
            if number % 2 == 0 { store.disconnected(peer) }
        }
        var digest = EventDigest()
        for number in 0..<settings["ids"] {
            let peer = id(&draws)
            store.add(number % 1_000 == 0 ? addresses : [addresses[number % 64]], to: peer)
            if number % 1_000 == 0 { digest.mix(UInt64(store.addresses(of: peer).count)) }
            if number % 100_000 == 0 { progress.reached(Double(number) / Double(settings["ids"])) }
        }
        let stuffed = id(&draws)
        store.add(addresses, to: stuffed)
        digest.mix(UInt64(store.count))
        var result = ScenarioResult()
        result.digest = digest.value
        result.events = UInt64(settings["ids"])
        result.check("peers remembered", Double(store.count), atMost: Double(bound.peersMax))
        result.check("places allocated", Double(store.slotCount), atMost: Double(bound.peersMax))
        result.check(
            "addresses of one peer", Double(store.addresses(of: stuffed).count),
            atMost: Double(bound.addressesPerPeerMax))
        result.check(
            "peers once connected that are still known", Double(known.count { !store.addresses(of: $0).isEmpty }),
            expected: Double(known.count), tolerance: 0)
        return result
    }

    /// An identity multihash of an Ed25519 key that nobody has.
    private static func id(_ draws: inout DrawStream) -> PeerID {
        var bytes: [UInt8] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20]
        for _ in 0..<4 { withUnsafeBytes(of: draws.next()) { bytes.append(contentsOf: $0) } }
        guard let peer = try? PeerID(multihash: bytes) else { preconditionFailure("these bytes are a peer id") }
        return peer
    }

    private static func address(_ number: Int) -> Multiaddr {
        guard let address = Multiaddr("/ip4/8.8.\(number).1/tcp/\(4_000 + number)") else {
            preconditionFailure("this text is an address")
        }
        return address
    }

    // MARK: Clocks

    static let clocks = Scenario(
        "attack-23-clocks", "clocks differ by a day, step forward by a day, and step back",
        [
            ScenarioParameter("nodes", 100, 20...100_000, "peers"),
            ScenarioParameter("lookups", 100, 1...100_000, "lookups, and as many searches for a value stored before"),
            ScenarioParameter(
                "monotone", 1, 0...1, "0: cores are told the time of day instead of a clock that only runs"),
        ]
    ) { settings, progress in
        let day = Duration.seconds(86_400)
        var options = KademliaLab.Options()
        options.nodes = settings.nodes
        options.seed = settings.seed
        options.configuration.recordLifetime = .seconds(12 * 3_600)
        options.configuration.providerLifetime = .seconds(12 * 3_600)
        var lab = KademliaLab(options)
        // Times of two peers are never compared: half of all live a day ahead.
        for place in stride(from: 0, to: settings.nodes, by: 2) {
            lab.fleet.apply(.stepClock(PeerIndex(UInt32(place)), day))
        }
        lab.run(until: lab.fleet.now + .seconds(60), progress, share: 0...0.2)
        var draws = DrawStream(seed: settings.seed, .placement)
        let target = KademliaTarget(
            key: KademliaKey(Bytes32(words: (draws.next(), draws.next(), draws.next(), draws.next()))))
        lab.fleet.schedule(
            .handle(
                .putRequested(
                    RequestID(1 << 40), target, KademliaRecord(value: [42]), deadline: lab.localNow(0) + .seconds(100))),
            for: PeerIndex(0), at: lab.fleet.now)
        lab.run(until: lab.fleet.now + .seconds(120), progress, share: 0.2...0.4)
        let before = lab.recordCount
        // A step of the time of day doesn't reach a clock that only runs.
        if settings["monotone"] == 0 {
            for place in 0..<settings.nodes { lab.fleet.apply(.stepClock(PeerIndex(UInt32(place)), day)) }
        }
        // Everybody is once told a time a day back, and then the right one.
        for place in 0..<settings.nodes {
            lab.fleet.update(PeerIndex(UInt32(place))) { peer, world, now in
                let back = now + .nanoseconds(-day.saturatedNanoseconds)
                peer.handleTimeout(world: world, at: back)
                peer.receive(.request(7, .findNode(target)), from: PeerIndex(1), world: world, at: back)
            }
        }
        lab.run(until: lab.fleet.now + .seconds(600), progress, share: 0.4...0.7)
        let after = lab.recordCount
        lab.look(settings["lookups"], over: .seconds(60), origins: settings.nodes)
        lab.run(until: lab.fleet.now + .seconds(200), progress, share: 0.7...1)
        var result = ScenarioResult()
        lab.describe(&result)
        result.check("peers that hold the value", Double(before), atLeast: Double(min(15, settings.nodes / 2)))
        result.check("of them after the steps", Double(after) / Double(max(1, before)), expected: 1, tolerance: 0)
        result.check(
            "each lookup finished once", Double(lab.outcomes.finished), expected: Double(lab.outcomes.asked),
            tolerance: 0)
        result.check("nearest found", lab.outcomes.foundShare, atLeast: 0.99)
        return result
    }
}

extension KademliaLab {
    fileprivate var recordCount: Int { (0..<honest).count { fleet.peers[$0].core.recordCount > 0 } }

    fileprivate func localNow(_ place: Int) -> Instant { fleet.localTime(place) }
}
