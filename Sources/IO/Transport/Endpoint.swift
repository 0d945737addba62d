// SPDX-License-Identifier: Apache-2.0
package import NIOCore
package import TuttiIdentity

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// What a multiaddr names, as far as this transport can bind or connect to it.
package enum Endpoint {
    case socket(SocketAddress)
    case memory(UInt64)

    /// `/ip4|ip6/…/tcp/PORT` (with a zone before `/ip6`) or `/memory/N`; a trailing `/p2p/ID` doesn't matter.
    package init?(_ address: Multiaddr) {
        var parts = address.withoutPeerID.components[...]
        var zone: UInt32 = 0
        if case .ip6zone(let name) = parts.first {
            zone = if_nametoindex(name)
            parts.removeFirst()
            guard zone != 0, case .ip6 = parts.first else { return nil }
        }
        guard let first = parts.popFirst() else { return nil }
        if case .memory(let number) = first, parts.isEmpty {
            self = .memory(number)
            return
        }
        guard case .tcp(let port) = parts.popFirst(), parts.isEmpty else { return nil }
        switch first {
        case .ip4(let bits):
            var bytes = ByteBuffer()
            bytes.writeInteger(bits)
            guard let socket = try? SocketAddress(packedIPAddress: bytes, port: Int(port)) else { return nil }
            self = .socket(socket)
        case .ip6(let high, let low):
            var bytes = sockaddr_in6()
            bytes.sin6_family = sa_family_t(AF_INET6)
            bytes.sin6_port = port.bigEndian
            bytes.sin6_scope_id = zone
            withUnsafeMutableBytes(of: &bytes.sin6_addr) { raw in
                raw.storeBytes(of: high.bigEndian, as: UInt64.self)
                raw.storeBytes(of: low.bigEndian, toByteOffset: 8, as: UInt64.self)
            }
            self = .socket(SocketAddress(bytes))
        default:
            return nil
        }
    }
}

extension SocketAddress {
    /// `/ip4|ip6/…`, and `/tcp/PORT` when the address has a port and `withPort` is true; nil for a Unix path.
    package func multiaddr(withPort: Bool = true) -> Multiaddr? {
        guard let host = hostComponent else { return nil }
        guard withPort else { return Multiaddr(components: [host]) }
        guard let port, let number = UInt16(exactly: port) else { return nil }
        return Multiaddr(components: [host, .tcp(number)])
    }

    var hostComponent: Multiaddr.Component? {
        switch self {
        case .v4(let address):
            return .ip4(UInt32(bigEndian: address.address.sin_addr.s_addr))
        case .v6(let address):
            return withUnsafeBytes(of: address.address.sin6_addr) { raw in
                let high = UInt64(bigEndian: raw.loadUnaligned(as: UInt64.self))
                let low = UInt64(bigEndian: raw.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
                return .ip6(high: high, low: low)
            }
        case .unixDomainSocket:
            return nil
        }
    }

    /// 0.0.0.0 or ::
    var isUnspecified: Bool {
        switch hostComponent {
        case .ip4(let bits): bits == 0
        case .ip6(let high, let low): high == 0 && low == 0
        default: false
        }
    }

    /// The addresses under which a listener bound to this one can be reached: itself, or for 0.0.0.0 and :: one for each
    /// interface. IPv6 link-local ones are left out: they mean nothing without the zone of whoever dials.
    func reachable() -> [Multiaddr] {
        guard isUnspecified, let port, let number = UInt16(exactly: port) else {
            return multiaddr().map { [$0] } ?? []
        }
        let devices = (try? System.enumerateDevices()) ?? []
        var found: [Multiaddr] = []
        for device in devices {
            guard let address = device.address, address.protocol == self.protocol, let host = address.hostComponent
            else { continue }
            if case .ip6(let high, _) = host, high >> 54 == 0xFE80 >> 6 { continue }
            let reached = Multiaddr(components: [host, .tcp(number)])
            if !found.contains(reached) { found.append(reached) }
        }
        return found
    }
}
