// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Testing
import TuttiBase
import TuttiConnection
import TuttiIdentity
import TuttiTransport

/// What TLS must refuse, and how it says so.
@Suite("TLS refusals")
struct TLSRefusalTests {
    private static let stranger = KeyPair(seed: Bytes32(words: (9, 9, 9, 9)))

    private func contents(_ change: (inout TLSCertificate.Contents) -> Void) -> TLSCertificate.Contents {
        var contents = TLSCertificate.Contents(identity: Self.stranger)
        change(&contents)
        return contents
    }

    /// What the dialer throws when the listener shows this certificate, and the listener when the dialer does.
    private func refusals(_ certificate: TLSCertificate) throws -> [ConnectionViolation?] {
        let context = try TLSContext(certificate: certificate, muxers: [.yamux])
        let listening = try TLSPair(listener: context)
        let dialling = try TLSPair(dialer: context)
        return [listening.refusals().dialer, dialling.refusals().listener]
    }

    private func expect(
        _ text: String, _ change: (inout TLSCertificate.Contents) -> Void,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let certificate = try TLSCertificate(contents(change))
        #expect(try refusals(certificate) == [.tls(text), .tls(text)], sourceLocation: sourceLocation)
    }

    @Test("Another peer than the expected one is refused on both sides, and told so by an alert")
    func wrongPeer() throws {
        let expected = Self.stranger.peerID
        let dialling = try TLSPair(dialerExpects: expected).refusals()
        #expect(dialling.dialer == .wrongPeer(expected: expected, actual: TLSPair.listenerKey.peerID))
        #expect(dialling.listener == .tls("SSLV3_ALERT_BAD_CERTIFICATE"))
        let listening = try TLSPair(listenerExpects: expected).refusals()
        #expect(listening.listener == .wrongPeer(expected: expected, actual: TLSPair.dialerKey.peerID))
        #expect(listening.dialer == .tls("SSLV3_ALERT_BAD_CERTIFICATE"))
    }

    @Test("A dialer that shows no certificate is refused, and so is a listener that has none")
    func noCertificate() throws {
        let bare = try TLSContext(certificate: nil, muxers: [.yamux])
        let dialling = try TLSPair(dialer: bare).refusals()
        #expect(dialling.listener == .tls("PEER_DID_NOT_RETURN_A_CERTIFICATE"))
        let listening = try TLSPair(listener: bare)
        #expect(listening.refusals().dialer != nil)
        #expect(listening.dialerEstablished == nil && listening.listenerEstablished == nil)
    }

    @Test("A hello without ALPN, or with names that we don't have, is refused at once by an alert")
    func noProtocol() throws {
        func answer(_ change: (inout [UInt8]) -> Void) throws -> (ConnectionViolation?, alert: [UInt8]) {
            let pair = try TLSPair()
            try pair.dialer.start(into: &pair.toListener)
            var hello = Array(pair.toListener.readableBytesView)
            change(&hello)
            var changed = ByteBuffer(bytes: hello)
            do {
                try pair.feedListener(&changed)
                return (nil, [])
            } catch {
                return (error as? ConnectionViolation, Array(pair.toDialer.readableBytesView))
            }
        }
        func position(of text: String, in hello: [UInt8]) throws -> Int {
            let wanted = Array(text.utf8)
            return try #require(hello.indices.first { hello[$0...].starts(with: wanted) })
        }
        let unchanged = try answer { _ in }
        #expect(unchanged.0 == nil)
        var at = 0
        let unknown = try answer { hello in
            for name in ["libp2p", "/yamux"] {
                at = (try? position(of: name, in: hello)) ?? 0
                hello[at] ^= 1
            }
        }
        #expect(unknown.0 == .tls("no ALPN protocol in common"))
        #expect(unknown.alert == [21, 3, 3, 0, 2, 2, 120], "no_application_protocol")
        // Seven bytes before the first name stands the extension's number; 0x0A10 is nobody's.
        let none = try answer { hello in
            at = (try? position(of: "/yamux", in: hello)) ?? 7
            #expect(hello[(at - 7)...].starts(with: [0, 16]))
            hello[at - 7] = 0x0A
        }
        #expect(none.0 == .tls("no ALPN protocol was offered"))
        #expect(none.alert == [21, 3, 1, 0, 2, 2, 40], "handshake_failure")
    }

