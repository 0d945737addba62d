// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

/// Whom this node knows: its table, when to look after it, and peers of an earlier run that are still to be asked.
///
/// It learns from what the core heard and from calls that ended; whom to ask next it only names.
package struct KademliaContacts: Sendable {
    package private(set) var table: RoutingTable
    private var upkeep: KademliaUpkeep
    /// Last first.
    private var remembered: [PeerIndex] = []

    package init(ownWord: UInt64, _ settings: KademliaSettings, _ random: inout SeededGenerator, at now: Instant) {
        table = RoutingTable(ownWord: ownWord, k: settings.configuration.k)
        upkeep = KademliaUpkeep(at: now, settings: settings, random: &random)
    }

    // MARK: Peers

    /// A peer was identified that serves, or no longer does.
    package mutating func identified(
        _ peer: PeerIndex, isServer: Bool, word: UInt64, _ group: AddressGroup, at now: Instant,
        _ settings: KademliaSettings, _ random: inout SeededGenerator, _ stats: inout KademliaStats
    ) {
        if isServer {
            heard(peer, word: word, group, at: now, settings, &random, &stats)
        } else if table.remove(peer, word: word, limits: settings.configuration.limits) {
            stats.contactsRemoved &+= 1
        }
    }

    private mutating func heard(
        _ peer: PeerIndex, word: UInt64, _ group: AddressGroup, at now: Instant, _ settings: KademliaSettings,
        _ random: inout SeededGenerator, _ stats: inout KademliaStats
    ) {
        // By far the most frequent case, without a look at the limits.
        if table.contactHeard(peer, word: word) { return }
        switch table.heard(peer, word: word, group: group, limits: settings.configuration.limits) {
        case .known:
            return
        case .added:
            stats.contactsAdded &+= 1
            upkeep.contactAdded(at: now, settings)
        case .full:
            upkeep.contested(at: now, settings, &random)
        case .refused:
            stats.groupRefusals &+= 1
        }
    }

    package mutating func answered(
        _ peer: PeerIndex, word: UInt64, at now: Instant, _ settings: KademliaSettings,
        _ random: inout SeededGenerator, _ stats: inout KademliaStats
    ) {
        guard !table.contactHeard(peer, word: word), settings.configuration.takesAnswerers else { return }
        heard(peer, word: word, .none, at: now, settings, &random, &stats)
    }

    /// A contact that was asked whether it lives answered: whoever waits for its place waits in vain.
    package mutating func checked(word: UInt64, at now: Instant) {
        let bucket = table.bucket(of: word)
        table.settle(bucket)
        if table.isFull(bucket) { upkeep.touch(bucket, at: now) }
    }

    package mutating func failed(
        _ peer: PeerIndex, word: UInt64, _ settings: KademliaSettings, _ stats: inout KademliaStats
    ) {
        if table.failed(peer, word: word, limits: settings.configuration.limits) { stats.contactsRemoved &+= 1 }
    }

    package mutating func remember(_ peers: [PeerIndex], _ settings: KademliaSettings) {
        remembered = peers.prefix(settings.configuration.limits.rememberedPeersMax).reversed()
    }

    package mutating func nextRemembered() -> PeerIndex? { remembered.popLast() }

    /// The nearest to `word`, in no order.
    package func closest(to word: UInt64, countMax: Int, keys: Keyspace) -> [PeerIndex] {
        var peers: [PeerIndex] = []
        peers.reserveCapacity(min(countMax, table.count))
        table.appendClosest(to: word, countMax: countMax, keys: keys, into: &peers)
        return peers
    }

    // MARK: Lookups that look after the table

    /// A lookup near `word` began.
    package mutating func touch(word: UInt64, at now: Instant) {
        upkeep.touch(table.bucket(of: word), at: now)
    }

    /// True when it is time to look for our neighbours; counts as begun.
    package mutating func startJoin(at now: Instant) -> Bool {
        guard upkeep.joinAt <= now else { return false }
        upkeep.joinStarted()
        return true
    }

    package mutating func joinEnded(
        at now: Instant, _ settings: KademliaSettings, _ random: inout SeededGenerator
    ) {
        upkeep.joinEnded(tableCount: table.count, at: now, settings, &random)
    }

    package func isTickDue(at now: Instant) -> Bool { upkeep.tickAt <= now }

    package mutating func contactToCheck() -> PeerIndex? { upkeep.contactToCheck(table) }

    package mutating func refreshDue(at now: Instant, _ settings: KademliaSettings) -> KademliaUpkeep.Refresh? {
        upkeep.refreshDue(table, at: now, settings)
    }

    package mutating func ticked(at now: Instant, _ settings: KademliaSettings, _ random: inout SeededGenerator) {
        upkeep.ticked(isContested: table.contested != 0, at: now, settings, &random)
    }

    package var nextTimeout: Instant { upkeep.next }

    // MARK: Fleets

    package mutating func load(_ peers: [PeerIndex], keys: Keyspace) {
        table.load(peers, keys: keys)
        upkeep.loaded()
    }

    package func warm(for peer: PeerIndex?, keys: Keyspace) -> UInt64 {
        table.warm(peer.map { table.bucket(of: keys.word(of: $0)) } ?? upkeep.bucketToCheck(table))
    }

    package func forEachPeer(_ body: (PeerIndex) -> Void) {
        table.forEach(body)
        table.forEachReplacement(body)
        for peer in remembered { body(peer) }
    }
}
