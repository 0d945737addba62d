// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiConnection
package import TuttiIdentity

package import struct NIOCore.ByteBuffer

/// identify 1.0 and push 1.0 over all connections: asks each peer once, says what to answer those that ask, pushes what
/// changed.
///
/// Follows libp2p specs, identify/README.md. Streams, each with a deadline, by what they do:
///
///     query   opened by each connection by itself, and ended by it when the peer ends
///                             opening -> merging messages -> the peer's end -> checked
///     push    opened by us    opening -> one message sent, closed -> the peer's end
///     pushed  opened by them  merging messages -> the peer's end -> checked, closed
///
/// The peer's fault, each resets the stream and is counted, the connection stays: a message that breaks the format or a
/// limit, a public key other than the connection's, a record signed by another or for another, streams opened faster
/// than the rate or more of them than the limit. Legal and late: anything for a stream that is no longer known.
///
/// What a peer says of itself is used only where it is credible: see `AddressScope.isCredible`.
package struct IdentifyCore: Sendable {
    package enum OnEnded: Sendable {
        case nothing
        /// The peer told, and it checks out.
        case identified(PeerProfile, record: CheckedRecord?)
    }

    /// A record whose signature holds, and those of its addresses that are credible.
    package struct CheckedRecord: Sendable {
        package let record: PeerRecord
        package let addresses: [Multiaddr]
        package let envelope: [UInt8]
    }

    package struct KnownRecord: Sendable {
        package let envelope: [UInt8]
        package let addresses: [Multiaddr]

        package init(envelope: [UInt8], addresses: [Multiaddr]) {
            self.envelope = envelope
            self.addresses = addresses
        }
    }

    private enum Role: Hashable, Sendable {
        case query, push, pushed
    }

    private struct Stream: Sendable {
        let role: Role
        var merged: IdentifyMessage?
        var messageCount = 0
    }

    private struct Session: Sendable {
        let establishment: Establishment
        let remote: Multiaddr
        var streams: [StreamID: Stream] = [:]
        /// Streams asked for and not yet open.
        var opening: [RequestID: Role] = [:]
        var inboundRate: TokenBucket
        var profile: PeerProfile?
        /// The version of ourselves that the peer knows, or will when it asks.
        var toldVersion: UInt64 = 0
    }

    private enum TimerKey: Hashable, Sendable {
        case stream(ConnectionID, StreamID)
        case opening(ConnectionID, RequestID)
        case push
    }

    private let configuration: PeersConfiguration
    private var limits: NodeLimits { configuration.limits }
    private var sessions: [ConnectionID: Session] = [:]
    private var timers = TimerQueue<TimerKey>()
    /// Embedders' requests count from below; these never meet them.
    private var nextRequest = PeersCore.query.value + 1
    /// Grows with each change of what we say of ourselves.
    private var version: UInt64 = 1
    private var listenAddresses: [Multiaddr] = []
    package var announcedAddresses: [Multiaddr] { listenAddresses }
    private var protocols: [ProtocolID] = []
    private var signedRecord: [UInt8] = []
    private var statement = IdentifyStatement(version: 0, IdentifyMessage())
    private var recordSequence: UInt64
    private var lastPushRound: Instant?
    private var pushPause = Duration.zero
    /// What the round under way has still to look at, last one first, and the version that it began with.
    private var pushQueue: [ConnectionID] = []
    private var roundVersion: UInt64 = 1
    /// Protocol names as first seen, so that a thousand peers share one copy of each.
    private var names: [String: ProtocolID] = [:]

    package init(configuration: PeersConfiguration) {
        self.configuration = configuration
        recordSequence = configuration.recordSequence
    }

    package var nextTimeout: Instant? { timers.next }
    package var sessionCount: Int { sessions.count }
    package func profile(on id: ConnectionID) -> PeerProfile? { sessions[id]?.profile }

    /// Streams of ours that the connection carries, those asked for included.
    package func streamCount(on id: ConnectionID) -> Int {
        guard let session = sessions[id] else { return 0 }
        return session.streams.count + session.opening.count
    }

    // MARK: What we say

    package mutating func listening(_ addresses: [Multiaddr], at now: Instant, _ outbox: inout PeersOutbox) {
        let announced = Array(addresses.map(\.withoutPeerID).prefix(limits.addressesPerPeerMax))
        guard announced != listenAddresses else { return }
        listenAddresses = announced
        signedRecord = []
        changed(at: now, &outbox)
    }

    package mutating func protocolsChanged(
        _ names: [ProtocolID], at now: Instant, _ outbox: inout PeersOutbox
    ) {
        let announced = Array(Set(names + PeersCore.protocols).sorted().prefix(limits.protocolsPerPeerMax))
        guard announced != protocols else { return }
        protocols = announced
        changed(at: now, &outbox)
    }

    // MARK: Connections and streams

    package mutating func established(
        _ id: ConnectionID, _ establishment: Establishment, remote: Multiaddr, at now: Instant
    ) {
        let rate = TokenBucket(interval: limits.identifyInterval, burst: limits.identifyBurst, at: now)
        sessions[id] = Session(establishment: establishment, remote: remote, inboundRate: rate)
        expect(PeersCore.query, .query, on: id, at: now)
    }

    package mutating func told(_ id: ConnectionID, version: UInt64) {
        sessions[id]?.toldVersion = version
    }

    package mutating func closed(_ id: ConnectionID) {
        guard let session = sessions.removeValue(forKey: id) else { return }
        for request in session.opening.keys { timers.cancel(.opening(id, request)) }
        for stream in session.streams.keys { timers.cancel(.stream(id, stream)) }
    }

    package mutating func streamOpened(
        _ id: ConnectionID, _ stream: StreamID, _ name: ProtocolID, _ direction: Direction, request: RequestID?,
        at now: Instant, _ outbox: inout PeersOutbox
    ) {
        guard let session = sessions[id], session.streams[stream] == nil else {
            outbox.stats.lateInputs += 1
            if sessions[id] == nil { return }
            return outbox.append(.resetStream(id, stream))
        }
        switch direction {
        case .outbound: openedByUs(id, stream, request: request, at: now, &outbox)
        case .inbound: openedByPeer(id, stream, name, at: now, &outbox)
        }
    }

    package mutating func openFailed(_ id: ConnectionID, request: RequestID, _ outbox: inout PeersOutbox) {
        guard let role = sessions[id]?.opening.removeValue(forKey: request) else { return }
        timers.cancel(.opening(id, request))
        if role == .query { outbox.stats.identifyFailed += 1 }
    }

    package mutating func message(
        _ id: ConnectionID, _ stream: StreamID, _ bytes: ByteBuffer, _ outbox: inout PeersOutbox
    ) {
        guard let known = sessions[id]?.streams[stream] else {
            outbox.stats.lateInputs += 1
            return
        }
        switch known.role {
        case .push:
            // Nothing may be said to us here.
            violated(id, stream, &outbox)
        case .query, .pushed:
            guard known.messageCount < limits.identifyMessagesMax else { return violated(id, stream, &outbox) }
            let part: IdentifyMessage
            do throws(DecodeError) {
                part = try IdentifyMessage(bytes, limits: limits)
            } catch {
                return violated(id, stream, &outbox)
            }
            var changed = known
            changed.messageCount += 1
            if changed.merged == nil {
                changed.merged = part
            } else {
                changed.merged?.merge(part, limits: limits)
            }
            sessions[id]?.streams[stream] = changed
        }
    }

    /// - Parameter known: the record of this peer that was checked before, if any; it needn't be checked again.
    package mutating func streamEnded(
        _ id: ConnectionID, _ stream: StreamID, known record: KnownRecord?, at now: Instant,
        _ outbox: inout PeersOutbox
    ) -> OnEnded {
        guard let known = sessions[id]?.streams[stream] else { return .nothing }
        switch known.role {
        case .push:
            forget(id, stream)
            return .nothing
        case .query, .pushed:
            guard let merged = known.merged, let session = sessions[id] else {
                forget(id, stream)
                finish(known.role, id, stream, &outbox)
                if known.role == .query { outbox.stats.identifyFailed += 1 }
                return .nothing
            }
            guard let result = check(merged, session, isPush: known.role == .pushed, known: record) else {
                violated(id, stream, &outbox)
                return .nothing
            }
            forget(id, stream)
            finish(known.role, id, stream, &outbox)
            if known.role == .query {
                outbox.stats.identifyReceived += 1
            } else {
                outbox.stats.pushesReceived += 1
            }
            sessions[id]?.profile = result.profile
            // Something changed after the connection came up and before we knew whether the peer takes pushes.
            if session.toldVersion != 0, session.toldVersion < version { schedulePush(at: now) }
            return .identified(result.profile, record: result.record)
        }
    }

    package mutating func streamFailed(_ id: ConnectionID, _ stream: StreamID, _ outbox: inout PeersOutbox) {
        guard let known = sessions[id]?.streams[stream] else { return }
        forget(id, stream)
        if known.role == .query { outbox.stats.identifyFailed += 1 }
    }

    /// Connections whose count of streams may have changed are added to `touched`.
    package mutating func handleTimeout(
        at now: Instant, _ table: ConnectionTable, touched: inout [ConnectionID], _ outbox: inout PeersOutbox
    ) {
        while let key = timers.popExpired(at: now) {
            switch key {
            case .stream(let id, let stream):
                guard let role = sessions[id]?.streams[stream]?.role else { continue }
                forget(id, stream)
                if role == .query { outbox.stats.identifyFailed += 1 }
                outbox.append(.resetStream(id, stream))
                touched.append(id)
            case .opening(let id, let request):
                openFailed(id, request: request, &outbox)
                touched.append(id)
            case .push:
                push(table, touched: &touched, at: now, &outbox)
            }
        }
    }

    // MARK: Private parts: our streams

    private mutating func openPush(on id: ConnectionID, at now: Instant, _ outbox: inout PeersOutbox) {
        let request = RequestID(nextRequest)
        nextRequest += 1
        expect(request, .push, on: id, at: now)
        outbox.append(.openStream(id, IdentifyMessage.pushProtocolID, request: request))
    }

    private mutating func expect(_ request: RequestID, _ role: Role, on id: ConnectionID, at now: Instant) {
        sessions[id]?.opening[request] = role
        timers.set(.opening(id, request), at: now + limits.identifyTimeout)
    }

    /// Our side of a stream that the peer has ended; the connection ends that of a query.
    private func finish(_ role: Role, _ id: ConnectionID, _ stream: StreamID, _ outbox: inout PeersOutbox) {
        if role != .query { outbox.append(.closeWriting(id, stream)) }
    }

    private mutating func openedByUs(
        _ id: ConnectionID, _ stream: StreamID, request: RequestID?, at now: Instant, _ outbox: inout PeersOutbox
    ) {
        guard let request, let role = sessions[id]?.opening.removeValue(forKey: request) else {
            // It opened after its deadline.
            outbox.stats.lateInputs += 1
            return outbox.append(.resetStream(id, stream))
        }
        timers.cancel(.opening(id, request))
        add(stream, role, to: id, at: now)
        switch role {
        case .push:
            outbox.stats.pushesSent += 1
            tell(id, stream, &outbox)
        case .query, .pushed:
            break
        }
    }

    private mutating func openedByPeer(
        _ id: ConnectionID, _ stream: StreamID, _ name: ProtocolID, at now: Instant, _ outbox: inout PeersOutbox
    ) {
        let open = sessions[id]?.streams.values.count { $0.role == .pushed } ?? 0
        guard open < limits.identifyStreamsInboundMax, sessions[id]?.inboundRate.take(at: now) == true,
            name == IdentifyMessage.pushProtocolID
        else { return violated(id, stream, &outbox) }
        add(stream, .pushed, to: id, at: now)
    }

    private mutating func add(_ stream: StreamID, _ role: Role, to id: ConnectionID, at now: Instant) {
        sessions[id]?.streams[stream] = Stream(role: role)
        timers.set(.stream(id, stream), at: now + limits.identifyTimeout)
    }

    private mutating func forget(_ id: ConnectionID, _ stream: StreamID) {
        sessions[id]?.streams[stream] = nil
        timers.cancel(.stream(id, stream))
    }

    private mutating func violated(_ id: ConnectionID, _ stream: StreamID, _ outbox: inout PeersOutbox) {
        if sessions[id]?.streams[stream]?.role == .query { outbox.stats.identifyFailed += 1 }
        forget(id, stream)
        outbox.stats.identifyViolations += 1
        outbox.append(.resetStream(id, stream))
    }

    /// Sends one message about ourselves and ends our side.
    private mutating func tell(_ id: ConnectionID, _ stream: StreamID, _ outbox: inout PeersOutbox) {
        guard let session = sessions[id] else { return }
        sessions[id]?.toldVersion = version
        outbox.append(.send(id, stream, statement.message(toPeerAt: session.remote)))
        outbox.append(.closeWriting(id, stream))
    }

    private mutating func ownMessage() -> IdentifyMessage {
        if signedRecord.isEmpty, !listenAddresses.isEmpty {
            let identity = configuration.identity
            let record = PeerRecord(peerID: identity.peerID, sequence: recordSequence, addresses: listenAddresses)
            recordSequence &+= 1
            signedRecord = Array(record.sealed(with: identity).readableBytesView)
        }
        var message = IdentifyMessage()
        message.publicKey = configuration.identity.publicKey.protobuf
        message.listenAddresses = listenAddresses
        message.protocols = protocols
        message.protocolVersion = configuration.protocolVersion
        message.agent = configuration.agent
        message.signedRecord = signedRecord.isEmpty ? nil : signedRecord
        // An embedder may have more protocols than one message holds; the peer asks for the others when it needs them.
        // Each peer's observed address comes on top.
        let bytesMax = limits.identifySignedBytesMax / 2 - 128
        while message.encoded.readableBytes > bytesMax, !message.protocols.isEmpty {
            message.protocols.removeLast(max(1, message.protocols.count / 8))
        }
        return message
    }

    // MARK: Private parts: push

    private mutating func changed(at now: Instant, _ outbox: inout PeersOutbox) {
        version += 1
        statement = IdentifyStatement(version: version, ownMessage())
        outbox.append(.announce(statement))
        schedulePush(at: now)
    }

    private mutating func schedulePush(at now: Instant) {
        // A round under way sees to it that another follows.
        guard pushQueue.isEmpty, !sessions.isEmpty else { return }
        timers.set(.push, at: max(now, lastPushRound.map { $0 + pushPause } ?? now))
    }

    private mutating func push(
        _ table: ConnectionTable, touched: inout [ConnectionID], at now: Instant, _ outbox: inout PeersOutbox
    ) {
        if pushQueue.isEmpty {
            pushQueue = table.preferredConnections.reversed()
            roundVersion = version
            let isCalm = lastPushRound.map { now - $0 >= limits.pushIntervalMax * 2 } ?? true
            pushPause = isCalm ? limits.pushIntervalMin : min(pushPause * 4, limits.pushIntervalMax)
            lastPushRound = now
        }
        for _ in 0..<limits.pushStepMax {
            guard let id = pushQueue.popLast() else { break }
            guard let session = sessions[id], session.toldVersion < version,
                session.profile?.protocols.contains(IdentifyMessage.pushProtocolID) == true
            else { continue }
            openPush(on: id, at: now, &outbox)
            touched.append(id)
        }
        if !pushQueue.isEmpty {
            timers.set(.push, at: now + .milliseconds(20))
        } else if roundVersion < version {
            schedulePush(at: now)
        }
    }

    // MARK: Private parts: what peers say

    /// Nil: it contradicts the connection that it came over.
    private mutating func check(
        _ message: IdentifyMessage, _ session: Session, isPush: Bool, known: KnownRecord?
    ) -> (profile: PeerProfile, record: CheckedRecord?)? {
        let establishment = session.establishment
        if let key = message.publicKey, key != establishment.publicKey.protobuf { return nil }
        let scope = session.remote.kind.scope
        var listening = credible(message.listenAddresses, from: scope)
        var checked: CheckedRecord?
        if let envelope = message.signedRecord {
            if let known, known.envelope == envelope {
                listening = known.addresses
            } else {
                guard let record = PeerRecord(checking: envelope), record.peerID == establishment.peer else {
                    return nil
                }
                listening = credible(record.addresses, from: scope)
                checked = CheckedRecord(record: record, addresses: listening, envelope: envelope)
            }
        }
        // A push may hold only what changed.
        var profile = isPush ? session.profile ?? PeerProfile() : PeerProfile()
        profile.agent = message.agent ?? profile.agent
        profile.protocolVersion = message.protocolVersion ?? profile.protocolVersion
        if !message.protocols.isEmpty { profile.protocols = message.protocols.map { shared($0) } }
        if !message.listenAddresses.isEmpty || message.signedRecord != nil { profile.listenAddresses = listening }
        profile.observedAddress = message.observedAddress ?? profile.observedAddress
        return (profile, checked)
    }

    private func credible(_ addresses: [Multiaddr], from remote: AddressScope) -> [Multiaddr] {
        var result: [Multiaddr] = []
        for address in addresses where result.count < limits.addressesPerPeerMax {
            let bare = address.withoutPeerID
            guard bare.kind != .unusable, bare.kind.scope.isCredible(from: remote), !result.contains(bare) else {
                continue
            }
            result.append(bare)
        }
        return result
    }

    private mutating func shared(_ name: ProtocolID) -> ProtocolID {
        if let known = names[name.name] { return known }
        if names.count < IdentifyCore.namesMax { names[name.name] = name }
        return name
    }

    /// Names kept for sharing. At it: further ones are stored with each peer.
    private static let namesMax = 1_024
}

extension PeerRecord {
    /// Nil unless the envelope's signature holds and its signer is the peer the record is about.
    fileprivate init?(checking envelope: [UInt8]) {
        do throws(DecodeError) {
            try self.init(envelope: ByteBuffer(bytes: envelope))
        } catch {
            return nil
        }
    }
}
