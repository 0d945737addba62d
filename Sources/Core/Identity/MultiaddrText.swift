// SPDX-License-Identifier: Apache-2.0
import TuttiBase

// The text form: `/name/value` for each component, `/name` where there is no value.
extension Multiaddr.Component {
    /// `/name` or `/name/value`.
    var text: String {
        switch self {
        case .ip4(let bits): "/ip4/\(IPAddress.v4(bits))"
        case .ip6(let high, let low): "/ip6/\(IPAddress.v6(high: high, low: low))"
        case .ip6zone(let zone): "/ip6zone/\(zone)"
        case .dns(let name): "/dns/\(name)"
        case .dns4(let name): "/dns4/\(name)"
        case .dns6(let name): "/dns6/\(name)"
        case .dnsaddr(let name): "/dnsaddr/\(name)"
        case .tcp(let port): "/tcp/\(port)"
        case .udp(let port): "/udp/\(port)"
        case .quicV1: "/quic-v1"
        case .quic: "/quic"
        case .ws: "/ws"
        case .wss: "/wss"
        case .tls: "/tls"
        case .noise: "/noise"
        case .http: "/http"
        case .p2pCircuit: "/p2p-circuit"
        case .webtransport: "/webtransport"
        case .webrtcDirect: "/webrtc-direct"
        case .p2p(let id): "/p2p/\(id)"
        case .certhash(let multihash): "/certhash/\(Multibase.base64url.encode(multihash))"
        case .sni(let name): "/sni/\(name)"
        // The path brings its own slash.
        case .unix(let path): "/unix\(path)"
        case .memory(let number): "/memory/\(number)"
        }
    }

    /// A slash at the very end is forgiven; anything else must be as `text` writes it or an equivalent spelling of
    /// the same value (an IPv6 address, a peer id, a hash).
    static func parse(_ text: String) throws(DecodeError) -> [Multiaddr.Component] {
        guard text.utf8.count <= IdentityLimits.multiaddrTextBytesMax else {
            throw .tooLarge("multiaddr text", limit: IdentityLimits.multiaddrTextBytesMax)
        }
        guard text.utf8.first == 0x2F else { throw .malformed("multiaddr text") }
        var parts = text.utf8.dropFirst().split(separator: 0x2F, omittingEmptySubsequences: false)[...]
        var components: [Multiaddr.Component] = []
        while let first = parts.popFirst() {
            if first.isEmpty, parts.isEmpty, !components.isEmpty { break }
            guard components.count < IdentityLimits.multiaddrComponentsMax else {
                throw .tooLarge("multiaddr components", limit: IdentityLimits.multiaddrComponentsMax)
            }
            components.append(try component(named: String(Substring(first)), &parts))
        }
        return components
    }

    private static func component(
        named name: String, _ parts: inout ArraySlice<String.UTF8View.SubSequence>
    ) throws(DecodeError) -> Multiaddr.Component {
        switch name {
        case "ip4", "ip6": return try address(name, try value(&parts))
        case "ip6zone": return .ip6zone(try nameValue(&parts))
        case "dns": return .dns(try nameValue(&parts))
        case "dns4": return .dns4(try nameValue(&parts))
        case "dns6": return .dns6(try nameValue(&parts))
        case "dnsaddr": return .dnsaddr(try nameValue(&parts))
        case "sni": return .sni(try nameValue(&parts))
        case "tcp": return .tcp(try number(&parts))
        case "udp": return .udp(try number(&parts))
        case "memory": return .memory(try number(&parts))
        case "p2p", "ipfs": return .p2p(try PeerID(text: try value(&parts)))
        case "certhash":
            let textMax = IdentityLimits.cidTextBytesMax
            let bytes = try Multibase.decode(
                try value(&parts), textBytesMax: textMax, "multiaddr certificate hash")
            return .certhash(try Multihash(bytes: bytes).bytes)
        case "unix":
            let path = parts.map { "/" + String(Substring($0)) }.joined()
            parts = []
            guard isPath(path) else { throw .malformed("multiaddr path") }
            return .unix(path)
        case "quic-v1": return .quicV1
        case "quic": return .quic
        case "ws": return .ws
        case "wss": return .wss
        case "tls": return .tls
        case "noise": return .noise
        case "http": return .http
        case "p2p-circuit": return .p2pCircuit
        case "webtransport": return .webtransport
        case "webrtc-direct": return .webrtcDirect
        case "": throw .malformed("multiaddr text")
        default: throw .unsupported("multiaddr protocol")
        }
    }

    private static func address(_ family: String, _ text: String) throws(DecodeError) -> Multiaddr.Component {
        switch (family, IPAddress(text)) {
        case ("ip4", .v4(let bits)): return .ip4(bits)
        case ("ip6", .v6(let high, let low)): return .ip6(high: high, low: low)
        default: throw .malformed("multiaddr IP address")
        }
    }

    private static func value(
        _ parts: inout ArraySlice<String.UTF8View.SubSequence>
    ) throws(DecodeError) -> String {
        guard let part = parts.popFirst(), !part.isEmpty else { throw .truncated("multiaddr value") }
        return String(Substring(part))
    }

    private static func nameValue(
        _ parts: inout ArraySlice<String.UTF8View.SubSequence>
    ) throws(DecodeError) -> String {
        let name = try value(&parts)
        guard isName(name) else { throw .malformed("multiaddr name") }
        return name
    }

    private static func number<I: FixedWidthInteger>(
        _ parts: inout ArraySlice<String.UTF8View.SubSequence>
    ) throws(DecodeError) -> I {
        let text = try value(&parts)
        guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), text == "0" || !text.hasPrefix("0"),
            let value = I(text)
        else { throw .malformed("multiaddr number") }
        return value
    }
}
