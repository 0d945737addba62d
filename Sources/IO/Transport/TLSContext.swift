// SPDX-License-Identifier: Apache-2.0
import CNIOBoringSSL
package import TuttiBase
package import TuttiIdentity

/// What all TLS connections of a node share: its certificate and BoringSSL's configuration.
///
/// Follows libp2p/specs tls/tls.md and connections/inlined-muxer-negotiation.md: TLS 1.3 only, both sides show a
/// certificate, the multiplexers are offered by ALPN with `libp2p` last, no server name is sent. Sessions are never
/// resumed. Only X25519 is offered, so that a hello fits one small segment; AES-128-GCM comes first where the processor
/// has it, ChaCha20-Poly1305 where not.
///
/// Sendable: an `SSL_CTX` may be shared by threads once it is configured, and nothing here is altered after `init`.
package final class TLSContext: Sendable {
    /// Stands for "no multiplexer was agreed": multistream-select follows.
    static let plainProtocol: ProtocolID = "libp2p"
    /// A peer that sends more handshake data than one certificate needs is refused.
    private static let certificateListBytesMax = 12 * 1024

    private let certificate: TLSCertificate?
    /// Best first, without `libp2p`.
    let muxers: [ProtocolID]
    /// Guarded by BoringSSL's own reference counting; see above.
    nonisolated(unsafe) let context: OpaquePointer
    /// Written once by `init`.
    nonisolated(unsafe) let transport: OpaquePointer

    package convenience init(identity: KeyPair, muxers: [ProtocolID] = [.yamux]) throws {
        try self.init(certificate: try TLSCertificate(identity: identity), muxers: muxers)
    }

    /// - Parameter certificate: none makes what a peer that breaks the rules would use.
    package init(certificate: TLSCertificate?, muxers: [ProtocolID]) throws {
        guard let context = SSL_CTX_new(TLS_with_buffers_method()) else { throw TLSError("no TLS context") }
        guard let transport = TLSEngine.makeTransport() else {
            SSL_CTX_free(context)
            throw TLSError("no TLS transport")
        }
        self.certificate = certificate
        self.muxers = muxers
        self.context = context
        self.transport = transport
        try configure()
    }

    deinit {
        SSL_CTX_free(context)
        BIO_meth_free(transport)
    }

    /// - Parameter name: as it stands in a hello.
    func accepts(_ name: UnsafeBufferPointer<UInt8>) -> Bool {
        name.elementsEqual(TLSContext.plainProtocol.name.utf8)
            || muxers.contains { name.elementsEqual($0.name.utf8) }
    }

    private func configure() throws(TLSError) {
        guard SSL_CTX_set_min_proto_version(context, UInt16(TLS1_3_VERSION)) == 1,
            SSL_CTX_set_max_proto_version(context, UInt16(TLS1_3_VERSION)) == 1
        else { throw TLSError("no TLS 1.3") }
        SSL_CTX_set_options(context, UInt32(SSL_OP_NO_TICKET))
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF)
        SSL_CTX_set_max_cert_list(context, TLSContext.certificateListBytesMax)
        // After a handshake only what sealing and opening need is kept.
        SSL_CTX_set_mode(context, UInt32(SSL_MODE_RELEASE_BUFFERS))
        SSL_CTX_set_retain_only_sha256_of_client_certs(context, 1)

        let groups = [UInt16(SSL_GROUP_X25519)]
        // Ed25519 is in some libp2p implementations' certificates and not in BoringSSL's default list.
        let signatures = [
            SSL_SIGN_ECDSA_SECP256R1_SHA256, SSL_SIGN_ED25519, SSL_SIGN_ECDSA_SECP384R1_SHA384,
            SSL_SIGN_RSA_PSS_RSAE_SHA256, SSL_SIGN_RSA_PSS_RSAE_SHA384, SSL_SIGN_RSA_PSS_RSAE_SHA512,
        ].map { UInt16($0) }
        guard SSL_CTX_set_num_tickets(context, 0) == 1,
            SSL_CTX_set1_group_ids(context, groups, groups.count) == 1,
            SSL_CTX_set_verify_algorithm_prefs(context, signatures, signatures.count) == 1
        else { throw TLSError("TLS algorithms can't be set") }

        if let certificate { try setCertificate(certificate) }
        try setProtocols()
        SSL_CTX_set_custom_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT) { ssl, alert in
            guard let engine = TLSEngine.of(ssl) else { return ssl_verify_invalid }
            return engine.verifyPeer(alert)
        }
    }

    private func setCertificate(_ certificate: TLSCertificate) throws(TLSError) {
        let buffer = CRYPTO_BUFFER_new(certificate.der, certificate.der.count, nil)
        defer { CRYPTO_BUFFER_free(buffer) }
        var chain: [OpaquePointer?] = [buffer]
        guard buffer != nil, SSL_CTX_set_chain_and_key(context, &chain, 1, certificate.key, nil) == 1 else {
            throw TLSError("the certificate can't be used")
        }
    }

    private func setProtocols() throws(TLSError) {
        var list: [UInt8] = []
        for item in muxers + [TLSContext.plainProtocol] {
            guard let length = UInt8(exactly: item.name.utf8.count), length > 0 else {
                throw TLSError("\(item) is no ALPN name")
            }
            list.append(length)
            list.append(contentsOf: item.name.utf8)
        }
        // This one function returns zero for success.
        guard SSL_CTX_set_alpn_protos(context, list, list.count) == 0 else { throw TLSError("ALPN can't be set") }
        // A hello without ALPN never gets to the callback below. Refused here, it costs no key and no signature.
        SSL_CTX_set_select_certificate_cb(context) { hello in
            var content: UnsafePointer<UInt8>?
            var count = 0
            let type = UInt16(TLSEXT_TYPE_application_layer_protocol_negotiation)
            guard let hello, let engine = TLSEngine.of(hello.pointee.ssl) else { return ssl_select_cert_error }
            guard SSL_early_callback_ctx_extension_get(hello, type, &content, &count) == 1 else {
                engine.refuse("no ALPN protocol was offered")
                return ssl_select_cert_error
            }
            return ssl_select_cert_success
        }
        SSL_CTX_set_alpn_select_cb(
            context,
            { ssl, chosen, chosenLength, offered, offeredLength, _ in
                guard let engine = TLSEngine.of(ssl), let chosen, let chosenLength else {
                    return SSL_TLSEXT_ERR_ALERT_FATAL
                }
                let offer = UnsafeBufferPointer(start: offered, count: Int(offeredLength))
                guard let name = engine.chooseProtocol(offer) else { return SSL_TLSEXT_ERR_ALERT_FATAL }
                chosen.pointee = name.baseAddress
                chosenLength.pointee = UInt8(truncatingIfNeeded: name.count)
                return SSL_TLSEXT_ERR_OK
            }, nil)
    }
}
