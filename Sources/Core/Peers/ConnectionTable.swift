// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity

/// The connections that are up, which of them a peer's new streams use, and which are closed.
///
/// A connection is in use until it is told to close; it stays counted until it is reported closed.
///
/// Which one is preferred, of two to the same peer:
/// - dialled by both sides: the one that the smaller peer id dialled. Both sides choose the same without a word.
/// - dialled by one side twice: the newer, since whoever dials again had a reason.
/// Where a peer has as many as it may and comes with one more, that takes the place of the oldest dialled by the same side
/// that carries no application's stream: whoever dials again has left that one, and our side has yet to see it end.
///
/// One that was made only to see whether it can be made (AutoNAT's dial-back) is preferred to none, may be one more than
/// a peer's limit, and takes no other's place.
///
/// The other is closed when it carried no stream for `surplusConnectionTimeout`; of two that one side dialled, by that
/// side only, since the two sides may not have seen them come up in the same order.
package struct ConnectionTable: Sendable {
    package struct Connection: Sendable {
        package let id: ConnectionID
        package let peer: PeerID
        package let direction: Direction
        package let remote: Multiaddr
        package let isDialBack: Bool
        package let openedAt: Instant
        /// Streams of other owners, and PeersCore's own.
        package fileprivate(set) var streamsInUse = 0
        package fileprivate(set) var ownStreams = 0
        package fileprivate(set) var lastUsed: Instant
        package fileprivate(set) var isClosing = false
        package fileprivate(set) var roundTrip: Duration?

        package var isFree: Bool { streamsInUse == 0 && ownStreams == 0 }
        fileprivate var isOutside: Bool { direction == .outbound && !isDialBack && remote.kind.scope == .global }
    }

    package struct OnAdded: Hashable, Sendable {
        package var isFirst = false
        package var preferredChanged = false
        /// The peer has enough connections: close this one.
        package var isRefused = false
    }

    package enum OnRetired: Hashable, Sendable {
        /// Not known, or no longer in use.
        case unknown
        /// The peer has another one.
        case another(preferredChanged: Bool)
        /// The peer has none that is in use.
        case last
    }

    private struct Peer: Sendable {
        /// In use, in the order in which they came up.
        var connections: [ConnectionID] = []
        var preferred: ConnectionID
    }

    private let limits: NodeLimits
    private let ownID: PeerID
    private var connections: [ConnectionID: Connection] = [:]
    private var peers: [PeerID: Peer] = [:]
    private var protected: Set<PeerID> = []
    /// Surplus connections that are free of streams.
    private var surplus = TimerQueue<ConnectionID>()
    private var trimAt: Instant?

    package init(limits: NodeLimits, ownID: PeerID) {
        self.limits = limits
        self.ownID = ownID
    }

    package var count: Int { connections.count }
    package var peerCount: Int { peers.count }
    /// Of the connections in use; those told to close come before they are reported closed.
    package private(set) var inUseCount = 0
    private var inboundInUseCount = 0
    /// Of the connections in use, those that we dialled across the internet.
    package private(set) var outsideCount = 0
    package var connectedPeers: [PeerID] { peers.keys.sorted() }
    package var nextTimeout: Instant? {
        guard let trimAt else { return surplus.next }
        return min(trimAt, surplus.next ?? trimAt)
    }

    package subscript(_ id: ConnectionID) -> Connection? { connections[id] }
    package func preferred(_ peer: PeerID) -> ConnectionID? { peers[peer]?.preferred }
    package func connections(of peer: PeerID) -> [ConnectionID] { peers[peer]?.connections ?? [] }
    package var preferredConnections: [ConnectionID] { peers.values.map(\.preferred).sorted() }

    // MARK: Inputs

    package mutating func add(
        _ id: ConnectionID, peer: PeerID, direction: Direction, remote: Multiaddr, isDialBack: Bool = false,
        at now: Instant
    ) -> OnAdded {
        var connection = Connection(
            id: id, peer: peer, direction: direction, remote: remote, isDialBack: isDialBack, openedAt: now,
            lastUsed: now)
        var entry = peers[peer] ?? Peer(preferred: id)
        if entry.connections.count >= limits.connectionsPerPeerMax + (isDialBack ? 1 : 0) {
            connection.isClosing = true
            connections[id] = connection
            return OnAdded(isRefused: true)
        }
        connections[id] = connection
        inUseCount += 1
        if direction == .inbound { inboundInUseCount += 1 }
        if connection.isOutside { outsideCount += 1 }
        entry.connections.append(id)
        let before = entry.preferred
        let isFirst = entry.connections.count == 1
        entry.preferred = choose(entry.connections)
        peers[peer] = entry
        watchSurplus(of: peer, at: now)
        return OnAdded(isFirst: isFirst, preferredChanged: !isFirst && entry.preferred != before)
    }

    /// At the limit: the connection that a new one takes the place of, to be retired before that is added. Nil: none.
    package func replaced(by direction: Direction, to peer: PeerID) -> ConnectionID? {
        guard let entry = peers[peer], entry.connections.count >= limits.connectionsPerPeerMax else { return nil }
        return entry.connections.first { id in
            guard let connection = connections[id] else { return false }
            return connection.direction == direction && connection.streamsInUse == 0
        }
    }

    /// It is gone.
    package mutating func closed(_ id: ConnectionID, at now: Instant) -> OnRetired {
        let result = retire(id, at: now)
        connections[id] = nil
        return result
    }

    /// No longer in use; the caller closes it.
    package mutating func retire(_ id: ConnectionID, at now: Instant) -> OnRetired {
        guard let connection = connections[id], !connection.isClosing else { return .unknown }
        connections[id]?.isClosing = true
        inUseCount -= 1
        if connection.direction == .inbound { inboundInUseCount -= 1 }
        if connection.isOutside { outsideCount -= 1 }
        surplus.cancel(id)
        guard var entry = peers[connection.peer] else { return .unknown }
        entry.connections.removeAll { $0 == id }
        guard !entry.connections.isEmpty else {
            peers[connection.peer] = nil
            return .last
        }
        let before = entry.preferred
        entry.preferred = choose(entry.connections)
        peers[connection.peer] = entry
        watchSurplus(of: connection.peer, at: now)
        return .another(preferredChanged: entry.preferred != before)
    }

    package mutating func setStreamsInUse(_ count: Int, on id: ConnectionID, at now: Instant) {
        guard let connection = connections[id], connection.streamsInUse != count else { return }
        connections[id]?.streamsInUse = max(0, count)
        streamsChanged(id, from: connection, at: now)
    }

    package mutating func setOwnStreams(_ count: Int, on id: ConnectionID, at now: Instant) {
        guard let connection = connections[id], connection.ownStreams != count else { return }
        connections[id]?.ownStreams = max(0, count)
        streamsChanged(id, from: connection, at: now)
    }

    package mutating func setRoundTrip(_ duration: Duration, on id: ConnectionID) {
        connections[id]?.roundTrip = duration
    }

    package mutating func setProtected(_ peer: PeerID, _ isProtected: Bool) {
        if isProtected {
            protected.insert(peer)
        } else {
            protected.remove(peer)
        }
    }

    /// Surplus connections that have been free of streams long enough. The caller retires them.
    package mutating func popSurplus(at now: Instant) -> ConnectionID? {
        surplus.popExpired(at: now)
    }

    /// Above a high water: which connections to close, least valuable first. The caller retires them.
    ///
    /// Closed are only those free of streams, of unprotected peers, older than the grace period. Those that were dialled
    /// to us go before those that we dialled, then the longest unused.
    package mutating func trim(at now: Instant) -> [ConnectionID] {
        trimAt = nil
        guard isAboveHighWater(inUseCount, inboundInUseCount) else { return [] }
        let graceEnds = now + (.zero - limits.connectionGracePeriod)
        let closable = connections.values.filter { connection in
            !connection.isClosing && connection.isFree && !protected.contains(connection.peer)
                && connection.openedAt <= graceEnds
        }
        let inboundCount = closable.count { $0.direction == .inbound }
        let isFull = inUseCount > limits.connectionsHighWater
        let isInboundFull = inboundInUseCount > limits.inboundHighWater
        let surplus = max(
            isFull ? inUseCount - limits.connectionsLowWater : 0,
            isInboundFull ? min(inboundCount, inboundInUseCount - limits.inboundLowWater) : 0)
        // Inbound ones come first, so that theirs is a prefix as well.
        let victims = closable.sorted { ConnectionTable.value($0) < ConnectionTable.value($1) }.prefix(surplus).map(
            \.id)
        if isAboveHighWater(inUseCount - victims.count, inboundInUseCount - min(inboundCount, victims.count)) {
            // Not before another one can have outgrown its grace period; looking is not free.
            trimAt = now + limits.connectionGracePeriod
        }
        return victims
    }

    package func isTrimDue(at now: Instant) -> Bool { trimAt.map { $0 <= now } ?? false }

    /// Whether `trim` should be called because of a new connection.
    package var wantsTrim: Bool { trimAt == nil && isAboveHighWater(inUseCount, inboundInUseCount) }

    // MARK: Private parts

    private func isAboveHighWater(_ count: Int, _ inboundCount: Int) -> Bool {
        count > limits.connectionsHighWater || inboundCount > limits.inboundHighWater
    }

    private static func value(_ connection: Connection) -> (Int, Instant, ConnectionID) {
        (connection.direction == .inbound ? 0 : 1, connection.lastUsed, connection.id)
    }

    private func choose(_ candidates: [ConnectionID]) -> ConnectionID {
        let all = candidates.compactMap { connections[$0] }
        let lasting = all.filter { !$0.isDialBack }
        let known = lasting.isEmpty ? all : lasting
        guard let newest = known.last else { preconditionFailure("a peer in the table has a connection in use") }
        let dialledBySmaller: Direction = ownID < newest.peer ? .outbound : .inbound
        return (known.last { $0.direction == dialledBySmaller } ?? newest).id
    }

    private mutating func streamsChanged(_ id: ConnectionID, from before: Connection, at now: Instant) {
        connections[id]?.lastUsed = now
        guard let connection = connections[id], connection.isFree != before.isFree else { return }
        watchSurplus(of: connection.peer, at: now)
    }

    /// Sets and clears the timers of the connections that aren't preferred.
    private mutating func watchSurplus(of peer: PeerID, at now: Instant) {
        guard let entry = peers[peer] else { return }
        let preferred = connections[entry.preferred]
        for id in entry.connections {
            guard let connection = connections[id] else { continue }
            let isOurs =
                connection.direction == .outbound || preferred?.direction == .outbound || connection.isDialBack
            let isSurplus = id != entry.preferred && connection.isFree && isOurs
            if !isSurplus {
                surplus.cancel(id)
            } else if !surplus.isSet(id) {
                surplus.set(id, at: now + limits.surplusConnectionTimeout)
            }
        }
    }
}
