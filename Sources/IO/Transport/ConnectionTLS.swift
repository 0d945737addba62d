// SPDX-License-Identifier: Apache-2.0
import NIOCore
import TuttiBase
import TuttiConnection
import TuttiIdentity

/// Where a connection stands with TLS, and the engine while there is one.
///
/// ```
/// absent --start--> offered --agreed--> beneath --end--> absent
///                any --violation--> failed
/// ```
///
/// While it is offered the peer has not agreed to TLS: its bytes and ours are still negotiation. Once it has failed, what
/// the connection would still say can't be said. Late calls do nothing; a failure is thrown once.
struct ConnectionTLS {
    private enum State {
        case absent
        case offered(TLSEngine)
        case beneath(TLSEngine)
        case failed
    }

    private var state = State.absent

    /// Makes the engine; a dialer's ClientHello is appended to `hello`.
    mutating func start(
        _ context: TLSContext, _ direction: Direction, expectedPeer: PeerID?, into hello: inout ByteBuffer
    ) throws(ConnectionViolation) {
        guard case .absent = state else { return assertionFailure("a connection has one TLS") }
        state = .failed
        guard let engine = try? TLSEngine(context: context, direction: direction, expectedPeer: expectedPeer) else {
            throw .tls("TLS could not be set up")
        }
        if direction == .outbound { try engine.start(into: &hello) }
        state = .offered(engine)
    }

    mutating func agreed() {
        guard case .offered(let engine) = state else { return }
        state = .beneath(engine)
    }

    /// What comes from the link and what goes there is TLS's.
    var takesBytes: Bool {
        switch state {
        case .beneath, .failed: true
        case .absent, .offered: false
        }
    }

    var hasFailed: Bool {
        if case .failed = state { return true }
        return false
    }

    /// The peer has not said that it will send no more: a link that ends now was cut.
    var isOpenEnded: Bool {
        if case .beneath(let engine) = state { return !engine.hasEnded }
        return false
    }

    /// - Throws: what the peer did wrong; `output` may hold an alert.
    mutating func receive(
        _ bytes: inout ByteBuffer, plaintext: inout ByteBuffer, output: inout ByteBuffer
    ) throws(ConnectionViolation) -> TLSEngine.Progress {
        guard case .beneath(let engine) = state else { return .open }
        do throws(ConnectionViolation) {
            return try engine.receive(&bytes, plaintext: &plaintext, output: &output)
        } catch {
            state = .failed
            throw error
        }
    }

    mutating func seal(
        _ plaintext: inout ByteBuffer, into output: inout ByteBuffer
    ) throws(ConnectionViolation) {
        guard case .beneath(let engine) = state else { return }
        do throws(ConnectionViolation) {
            try engine.seal(&plaintext, into: &output)
        } catch {
            state = .failed
            throw error
        }
    }

    /// Appends the goodbye that is still possible, and lets the engine go.
    mutating func end(into output: inout ByteBuffer) {
        if case .beneath(let engine) = state { engine.closeNotify(into: &output) }
        state = .absent
    }
}
