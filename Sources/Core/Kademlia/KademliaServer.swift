// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

/// What this node keeps, for others and of its own, and what it says when asked.
///
/// Nothing is allocated before the first need: most simulated peers never keep anything. Of its own it remembers what
/// is to be sent again, and when; sending is the core's.
package struct KademliaServer: Sendable {
    package struct Publication: Sendable {
        package let target: KademliaTarget
        /// Nil: we provide it.
        package let record: KademliaRecord?
        fileprivate var due: Instant
    }

    private struct Shelf: Sendable {
        var records: RecordStore
        var providers: ProviderStore
        var limiter: RequestLimiter
        var publications: [Publication] = []
        var nextExpiry = Instant.distantFuture
    }

    private let own: PeerIndex
    /// One element at most.
    private var shelf: [Shelf] = []

    package init(own: PeerIndex) { self.own = own }

    package var recordCount: Int { shelf.first?.records.count ?? 0 }
    package var recordByteCount: Int { shelf.first?.records.byteCount ?? 0 }
    package var providerRecordCount: Int { shelf.first?.providers.recordCount ?? 0 }

    // MARK: Requests of others

    /// What is answered; nil when the request is refused: its sender asks too often, or there is no place.
    package mutating func answer(
        _ request: KademliaRequest, by peer: PeerIndex, _ group: AddressGroup, from table: RoutingTable,
        at now: Instant, _ settings: KademliaSettings, _ keys: Keyspace, _ stats: inout KademliaStats
    ) -> KademliaResponse? {
        if settings.configuration.limits.requestInterval > .zero {
            ensureShelf(settings, keys)
            guard shelf[0].limiter.take(peer, at: now) else { return nil }
        }
        var response = KademliaResponse()
        switch request {
        case .ping:
            break
        case .findNode(let target):
            response.closer = closer(to: target, peer, table, settings, keys)
        case .getValue(let target):
            response.closer = closer(to: target, peer, table, settings, keys)
            response.record = record(for: target, at: now)
        case .getProviders(let target):
            response.closer = closer(to: target, peer, table, settings, keys)
            response.providers = providers(
                of: target, at: now, countMax: settings.configuration.limits.peersPerAnswerMax)
        case .putValue(let target, let record):
            guard put(record, for: target, from: peer, group: group, at: now, settings, keys) else {
                stats.recordsRefused &+= 1
                return nil
            }
            response.record = record
        case .addProvider(let target):
            guard provide(target, by: peer, group: group, at: now, settings, keys) else {
                stats.providersRefused &+= 1
                return nil
            }
        }
        return response
    }

    private func closer(
        to target: KademliaTarget, _ asker: PeerIndex, _ table: RoutingTable, _ settings: KademliaSettings,
        _ keys: Keyspace
    ) -> [PeerIndex] {
        let countMax = min(settings.configuration.k, settings.configuration.limits.peersPerAnswerMax)
        var list: [PeerIndex] = []
        list.reserveCapacity(countMax)
        table.appendClosest(to: target.key.word, countMax: countMax, excluding: asker, keys: keys, into: &list)
        return list
    }

    // MARK: Kept

    package func record(for target: KademliaTarget, at now: Instant) -> KademliaRecord? {
        shelf.first?.records.record(for: target, at: now)
    }

    package func providers(of target: KademliaTarget, at now: Instant, countMax: Int) -> [PeerIndex] {
        shelf.first?.providers.providers(of: target.key, at: now, countMax: countMax) ?? []
    }

    /// Of two accepted records the better one is kept. False when `record` isn't, or when there is no place.
    private mutating func put(
        _ record: KademliaRecord, for target: KademliaTarget, from peer: PeerIndex, group: AddressGroup,
        at now: Instant, _ settings: KademliaSettings, _ keys: Keyspace
    ) -> Bool {
        guard KademliaNames.accepts(record.value, under: target, settings.configuration) else { return false }
        ensureShelf(settings, keys)
        if let kept = shelf[0].records.record(for: target, at: now), kept.value != record.value,
            !settings.configuration.validator.prefers(target.name, record.value, kept.value), !target.name.isEmpty
        {
            return false
        }
        let expiry = now + settings.configuration.recordLifetime
        shelf[0].nextExpiry = min(shelf[0].nextExpiry, expiry)
        return shelf[0].records.put(
            record, for: target, from: peer, group: group, until: expiry, limits: settings.configuration.limits)
    }

    private mutating func provide(
        _ target: KademliaTarget, by peer: PeerIndex, group: AddressGroup, at now: Instant,
        _ settings: KademliaSettings, _ keys: Keyspace
    ) -> Bool {
        guard target.name.count <= settings.configuration.limits.nameBytesMax else { return false }
        ensureShelf(settings, keys)
        let expiry = now + settings.configuration.providerLifetime
        shelf[0].nextExpiry = min(shelf[0].nextExpiry, expiry)
        return shelf[0].providers.add(
            peer, group: group, for: target.key, until: expiry, limits: settings.configuration.limits)
    }

    package mutating func expire(at now: Instant) {
        guard let nextExpiry = shelf.first?.nextExpiry, now >= nextExpiry else { return }
        shelf[0].nextExpiry = min(shelf[0].records.expire(at: now), shelf[0].providers.expire(at: now))
    }

    // MARK: Published

    /// Keeps what we provide (`record` is nil) or put, and remembers to send it again. False when there are too many.
    package mutating func publish(
        _ target: KademliaTarget, _ record: KademliaRecord?, at now: Instant, _ settings: KademliaSettings,
        _ keys: Keyspace, _ random: inout SeededGenerator
    ) -> Bool {
        ensureShelf(settings, keys)
        let due = now + KademliaUpkeep.jittered(settings.configuration.republishInterval, &random)
        let publication = Publication(target: target, record: record, due: due)
        let place = shelf[0].publications.firstIndex {
            $0.target.key == target.key && ($0.record == nil) == (record == nil)
        }
        if let place {
            shelf[0].publications[place] = publication
        } else {
            guard shelf[0].publications.count < settings.configuration.limits.publicationsMax else { return false }
            shelf[0].publications.append(publication)
        }
        keep(publication, at: now, settings, keys)
        return true
    }

    package mutating func withdrawProvided(_ target: KademliaTarget) {
        guard !shelf.isEmpty else { return }
        shelf[0].publications.removeAll { $0.record == nil && $0.target.key == target.key }
        shelf[0].providers.remove(own, for: target.key)
    }

    /// One that is to be sent again now.
    package mutating func publicationDue(
        at now: Instant, _ settings: KademliaSettings, _ keys: Keyspace, _ random: inout SeededGenerator
    ) -> Publication? {
        guard let place = shelf.first?.publications.firstIndex(where: { $0.due <= now }) else { return nil }
        shelf[0].publications[place].due =
            now + KademliaUpkeep.jittered(settings.configuration.republishInterval, &random)
        let publication = shelf[0].publications[place]
        keep(publication, at: now, settings, keys)
        return publication
    }

    private mutating func keep(
        _ publication: Publication, at now: Instant, _ settings: KademliaSettings, _ keys: Keyspace
    ) {
        if let record = publication.record {
            _ = put(record, for: publication.target, from: own, group: .none, at: now, settings, keys)
        } else {
            _ = provide(publication.target, by: own, group: .none, at: now, settings, keys)
        }
    }

    package func forEachPeer(_ body: (PeerIndex) -> Void) {
        guard let shelf = shelf.first else { return }
        shelf.records.forEachPeer(body)
        shelf.providers.forEachPeer(body)
    }

    private mutating func ensureShelf(_ settings: KademliaSettings, _ keys: Keyspace) {
        guard shelf.isEmpty else { return }
        let ownKey = keys.key(of: own)
        shelf.append(
            Shelf(
                records: RecordStore(ownKey: ownKey), providers: ProviderStore(ownKey: ownKey),
                limiter: RequestLimiter(limits: settings.configuration.limits)))
    }
}
