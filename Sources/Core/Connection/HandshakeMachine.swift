// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiIdentity

import struct NIOCore.ByteBuffer

/// From the first byte to a connection that can carry streams (libp2p/specs, connections/README.md,
/// connections/inlined-muxer-negotiation.md).
///
///     negotiatingSecurity ─/noise─▶ noise ──early muxer──▶ finished
///              │                      └────▶ negotiatingMuxer ─▶ finished
///              └──/tls/1.0.0─▶ awaitingTLS ─▶ (ALPN) finished, or negotiatingMuxer
///
/// The dialer proposes one security protocol and lets its first message follow at once: Noise's from here, TLS's from
/// whoever puts TLS beneath. Bytes given while TLS is awaited are our bug; all else that doesn't fit is the peer's fault
/// and thrown.
struct HandshakeMachine {
    enum OnReceive {
        case needsMoreBytes
        /// What follows, beginning with `leftover`, is TLS; then call `tlsEstablished`.
        case tlsAgreed(leftover: ByteBuffer)
        /// Noise is done; what follows is encrypted. With `session.muxer` nil, call `beginMuxer`.
        case secured(NoiseSession, leftover: ByteBuffer)
        case multiplexed(leftover: ByteBuffer)
    }

    private enum State {
        case negotiatingSecurity(NegotiationMachine, NoiseMachine?)
        case noise(NoiseMachine)
        case awaitingTLS
        case negotiatingMuxer(NegotiationMachine)
        case finished
    }

    /// Unprocessed bytes over this are nonsense: a handshake message is at most a few kilobytes, and what a dialer sends
    /// behind its last one is used up in the same turn.
    private static let inboundBytesMax = 256 * 1024

    private let direction: Direction
    private let configuration: ConnectionConfiguration
    private var state: State
    private var inbound = ByteBuffer()

    /// Door `.plain`: appends the dialer's first flight.
    init(
        direction: Direction, configuration: ConnectionConfiguration, noise: @autoclosure () -> NoiseMachine,
        into output: inout ByteBuffer
    ) {
        self.direction = direction
        self.configuration = configuration
        switch direction {
        case .outbound:
            let negotiation = NegotiationMachine(proposing: [configuration.securityProposed])
            negotiation.start(into: &output)
            var machine: NoiseMachine?
            if configuration.securityProposed == .noise {
                var started = noise()
                started.start(into: &output)
                machine = started
            }
            state = .negotiatingSecurity(negotiation, machine)
        case .inbound:
            let proposalsMax = configuration.limits.protocolsProposedMax
            state = .negotiatingSecurity(NegotiationMachine(listeningFor: proposalsMax), nil)
        }
    }

    /// Door `.secured`: only the muxer is open.
    init(direction: Direction, configuration: ConnectionConfiguration, muxerInto output: inout ByteBuffer) {
        self.direction = direction
        self.configuration = configuration
        state = .finished
        beginMuxer(into: &output)
    }

    var stage: ConnectionStage {
        switch state {
        case .negotiatingSecurity: .negotiate
        case .noise, .awaitingTLS: .secure
        case .negotiatingMuxer, .finished: .multiplex
        }
    }

    mutating func receive(
        _ bytes: ByteBuffer, into output: inout ByteBuffer, noise makeNoise: @autoclosure () -> NoiseMachine
    ) throws(ConnectionViolation) -> OnReceive {
        inbound.writeImmutableBuffer(bytes)
        if case .negotiatingSecurity(var negotiation, let started) = state {
            let outcome = try negotiate(&negotiation, accepting: configuration.securityAccepted, into: &output)
            switch outcome {
            case .needsMoreBytes:
                state = .negotiatingSecurity(negotiation, started)
                return try awaitMore()
            case .refused:
                throw .refused(configuration.securityProposed)
            case .agreed(.noise):
                state = .noise(started ?? makeNoise())
            case .agreed:
                state = .awaitingTLS
                return .tlsAgreed(leftover: takeLeftover())
            }
        }
        switch state {
        case .noise(var machine):
            let outcome = try machine.receive(&inbound, into: &output)
            switch outcome {
            case .needsMoreBytes:
                state = .noise(machine)
                return try awaitMore()
            case .established(let session):
                state = .finished
                return .secured(session, leftover: takeLeftover())
            }
        case .negotiatingMuxer(var negotiation):
            let outcome = try negotiate(&negotiation, accepting: [.yamux], into: &output)
            switch outcome {
            case .needsMoreBytes:
                state = .negotiatingMuxer(negotiation)
                return try awaitMore()
            case .refused:
                throw .refused(.yamux)
            case .agreed:
                state = .finished
                return .multiplexed(leftover: takeLeftover())
            }
        case .negotiatingSecurity, .awaitingTLS, .finished:
            assertionFailure("a handshake was given bytes that are not its own")
            return .needsMoreBytes
        }
    }

    /// True when TLS was awaited; the muxer is then agreed already or follows with `beginMuxer`.
    mutating func tlsEstablished() -> Bool {
        guard case .awaitingTLS = state else { return false }
        state = .finished
        return true
    }

    /// The security protocol didn't agree on a muxer: negotiate it inside.
    mutating func beginMuxer(into output: inout ByteBuffer) {
        switch direction {
        case .outbound:
            let negotiation = NegotiationMachine(proposing: [.yamux])
            negotiation.start(into: &output)
            state = .negotiatingMuxer(negotiation)
        case .inbound:
            let proposalsMax = configuration.limits.protocolsProposedMax
            state = .negotiatingMuxer(NegotiationMachine(listeningFor: proposalsMax))
        }
    }

    private mutating func negotiate(
        _ negotiation: inout NegotiationMachine, accepting accepted: [ProtocolID], into output: inout ByteBuffer
    ) throws(ConnectionViolation) -> NegotiationMachine.OnReceive {
        do throws(DecodeError) {
            return try negotiation.receive(&inbound, into: &output, accepting: accepted)
        } catch {
            throw .negotiation(error)
        }
    }

    private func awaitMore() throws(ConnectionViolation) -> OnReceive {
        guard inbound.readableBytes <= Self.inboundBytesMax else {
            throw .flood("more bytes than a handshake has")
        }
        return .needsMoreBytes
    }

    private mutating func takeLeftover() -> ByteBuffer {
        defer { inbound = ByteBuffer() }
        return inbound
    }
}
