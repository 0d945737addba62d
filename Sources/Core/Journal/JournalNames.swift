// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

/// A community, named by the digest of its founding (`Entry` of kind `.founding`): who knows the name can check the rest.
package struct CommunityID: Hashable, Comparable, Sendable {
    package let bytes: Bytes32

    package init(_ bytes: Bytes32) { self.bytes = bytes }
    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.bytes < rhs.bytes }
}

/// A device of a member: the public half of the Ed25519 key that signs its feed.
package struct DeviceID: Hashable, Comparable, Sendable {
    package let bytes: Bytes32

    package init(_ bytes: Bytes32) { self.bytes = bytes }
    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.bytes < rhs.bytes }
}

/// A person: the public half of the Ed25519 key that authorises devices and is sealed under the recovery code.
package struct MemberID: Hashable, Comparable, Sendable {
    package let bytes: Bytes32

    package init(_ bytes: Bytes32) { self.bytes = bytes }
    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.bytes < rhs.bytes }
}

/// SHA-256 of a domain and the header's bytes; never of the envelope, so that nothing unsigned has a say in it.
package struct EntryID: Hashable, Comparable, Sendable {
    package let bytes: Bytes32

    /// "None": what stands before a feed's first entry.
    package static let none = EntryID(.zero)

    package init(_ bytes: Bytes32) { self.bytes = bytes }
    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.bytes < rhs.bytes }
}

/// The place of an entry in its feed; the first is 1.
package struct EntrySequence: Hashable, Comparable, Sendable {
    package let value: UInt64

    /// Before the first entry.
    package static let none = EntrySequence(0)
    package static let first = EntrySequence(1)
    /// So far away that nobody reaches it by writing, so near that adding to it never overflows.
    package static let max = EntrySequence(1 << 48)

    package init(_ value: UInt64) { self.value = value }
    package var next: EntrySequence { EntrySequence(value &+ 1) }
    /// Before the first comes "none".
    package var previous: EntrySequence { EntrySequence(value == 0 ? 0 : value - 1) }
    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.value < rhs.value }
}

/// A point of one feed: what a revocation names as the last that counts.
package struct FeedPoint: Hashable, Sendable {
    package let sequence: EntrySequence
    package let id: EntryID

    /// Before the first entry: nothing counts.
    package static let start = FeedPoint(sequence: .none, id: .none)

    package init(sequence: EntrySequence, id: EntryID) {
        self.sequence = sequence
        self.id = id
    }

    /// Behind the last entry of the feed that counts, or in its place and another one: void whenever it arrives.
    package func isBeyond(_ cut: FeedPoint) -> Bool {
        sequence > cut.sequence || (sequence == cut.sequence && id != cut.id)
    }
}

/// Milliseconds since 1970 in the upper 48 bits, a counter in the lower 16. It orders what is shown; it decides nothing.
package struct HybridTime: Hashable, Comparable, Sendable {
    package let value: UInt64

    package init(_ value: UInt64) { self.value = value }
    /// - Parameter milliseconds: since 1970; more than 48 bits count as the last that fits.
    package init(milliseconds: UInt64, counter: UInt16 = 0) {
        value = min(milliseconds, 1 << 48 - 1) << 16 | UInt64(counter)
    }

    package var milliseconds: UInt64 { value >> 16 }
    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.value < rhs.value }
}
