// SPDX-License-Identifier: Apache-2.0

/// A peer as the cores of one node name it: four bytes, given out by `PeerTable` (in the lab: its place in the fleet).
///
/// It means nothing outside the process and is never sent: ids and addresses are put in where messages are encoded. So
/// tables and messages stay small, and the same cores run for one node and for a million of them.
package struct PeerIndex: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let value: UInt32

    package init(_ value: UInt32) { self.value = value }
    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.value < rhs.value }
    package var description: String { "p\(value)" }
}

/// The part of the network that one party can be assumed to hold: an IPv4 /16 or an IPv6 /32. Tables cap how many of
/// their entries come from one group. Zero: unknown or one machine, never capped.
package struct AddressGroup: Hashable, Comparable, Sendable {
    package let value: UInt64

    package init(_ value: UInt64) { self.value = value }
    package static let none = AddressGroup(0)
    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.value < rhs.value }
}
