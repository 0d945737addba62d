// SPDX-License-Identifier: Apache-2.0

// What dialling and counting need to know of an address. All of it looks at the part before the first `/p2p-circuit`:
// behind a relay, the relay is who the socket goes to.
extension Multiaddr {
    /// Where a TCP socket goes.
    package struct SocketTarget: Hashable, Sendable {
        /// An IP address as text, or a name to resolve.
        package let host: String
        package let port: UInt16
        package let isName: Bool
    }

    /// `/ip4/ADDRESS/tcp/PORT` and what may follow.
    package init(ip: IPAddress, tcpPort: UInt16) {
        switch ip {
        case .v4(let bits): self.init(components: [.ip4(bits), .tcp(tcpPort)])
        case .v6(let high, let low): self.init(components: [.ip6(high: high, low: low), .tcp(tcpPort)])
        }
    }

    /// The address at the start (behind a zone, where there is one); nil for names and everything else.
    package var ipAddress: IPAddress? {
        var components = components[...]
        if case .ip6zone = components.first { components.removeFirst() }
        switch components.first {
        case .ip4(let bits): return .v4(bits)
        case .ip6(let high, let low): return .v6(high: high, low: low)
        default: return nil
        }
    }

    /// The name at the start that must be resolved first: `/dns`, `/dns4`, `/dns6` or `/dnsaddr`.
    package var dnsName: String? {
        switch components.first {
        case .dns(let name), .dns4(let name), .dns6(let name), .dnsaddr(let name): return name
        default: return nil
        }
    }

    /// The address with its leading `/dns`, `/dns4` or `/dns6` replaced; nil when there is none or the family is
    /// the other one.
    package func resolved(to ip: IPAddress) -> Multiaddr? {
        let components = components
        switch (components.first, ip) {
        case (.dns, _), (.dns4, .v4), (.dns6, .v6): break
        default: return nil
        }
        let replacement: Component =
            switch ip {
            case .v4(let bits): .ip4(bits)
            case .v6(let high, let low): .ip6(high: high, low: low)
            }
        return Multiaddr(components: [replacement] + components.dropFirst())
    }

    /// Host and TCP port; nil when the address does not start with a host and `/tcp`.
    package var socketTarget: SocketTarget? {
        var components = components[...]
        var zone = ""
        if case .ip6zone(let name) = components.first {
            zone = "%" + name
            components.removeFirst()
        }
        guard let host = components.popFirst(), case .tcp(let port) = components.first else { return nil }
        switch host {
        case .ip4(let bits): return SocketTarget(host: "\(IPAddress.v4(bits))", port: port, isName: false)
        case .ip6(let high, let low):
            return SocketTarget(host: "\(IPAddress.v6(high: high, low: low))\(zone)", port: port, isName: false)
        case .dns(let name), .dns4(let name), .dns6(let name):
            return SocketTarget(host: name, port: port, isName: true)
        default: return nil
        }
    }

    /// The key under which one host's connections are counted: an IPv4 address or an IPv6 /56.
    package var ipHostGroup: IPAddress.Group? { ipAddress?.hostGroup }

    /// The key under which one network's connections are counted: an IPv4 /24 or an IPv6 /56.
    package var ipGroup: IPAddress.Group? { ipAddress?.networkGroup }

    package var isLoopback: Bool { ipAddress?.isLoopback ?? false }
    package var isUnspecified: Bool { ipAddress?.isUnspecified ?? false }
    /// In a local network (private or link-local).
    package var isPrivate: Bool { ipAddress.map { $0.isPrivate || $0.isLinkLocal } ?? false }
    package var isGlobal: Bool { ipAddress?.isGlobal ?? false }
    package var isRelayed: Bool { components.contains(.p2pCircuit) }
}
