// SPDX-License-Identifier: Apache-2.0
import CNIOBoringSSL
import Foundation
package import TuttiBase
package import TuttiConnection
package import TuttiIdentity

package import struct NIOCore.ByteBuffer

/// TLS 1.3 of one connection, as libp2p uses it: BoringSSL driven over our own buffers.
///
/// Follows libp2p/specs tls/tls.md. It turns the socket's bytes into plaintext and back, and says who the peer is. It
/// has no timers and no socket; it is confined to the connection's event loop. docs/decisions/0001 says why it does not
/// use swift-nio-ssl's handler.
///
/// ```
/// ready --start or first receive--> handshaking --both finished--> open --close_notify--> endedByPeer
/// any state --violation--> failed
/// ```
///
/// Calls that a state doesn't expect:
/// - our bug: `start` twice or by a listener, `seal` before the handshake's end. Poisoned: the engine fails.
/// - the peer's fault: everything thrown by `receive`. On a throw `output` may hold an alert: flush it, then close.
/// - legal and late: `receive` after `endedByPeer` or a failure, `closeNotify` at any time; dropped.
///
/// A byte stream that ends before `.endedByPeer` was truncated: only the owner sees that, and must treat it as a
/// failure.
///
/// Invariants: the buffers that belong to a caller are held here only during its call; `established` is returned once,
/// and never before the certificate was checked.
package final class TLSEngine {
    package enum Progress {
        case handshaking
        /// Returned once. `plaintext` may already hold bytes.
        case established(Establishment, muxer: ProtocolID?)
        case open
        /// The peer said that it will send no more. `plaintext` may hold its last bytes.
        case endedByPeer
    }

    private enum State {
        case ready
        case handshaking
        case open
        case endedByPeer
        case failed
    }

    /// What one TLS record carries at most.
    private static let recordBytesMax = 16 * 1024
    /// A record's header, inner content type and tag.
    private static let recordOverheadBytes = 22

    private let context: TLSContext
    private let direction: Direction
    private let expectedPeer: PeerID?
    private let ssl: OpaquePointer
    private var state = State.ready
    /// The caller's buffers, while its call runs: BoringSSL reads from one and writes to the other.
    private var input = ByteBuffer()
    private var output = ByteBuffer()
    private var peerKey: PublicKey?
    /// Why our own checks refused the peer; BoringSSL would only say that they did.
    private var refusal: ConnectionViolation?

    package init(context: TLSContext, direction: Direction, expectedPeer: PeerID?) throws {
        guard let ssl = SSL_new(context.context) else { throw TLSError("no TLS connection") }
        guard let transport = BIO_new(context.transport) else {
            SSL_free(ssl)
            throw TLSError("no TLS connection")
        }
        self.context = context
        self.direction = direction
        self.expectedPeer = expectedPeer
        self.ssl = ssl
        // Unretained: the connection object never outlives the engine that frees it.
        let reference = Unmanaged.passUnretained(self).toOpaque()
        BIO_set_data(transport, reference)
        BIO_set_init(transport, 1)
        SSL_set_bio(ssl, transport, transport)
        SSL_set_ex_data(ssl, 0, reference)
        SSL_set_shed_handshake_config(ssl, 1)
        switch direction {
        case .outbound: SSL_set_connect_state(ssl)
        case .inbound: SSL_set_accept_state(ssl)
        }
    }

    deinit {
        SSL_free(ssl)
    }

    // MARK: Inputs

    /// Dialer: appends the ClientHello.
    package func start(into output: inout ByteBuffer) throws(ConnectionViolation) {
        switch state {
        case .ready where direction == .outbound:
            state = .handshaking
            var nothing = ByteBuffer()
            lend(&nothing, &output)
            defer { takeBack(&nothing, &output) }
            _ = try handshake()
        case .ready, .handshaking, .open, .endedByPeer, .failed:
            assertionFailure("only a dialer starts, and once")
            state = .failed
        }
    }

    /// Consumes `input`, appends plaintext and what must be answered.
    /// - Throws: what the peer did wrong. `output` may hold an alert for it: flush it, then close.
    package func receive(
        _ input: inout ByteBuffer, plaintext: inout ByteBuffer, output: inout ByteBuffer
    ) throws(ConnectionViolation) -> Progress {
        lend(&input, &output)
        defer { takeBack(&input, &output) }
        switch state {
        case .ready:
            guard direction == .inbound else {
                assertionFailure("a dialer speaks first")
                state = .failed
                return .handshaking
            }
            state = .handshaking
            return try handshakeAndRead(into: &plaintext)
        case .handshaking:
            return try handshakeAndRead(into: &plaintext)
        case .open:
            try read(into: &plaintext)
            return hasEnded ? .endedByPeer : .open
        case .endedByPeer:
            self.input.clear()
            return .endedByPeer
        case .failed:
            self.input.clear()
            return .open
        }
    }

    /// The peer's close_notify has come. Only then is the end of the byte stream no truncation.
    package var hasEnded: Bool {
        switch state {
        case .endedByPeer: true
        case .ready, .handshaking, .open, .failed: false
        }
    }

    /// Consumes all of `plaintext`, appends records of 16 KiB and a rest.
    package func seal(
        _ plaintext: inout ByteBuffer, into output: inout ByteBuffer
    ) throws(ConnectionViolation) {
        switch state {
        case .open, .endedByPeer:
            break
        case .ready, .handshaking:
            assertionFailure("nothing is sealed before the handshake's end")
            state = .failed
            throw .tls("nothing can be sealed before the handshake's end")
        case .failed:
            throw .tls("nothing can be sealed after a failure")
        }
        let records = plaintext.readableBytes / TLSEngine.recordBytesMax + 1
        output.reserveCapacity(
            minimumWritableBytes: plaintext.readableBytes + records * TLSEngine.recordOverheadBytes)
        var nothing = ByteBuffer()
        lend(&nothing, &output)
        defer { takeBack(&nothing, &output) }
        while plaintext.readableBytes > 0 {
            ERR_clear_error()
            let written = plaintext.withUnsafeReadableBytes { bytes in
                SSL_write(ssl, bytes.baseAddress, CInt(clamping: min(bytes.count, 1 << 20)))
            }
            guard written > 0 else { throw fail(SSL_get_error(ssl, written)) }
            plaintext.moveReaderIndex(forwardBy: Int(written))
        }
    }

    /// Appends close_notify: we will send no more. Nothing before the handshake's end or after a failure.
    package func closeNotify(into output: inout ByteBuffer) {
        switch state {
        case .open, .endedByPeer:
            var nothing = ByteBuffer()
            lend(&nothing, &output)
            defer { takeBack(&nothing, &output) }
            ERR_clear_error()
            SSL_shutdown(ssl)
        case .ready, .handshaking, .failed:
            return
        }
    }

    // MARK: Driving BoringSSL

    private func handshakeAndRead(into plaintext: inout ByteBuffer) throws(ConnectionViolation) -> Progress {
        guard try handshake() else { return .handshaking }
        guard let peerKey else { throw fail("the peer showed no certificate") }
        let muxer = try agreedMuxer()
        state = .open
        // The peer may have sent data behind its last handshake message, or the alert by which it refuses us.
        try read(into: &plaintext)
        let establishment = Establishment(
            peer: peerKey.peerID, publicKey: peerKey, security: .tls, hadEarlyMuxer: muxer != nil)
        return .established(establishment, muxer: muxer)
    }

    /// True when the handshake is complete.
    private func handshake() throws(ConnectionViolation) -> Bool {
        ERR_clear_error()
        let result = SSL_do_handshake(ssl)
        guard result != 1 else { return true }
        let error = SSL_get_error(ssl, result)
        guard error == SSL_ERROR_WANT_READ else { throw fail(error) }
        return false
    }

    /// Reads all records that are complete.
    private func read(into plaintext: inout ByteBuffer) throws(ConnectionViolation) {
        ERR_clear_error()
        // Room for all of them at once. Small reads stay small: an idle connection's ping must not cost 16 KiB.
        if input.readableBytes > 0 { plaintext.reserveCapacity(minimumWritableBytes: input.readableBytes) }
        while input.readableBytes > 0 || SSL_has_pending(ssl) == 1 {
            let expected = max(input.readableBytes, Int(SSL_pending(ssl)), 64)
            var result: CInt = 0
            plaintext.writeWithUnsafeMutableBytes(
                minimumWritableBytes: min(expected, TLSEngine.recordBytesMax)
            ) { memory in
                result = SSL_read(ssl, memory.baseAddress, CInt(clamping: memory.count))
                return max(0, Int(result))
            }
            guard result <= 0 else { continue }
            switch SSL_get_error(ssl, result) {
            case SSL_ERROR_WANT_READ:
                return
            case SSL_ERROR_ZERO_RETURN:
                state = .endedByPeer
                input.clear()
                return
            case let error:
                throw fail(error)
            }
        }
    }

    private func agreedMuxer() throws(ConnectionViolation) -> ProtocolID? {
        var name: UnsafePointer<UInt8>?
        var count: CUnsignedInt = 0
        SSL_get0_alpn_selected(ssl, &name, &count)
        let bytes = UnsafeBufferPointer(start: name, count: Int(count))
        guard context.accepts(bytes) else { throw fail("no ALPN protocol was agreed") }
        return context.muxers.first { bytes.elementsEqual($0.name.utf8) }
    }

    private func fail(_ text: String) -> ConnectionViolation {
        state = .failed
        return .tls(text)
    }

    /// Prefers our own reason to BoringSSL's, which names no more than "certificate verify failed" then.
    private func fail(_ error: CInt) -> ConnectionViolation {
        state = .failed
        let reason = TLSError.reason(of: ERR_peek_error())
        ERR_clear_error()
        return refusal ?? .tls(reason ?? "TLS failed with error \(error)")
    }

    private func lend(_ input: inout ByteBuffer, _ output: inout ByteBuffer) {
        swap(&self.input, &input)
        swap(&self.output, &output)
    }

    private func takeBack(_ input: inout ByteBuffer, _ output: inout ByteBuffer) {
        swap(&self.input, &input)
        swap(&self.output, &output)
    }

    // MARK: BoringSSL's questions

    static func of(_ ssl: OpaquePointer?) -> TLSEngine? {
        SSL_get_ex_data(ssl, 0).map { Unmanaged<TLSEngine>.fromOpaque($0).takeUnretainedValue() }
    }

    /// The first of the dialer's protocols that we have, as a part of `offer`: a list of names behind their lengths.
    func chooseProtocol(_ offer: UnsafeBufferPointer<UInt8>) -> UnsafeBufferPointer<UInt8>? {
        var rest = offer[...]
        while let length = rest.popFirst(), rest.count >= Int(length) {
            let name = UnsafeBufferPointer(rebasing: rest.prefix(Int(length)))
            if context.accepts(name) { return name }
            rest = rest.dropFirst(Int(length))
        }
        refuse("no ALPN protocol in common")
        return nil
    }

    /// Says why BoringSSL is about to be told to refuse.
    func refuse(_ text: String) {
        refusal = .tls(text)
    }

    func verifyPeer(_ alert: UnsafeMutablePointer<UInt8>?) -> ssl_verify_result_t {
        do throws(TLSCertificate.Refusal) {
            var name: UnsafePointer<UInt8>?
            var count: CUnsignedInt = 0
            SSL_get0_alpn_selected(ssl, &name, &count)
            guard count > 0 else {
                throw TLSCertificate.Refusal("no ALPN protocol was agreed", alert: SSL_AD_NO_APPLICATION_PROTOCOL)
            }
            guard let chain = SSL_get0_peer_certificates(ssl), OPENSSL_sk_num(chain) == 1,
                let certificate = OPENSSL_sk_value(chain, 0)
            else { throw TLSCertificate.Refusal("not exactly one certificate") }
            peerKey = try TLSCertificate.check(
                OpaquePointer(certificate), expectedPeer: expectedPeer, at: Int64(Date().timeIntervalSince1970))
            return ssl_verify_ok
        } catch {
            refusal = error.violation
            alert?.pointee = error.alert
            return ssl_verify_invalid
        }
    }

    // MARK: BoringSSL's bytes

    /// The transport beneath BoringSSL: a BIO over the buffers that the engine was lent. Freed by the context.
    static func makeTransport() -> OpaquePointer? {
        guard let method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "lent buffers") else { return nil }
        BIO_meth_set_read(method) { bio, target, count in
            guard let bio, let target, let reference = BIO_get_data(bio) else { return -1 }
            BIO_clear_retry_flags(bio)
            let engine = Unmanaged<TLSEngine>.fromOpaque(reference).takeUnretainedValue()
            let taken = engine.take(UnsafeMutableRawBufferPointer(start: target, count: Int(count)))
            guard taken > 0 else {
                BIO_set_retry_read(bio)
                return -1
            }
            return CInt(taken)
        }
        BIO_meth_set_write(method) { bio, source, count in
            guard let bio, let source, count >= 0, let reference = BIO_get_data(bio) else { return -1 }
            BIO_clear_retry_flags(bio)
            let engine = Unmanaged<TLSEngine>.fromOpaque(reference).takeUnretainedValue()
            engine.output.writeBytes(UnsafeRawBufferPointer(start: source, count: Int(count)))
            return count
        }
        BIO_meth_set_ctrl(method) { _, command, _, _ in
            command == BIO_CTRL_FLUSH ? 1 : 0
        }
        return method
    }

    private func take(_ target: UnsafeMutableRawBufferPointer) -> Int {
        input.readWithUnsafeReadableBytes { available in
            let count = min(available.count, target.count)
            target.copyMemory(from: UnsafeRawBufferPointer(rebasing: available[..<count]))
            return count
        }
    }
}
