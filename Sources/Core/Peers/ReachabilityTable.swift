// SPDX-License-Identifier: Apache-2.0
package import TuttiIdentity

/// What is known of an address of ours.
package enum AddressState: Hashable, Sendable {
    case unknown
    /// A peer that dialled us said that it reached us there.
    case observed
    /// Several peers from different parts of the network did.
    case confirmed
}

/// The addresses at which others reached us, as they tell by identify. Only peers that dialled us are asked: what a peer
/// sees of a connection that we dialled carries a port that nobody can dial.
///
/// It decides nothing and is announced to nobody yet. Bounded: the address seen longest ago is forgotten first.
package struct ReachabilityTable: Sendable {
    private struct Entry: Sendable {
        let address: Multiaddr
        /// Distinct groups (IPv4 /16, IPv6 /32) of those who saw it; at most `confirmations` are kept.
        var groups: [UInt64]
    }

    package static let addressesMax = 32
    /// One liar, or one network of them, must not convince us.
    package static let confirmations = 4

    /// The latest seen last.
    private var entries: [Entry] = []

    package init() {}

    package mutating func observed(_ address: Multiaddr, by observer: Multiaddr) {
        guard address.kind != .unusable, address.kind != .name, let group = Self.group(of: observer) else { return }
        var entry = Entry(address: address, groups: [])
        if let position = entries.firstIndex(where: { $0.address == address }) {
            entry = entries.remove(at: position)
        }
        if entry.groups.count < Self.confirmations, !entry.groups.contains(group) { entry.groups.append(group) }
        entries.append(entry)
        if entries.count > Self.addressesMax { entries.removeFirst() }
    }

    package func state(of address: Multiaddr) -> AddressState {
        guard let entry = entries.first(where: { $0.address == address }) else { return .unknown }
        return entry.groups.count < Self.confirmations ? .observed : .confirmed
    }

    package var confirmed: [Multiaddr] {
        entries.filter { $0.groups.count >= Self.confirmations }.map(\.address).sorted()
    }

    private static func group(of observer: Multiaddr) -> UInt64? {
        switch observer.kind {
        case .ip4(let address): UInt64(address >> 16)
        case .ip6(let high, _): high >> 32 | 1 << 32
        case .name, .memory, .unusable: nil
        }
    }
}
