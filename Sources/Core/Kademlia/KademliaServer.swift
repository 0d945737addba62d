// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

/// What this node keeps for others and says when asked, the table aside.
package struct KademliaServer: Sendable {
    package var records: RecordStore
    package var providers: ProviderStore
    private var limiter: RequestLimiter
    private var nextExpiry = Instant.distantFuture

    package init(ownKey: KademliaKey, configuration: KademliaConfiguration) {
        records = RecordStore(ownKey: ownKey)
        providers = ProviderStore(ownKey: ownKey)
        limiter = RequestLimiter(limits: configuration.limits)
    }

    package mutating func mayAsk(_ peer: PeerIndex, at now: Instant) -> Bool {
        limiter.take(peer, at: now)
    }

    /// Of two accepted records the better one is kept. False when `record` isn't, or when there is no place.
    package mutating func put(
        _ record: KademliaRecord, for target: KademliaTarget, from peer: PeerIndex, group: AddressGroup,
        at now: Instant, _ configuration: KademliaConfiguration
    ) -> Bool {
        guard KademliaNames.accepts(record.value, under: target, configuration) else { return false }
        if let kept = records.record(for: target, at: now), kept.value != record.value,
            !configuration.validator.prefers(target.name, record.value, kept.value), !target.name.isEmpty
        {
            return false
        }
        let expiry = now + configuration.recordLifetime
        nextExpiry = min(nextExpiry, expiry)
        return records.put(
            record, for: target, from: peer, group: group, until: expiry, limits: configuration.limits)
    }

    package mutating func provide(
        _ target: KademliaTarget, by peer: PeerIndex, group: AddressGroup, at now: Instant,
        _ configuration: KademliaConfiguration
    ) -> Bool {
        guard target.name.count <= configuration.limits.nameBytesMax else { return false }
        let expiry = now + configuration.providerLifetime
        nextExpiry = min(nextExpiry, expiry)
        return providers.add(peer, group: group, for: target.key, until: expiry, limits: configuration.limits)
    }

    package mutating func expire(at now: Instant) {
        guard now >= nextExpiry else { return }
        nextExpiry = min(records.expire(at: now), providers.expire(at: now))
    }

    package func forEachPeer(_ body: (PeerIndex) -> Void) {
        records.forEachPeer(body)
        providers.forEachPeer(body)
    }
}
