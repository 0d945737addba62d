// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity

@Suite("IP addresses")
struct IPAddressTests {
    @Test(
        "IPv6 is written as RFC 5952 asks",
        arguments: [
            ("2001:0db8:0:0:0:0:2:1", "2001:db8::2:1"),
            ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"),
            ("2001:0:0:1:0:0:0:1", "2001:0:0:1::1"),
            ("2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"),
            ("2001:DB8::A", "2001:db8::a"),
            ("0:0:0:0:0:0:0:0", "::"),
            ("::1", "::1"),
            ("1::", "1::"),
            ("1:0:0:0:0:0:0:0", "1::"),
            ("0:0:1:0:0:0:0:0", "0:0:1::"),
            ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
            ("::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.1"),
            ("::ffff:c000:201", "::ffff:192.0.2.1"),
            ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"),
            ("1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304"),
            ("255.255.255.255", "255.255.255.255"),
            ("0.0.0.0", "0.0.0.0"),
        ])
    func text(given: String, canonical: String) throws {
        let address = try #require(IPAddress(given))
        #expect(address.description == canonical)
        #expect(IPAddress(canonical) == address)
    }

    @Test(
        "What is no address is refused",
        arguments: [
            "", ":", ":::", "::1::", "1::2::3", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::",
            "::1:2:3:4:5:6:7:8",
            "1:2:3:4:5:6:7:", ":1:2:3:4:5:6:7", "12345::", "g::", "::1%eth0", "[::1]", "1:2:3:4:5:6:7:1.2.3.4",
            "::1.2.3.4:5", "::1.2.3", "::1.2.3.256", "1.2.3.4:5", "1.2.3", "1.2.3.4.", ".1.2.3", "1..2.3", "1.2.3.04",
            "1.2.3.0x4", " 1.2.3.4", "+1.2.3.4", "1.2.3.4444444444444444444444444444444444444444444444444", "::－1",
            "1:2:3:4:5:6:7:8:1.2.3.4",
        ])
    func refused(text: String) {
        #expect(IPAddress(text) == nil)
    }

    @Test("Every random address reads back from its text", arguments: [1, 2] as [UInt64])
    func roundTrip(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<500 {
            var mask: UInt64 = 0
            for _ in 0..<4 { mask = mask << 16 | (Bool.random(using: &generator) ? 0xFFFF : 0) }
            let v6 = IPAddress.v6(high: generator.next() & mask, low: generator.next() & ~mask)
            #expect(IPAddress(v6.description) == v6)
            let v4 = IPAddress.v4(UInt32(truncatingIfNeeded: generator.next()))
            #expect(IPAddress(v4.description) == v4)
        }
    }

    @Test(
        "Kinds of addresses, at the edges of their blocks",
        arguments: [
            ("127.0.0.1", "loopback"), ("127.255.255.255", "loopback"), ("::1", "loopback"),
            ("::ffff:127.0.0.1", "loopback"), ("126.255.255.255", "global"), ("128.0.0.0", "global"),
            ("0.0.0.0", "unspecified"), ("::", "unspecified"), ("0.1.2.3", "special"),
            ("10.0.0.0", "private"), ("10.255.255.255", "private"), ("11.0.0.0", "global"),
            ("172.15.255.255", "global"), ("172.16.0.0", "private"), ("172.31.255.255", "private"),
            ("172.32.0.0", "global"), ("192.168.0.1", "private"), ("192.169.0.1", "global"),
            ("::ffff:192.168.0.1", "private"), ("100.63.255.255", "global"), ("100.64.0.0", "private"),
            ("100.127.255.255", "private"), ("100.128.0.0", "global"), ("169.254.169.254", "link"),
            ("169.253.0.0", "global"), ("fe80::1", "link"), ("febf::1", "link"), ("fec0::1", "special"),
            ("fc00::1", "private"), ("fdff::1", "private"), ("fe00::1", "special"), ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"), ("240.0.0.0", "special"), ("255.255.255.255", "special"),
            ("ff02::1", "multicast"), ("192.0.0.1", "special"), ("192.0.1.0", "global"), ("192.0.2.1", "special"),
            ("198.17.255.255", "global"), ("198.18.0.0", "special"), ("198.19.255.255", "special"),
            ("198.20.0.0", "global"), ("198.51.100.9", "special"), ("203.0.113.9", "special"),
            ("2001:db8::1", "special"), ("2001:db9::1", "global"), ("2000::", "global"), ("3fff:ffff::", "global"),
            ("4000::", "special"), ("8.8.8.8", "global"), ("2606:4700::1111", "global"),
        ])
    func kinds(text: String, kind: String) throws {
        let address = try #require(IPAddress(text))
        #expect(address.isLoopback == (kind == "loopback"))
        #expect(address.isUnspecified == (kind == "unspecified"))
        #expect(address.isPrivate == (kind == "private"))
        #expect(address.isLinkLocal == (kind == "link"))
        #expect(address.isMulticast == (kind == "multicast"))
        #expect(address.isGlobal == (kind == "global"))
    }

    @Test("Addresses of one network share a group, others don't, and wrapping an address changes nothing")
    func groups() throws {
        func address(_ text: String) throws -> IPAddress { try #require(IPAddress(text)) }
        let base = try address("203.0.113.7")
        #expect(try base.networkGroup == address("203.0.113.250").networkGroup)
        #expect(try base.networkGroup != address("203.0.112.7").networkGroup)
        #expect(try base.hostGroup != address("203.0.113.250").hostGroup)
        #expect(try base.hostGroup == address("::ffff:203.0.113.7").hostGroup)
        #expect(base.hostGroup != base.networkGroup)
        let site = try address("2001:db8:1:2200::1")
        #expect(try site.networkGroup == address("2001:db8:1:22ff:ffff::9").networkGroup)
        #expect(try site.hostGroup == address("2001:db8:1:22ff::9").hostGroup)
        #expect(try site.networkGroup != address("2001:db8:1:2300::1").networkGroup)
        #expect(try site.group(prefixBits: 48) == address("2001:db8:1:ffff::").group(prefixBits: 48))
        #expect(try base.group(prefixBits: 0) == address("1.2.3.4").group(prefixBits: -5))
        #expect(base.group(prefixBits: 99).prefix == 0xCB00_7107)
        #expect(site.group(prefixBits: 99).prefix == 0x2001_0DB8_0001_2200)
        // No IPv4 group equals an IPv6 one.
        #expect(try address("0.0.0.0").group(prefixBits: 0) != address("::").group(prefixBits: 0))
    }

    @Test("An address on a path is what it starts with")
    func onMultiaddr() throws {
        let lan = try Multiaddr(text: "/ip4/192.168.1.2/tcp/1")
        #expect(lan.isPrivate && !lan.isLoopback && !lan.isGlobal)
        #expect(lan.ipGroup == IPAddress("192.168.1.0")?.networkGroup)
        #expect(lan.ipHostGroup == IPAddress("192.168.1.2")?.hostGroup)
        #expect(try Multiaddr(text: "/ip4/127.0.0.1/tcp/1").isLoopback)
        #expect(try Multiaddr(text: "/ip6zone/eth0/ip6/fe80::1/tcp/1").isPrivate)
        #expect(try Multiaddr(text: "/ip4/8.8.8.8/udp/1").isGlobal)
        #expect(try Multiaddr(text: "/dns/localhost/tcp/1").ipAddress == nil)
        #expect(try Multiaddr(text: "/dns/localhost/tcp/1").isLoopback == false)
        #expect(try Multiaddr(text: "/unix/a").ipGroup == nil)
    }
}
