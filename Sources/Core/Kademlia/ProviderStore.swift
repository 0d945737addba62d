// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

/// Who said that it provides what, for the network.
///
/// Keys are ordered by their distance to ours; when there are too many the farthest gives way, or is refused. Under a
/// key the provider heard of longest ago gives way, but one address group can hold only some of the places.
package struct ProviderStore: Sendable {
    private struct Provider: Sendable {
        let peer: PeerIndex
        let group: AddressGroup
        let expiry: Instant
    }

    private struct Entry: Sendable {
        let distance: KademliaKey
        /// Heard of longest ago first.
        var providers: [Provider]
    }

    private let ownKey: KademliaKey
    private var entries: [Entry] = []
    /// How many records each has; only looked up, never walked through.
    private var countOfPeer: [PeerIndex: Int] = [:]
    private var countOfGroup: [AddressGroup: Int] = [:]
    package private(set) var recordCount = 0

    package init(ownKey: KademliaKey) { self.ownKey = ownKey }

    package var keyCount: Int { entries.count }

    /// Those heard of last first.
    package func providers(of key: KademliaKey, at now: Instant, countMax: Int) -> [PeerIndex] {
        guard let place = find(key.distance(to: ownKey)).found else { return [] }
        var list: [PeerIndex] = []
        for provider in entries[place].providers.reversed() where provider.expiry > now {
            if list.count >= countMax { break }
            list.append(provider.peer)
        }
        return list
    }

    /// False when there is no place for it.
    package mutating func add(
        _ peer: PeerIndex, group: AddressGroup, for key: KademliaKey, until expiry: Instant, limits: KademliaLimits
    ) -> Bool {
        let distance = key.distance(to: ownKey)
        let provider = Provider(peer: peer, group: group, expiry: expiry)
        if let place = find(distance).found, let known = entries[place].providers.firstIndex(where: { $0.peer == peer })
        {
            count(entries[place].providers.remove(at: known), -1)
            entries[place].providers.append(provider)
            count(provider, 1)
            return true
        }
        guard (countOfPeer[peer] ?? 0) < limits.providerRecordsPerPeerMax,
            group == .none || (countOfGroup[group] ?? 0) < limits.providerRecordsPerGroupMax
        else { return false }
        let (slot, found) = find(distance)
        guard found != nil else { return insert(provider, distance, at: slot, limits) }
        let ofGroup = entries[slot].providers.reduce(0) { $0 + ($1.group == group ? 1 : 0) }
        guard group == .none || ofGroup < limits.providersPerKeyGroupMax else { return false }
        if entries[slot].providers.count >= limits.providersPerKeyMax {
            count(entries[slot].providers.removeFirst(), -1)
        }
        entries[slot].providers.append(provider)
        count(provider, 1)
        return true
    }

    package mutating func remove(_ peer: PeerIndex, for key: KademliaKey) {
        guard let place = find(key.distance(to: ownKey)).found,
            let known = entries[place].providers.firstIndex(where: { $0.peer == peer })
        else { return }
        count(entries[place].providers.remove(at: known), -1)
        if entries[place].providers.isEmpty { entries.remove(at: place) }
    }

    /// Returns when the next record expires.
    package mutating func expire(at now: Instant) -> Instant {
        var next = Instant.distantFuture
        for place in entries.indices {
            let providers = entries[place].providers
            guard providers.contains(where: { $0.expiry <= now }) else {
                for provider in providers { next = min(next, provider.expiry) }
                continue
            }
            entries[place].providers = providers.filter { provider in
                guard provider.expiry > now else {
                    count(provider, -1)
                    return false
                }
                next = min(next, provider.expiry)
                return true
            }
        }
        entries.removeAll { $0.providers.isEmpty }
        return next
    }

    package func forEachPeer(_ body: (PeerIndex) -> Void) {
        for entry in entries {
            for provider in entry.providers { body(provider.peer) }
        }
    }

    private mutating func insert(
        _ provider: Provider, _ distance: KademliaKey, at slot: Int, _ limits: KademliaLimits
    ) -> Bool {
        guard limits.providerKeysMax > 0 else { return false }
        if entries.count >= limits.providerKeysMax {
            guard let last = entries.last, distance < last.distance else { return false }
            for provider in last.providers { count(provider, -1) }
            entries.removeLast()
        }
        entries.insert(Entry(distance: distance, providers: [provider]), at: slot)
        count(provider, 1)
        return true
    }

    private mutating func count(_ provider: Provider, _ change: Int) {
        recordCount += change
        let ofPeer = (countOfPeer[provider.peer] ?? 0) + change
        countOfPeer[provider.peer] = ofPeer > 0 ? ofPeer : nil
        guard provider.group != .none else { return }
        let ofGroup = (countOfGroup[provider.group] ?? 0) + change
        countOfGroup[provider.group] = ofGroup > 0 ? ofGroup : nil
    }

    private func find(_ distance: KademliaKey) -> (slot: Int, found: Int?) {
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].distance < distance { low = middle + 1 } else { high = middle }
        }
        let isFound = low < entries.count && entries[low].distance == distance
        return (low, isFound ? low : nil)
    }
}
