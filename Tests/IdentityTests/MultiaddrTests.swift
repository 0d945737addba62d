// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity

@Suite("Addresses")
struct MultiaddrTests {
    static let golden: [(text: String, hex: String)] = [
        ("/ip4/127.0.0.1/udp/1234", "047f000001910204d2"),
        ("/ip4/127.0.0.1/tcp/4321", "047f0000010610e1"),
        ("/ip4/0.0.0.0/tcp/0", "0400000000060000"),
        (
            "/ip6/2001:8a0:7ac5:4201:3ac9:86ff:fe31:7095/tcp/8000/ws/p2p/"
                + "QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC",
            "29200108a07ac542013ac986fffe317095061f40dd03a503221220"
                + "d52ebb89d85b02a284948203a62ff28389c57c9f42beec4ec20db76a68911c0b"
        ),
        ("/ip6zone/eth0/ip6/fe80::1/tcp/80", "2a0465746830" + "29fe800000000000000000000000000001" + "060050"),
        ("/unix/stdio", "9003062f737464696f"),
        ("/unix/a/b/c/d/e/f", "90030c2f612f622f632f642f652f66"),
        ("/dns/example.com", "350b6578616d706c652e636f6d"),
        (
            "/dns4/example.com/tcp/443/tls/sni/example.com/ws",
            "360b6578616d706c652e636f6d" + "0601bb" + "c003" + "c1030b6578616d706c652e636f6d" + "dd03"
        ),
        ("/dns6/example.com/tcp/443/wss", "370b6578616d706c652e636f6d" + "0601bb" + "de03"),
        ("/dnsaddr/bootstrap.libp2p.io", "3813626f6f7473747261702e6c69627032702e696f"),
        ("/ip4/1.2.3.4/tcp/1/noise", "0401020304" + "060001" + "c603"),
        ("/ip4/1.2.3.4/udp/1/quic", "0401020304" + "91020001" + "cc03"),
        ("/ip4/1.2.3.4/udp/1/quic-v1/webtransport", "0401020304" + "91020001" + "cd03" + "d103"),
        (
            "/ip4/1.2.3.4/udp/1/webrtc-direct/certhash/uEiAtcRZCtyawRAFifKn7rDL1yFMPsZA8xNsCJYcXkhpIgQ",
            "0401020304" + "91020001" + "9802" + "d20322"
                + "12202d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
        ),
        ("/p2p-circuit", "a202"),
        ("/memory/18446744073709551615", "8906ffffffffffffffff"),
        ("/ip4/1.2.3.4/tcp/80/http", "0401020304" + "060050" + "e003"),
    ]

    @Test("Known addresses have their known bytes, both ways", arguments: golden)
    func goldenBytes(text: String, hex: String) throws {
        let address = try Multiaddr(text: text)
        #expect(address.binary == KeyVectors.hex(hex))
        #expect(address.description == text)
        let decoded = try Multiaddr(binary: buffer(KeyVectors.hex(hex)))
        #expect(decoded == address)
        #expect(decoded.description == text)
        #expect(Multiaddr(components: decoded.components) == address)
    }

    @Test("An address cut anywhere is refused, or is the shorter address that these bytes are", arguments: golden)
    func cut(text: String, hex: String) throws {
        let whole = KeyVectors.hex(hex)
        for count in 0..<whole.count {
            let part = Array(whole[..<count])
            guard let address = try? Multiaddr(binary: buffer(part)) else { continue }
            #expect(address.binary == part)
            #expect(text.hasPrefix(address.description))
        }
        #expect(throws: DecodeError.self) { try Multiaddr(binary: buffer(Array(whole.dropLast()))) }
    }

    @Test("Damaged bytes are refused, or read and written back the same in bytes and in text", arguments: golden)
    func damaged(text: String, hex: String) throws {
        expectDamageRefusedOrKept(
            KeyVectors.hex(hex), seed: 11, { try Multiaddr(binary: buffer($0)) },
            { address in
                let copy = Multiaddr(address.description)
                return copy == address ? Multiaddr(components: address.components).binary : []
            })
    }

    @Test("Random addresses survive bytes and text", arguments: [1, 2, 3] as [UInt64])
    func roundTrip(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<300 {
            let components = (0..<Int.random(in: 1...8, using: &generator)).map { _ in component(&generator) }
            let address = Multiaddr(components: components)
            #expect(address.components == components)
            #expect(try Multiaddr(text: address.description) == address)
            #expect(try Multiaddr(binary: buffer(address.binary)) == address)
        }
    }

