// SPDX-License-Identifier: Apache-2.0
import NIOCore
package import TuttiBase
package import TuttiConnection
package import TuttiIdentity

/// Two connection cores joined by a byte stream that cuts everything into pieces of `pieceBytes`, under a fake clock.
package final class ConnectionPair {
    package enum Kind: String, CaseIterable, Sendable {
        case noise
        case tls
        /// A transport that secures and multiplexes by itself: its streams carry pieces in order.
        case multiplexed
    }

    package let kind: Kind
    package let dialer: ConnectionEnd
    package let listener: ConnectionEnd
    package private(set) var now = Instant.zero
    package let pieceBytes: Int
    /// Bytes that crossed, both ways.
    package private(set) var bytesCarried = 0

    package init(
        _ kind: Kind = .noise, pieceBytes: Int = 64 * 1024, dialerLimits: ConnectionLimits = ConnectionLimits(),
        listenerLimits: ConnectionLimits = ConnectionLimits(), expectedPeer: PeerID? = nil,
        listenerProtocols: [ProtocolID] = ["/echo"], dialerProtocols: [ProtocolID] = ["/echo"]
    ) throws {
        self.kind = kind
        self.pieceBytes = pieceBytes
        var dialerKeys = KeySource.seeded(SeededGenerator(seed: 1))
        var listenerKeys = KeySource.seeded(SeededGenerator(seed: 2))
        let dialerKey = KeyPair(from: &dialerKeys)
        let listenerKey = KeyPair(from: &listenerKeys)
        dialer = try ConnectionEnd(
            .outbound, kind: kind, seed: 1, peer: listenerKey, expectedPeer: expectedPeer ?? listenerKey.peerID,
            limits: dialerLimits, protocols: dialerProtocols, at: .zero)
        listener = try ConnectionEnd(
            .inbound, kind: kind, seed: 2, peer: dialerKey, expectedPeer: nil, limits: listenerLimits,
            protocols: listenerProtocols, at: .zero)
    }

    /// Carries bytes until neither side has anything to say.
    package func run() {
        dialer.drain(at: now)
        listener.drain(at: now)
        while true {
            let there = carry(from: dialer, to: listener)
            let back = carry(from: listener, to: dialer)
            if !there, !back { return }
        }
    }

    package func established() -> ConnectionPair {
        run()
        return self
    }

    /// Moves the clock and lets both sides act on it.
    package func advance(by duration: Duration, running: Bool = true) {
        now = now + duration
        dialer.core.handleTimeout(at: now)
        listener.core.handleTimeout(at: now)
        dialer.drain(at: now)
        listener.drain(at: now)
        if running { run() }
    }

    /// One direction, once. True when something moved.
    package func carry(from sender: ConnectionEnd, to receiver: ConnectionEnd) -> Bool {
        sender.collect(at: now)
        if kind == .multiplexed { return carryStreams(from: sender, to: receiver) }
        guard sender.outbox.readableBytes > 0 else { return false }
        var bytes = sender.outbox
        sender.outbox = ByteBuffer()
        bytesCarried += bytes.readableBytes
        while let piece = bytes.readSlice(length: min(pieceBytes, bytes.readableBytes)), piece.readableBytes > 0 {
            // A copy, as a socket would make it: the core decrypts in place.
            receiver.receive(ByteBuffer(bytes: piece.readableBytesView), at: now)
        }
        return true
    }

    private func carryStreams(from sender: ConnectionEnd, to receiver: ConnectionEnd) -> Bool {
        guard !sender.externals.isEmpty else { return false }
        let effects = sender.externals
        sender.externals = []
        for effect in effects {
            switch effect {
            case .open(let id):
                receiver.core.externalOpened(id, at: now)
            case .send(let id, var bytes):
                while let piece = bytes.readSlice(length: min(pieceBytes, bytes.readableBytes)), piece.readableBytes > 0
                {
                    receiver.core.externalReceived(piece, on: id, at: now)
                    receiver.drain(at: now)
                }
            case .finish(let id):
                receiver.core.externalEnded(id, at: now)
            case .reset(let id):
                receiver.core.externalReset(id, at: now)
            case .consumed:
                break
            }
            receiver.drain(at: now)
        }
        return true
    }
}

/// `count` bytes that differ from place to place.
package func patternBytes(_ count: Int, seed: UInt8 = 0) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) &+ seed }
}