    @Test("A certificate that is not valid yet, or no more, is refused")
    func dates() throws {
        try expect("certificate has expired") { $0.notAfter = 1_500_000_000 }
        try expect("certificate is not yet valid") { $0.notBefore = 60_000_000_000 }
    }

    @Test("A certificate without the libp2p extension, or with it twice or malformed, is refused")
    func extensions() throws {
        let identity = Self.stranger
        try expect("libp2p extension is missing") { $0.extensions = { _ in [] } }
        for value in [[], [0x30], [0x30, 0x00], [0x04, 0x00], [0x30, 0x80, 0x00, 0x00]] as [[UInt8]] {
            try expect("libp2p extension is malformed") {
                $0.extensions = { _ in [.init(oid: TLSCertificate.extensionOID, isCritical: false, value: value)] }
            }
        }
        try expect("libp2p extension is malformed") {
            $0.extensions = { spki in
                let right = TLSCertificate.signedKey(
                    publicKey: identity.publicKey.protobuf,
                    signature: identity.sign(TLSCertificate.signedMessage(for: spki)))
                return [.init(oid: TLSCertificate.extensionOID, isCritical: false, value: right + [0])]
            }
        }
        let twice = try? TLSCertificate(
            contents { contents in
                let once = contents.extensions
                contents.extensions = { once($0) + once($0) }
            })
        if let twice { #expect(try !refusals(twice).contains(nil)) }
    }

    @Test("The libp2p extension may be critical; an unknown critical extension is refused, an unknown other one not")
    func criticalExtensions() throws {
        func with(
            _ change: @escaping @Sendable ([TLSCertificate.Contents.Extension]) -> [TLSCertificate.Contents.Extension]
        ) throws -> [ConnectionViolation?] {
            try refusals(
                TLSCertificate(
                    contents { contents in
                        let usual = contents.extensions
                        contents.extensions = { change(usual($0)) }
                    }))
        }
        #expect(
            try with { usual in
                usual.map { .init(oid: $0.oid, isCritical: true, value: $0.value) }
            } == [nil, nil])
        let unknown = "1.3.6.1.4.1.53594.9.9"
        #expect(try with { $0 + [.init(oid: unknown, isCritical: false, value: [5, 0])] } == [nil, nil])
        let refused = ConnectionViolation.tls("unknown critical extension")
        #expect(try with { $0 + [.init(oid: unknown, isCritical: true, value: [5, 0])] } == [refused, refused])
        #expect(try with { [.init(oid: unknown, isCritical: true, value: [5, 0])] + $0 } == [refused, refused])
        // keyUsage: a key that may sign passes, one for certificates alone does not.
        #expect(try with { $0 + [.init(oid: "2.5.29.15", isCritical: true, value: [3, 2, 7, 0x80])] } == [nil, nil])
        let unable = try TLSCertificate(
            contents { contents in
                let usual = contents.extensions
                contents.extensions = { usual($0) + [.init(oid: "2.5.29.15", isCritical: true, value: [3, 2, 2, 4])] }
            })
        #expect(throws: ConnectionViolation.tls("certificate's key may not sign")) {
            try TLSCertificate.verify(unable.der, expectedPeer: nil, at: 1_700_000_000)
        }
    }

    @Test("An identity's signature by another key, or over another key, is refused")
    func forgedIdentity() throws {
        let identity = Self.stranger
        try expect("identity's signature is wrong") {
            $0.extensions = { spki in
                [
                    .init(
                        oid: TLSCertificate.extensionOID, isCritical: false,
                        value: TLSCertificate.signedKey(
                            publicKey: TLSPair.dialerKey.publicKey.protobuf,
                            signature: identity.sign(TLSCertificate.signedMessage(for: spki))))
                ]
            }
        }
        try expect("identity's signature is wrong") {
            $0.extensions = { _ in
                [
                    .init(
                        oid: TLSCertificate.extensionOID, isCritical: false,
                        value: TLSCertificate.signedKey(
                            publicKey: identity.publicKey.protobuf,
                            signature: identity.sign(TLSCertificate.signedMessage(for: [1, 2, 3]))))
                ]
            }
        }
    }

    @Test("A certificate whose own signature is wrong is refused")
    func forgedCertificate() throws {
        let genuine = try TLSCertificate(identity: Self.stranger)
        var der = genuine.der
        // The last byte belongs to the signature; the extension is left alone.
        der[der.count - 1] ^= 1
        #expect(
            try refusals(TLSCertificate(genuine, der: der))
                == [.tls("certificate's own signature is wrong"), .tls("certificate's own signature is wrong")])
    }

    @Test("Somebody else's certificate without its key is refused")
    func stolenCertificate() throws {
        let victim = try TLSCertificate(identity: Self.stranger)
        let own = try TLSCertificate(identity: TLSPair.dialerKey)
        #expect(throws: TLSError.self) {
            try TLSContext(certificate: TLSCertificate(own, der: victim.der), muxers: [])
        }
    }

    @Test("A certificate with a bit turned anywhere proves nothing")
    func damagedCertificate() throws {
        let der = try TLSCertificate(identity: Self.stranger).der
        #expect(try TLSCertificate.verify(der, expectedPeer: nil, at: 1_700_000_000) == Self.stranger.publicKey)
        for index in der.indices {
            var damaged = der
            damaged[index] ^= 0x04
            #expect(throws: ConnectionViolation.self) {
                try TLSCertificate.verify(damaged, expectedPeer: nil, at: 1_700_000_000)
            }
        }
    }

    @Test("A certificate cut anywhere, with bytes behind it, or over the limit proves nothing")
    func cutCertificate() throws {
        let der = try TLSCertificate(identity: Self.stranger).der
        for count in 0..<der.count {
            #expect(throws: ConnectionViolation.self) {
                try TLSCertificate.verify(Array(der.prefix(count)), expectedPeer: nil, at: 1_700_000_000)
            }
        }
        #expect(throws: ConnectionViolation.tls("certificate is malformed")) {
            try TLSCertificate.verify(der + [0], expectedPeer: nil, at: 1_700_000_000)
        }
        #expect(throws: ConnectionViolation.tls("certificate is over the limit")) {
            try TLSCertificate.verify(
                [UInt8](repeating: 0x30, count: TLSCertificate.bytesMax + 1), expectedPeer: nil, at: 1_700_000_000)
        }
    }

    // MARK: The specification's certificates (tls/tls.md, "Test vectors")

    private static let ed25519 = bytes(
        """
        308201ae30820156a0030201020204499602d2300a06082a8648ce3d040302302031123010060355040a13096c6962703270\
        2e696f310a300806035504051301313020170d3735303130313133303030305a180f34303936303130313133303030305a30\
        2031123010060355040a13096c69627032702e696f310a300806035504051301313059301306072a8648ce3d020106082a86\
        48ce3d030107034200040c901d423c831ca85e27c73c263ba132721bb9d7a84c4f0380b2a6756fd601331c8870234dec8785\
        04c174144fa4b14b66a651691606d8173e55bd37e381569ea37c307a3078060a2b0601040183a25a0101046a306804240801\
        1220a77f1d92fedb59dddaea5a1c4abd1ac2fbde7d7b879ed364501809923d7c11b90440d90d2769db992d5e6195dbb08e70\
        6b6651e024fda6cfb8846694a435519941cac215a8207792e42849cccc6cd8136c6e4bde92a58c5e08cfd4206eb5fe0bf909\
        300a06082a8648ce3d0403020346003043021f50f6b6c52711a881778718238f650c9fb48943ae6ee6d28427dc6071ae55e7\
        02203625f116a7a454db9c56986c82a25682f7248ea1cb764d322ea983ed36a31b77
        """)
    private static let ecdsa = bytes(
        """
        308201f63082019da0030201020204499602d2300a06082a8648ce3d040302302031123010060355040a13096c6962703270\
        2e696f310a300806035504051301313020170d3735303130313133303030305a180f34303936303130313133303030305a30\
        2031123010060355040a13096c69627032702e696f310a300806035504051301313059301306072a8648ce3d020106082a86\
        48ce3d030107034200040c901d423c831ca85e27c73c263ba132721bb9d7a84c4f0380b2a6756fd601331c8870234dec8785\
        04c174144fa4b14b66a651691606d8173e55bd37e381569ea381c23081bf3081bc060a2b0601040183a25a01010481ad3081\
        aa045f0803125b3059301306072a8648ce3d020106082a8648ce3d03010703420004bf30511f909414ebdd3242178fd290f0\
        93a551cf75c973155de0bb5a96fedf6cb5d52da7563e794b512f66e60c7f55ba8a3acf3dd72a801980d205e8a1ad29f20447\
        30450220064ea8124774caf8f50e57f436aa62350ce652418c019df5d98a3ac666c9386a022100aa59d704a931b5f72fb922\
        2cb6cc51f954d04a4e2e5450f8805fe8918f71eaae300a06082a8648ce3d04030203470030440220799395b0b6c1e940a7e4\
        484705f610ab51ed376f19ff9d7c16757cfbf61b8d4302206205c03fbb0f95205c779be86581d3e31c01871ad5d1f3435bcf\
        375cb0e5088a
        """)
    private static let secp256k1 = bytes(
        """
        308201ba3082015fa0030201020204499602d2300a06082a8648ce3d040302302031123010060355040a13096c6962703270\
        2e696f310a300806035504051301313020170d3735303130313133303030305a180f34303936303130313133303030305a30\
        2031123010060355040a13096c69627032702e696f310a300806035504051301313059301306072a8648ce3d020106082a86\
        48ce3d030107034200040c901d423c831ca85e27c73c263ba132721bb9d7a84c4f0380b2a6756fd601331c8870234dec8785\
        04c174144fa4b14b66a651691606d8173e55bd37e381569ea38184308181307f060a2b0601040183a25a01010471306f0425\
        080212210206dc6968726765b820f050263ececf7f71e4955892776c0970542efd689d2382044630440220145e15a991961f\
        0d08cd15425bb95ec93f6ffa03c5a385eedc34ecf464c7a8ab022026b3109b8a3f40ef833169777eb2aa337cfb6282f188de\
        0666d1bcec2a4690dd300a06082a8648ce3d0403020349003046022100e1a217eeef9ec9204b3f774a08b70849646b6a1e6b\
        8b27f93dc00ed58545d9fe022100b00dafa549d0f03547878338c7b15e7502888f6d45db387e5ae6b5d46899cef0
        """)
    private static let mismatched = bytes(
        """
        308201f73082019da0030201020204499602d2300a06082a8648ce3d040302302031123010060355040a13096c6962703270\
        2e696f310a300806035504051301313020170d3735303130313133303030305a180f34303936303130313133303030305a30\
        2031123010060355040a13096c69627032702e696f310a300806035504051301313059301306072a8648ce3d020106082a86\
        48ce3d030107034200040c901d423c831ca85e27c73c263ba132721bb9d7a84c4f0380b2a6756fd601331c8870234dec8785\
        04c174144fa4b14b66a651691606d8173e55bd37e381569ea381c23081bf3081bc060a2b0601040183a25a01010481ad3081\
        aa045f0803125b3059301306072a8648ce3d020106082a8648ce3d03010703420004bf30511f909414ebdd3242178fd290f0\
        93a551cf75c973155de0bb5a96fedf6cb5d52da7563e794b512f66e60c7f55ba8a3acf3dd72a801980d205e8a1ad29f20447\
        3045022100bb6e03577b7cc7a3cd1558df0da2b117dfdcc0399bc2504ebe7de6f65cade72802206de96e2a5be9b6202adba2\
        4ee0362e490641ac45c240db71fe955f2c5cf8df6e300a06082a8648ce3d0403020348003045022100e847f267f43717358f\
        850355bdcabbefb2cfbf8a3c043b203a14788a092fe8db022027c1d04a2d41fd6b57a7e8b3989e470325de4406e52e084e34\
        a3fd56eef0d0df
        """)

    @Test(
        "The specification's certificates prove the ids that it gives",
        arguments: [
            (ed25519, "12D3KooWM6CgA9iBFZmcYAHA6A2qvbAxqfkmrYiRQuz3XEsk4Ksv"),
            (ecdsa, "QmfXbAwNjJLXfesgztEHe8HwgVDCMMpZ9Eax1HYq6hn9uE"),
            (secp256k1, "16Uiu2HAkutTMoTzDw1tCvSRtu6YoixJwS46S1ZFxW8hSx9fWHiPs"),
        ])
    func vectors(der: [UInt8], id: String) throws {
        let expected = try PeerID(text: id)
        #expect(try TLSCertificate.verify(der, expectedPeer: expected, at: 1_700_000_000).peerID == expected)
    }

    @Test("The specification's invalid certificate proves nothing")
    func invalidVector() {
        #expect(throws: ConnectionViolation.tls("identity's signature is wrong")) {
            try TLSCertificate.verify(Self.mismatched, expectedPeer: nil, at: 1_700_000_000)
        }
    }

    private static func bytes(_ text: String) -> [UInt8] {
        var result: [UInt8] = []
        var rest = text[...]
        while !rest.isEmpty {
            result.append(UInt8(rest.prefix(2), radix: 16) ?? 0)
            rest = rest.dropFirst(2)
        }
        return result
    }
}