    private func component(_ generator: inout SeededGenerator) -> Multiaddr.Component {
        let plain: [Multiaddr.Component] = [
            .quicV1, .quic, .ws, .wss, .tls, .noise, .p2pCircuit, .webtransport, .webrtcDirect, .http,
        ]
        var source = KeySource.seeded(generator.split())
        switch Int.random(in: 0..<10, using: &generator) {
        case 0: return .ip4(UInt32.random(in: 0 ... .max, using: &generator))
        case 1:
            let masks: [UInt64] = [0, 0xFFFF, 0xFFFF_0000_FFFF, .max]
            let mask = masks.randomElement(using: &generator) ?? 0
            return .ip6(high: generator.next() & mask, low: generator.next() & mask)
        case 2: return .tcp(UInt16.random(in: 0 ... .max, using: &generator))
        case 3: return .udp(UInt16.random(in: 0 ... .max, using: &generator))
        case 4: return .p2p(KeyPair(from: &source).peerID)
        case 5: return .memory(generator.next())
        case 6: return .certhash(Multihash(sha256Of: source.nextBytes32().bytes).bytes)
        case 7: return .dns4("n\(generator.next()).example")
        default: return plain.randomElement(using: &generator) ?? .ws
        }
    }

    @Test(
        "Other spellings of an address are read, and written the usual way",
        arguments: [
            ("/ip4/127.0.0.1/tcp/80/", "/ip4/127.0.0.1/tcp/80"),
            (
                "/ipfs/QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC",
                "/p2p/QmcgpsyWgH8Y8ajJz1Cu72KnS5uo2Aa2LpzU7kinSupNKC"
            ),
            (
                "/p2p/bafzbeie5745rpv2m6tjyuugywy4d5ewrqgqqhfnf445he3omzpjbx5xqxe",
                "/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N"
            ),
            ("/ip6/2001:DB8:0:0::1", "/ip6/2001:db8::1"),
            ("/ip6/::FFFF:1.2.3.4", "/ip6/::ffff:1.2.3.4"),
            (
                "/certhash/f12202d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881",
                "/certhash/uEiAtcRZCtyawRAFifKn7rDL1yFMPsZA8xNsCJYcXkhpIgQ"
            ),
            ("/unix/a/", "/unix/a/"),
        ])
    func spellings(text: String, usual: String) throws {
        #expect(try Multiaddr(text: text).description == usual)
    }

    @Test(
        "What is no address is refused",
        arguments: [
            "", "/", "//", "ip4/1.2.3.4", "/ip4", "/ip4/", "/ip4/1.2.3", "/ip4/1.2.3.4.5", "/ip4/256.1.1.1",
            "/ip4/01.2.3.4", "/ip4/::1", "/ip6/1.2.3.4", "/ip6/:::", "/ip6/fe80::1%eth0", "/ip4/1.2.3.4/tcp",
            "/ip4/1.2.3.4/tcp/", "/ip4/1.2.3.4/tcp/65536", "/ip4/1.2.3.4/tcp/-1", "/ip4/1.2.3.4/tcp/+1",
            "/ip4/1.2.3.4/tcp/01", "/ip4/1.2.3.4//tcp/1", "/ip4/1.2.3.4/tcp/1//", "/ip4/1.2.3.4/sctp/1", "/TCP/1",
            "/p2p", "/p2p/", "/p2p/hello", "/dns", "/dns/", "/dns/a b", "/dns/\u{202E}moc", "/dns/\n", "/unix",
            "/unix/", "/memory/18446744073709551616", "/certhash/x", "/certhash/u", "/tcp/١",
        ])
    func refused(text: String) {
        #expect(Multiaddr(text) == nil)
    }

