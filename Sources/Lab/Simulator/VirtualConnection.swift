// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiConnection
import TuttiIdentity
import TuttiNodeCore
import TuttiPeers

import struct NIOCore.ByteBuffer

/// What all connections of a node have in common.
struct ConnectionTerms {
    let noise: NoiseIdentity
    let configuration: ConnectionConfiguration
    var protocols: [CoreProtocol]
    /// What a peer that asks is answered.
    var statement: IdentifyStatement?

    init(_ key: KeyPair, limits: ConnectionLimits, protocols: [CoreProtocol], secrets: inout KeySource) {
        noise = NoiseIdentity(key, keySource: &secrets)
        var configuration = ConnectionConfiguration()
        configuration.limits = limits
        configuration.securityAccepted = [.noise]
        self.configuration = configuration
        self.protocols = protocols
    }
}

/// One end of a connection at byte level: a real `ConnectionCore`, and on its streams the whole messages of the node's
/// cores, as a live node's driver has them.
///
/// A class: a `ConnectionCore` can't be in an array, and byte level is for tens of nodes. It does no TLS, has no
/// applications' streams, and grants every window that is asked for.
final class VirtualConnection {
    private struct Stream {
        enum Owner {
            case opening(RequestID, bytesMax: Int)
            case core(ByteBuffer, bytesMax: Int)
            case answered
        }
        var owner: Owner
        let name: ProtocolID
        let direction: Direction
    }

    let id: ConnectionID
    let direction: Direction
    private let remote: Multiaddr
    var terms: ConnectionTerms {
        didSet { core.setProtocols(terms.protocols.map(\.name)) }
    }
    private(set) var isEstablished = false
    private(set) var end: CloseReason?
    private var core: ConnectionCore
    /// Looked up and counted, never walked through.
    private var streams: [StreamID: Stream] = [:]
    private var told: [PeersInput] = []

    init(
        _ id: ConnectionID, _ direction: Direction, remote: Multiaddr, expected: PeerID?, security: ProtocolID,
        deadline: Instant, terms: ConnectionTerms, secrets: KeySource, at now: Instant
    ) {
        self.id = id
        self.direction = direction
        self.remote = remote
        self.terms = terms
        var configuration = terms.configuration
        configuration.securityProposed = security
        configuration.limits.handshakeTimeout = min(configuration.limits.handshakeTimeout, deadline - now)
        core = ConnectionCore(
            direction: direction, door: .plain, configuration: configuration, identity: terms.noise,
            expectedPeer: expected, protocols: terms.protocols.map(\.name), keySource: secrets, at: now)
        drain(at: now)
    }

    var nextTimeout: Instant? { core.nextTimeout }
    var hasOutput: Bool { core.hasOutput }

    func takeTold() -> [PeersInput] {
        var taken: [PeersInput] = []
        swap(&taken, &told)
        return taken
    }

    // MARK: From the byte stream

    func receive(_ bytes: ByteBuffer, at now: Instant) {
        core.receive(bytes, at: now)
        drain(at: now)
    }

    func ended(_ failure: String?, at now: Instant) {
        core.transportEnded(failure, at: now)
        drain(at: now)
    }

    func handleTimeout(at now: Instant) {
        core.handleTimeout(at: now)
        drain(at: now)
    }

    func produce(bytesMax: Int, at now: Instant) -> ByteBuffer {
        var output = ByteBuffer()
        _ = core.produce(into: &output, bytesMax: bytesMax, at: now)
        drain(at: now)
        return output
    }

    // MARK: From the node

    func close(at now: Instant) {
        core.close(at: now)
        drain(at: now)
    }

    func open(_ name: ProtocolID, _ request: RequestID, _ first: [ByteBuffer], at now: Instant) {
        guard let stream = core.openStream([name], at: now) else {
            return told.append(.openFailed(id, request: request))
        }
        let bytesMax = terms.protocols.first { $0.name == name }?.messageBytesMax ?? PeersCore.messageBytesMax
        streams[stream] = Stream(owner: .opening(request, bytesMax: bytesMax), name: name, direction: .outbound)
        for message in first { send(message, on: stream, at: now) }
        drain(at: now)
    }

    func send(_ message: ByteBuffer, on stream: StreamID, at now: Instant) {
        guard streams[stream] != nil else { return }
        var framed = ByteBuffer()
        framed.writeDelimited(message)
        core.send(framed, on: stream, at: now)
        drain(at: now)
    }

