// SPDX-License-Identifier: Apache-2.0
package import NIOCore
package import TuttiBase
package import TuttiConnection
package import TuttiIdentity
import TuttiTransport

/// One side of a `ConnectionPair`: a real `ConnectionCore` and what it has told.
package final class ConnectionEnd {
    package struct StreamRecord {
        package var protocolID: ProtocolID?
        package var received: [UInt8] = []
        package var unconsumed = 0
        package var isEnded = false
        package var isClosed = false
        package var fault: StreamFault?
        package var drainedCount = 0
    }

    package let identity: KeyPair
    package var core: ConnectionCore
    package var streams: [StreamID: StreamRecord] = [:]
    /// Inbound streams in the order in which their protocols were agreed.
    package var arrived: [StreamID] = []
    package var establishment: Establishment?
    package var closeReason: CloseReason?
    package var roundTrips: [Duration] = []
    package var grantedBytes = 0
    /// False: received bytes stay unread until `readAll`.
    package var isReading = true
    /// Streams that are not read even while `isReading`.
    package var unread: Set<StreamID> = []
    /// What this end echoes on sight, by protocol.
    package var echoes: Set<ProtocolID> = []
    /// Bytes for the other end; for the `.multiplexed` door, what its streams did.
    package var outbox = ByteBuffer()
    package var externals: [ExternalStreamEffect] = []

    private let direction: Direction
    private let tlsContext: TLSContext?
    private var tls: TLSEngine?
    private var isTLSAgreed = false
    private let expectedPeer: PeerID?

    package init(
        _ direction: Direction, kind: ConnectionPair.Kind, seed: UInt64, peer: KeyPair, expectedPeer: PeerID?,
        limits: ConnectionLimits, protocols: [ProtocolID], at now: Instant
    ) throws {
        self.direction = direction
        self.expectedPeer = expectedPeer
        var secrets = KeySource.seeded(SeededGenerator(seed: seed))
        identity = KeyPair(from: &secrets)
        var configuration = ConnectionConfiguration()
        configuration.limits = limits
        configuration.securityProposed = kind == .tls ? .tls : .noise
        let door: ConnectionDoor =
            kind == .multiplexed
            ? .multiplexed(
                Establishment(peer: peer.peerID, publicKey: peer.publicKey, security: "/fake", hadEarlyMuxer: true))
            : .plain
        tlsContext = kind == .tls ? try TLSContext(identity: identity) : nil
        core = ConnectionCore(
            direction: direction, door: door, configuration: configuration,
            identity: NoiseIdentity(identity, keySource: &secrets), expectedPeer: expectedPeer, protocols: protocols,
            keySource: secrets, at: now)
    }

    package func open(_ protocols: [ProtocolID], at now: Instant) -> StreamID? {
        guard let id = core.openStream(protocols, at: now) else { return nil }
        streams[id] = StreamRecord()
        return id
    }

    /// Gives the core bytes of the byte stream, through TLS where it is beneath.
    package func receive(_ bytes: ByteBuffer, at now: Instant) {
        guard isTLSAgreed else {
            core.receive(bytes, at: now)
            return drain(at: now)
        }
        receiveTLS(bytes, at: now)
    }

    package func drain(at now: Instant) {
        while let effect = core.nextEffect() { handle(effect, at: now) }
    }

    /// Takes everything that the core wants to send.
    package func collect(at now: Instant) {
        while core.hasOutput {
            var output = ByteBuffer()
            _ = core.produce(into: &output, bytesMax: 256 * 1024, at: now)
            if isTLSAgreed, let tls {
                try? tls.seal(&output, into: &outbox)
            } else {
                outbox.writeBuffer(&output)
            }
            drain(at: now)
        }
    }

    /// Uses up everything that was received and not consumed.
    package func readAll(at now: Instant) {
        for id in streams.keys.sorted() {
            guard let count = streams[id]?.unconsumed, count > 0 else { continue }
            streams[id]?.unconsumed = 0
            core.consumed(count, on: id, at: now)
        }
        drain(at: now)
    }

    private func handle(_ effect: ConnectionEffect, at now: Instant) {
        switch effect {
        case .startTLS:
            startTLS(at: now)
        case .tlsAgreed(let leftover):
            isTLSAgreed = true
            receiveTLS(leftover, at: now)
        case .established(let establishment):
            self.establishment = establishment
        case .streamOpened(let id, let name, let direction):
            if direction == .inbound {
                streams[id] = StreamRecord()
                arrived.append(id)
            }
            streams[id]?.protocolID = name
        case .streamData(let id, let bytes):
            streams[id]?.received.append(contentsOf: bytes.readableBytesView)
            if isReading, !unread.contains(id) {
                core.consumed(bytes.readableBytes, on: id, at: now)
            } else {
                streams[id]?.unconsumed += bytes.readableBytes
            }
            if let name = streams[id]?.protocolID, echoes.contains(name) { core.send(bytes, on: id, at: now) }
        case .streamEnded(let id):
            streams[id]?.isEnded = true
            if let name = streams[id]?.protocolID, echoes.contains(name) { core.closeWriting(id, at: now) }
        case .streamFailed(let id, let fault):
            streams[id, default: StreamRecord()].fault = fault
        case .streamDrained(let id):
            streams[id]?.drainedCount += 1
        case .streamClosed(let id):
            streams[id]?.isClosed = true
        case .requestWindow(let id, let bytes):
            grantedBytes += bytes
            core.grantWindow(bytes, on: id, at: now)
        case .releaseWindow(let bytes):
            grantedBytes -= bytes
        case .roundTripMeasured(let duration):
            roundTrips.append(duration)
        case .closed(let reason):
            closeReason = reason
        case .external(let effect):
            externals.append(effect)
        }
    }

    private func startTLS(at now: Instant) {
        guard let tlsContext else { return }
        do {
            let engine = try TLSEngine(context: tlsContext, direction: direction, expectedPeer: expectedPeer)
            // The negotiation leaves in the clear, before TLS's own first bytes.
            var output = ByteBuffer()
            _ = core.produce(into: &output, bytesMax: 256 * 1024, at: now)
            outbox.writeBuffer(&output)
            if direction == .outbound { try engine.start(into: &outbox) }
            tls = engine
        } catch {
            core.tlsFailed(.tls("start"), at: now)
        }
    }

    private func receiveTLS(_ bytes: ByteBuffer, at now: Instant) {
        guard let tls else { return }
        var input = bytes
        do throws(ConnectionViolation) {
            while input.readableBytes > 0 {
                let before = input.readableBytes
                var plaintext = ByteBuffer()
                switch try tls.receive(&input, plaintext: &plaintext, output: &outbox) {
                case .established(let establishment, let muxer):
                    core.tlsEstablished(establishment, muxer: muxer, at: now)
                case .handshaking, .open, .endedByPeer:
                    break
                }
                if plaintext.readableBytes > 0 { core.receive(plaintext, at: now) }
                if input.readableBytes == before { break }
            }
        } catch {
            core.tlsFailed(error, at: now)
        }
        drain(at: now)
    }
}