    @Test("Bytes that text could not carry are refused")
    func refusedBytes() {
        // A slash and a control character in a name, an empty name, invalid UTF-8, a relative path, a path not last.
        for hex in ["3503612f62", "3503610a62", "3500", "3502c328", "90030161", "9003022f61060001", "900300"] {
            #expect(throws: DecodeError.self) { try Multiaddr(binary: buffer(KeyVectors.hex(hex))) }
        }
        // A padded protocol code and a padded length.
        #expect(throws: DecodeError.malformed("varint (padded)")) {
            try Multiaddr(binary: buffer(KeyVectors.hex("86000001")))
        }
        #expect(throws: DecodeError.malformed("varint (padded)")) {
            try Multiaddr(binary: buffer(KeyVectors.hex("35810061")))
        }
        #expect(throws: DecodeError.unsupported("multiaddr protocol")) {
            try Multiaddr(binary: buffer(KeyVectors.hex("84010001")))
        }
        #expect(throws: DecodeError.tooLarge("multiaddr name", limit: 253)) {
            try Multiaddr(binary: buffer(KeyVectors.hex("35ffffffffffffffff7f")))
        }
    }

    @Test("Bytes, text and components have limits")
    func limits() throws {
        let most = String(repeating: "/ws", count: IdentityLimits.multiaddrComponentsMax)
        let address = try Multiaddr(text: most)
        #expect(try Multiaddr(binary: buffer(address.binary)) == address)
        let error = DecodeError.tooLarge("multiaddr components", limit: IdentityLimits.multiaddrComponentsMax)
        #expect(throws: error) { try Multiaddr(text: most + "/ws") }
        #expect(throws: error) { try Multiaddr(binary: buffer(address.binary + [0xDD, 0x03])) }
        let name = String(repeating: "a", count: 253)
        #expect(Multiaddr("/dns/\(name)") != nil)
        #expect(Multiaddr("/dns/\(name)a") == nil)
        let long = String(repeating: "/dns/\(name)", count: 5)
        #expect(throws: DecodeError.tooLarge("multiaddr", limit: 1_024)) { try Multiaddr(text: long) }
        #expect(throws: DecodeError.tooLarge("multiaddr text", limit: 4_096)) {
            try Multiaddr(text: String(repeating: "/", count: 5_000_000))
        }
        #expect(throws: DecodeError.tooLarge("multiaddr", limit: 1_024)) {
            try Multiaddr(binary: buffer([UInt8](repeating: 0xFF, count: 1_025)))
        }
    }

    @Test("The peer id is taken from, added to and removed from an address")
    func peerIDs() throws {
        let id = KeyPair(seed: .zero).peerID
        let relay = try PeerID(text: "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N")
        let plain = try Multiaddr(text: "/ip4/192.0.2.1/tcp/4001")
        #expect(plain.peerID == nil)
        #expect(plain.withoutPeerID == plain)
        let full = plain.appending(.p2p(id))
        #expect(full.description == "/ip4/192.0.2.1/tcp/4001/p2p/\(id)")
        #expect(full.peerID == id)
        #expect(full.withoutPeerID == plain)
        let relayed = plain.appending(.p2p(relay)).appending(.p2pCircuit)
        #expect(relayed.peerID == relay)
        #expect(relayed.withoutPeerID == relayed)
        #expect(relayed.isRelayed && !full.isRelayed)
        #expect(relayed.appending(.p2p(id)).peerID == id)
        #expect(Multiaddr(components: [.p2p(id)]).withoutPeerID.isEmpty)
    }

    @Test("Order is that of the bytes")
    func order() throws {
        let low = try Multiaddr(text: "/ip4/9.0.0.1/tcp/1")
        let high = try Multiaddr(text: "/ip4/10.0.0.1/tcp/1")
        #expect(low < high && !(high < low) && !(low < low))
        #expect(Set([low, high, low]).count == 2)
    }

    @Test("Socket targets are found where there is a host and a TCP port, and nowhere else")
    func socketTargets() throws {
        func target(_ text: String) throws -> String? {
            try Multiaddr(text: text).socketTarget.map { "\($0.host) \($0.port) \($0.isName)" }
        }
        #expect(try target("/ip4/192.0.2.1/tcp/4001/ws") == "192.0.2.1 4001 false")
        #expect(try target("/ip6/2001:db8::1/tcp/1") == "2001:db8::1 1 false")
        #expect(try target("/ip6zone/eth0/ip6/fe80::1/tcp/1") == "fe80::1%eth0 1 false")
        #expect(try target("/dns4/example.com/tcp/443") == "example.com 443 true")
        #expect(try target("/dnsaddr/example.com") == nil)
        #expect(try target("/ip4/192.0.2.1/udp/4001/quic-v1") == nil)
        #expect(try target("/ip4/192.0.2.1") == nil)
        #expect(try target("/tcp/1/ip4/192.0.2.1") == nil)
        #expect(try target("/ip6zone/eth0") == nil)
        #expect(Multiaddr(components: []).socketTarget == nil)
    }

    @Test("A name is replaced by an address of its family")
    func resolving() throws {
        let v4 = try #require(IPAddress("192.0.2.1"))
        let v6 = try #require(IPAddress("2001:db8::1"))
        let dns = try Multiaddr(text: "/dns/example.com/tcp/1")
        #expect(dns.dnsName == "example.com")
        #expect(dns.resolved(to: v4)?.description == "/ip4/192.0.2.1/tcp/1")
        #expect(dns.resolved(to: v6)?.description == "/ip6/2001:db8::1/tcp/1")
        #expect(try Multiaddr(text: "/dns4/example.com/tcp/1").resolved(to: v6) == nil)
        #expect(try Multiaddr(text: "/dns6/example.com/tcp/1").resolved(to: v4) == nil)
        #expect(try Multiaddr(text: "/dnsaddr/example.com").resolved(to: v4) == nil)
        #expect(try Multiaddr(text: "/ip4/1.2.3.4/tcp/1").dnsName == nil)
        #expect(Multiaddr(ip: v6, tcpPort: 1) == dns.resolved(to: v6))
    }
}