    func closeWriting(_ stream: StreamID, at now: Instant) {
        core.closeWriting(stream, at: now)
        drain(at: now)
    }

    func reset(_ stream: StreamID, at now: Instant) {
        guard streams.removeValue(forKey: stream) != nil else { return }
        core.reset(stream, at: now)
        drain(at: now)
    }

    // MARK: Effects

    private func drain(at now: Instant) {
        while let effect = core.nextEffect() { handle(effect, at: now) }
    }

    private func handle(_ effect: ConnectionEffect, at now: Instant) {
        switch effect {
        case .startTLS, .tlsAgreed: core.tlsFailed(.tls("the lab has no TLS"), at: now)
        case .established(let establishment):
            isEstablished = true
            told.append(.established(id, establishment, direction, remote: remote))
            told.append(.told(id, version: terms.statement?.version ?? 0))
            open(IdentifyMessage.protocolID, PeersCore.query, [], at: now)
        case .streamOpened(let stream, let name, .inbound): accept(stream, name, at: now)
        case .streamOpened(let stream, let name, .outbound):
            guard case .opening(let request, let bytesMax) = streams[stream]?.owner else { return }
            streams[stream]?.owner = .core(ByteBuffer(), bytesMax: bytesMax)
            told.append(.streamOpened(id, stream, name, .outbound, request: request))
        case .streamData(let stream, let bytes): received(bytes, on: stream, at: now)
        case .streamEnded(let stream): ended(stream, at: now)
        case .streamFailed(let stream, let fault):
            switch streams.removeValue(forKey: stream)?.owner {
            case .opening(let request, _): told.append(.openFailed(id, request: request))
            case .core: told.append(.streamFailed(id, stream, fault))
            case .answered, nil: break
            }
        case .streamClosed(let stream): streams[stream] = nil
        case .requestWindow(let stream, let bytes): core.grantWindow(bytes, on: stream, at: now)
        case .roundTripMeasured(let duration): told.append(.roundTripMeasured(id, duration))
        case .closed(let reason):
            end = reason
            streams = [:]
            let isDialFailed = !isEstablished && direction == .outbound
            told.append(isDialFailed ? .dialFailed(id, reason) : .closed(id, reason))
        case .streamDrained, .releaseWindow, .external: break
        }
    }

    private func accept(_ stream: StreamID, _ name: ProtocolID, at now: Instant) {
        let open = streams.values.count { $0.direction == .inbound && $0.name == name }
        guard let known = terms.protocols.first(where: { $0.name == name }), open < known.inboundMax else {
            return core.reset(stream, at: now)
        }
        guard name == IdentifyMessage.protocolID else {
            streams[stream] = Stream(
                owner: .core(ByteBuffer(), bytesMax: known.messageBytesMax), name: name, direction: .inbound)
            return told.append(.streamOpened(id, stream, name, .inbound, request: nil))
        }
        guard let statement = terms.statement else { return core.reset(stream, at: now) }
        streams[stream] = Stream(owner: .answered, name: name, direction: .inbound)
        var framed = ByteBuffer()
        framed.writeDelimited(statement.message(toPeerAt: remote))
        core.send(framed, on: stream, at: now)
        core.closeWriting(stream, at: now)
    }

    private func received(_ bytes: ByteBuffer, on stream: StreamID, at now: Instant) {
        guard case .core(var partial, let bytesMax) = streams[stream]?.owner else { return }
        partial.writeImmutableBuffer(bytes)
        do throws(DecodeError) {
            while let message = try partial.readDelimited("message", bytesMax: bytesMax) {
                told.append(.message(id, stream, message))
            }
            streams[stream]?.owner = .core(partial.readableBytes == 0 ? ByteBuffer() : partial, bytesMax: bytesMax)
            core.consumed(bytes.readableBytes, on: stream, at: now)
        } catch {
            core.reset(stream, at: now)
            streams[stream] = nil
            told.append(.streamFailed(id, stream, .negotiation(error)))
        }
    }

    private func ended(_ stream: StreamID, at now: Instant) {
        guard let entry = streams[stream], case .core(let partial, _) = entry.owner else { return }
        guard partial.readableBytes == 0 else {
            core.reset(stream, at: now)
            streams[stream] = nil
            return told.append(.streamFailed(id, stream, .negotiation(.truncated("message"))))
        }
        told.append(.streamEnded(id, stream))
        // Nothing is left to say where a peer has answered our question who it is.
        if entry.direction == .outbound, entry.name == IdentifyMessage.protocolID { core.closeWriting(stream, at: now) }
    }
}
