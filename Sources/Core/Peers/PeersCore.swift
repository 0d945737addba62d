// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
import TuttiConnection
package import TuttiIdentity

/// Every decision about connections: what is dialled, what is admitted, which of several connections is used, what is
/// closed, and what the peers and we tell each other by identify.
///
/// Not here: bytes of connections (`ConnectionCore`), the rates of streams within one connection (there too), sockets and
/// names (Transport). ping is answered by Transport, at the socket.
///
/// Follows libp2p specs identify/README.md, RFC 8305 for dials, docs/protocols/dialing.md and identify.md.
///
/// Invariants, after each call:
/// - each `.dialRequested` has had, or will have by its deadline, exactly one answer;
/// - connections that count (in use, closing, admitted, dials under way) are at most `connectionsMax` when anything is
///   admitted or begun;
/// - a peer has at most `connectionsPerPeerMax` connections in use, and exactly one of them is preferred;
/// - effects name only connections and streams that were reported and not yet reported closed.
package struct PeersCore: Sendable {
    /// Protocols that this node always speaks. Streams of pushes come here: whole messages, see `PeersInput.message`.
    /// Who asks by identify is answered at the socket, with the last `.announce`.
    package static let protocols: [ProtocolID] = [IdentifyMessage.protocolID, IdentifyMessage.pushProtocolID]
    /// The stream of identify that each connection opens as soon as it is up, as if asked for under this number.
    package static let query = RequestID(1 << 63)
    /// The largest message of each of them.
    package static let messageBytesMax = 8 * 1_024

    private let configuration: PeersConfiguration
    package var ownID: PeerID { configuration.identity.peerID }
    private var limits: NodeLimits { configuration.limits }

    private var dials: DialTable
    private var gate: AdmissionGate
    private var table: ConnectionTable
    private var identify: IdentifyCore
    private var outbox = PeersOutbox()
    /// Refusals are reported at most so often; all are counted.
    private var refusalEvents: TokenBucket
    package private(set) var store: PeerStore
    package private(set) var reachability = ReachabilityTable()
    /// Peers that were asked to dial back.
    private var dialBacksAwaited: Set<PeerID> = []
    package private(set) var listenAddresses: [Multiaddr] = []

    package init(configuration: PeersConfiguration, at now: Instant) {
        precondition(!configuration.securities.isEmpty, "a node needs a security protocol")
        self.configuration = configuration
        dials = DialTable(configuration: configuration)
        gate = AdmissionGate(limits: configuration.limits)
        table = ConnectionTable(limits: configuration.limits, ownID: configuration.identity.peerID)
        identify = IdentifyCore(configuration: configuration)
        store = PeerStore(limits: configuration.limits)
        refusalEvents = TokenBucket(interval: .milliseconds(100), burst: 10, at: now)
        identify.protocolsChanged([], at: now, &outbox)
    }

    // MARK: Reading

    package var stats: PeersStats { outbox.stats }
    package var connectionCount: Int { table.count }
    package var inboundCount: Int { gate.inboundCount }
    package var unauthenticatedCount: Int { gate.unauthenticatedCount }
    package var activeDialCount: Int { dials.activeCount }
    package var queuedDialCount: Int { dials.queuedCount }
    package var pendingRequestCount: Int { dials.requestCount }
    /// In order.
    package var connectedPeers: [PeerID] { table.connectedPeers }
    /// The connection that new streams to the peer use.
    package func connection(to peer: PeerID) -> ConnectionID? { table.preferred(peer) }
    package func connections(to peer: PeerID) -> [ConnectionID] { table.connections(of: peer) }
    package func peer(on id: ConnectionID) -> PeerID? { table[id]?.peer }
    package func remote(of id: ConnectionID) -> Multiaddr? { table[id]?.remote }
    /// Whether we dialled anybody outside this machine and site.
    package var isOutside: Bool { table.outsideCount > 0 }
    package func direction(of id: ConnectionID) -> Direction? { table[id]?.direction }
    /// What others are told of where we are.
    package var announcedAddresses: [Multiaddr] { identify.announcedAddresses }
    package func profile(of peer: PeerID) -> PeerProfile? {
        for id in table.connections(of: peer).reversed() {
            if let profile = identify.profile(on: id) { return profile }
        }
        return nil
    }

    // MARK: Inputs

    package mutating func handle(_ input: PeersInput, at now: Instant) {
        updateRoom()
        switch input {
        case .listening(let addresses):
            listening(addresses, at: now)
        case .protocolsChanged(let names):
            identify.protocolsChanged(names, at: now, &outbox)
        case .dialRequested(let id, let peer, let addresses, let deadline):
            dialRequested(id, peer: peer, addresses, deadline: deadline, at: now)
        case .dialCancelled(let id):
            dials.cancel(id, at: now, &outbox)
        case .resolved(let id, let addresses):
            dials.resolved(id, addresses, at: now, &outbox)
        case .accepted(let id, let remote):
            accepted(id, remote: remote, at: now)
        case .established(let id, let establishment, let direction, let remote):
            established(id, establishment, direction, remote: remote, at: now)
        case .told(let id, let version):
            identify.told(id, version: version)
        case .dialFailed(let id, let reason):
            if let wrong = dials.failed(id, reason, at: now, &outbox) {
                store.forget(wrong.address, of: wrong.expected)
            }
        case .closed(let id, let reason):
            closed(id, reason, at: now)
        case .streamsInUse(let id, let count):
            table.setStreamsInUse(count, on: id, at: now)
        case .roundTripMeasured(let id, let duration):
            table.setRoundTrip(duration, on: id)
        case .disconnectRequested(let peer):
            for id in table.connections(of: peer) { close(id, at: now) }
        case .processorUsed(let id, let percent):
            gate.processorUsed(id, percent: percent, at: now)
        case .protectionChanged(let peer, let isProtected):
            table.setProtected(peer, isProtected)
        case .addressesFound(let peer, let addresses):
            store.add(addresses.map(\.withoutPeerID).filter { $0.kind != .unusable }, to: peer)
        case .remembered(let peer):
            if peer.id != ownID { store.restore(peer) }
        case .streamOpened, .message, .streamEnded, .streamFailed, .openFailed:
            handleStream(input, at: now)
        case .dialBackRequested, .dialBackAwaited, .addressJudged, .closeRequested:
            handleDialBack(input, at: now)
        }
    }

    private mutating func handleDialBack(_ input: PeersInput, at now: Instant) {
        switch input {
        case .dialBackRequested(let id, let peer, let address, let deadline):
            outbox.stats.dialsRequested += 1
            guard peer != ownID else { return outbox.reject(id, .ourselves) }
            dials.request(
                id, peer: peer, addresses: [address], lastGood: nil, securities: securities(for: peer),
                deadline: deadline, isDialBack: true, at: now, &outbox)
        case .dialBackAwaited(let peer, true): dialBacksAwaited.insert(peer)
        case .dialBackAwaited(let peer, false): dialBacksAwaited.remove(peer)
        case .addressJudged(let address, let judge, let isReachable):
            reachability.judged(address, by: judge, isReachable: isReachable)
            announce(at: now)
        case .closeRequested(let id):
            close(id, at: now)
        default:
            assertionFailure("only inputs of dial-backs come here")
        }
    }

    /// Where we listen, and where others found us all the same.
    private mutating func announce(at now: Instant) {
        let others = reachability.announceable.filter { !listenAddresses.contains($0) }
        identify.listening(listenAddresses + others, at: now, &outbox)
    }

    private mutating func handleStream(_ input: PeersInput, at now: Instant) {
        switch input {
        case .streamOpened(let id, let stream, let name, let direction, let request):
            identify.streamOpened(id, stream, name, direction, request: request, at: now, &outbox)
            countOwnStreams(id, at: now)
        case .message(let id, let stream, let bytes):
            identify.message(id, stream, bytes, &outbox)
            countOwnStreams(id, at: now)
        case .streamEnded(let id, let stream):
            identified(id, stream, at: now)
            countOwnStreams(id, at: now)
        case .streamFailed(let id, let stream, _):
            identify.streamFailed(id, stream, &outbox)
            countOwnStreams(id, at: now)
        case .openFailed(let id, let request):
            identify.openFailed(id, request: request, &outbox)
            countOwnStreams(id, at: now)
        default:
            assertionFailure("only inputs of streams come here")
        }
    }

    package mutating func handleTimeout(at now: Instant) {
        updateRoom()
        dials.handleTimeout(at: now, &outbox)
        gate.handleTimeout(at: now)
        while let id = table.popSurplus(at: now) {
            outbox.stats.connectionsSurplus += 1
            close(id, at: now)
        }
        if table.isTrimDue(at: now) { trim(at: now) }
        var touched: [ConnectionID] = []
        identify.handleTimeout(at: now, table, touched: &touched, &outbox)
        for id in touched { countOwnStreams(id, at: now) }
    }

    /// When to call `handleTimeout` next, if nothing happens before.
    package var nextTimeout: Instant? {
        // One after the other: this is asked in every turn, and a list of them would be allocated.
        var earliest = dials.nextTimeout
        if let next = gate.nextTimeout { earliest = min(earliest ?? next, next) }
        if let next = table.nextTimeout { earliest = min(earliest ?? next, next) }
        if let next = identify.nextTimeout { earliest = min(earliest ?? next, next) }
        return earliest
    }

    package mutating func nextEffect() -> PeersEffect? {
        outbox.effects.popFirst()
    }

    // MARK: Dials

    private mutating func dialRequested(
        _ id: RequestID, peer: PeerID?, _ addresses: [Multiaddr], deadline: Instant, at now: Instant
    ) {
        outbox.stats.dialsRequested += 1
        let wanted = peer ?? PeersCore.commonPeer(addresses)
        guard let wanted else {
            return dials.request(
                id, peer: nil, addresses: addresses, lastGood: nil, securities: configuration.securities,
                deadline: deadline, at: now, &outbox)
        }
        guard wanted != ownID else { return outbox.reject(id, .ourselves) }
        if let connection = table.preferred(wanted) { return outbox.answer(id, with: connection, to: wanted) }
        dials.request(
            id, peer: wanted, addresses: addresses + store.addresses(of: wanted), lastGood: store.lastGood(of: wanted),
            securities: securities(for: wanted), deadline: deadline, at: now, &outbox)
    }

    /// What worked with the peer goes first.
    private func securities(for peer: PeerID) -> [ProtocolID] {
        var securities = configuration.securities
        if let worked = store.security(of: peer), let position = securities.firstIndex(of: worked) {
            securities.remove(at: position)
            securities.insert(worked, at: 0)
        }
        return securities
    }

    /// The peer that all addresses name.
    private static func commonPeer(_ addresses: [Multiaddr]) -> PeerID? {
        guard let first = addresses.first?.peerID else { return nil }
        return addresses.allSatisfy { $0.peerID == first } ? first : nil
    }

    private mutating func listening(_ addresses: [Multiaddr], at now: Instant) {
        guard addresses != listenAddresses else { return }
        listenAddresses = addresses
        dials.localBlocks = []
        for address in addresses {
            if case .local(let block) = address.withoutPeerID.kind.scope { dials.localBlocks.insert(block) }
        }
        // What was found out holds for other addresses.
        reachability = ReachabilityTable()
        announce(at: now)
        outbox.append(.emit(.listening(addresses)))
    }

    // MARK: Connections

    /// Dials under way hold a place each; `DialTable` subtracts its own.
    private mutating func updateRoom() {
        dials.connectionRoom = limits.connectionsMax - table.count - gate.unauthenticatedCount
    }

    private mutating func accepted(_ id: ConnectionID, remote: Multiaddr, at now: Instant) {
        let room = dials.connectionRoom - dials.activeCount
        let refusal: AdmissionGate.Refusal? =
            configuration.gate(.inbound, remote, nil)
            ? gate.accept(id, remote: remote, connectionRoom: room, at: now)
            : AdmissionGate.Refusal(reason: "refused by the gate", isOfSource: false)
        guard let refusal else {
            outbox.stats.inboundAdmitted += 1
            return outbox.append(.admit(id))
        }
        outbox.stats.inboundRefused += 1
        outbox.append(.refuse(id, sourceUntil: refusal.isOfSource ? now + limits.refusalPause : now))
        guard refusalEvents.take(at: now) else { return }
        outbox.append(.emit(.inboundRefused(remote: remote, reason: refusal.reason)))
    }

    private mutating func established(
        _ id: ConnectionID, _ establishment: Establishment, _ direction: Direction, remote: Multiaddr, at now: Instant
    ) {
        let peer = establishment.peer
        switch direction {
        case .inbound:
            guard gate.isUnauthenticated(id) else {
                outbox.stats.lateInputs += 1
                return
            }
            // A refused one stays counted as unauthenticated until it is closed.
            guard peer != ownID, configuration.gate(.inbound, remote, peer) else { return outbox.append(.close(id)) }
            gate.authenticated(id)
            let isDialBack = dialBacksAwaited.contains(peer) && table.preferred(peer) != nil
            add(id, establishment, direction, remote: remote, isDialBack: isDialBack, at: now)
            updateRoom()
            let waiters = dials.connected(peer, at: now, &outbox)
            answer(waiters, peer)
        case .outbound:
            switch dials.established(id, peer: peer, at: now, &outbox) {
            case .unwanted:
                outbox.append(.close(id))
            case .won(let waiters, _, _, isDialBack: true):
                add(id, establishment, direction, remote: remote, isDialBack: true, at: now)
                for waiter in waiters { answer(waiter, with: table[id]?.isClosing == false ? id : nil, peer) }
            case .won(let waiters, let address, let security, isDialBack: false):
                store.succeeded(peer, at: address, with: security)
                add(id, establishment, direction, remote: remote, at: now)
                // Another dial, one that named nobody, may have led to a peer that is waited for as well.
                let others = dials.connected(peer, at: now, &outbox)
                answer(waiters + others, peer)
            }
        }
    }

    private mutating func add(
        _ id: ConnectionID, _ establishment: Establishment, _ direction: Direction, remote: Multiaddr,
        isDialBack: Bool = false, at now: Instant
    ) {
        let peer = establishment.peer
        outbox.stats.connectionsEstablished += 1
        if !isDialBack, let replaced = table.replaced(by: direction, to: peer) {
            outbox.stats.connectionsSurplus += 1
            close(replaced, at: now)
        }
        let added = table.add(
            id, peer: peer, direction: direction, remote: remote, isDialBack: isDialBack, at: now)
        if added.isRefused {
            outbox.stats.connectionsSurplus += 1
            return outbox.append(.close(id))
        }
        if added.isFirst {
            store.connected(peer)
            outbox.append(.emit(.peerConnected(peer, id)))
        }
        if added.preferredChanged { outbox.append(.emit(.connectionPreferred(peer, id))) }
        identify.established(id, establishment, remote: remote, at: now)
        countOwnStreams(id, at: now)
        if table.wantsTrim { trim(at: now) }
    }

    private mutating func answer(_ waiters: [RequestID], _ peer: PeerID) {
        for waiter in waiters { answer(waiter, with: table.preferred(peer), peer) }
    }

    private mutating func answer(_ waiter: RequestID, with connection: ConnectionID?, _ peer: PeerID) {
        if let connection {
            outbox.answer(waiter, with: connection, to: peer)
        } else {
            outbox.reject(waiter, .limit)
        }
    }

    private mutating func closed(_ id: ConnectionID, _ reason: CloseReason, at now: Instant) {
        if case .violation = reason { gate.violated(id, at: now) }
        let wasInbound = gate.closed(id)
        guard let connection = table[id] else {
            // An inbound one that never got through its handshake, a refused one, or a dial that was given up.
            if !wasInbound, PeersCore.isOurs(id), let wrong = dials.failed(id, reason, at: now, &outbox) {
                store.forget(wrong.address, of: wrong.expected)
            }
            return
        }
        outbox.stats.connectionsClosed += 1
        identify.closed(id)
        retired(connection.peer, table.closed(id, at: now), reason)
        updateRoom()
        dials.roomChanged(at: now, &outbox)
    }

    /// Ids of our dials are odd.
    private static func isOurs(_ id: ConnectionID) -> Bool { id.value & 1 == 1 }

    private mutating func close(_ id: ConnectionID, at now: Instant) {
        guard let connection = table[id], !connection.isClosing else { return }
        identify.closed(id)
        outbox.append(.close(id))
        retired(connection.peer, table.retire(id, at: now), .local)
    }

    private mutating func retired(_ peer: PeerID, _ result: ConnectionTable.OnRetired, _ reason: CloseReason) {
        switch result {
        case .unknown, .another(preferredChanged: false):
            break
        case .another(preferredChanged: true):
            if let preferred = table.preferred(peer) { outbox.append(.emit(.connectionPreferred(peer, preferred))) }
        case .last:
            store.disconnected(peer)
            outbox.append(.emit(.peerDisconnected(peer, reason)))
        }
    }

    private mutating func trim(at now: Instant) {
        for id in table.trim(at: now) {
            outbox.stats.connectionsTrimmed += 1
            close(id, at: now)
        }
    }

    // MARK: Identify

    private mutating func identified(_ id: ConnectionID, _ stream: StreamID, at now: Instant) {
        guard let connection = table[id] else { return }
        let peer = connection.peer
        let known = store.record(of: peer).map {
            IdentifyCore.KnownRecord(envelope: $0, addresses: store.certifiedAddresses(of: peer))
        }
        switch identify.streamEnded(id, stream, known: known, at: now, &outbox) {
        case .nothing:
            break
        case .identified(let profile, let record):
            if let record {
                store.certify(record.record, addresses: record.addresses, envelope: record.envelope)
            } else {
                store.add(profile.listenAddresses, to: peer)
            }
            if connection.direction == .inbound, let observed = profile.observedAddress {
                reachability.observed(observed, by: connection.remote)
            }
            // It said the same on the connection that lasts.
            if connection.isDialBack, table.preferred(peer) != id { return }
            outbox.append(.emit(.peerIdentified(peer, profile)))
        }
    }

    private mutating func countOwnStreams(_ id: ConnectionID, at now: Instant) {
        table.setOwnStreams(identify.streamCount(on: id), on: id, at: now)
    }
}
