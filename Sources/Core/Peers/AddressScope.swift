// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity

/// From where an address can be reached.
package enum AddressScope: Hashable, Sendable {
    case loopback
    /// One site: RFC 1918, shared address space, IPv6 unique local. The block tells whether we may be on the same one.
    case local(block: UInt8)
    case global
}

/// What an address needs before a socket can be opened to it.
package enum AddressKind: Hashable, Sendable {
    case ip4(UInt32)
    case ip6(high: UInt64, low: UInt64)
    /// `/dns…`: to be resolved first.
    case name
    case memory
    case unusable
}

extension Multiaddr {
    /// The kind of an address without `/p2p`. Only TCP directly over IP, names for it, and memory are usable; relays,
    /// UDP and everything behind `/tcp` are not, yet.
    package var kind: AddressKind {
        let components = components
        guard components.count <= 2, let first = components.first else { return .unusable }
        switch first {
        case .dnsaddr: return components.count == 1 ? .name : .unusable
        case .memory: return components.count == 1 ? .memory : .unusable
        default: break
        }
        guard components.count == 2, case .tcp(let port) = components[1], port != 0 else { return .unusable }
        switch first {
        case .ip4(let address):
            return Multiaddr.isUnicast(ip4: address) ? .ip4(address) : .unusable
        case .ip6(let high, let low):
            // ::ffff:a.b.c.d
            if high == 0, low >> 32 == 0xFFFF {
                let address = UInt32(truncatingIfNeeded: low)
                return Multiaddr.isUnicast(ip4: address) ? .ip4(address) : .unusable
            }
            return Multiaddr.isDialable(ip6: high, low) ? .ip6(high: high, low: low) : .unusable
        case .dns, .dns4, .dns6:
            return .name
        default:
            return .unusable
        }
    }

    private static func isUnicast(ip4 address: UInt32) -> Bool {
        // Not 0/8; not multicast, reserved or broadcast (224/3).
        address >> 24 != 0 && address >> 29 != 0b111
    }

    private static func isDialable(ip6 high: UInt64, _ low: UInt64) -> Bool {
        // Not unspecified, not multicast, not link-local: that would need a zone.
        if high == 0, low == 0 { return false }
        return high >> 56 != 0xFF && high >> 54 != 0b11_1111_1010
    }
}

extension AddressKind {
    package var scope: AddressScope {
        switch self {
        case .ip4(let address):
            switch (address >> 24, address >> 16 & 0xFF) {
            case (127, _): .loopback
            case (10, _): .local(block: 10)
            case (172, 16...31): .local(block: 172)
            case (192, 168): .local(block: 192)
            case (100, 64...127): .local(block: 100)
            case (169, 254): .local(block: 169)
            default: .global
            }
        case .ip6(0, 1): .loopback
        case .ip6(let high, _): high >> 57 == 0b111_1110 ? .local(block: 6) : .global
        case .memory: .loopback
        case .name, .unusable: .global
        }
    }

    package var isIP6: Bool {
        if case .ip6 = self { true } else { false }
    }
}

extension AddressScope {
    /// Whether an address of this scope, told over a connection to `remote`, can mean what its teller means. A stranger
    /// on the internet can't send us to our own loopback or into our own site.
    package func isCredible(from remote: AddressScope) -> Bool {
        switch (self, remote) {
        case (.global, _), (_, .loopback): true
        case (.local, .local): true
        case (.local, .global), (.loopback, _): false
        }
    }
}

extension Multiaddr {
    /// The part of the network that one party can be assumed to hold: IPv4 /16, IPv6 /32. None for this machine and site.
    package var group: AddressGroup {
        guard kind.scope == .global else { return .none }
        switch kind {
        case .ip4(let address): return AddressGroup(UInt64(address >> 16) | 1 << 32)
        case .ip6(let high, _): return AddressGroup(high >> 32 | 1 << 33)
        case .name, .memory, .unusable: return .none
        }
    }
}
