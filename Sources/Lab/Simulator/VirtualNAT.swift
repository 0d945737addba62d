// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity
import TuttiPeers

/// How an address translator behaves, in the words of RFC 4787 (sections 4.1 and 5) and RFC 5382.
package struct NATModel: Hashable, Sendable {
    package enum Behaviour: Hashable, Sendable {
        case endpointIndependent
        case addressDependent
        case addressAndPortDependent
    }

    /// What an inside port's outside port depends on, beside the inside port itself.
    package var mapping: Behaviour
    /// Whom an outside port lets in: anybody, addresses that were sent to, or ports of addresses that were sent to.
    package var filtering: Behaviour
    /// Inside ports that somebody opened to all, each under its own number.
    package var forwarded: [UInt16] = []
    /// A mapping ends so long after the last socket that used it.
    package var mappingTimeout: Duration = .seconds(240)

    package init(mapping: Behaviour, filtering: Behaviour) {
        self.mapping = mapping
        self.filtering = filtering
    }

    /// The names of RFC 3489, which are still in use.
    package static let fullCone = NATModel(mapping: .endpointIndependent, filtering: .endpointIndependent)
    package static let addressRestricted = NATModel(mapping: .endpointIndependent, filtering: .addressDependent)
    package static let portRestricted = NATModel(mapping: .endpointIndependent, filtering: .addressAndPortDependent)
    package static let symmetric = NATModel(mapping: .addressAndPortDependent, filtering: .addressAndPortDependent)
}

/// A port of an IPv4 address.
package struct VirtualEndpoint: Hashable, Sendable {
    package let address: UInt32
    package let port: UInt16

    package init(_ address: UInt32, _ port: UInt16) {
        self.address = address
        self.port = port
    }

    /// Nil for what is not TCP on an IPv4 address.
    package init?(_ multiaddr: Multiaddr) {
        guard case .ip4(let address) = multiaddr.kind, case .tcp(let port) = multiaddr.components.last else {
            return nil
        }
        self.init(address, port)
    }

    package var multiaddr: Multiaddr { Multiaddr(components: [.ip4(address), .tcp(port)]) }
}

/// The translator before one host: its table of mappings. Inside ports keep their number outside where the mapping is
/// endpoint-independent, as most translators have it; otherwise each mapping gets a number of its own.
package struct VirtualNAT: Sendable {
    private struct Permission: Sendable {
        let remote: VirtualEndpoint
        var sockets = 1
        /// Once no socket is left.
        var until = Instant.distantFuture
    }

    private struct Mapping: Sendable {
        let inside: UInt16
        let outside: UInt16
        /// Who was sent to; the first is whom a dependent mapping was made for.
        var permissions: [Permission]
    }

    private let model: NATModel
    private var mappings: [Mapping] = []
    private var nextOutside: UInt16 = 49_152

    package init(_ model: NATModel) {
        self.model = model
    }

    package func mappingCount(at now: Instant) -> Int {
        mappings.count { $0.permissions.contains { $0.until > now } }
    }

    /// A socket goes out. Its port as the remote sees it.
    package mutating func opened(from inside: UInt16, to remote: VirtualEndpoint, at now: Instant) -> UInt16 {
        forget(at: now)
        guard let index = mappings.firstIndex(where: { $0.inside == inside && serves($0, remote) }) else {
            let outside = model.mapping == .endpointIndependent ? inside : takeOutside()
            mappings.append(Mapping(inside: inside, outside: outside, permissions: [Permission(remote: remote)]))
            return outside
        }
        if let place = mappings[index].permissions.firstIndex(where: { $0.remote == remote }) {
            mappings[index].permissions[place].sockets += 1
            mappings[index].permissions[place].until = .distantFuture
        } else {
            mappings[index].permissions.append(Permission(remote: remote))
        }
        return mappings[index].outside
    }

    /// A socket that was opened from inside is over.
    package mutating func closed(from inside: UInt16, to remote: VirtualEndpoint, at now: Instant) {
        for index in mappings.indices where mappings[index].inside == inside && serves(mappings[index], remote) {
            for place in mappings[index].permissions.indices
            where mappings[index].permissions[place].remote == remote && mappings[index].permissions[place].sockets > 0
            {
                mappings[index].permissions[place].sockets -= 1
                guard mappings[index].permissions[place].sockets == 0 else { continue }
                mappings[index].permissions[place].until = now + model.mappingTimeout
            }
        }
    }

    /// The inside port to which somebody's first packet goes; nil: it is dropped.
    package mutating func admits(_ remote: VirtualEndpoint, to outside: UInt16, at now: Instant) -> UInt16? {
        if model.forwarded.contains(outside) { return outside }
        forget(at: now)
        guard let mapping = mappings.first(where: { $0.outside == outside }) else { return nil }
        let isLetIn =
            switch model.filtering {
            case .endpointIndependent: true
            case .addressDependent: mapping.permissions.contains { $0.remote.address == remote.address }
            case .addressAndPortDependent: mapping.permissions.contains { $0.remote == remote }
            }
        return isLetIn ? mapping.inside : nil
    }

    private func serves(_ mapping: Mapping, _ remote: VirtualEndpoint) -> Bool {
        guard let first = mapping.permissions.first?.remote else { return false }
        switch model.mapping {
        case .endpointIndependent: return true
        case .addressDependent: return first.address == remote.address
        case .addressAndPortDependent: return first == remote
        }
    }

    private mutating func forget(at now: Instant) {
        for index in mappings.indices { mappings[index].permissions.removeAll { $0.until <= now } }
        mappings.removeAll { $0.permissions.isEmpty }
    }

    private mutating func takeOutside() -> UInt16 {
        repeat {
            nextOutside = nextOutside == .max ? 49_152 : nextOutside + 1
        } while mappings.contains {
            $0.outside == nextOutside
        }
        return nextOutside
    }
}

/// Where a node of `NodeFleet` is.
package struct VirtualHost: Sendable {
    package static let listeningPort: UInt16 = 4_001
    /// Its own address, at which it listens, and the one that others have of it.
    package let inside: UInt32
    package let outside: UInt32
    package let nat: NATModel?
    /// Its dials leave from the port at which it listens (SO_REUSEPORT), not each from a port of its own.
    package var dialsFromListeningPort = false

    /// One of many on one site, with addresses of 10/8.
    package static func site(_ place: Int) -> VirtualHost { open(0x0A00_0001 + UInt32(truncatingIfNeeded: place) << 8) }

    package static func open(_ address: UInt32) -> VirtualHost {
        VirtualHost(inside: address, outside: address, nat: nil)
    }

    /// Alone behind a translator whose address is `outside`.
    package static func behind(_ nat: NATModel, _ outside: UInt32) -> VirtualHost {
        VirtualHost(inside: 0xC0A8_0102, outside: outside, nat: nat)
    }

    var listening: VirtualEndpoint { VirtualEndpoint(inside, Self.listeningPort) }
    package var dialled: VirtualEndpoint { VirtualEndpoint(outside, Self.listeningPort) }
}
