// SPDX-License-Identifier: Apache-2.0
import CNIOBoringSSL
import TuttiBase
package import TuttiConnection
package import TuttiIdentity

import struct NIOCore.ByteBuffer

/// The environment's failure to make keys, certificates or contexts; never a peer's doing.
package struct TLSError: Error, Sendable, CustomStringConvertible {
    /// BoringSSL's packed code, 0 when it gave none.
    package let code: UInt32
    /// What could not be done.
    package let message: String
    /// BoringSSL's reason, if it gave one.
    package let cause: String?

    package var description: String {
        cause.map { "\(message): \($0)" } ?? message
    }

    /// Takes BoringSSL's reason off this thread's queue.
    init(_ message: String) {
        code = ERR_peek_last_error()
        cause = TLSError.reason(of: code)
        self.message = message
        ERR_clear_error()
    }

    static func reason(of code: UInt32) -> String? {
        guard code != 0, let text = ERR_reason_error_string(code) else { return nil }
        return String(cString: text)
    }
}

/// A self-signed certificate that carries a libp2p identity, with the key it certifies.
///
/// Follows libp2p/specs tls/tls.md, "Peer Authentication" and "libp2p Public Key Extension": the key is a fresh P-256
/// one, unrelated to the identity; the extension 1.3.6.1.4.1.53594.1.1 holds the identity's public key and its
/// signature over `libp2p-tls-handshake:` and the certificate's SubjectPublicKeyInfo.
///
/// @unchecked Sendable: BoringSSL counts the key's references atomically, and nothing alters it after `init`.
package final class TLSCertificate: @unchecked Sendable {
    package static let extensionOID = "1.3.6.1.4.1.53594.1.1"
    static let signaturePrefix: StaticString = "libp2p-tls-handshake:"
    /// A certificate with an RSA identity of 8,192 bits and an RSA key of 4,096 needs about 3.5 KiB.
    package static let bytesMax = 8 * 1024

    package let der: [UInt8]
    let key: OpaquePointer

    /// What goes into a certificate beside its key. The defaults make the certificate that a node presents.
    package struct Contents: Sendable {
        package struct Extension: Sendable {
            package var oid: String
            package var isCritical: Bool
            package var value: [UInt8]

            package init(oid: String, isCritical: Bool, value: [UInt8]) {
                self.oid = oid
                self.isCritical = isCritical
                self.value = value
            }
        }

        /// Seconds since 1970. From 1975 to 4096, so that a wrong clock breaks nothing and no certificate shows when
        /// its node was started.
        package var notBefore: Int64 = 157_766_400
        package var notAfter: Int64 = 67_090_118_400
        /// What follows from the identity and the certificate's key.
        package var extensions: @Sendable (_ subjectPublicKeyInfo: [UInt8]) -> [Extension]

        package init(identity: KeyPair) {
            extensions = { spki in
                [
                    Extension(
                        oid: TLSCertificate.extensionOID, isCritical: false,
                        value: TLSCertificate.signedKey(
                            publicKey: identity.publicKey.protobuf,
                            signature: identity.sign(TLSCertificate.signedMessage(for: spki))))
                ]
            }
        }
    }

    package convenience init(identity: KeyPair) throws(TLSError) {
        try self.init(Contents(identity: identity))
    }

    package init(_ contents: Contents) throws(TLSError) {
        key = try TLSCertificate.makeKey()
        do throws(TLSError) {
            der = try TLSCertificate.make(contents, key: key)
        } catch {
            EVP_PKEY_free(key)
            throw error
        }
    }

    /// Other bytes than its own with the same key: what a forger would present.
    package init(_ other: TLSCertificate, der: [UInt8]) {
        EVP_PKEY_up_ref(other.key)
        key = other.key
        self.der = der
    }

    deinit {
        EVP_PKEY_free(key)
    }

    // MARK: Making one

    private static func makeKey() throws(TLSError) -> OpaquePointer {
        guard let curve = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1) else { throw TLSError("no P-256 curve") }
        defer { EC_KEY_free(curve) }
        guard EC_KEY_generate_key(curve) == 1, let key = EVP_PKEY_new() else { throw TLSError("no P-256 key") }
        guard EVP_PKEY_set1_EC_KEY(key, curve) == 1 else {
            EVP_PKEY_free(key)
            throw TLSError("no P-256 key")
        }
        return key
    }

    private static func make(_ contents: Contents, key: OpaquePointer) throws(TLSError) -> [UInt8] {
        guard let certificate = X509_new() else { throw TLSError("no certificate") }
        defer { X509_free(certificate) }
        let name = X509_get_subject_name(certificate)
        guard X509_set_version(certificate, CLong(X509_VERSION_3)) == 1,
            setSerialNumber(of: certificate),
            X509_NAME_add_entry_by_txt(name, "O", MBSTRING_UTF8, "libp2p.io", -1, -1, 0) == 1,
            X509_set_issuer_name(certificate, name) == 1,
            ASN1_TIME_set_posix(X509_getm_notBefore(certificate), contents.notBefore) != nil,
            ASN1_TIME_set_posix(X509_getm_notAfter(certificate), contents.notAfter) != nil,
            X509_set_pubkey(certificate, key) == 1,
            let spki = encoded({ i2d_PUBKEY(key, $0) })
        else { throw TLSError("the certificate's fields can't be set") }
        for item in contents.extensions(spki) {
            guard add(item, to: certificate) else { throw TLSError("the certificate's extension can't be set") }
        }
        guard X509_sign(certificate, key, EVP_sha256()) > 0, let der = encoded({ i2d_X509(certificate, $0) }) else {
            throw TLSError("the certificate can't be signed")
        }
        return der
    }

    private static func setSerialNumber(of certificate: OpaquePointer?) -> Bool {
        guard let number = ASN1_INTEGER_new() else { return false }
        defer { ASN1_INTEGER_free(number) }
        let value = Int64(UInt64.random(in: 1...UInt64(Int64.max)))
        return ASN1_INTEGER_set_int64(number, value) == 1 && X509_set_serialNumber(certificate, number) == 1
    }

    private static func add(_ item: Contents.Extension, to certificate: OpaquePointer?) -> Bool {
        guard let oid = OBJ_txt2obj(item.oid, 1) else { return false }
        defer { ASN1_OBJECT_free(oid) }
        guard let value = ASN1_OCTET_STRING_new() else { return false }
        defer { ASN1_OCTET_STRING_free(value) }
        guard ASN1_OCTET_STRING_set(value, item.value, CInt(item.value.count)) == 1,
            let made = X509_EXTENSION_create_by_OBJ(nil, oid, item.isCritical ? 1 : 0, value)
        else { return false }
        defer { X509_EXTENSION_free(made) }
        return X509_add_ext(certificate, made, -1) == 1
    }

    /// The bytes that one of BoringSSL's `i2d` functions makes.
    private static func encoded(
        _ encode: (UnsafeMutablePointer<UnsafeMutablePointer<UInt8>?>?) -> CInt
    ) -> [UInt8]? {
        var memory: UnsafeMutablePointer<UInt8>?
        let count = encode(&memory)
        guard count > 0, let memory else { return nil }
        defer { OPENSSL_free(memory) }
        return Array(UnsafeBufferPointer(start: memory, count: Int(count)))
    }

    package static func signedMessage(for subjectPublicKeyInfo: [UInt8]) -> [UInt8] {
        signaturePrefix.withUTF8Buffer { Array($0) } + subjectPublicKeyInfo
    }

    /// DER of `SignedKey ::= SEQUENCE { publicKey OCTET STRING, signature OCTET STRING }`.
    package static func signedKey(publicKey: [UInt8], signature: [UInt8]) -> [UInt8] {
        element(0x30, element(0x04, publicKey) + element(0x04, signature))
    }

    private static func element(_ tag: UInt8, _ content: [UInt8]) -> [UInt8] {
        precondition(content.count <= UInt16.max, "our own keys and signatures are short")
        switch content.count {
        case ..<0x80: return [tag, UInt8(content.count)] + content
        case ..<0x100: return [tag, 0x81, UInt8(content.count)] + content
        default: return [tag, 0x82, UInt8(content.count >> 8), UInt8(content.count & 0xFF)] + content
        }
    }

    // MARK: Checking one

    /// Why a certificate was refused, and the alert (RFC 8446 section 6.2) that tells the peer.
    struct Refusal: Error {
        let violation: ConnectionViolation
        let alert: UInt8

        init(_ text: String, alert: CInt = SSL_AD_BAD_CERTIFICATE) {
            violation = .tls(text)
            self.alert = UInt8(truncatingIfNeeded: alert)
        }

        init(expected: PeerID, actual: PeerID) {
            violation = .wrongPeer(expected: expected, actual: actual)
            alert = UInt8(truncatingIfNeeded: SSL_AD_BAD_CERTIFICATE)
        }
    }

    /// The identity that the certificate proves.
    /// - Parameter now: seconds since 1970.
    package static func verify(
        _ der: [UInt8], expectedPeer: PeerID?, at now: Int64
    ) throws(ConnectionViolation) -> PublicKey {
        do throws(Refusal) {
            guard der.count <= bytesMax else { throw Refusal("certificate is over the limit") }
            guard let buffer = CRYPTO_BUFFER_new(der, der.count, nil) else { throw Refusal("certificate is malformed") }
            defer { CRYPTO_BUFFER_free(buffer) }
            return try check(buffer, expectedPeer: expectedPeer, at: now)
        } catch {
            throw error.violation
        }
    }

    /// Cheap checks first; the certificate's own signature and the identity's come last.
    static func check(
        _ buffer: OpaquePointer, expectedPeer: PeerID?, at now: Int64
    ) throws(Refusal) -> PublicKey {
        defer { ERR_clear_error() }
        guard CRYPTO_BUFFER_len(buffer) <= bytesMax else { throw Refusal("certificate is over the limit") }
        guard let certificate = X509_parse_from_buffer(buffer) else { throw Refusal("certificate is malformed") }
        defer { X509_free(certificate) }
        try checkDates(certificate, at: now)
        var issuerUID: UnsafePointer<ASN1_BIT_STRING>?
        var subjectUID: UnsafePointer<ASN1_BIT_STRING>?
        X509_get0_uids(certificate, &issuerUID, &subjectUID)
        guard issuerUID == nil, subjectUID == nil else { throw Refusal("certificate has unique ids") }
        let extensionValue = try findIdentity(certificate)
        guard let parsed = SignedKey(der: extensionValue) else { throw Refusal("libp2p extension is malformed") }
        let identity: PublicKey
        do {
            identity = try PublicKey(protobuf: ByteBuffer(bytes: parsed.publicKey))
        } catch {
            throw Refusal("libp2p extension's key: \(error)")
        }
        guard let key = X509_get0_pubkey(certificate), X509_verify(certificate, key) == 1 else {
            throw Refusal("certificate's own signature is wrong", alert: SSL_AD_DECRYPT_ERROR)
        }
        guard let spki = encoded({ i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), $0) }),
            identity.isValidSignature(parsed.signature, for: signedMessage(for: spki))
        else { throw Refusal("identity's signature is wrong", alert: SSL_AD_DECRYPT_ERROR) }
        let peer = identity.peerID
        if let expectedPeer, expectedPeer != peer { throw Refusal(expected: expectedPeer, actual: peer) }
        return identity
    }

    private static func checkDates(_ certificate: OpaquePointer, at now: Int64) throws(Refusal) {
        // Zero says that the date can't be read; equality counts as before.
        let start = X509_cmp_time_posix(X509_get0_notBefore(certificate), now)
        let end = X509_cmp_time_posix(X509_get0_notAfter(certificate), now)
        guard start != 0, end != 0 else { throw Refusal("certificate's dates are malformed") }
        guard start < 0 else { throw Refusal("certificate is not yet valid", alert: SSL_AD_CERTIFICATE_EXPIRED) }
        guard end > 0 else { throw Refusal("certificate has expired", alert: SSL_AD_CERTIFICATE_EXPIRED) }
    }

    /// The value of the libp2p extension, which may or may not be critical; any other critical extension must be one
    /// that we understand.
    private static func findIdentity(_ certificate: OpaquePointer) throws(Refusal) -> [UInt8] {
        guard let wanted = OBJ_txt2obj(extensionOID, 1) else { throw Refusal("libp2p extension can't be looked for") }
        defer { ASN1_OBJECT_free(wanted) }
        var found: [UInt8]?
        for index in 0..<X509_get_ext_count(certificate) {
            guard let item = X509_get_ext(certificate, index) else { throw Refusal("certificate is malformed") }
            let oid = X509_EXTENSION_get_object(item)
            if OBJ_cmp(oid, wanted) == 0 {
                guard found == nil, let value = X509_EXTENSION_get_data(item),
                    let bytes = ASN1_STRING_get0_data(value)
                else { throw Refusal("libp2p extension is malformed or there twice") }
                found = Array(UnsafeBufferPointer(start: bytes, count: Int(ASN1_STRING_length(value))))
            } else if X509_EXTENSION_get_critical(item) == 1 {
                switch OBJ_obj2nid(oid) {
                case NID_key_usage, NID_basic_constraints, NID_ext_key_usage: continue
                default:
                    throw Refusal("unknown critical extension", alert: SSL_AD_UNSUPPORTED_CERTIFICATE)
                }
            }
        }
        // All bits are set when there is no such extension.
        guard X509_get_key_usage(certificate) & UInt32(X509v3_KU_DIGITAL_SIGNATURE) != 0 else {
            throw Refusal("certificate's key may not sign", alert: SSL_AD_UNSUPPORTED_CERTIFICATE)
        }
        guard let found else { throw Refusal("libp2p extension is missing") }
        return found
    }

    /// The libp2p extension's value. DER, definite lengths, nothing behind.
    private struct SignedKey {
        let publicKey: [UInt8]
        let signature: [UInt8]

        init?(der: [UInt8]) {
            let parts: (UnsafeBufferPointer<UInt8>) -> ([UInt8], [UInt8])? = { bytes in
                var whole = CBS()
                var sequence = CBS()
                var publicKey = CBS()
                var signature = CBS()
                CBS_init(&whole, bytes.baseAddress, bytes.count)
                guard CBS_get_asn1(&whole, &sequence, CBS_ASN1_TAG(0x2000_0010)) == 1, CBS_len(&whole) == 0,
                    CBS_get_asn1(&sequence, &publicKey, 4) == 1, CBS_get_asn1(&sequence, &signature, 4) == 1,
                    CBS_len(&sequence) == 0
                else { return nil }
                return (
                    Array(UnsafeBufferPointer(start: CBS_data(&publicKey), count: CBS_len(&publicKey))),
                    Array(UnsafeBufferPointer(start: CBS_data(&signature), count: CBS_len(&signature)))
                )
            }
            guard let (publicKey, signature) = der.withUnsafeBufferPointer(parts) else { return nil }
            self.publicKey = publicKey
            self.signature = signature
        }
    }
}
