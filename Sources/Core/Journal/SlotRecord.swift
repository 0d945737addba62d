// SPDX-License-Identifier: Apache-2.0

/// Small records that a core keeps beside the journal, by key, because it must find them again after a crash: they are
/// made from no entry, and no repair can make them anew.
package struct SlotShelf: Hashable, Comparable, Sendable {
    package let value: UInt8

    /// What this node's witness has promised and signed. It belongs to one key in one folder: neither a backup nor a
    /// salvaged journal holds it, and with it goes ``stampName``, so that the key isn't used again.
    package static let witness = SlotShelf(1)
    /// What this node asks of witnesses, as a party.
    package static let register = SlotShelf(2)

    /// The witness sets that the charter has led to, by number.
    package static let witnessSets = SlotShelf(3)

    /// The setting by which a folder knows that its witness's records are the last ones.
    package static let stampName = "witnessStamp"

    package init(_ value: UInt8) { self.value = value }
    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.value < rhs.value }
}

package struct SlotKey: Hashable, Comparable, Sendable {
    package let shelf: SlotShelf
    package let bytes: [UInt8]

    package init(_ shelf: SlotShelf, _ bytes: [UInt8]) {
        self.shelf = shelf
        self.bytes = bytes
    }

    /// By shelf, then by bytes as numbers from the first on; of two that begin alike the shorter first.
    package static func < (lhs: Self, rhs: Self) -> Bool {
        lhs.shelf == rhs.shelf ? lhs.bytes.lexicographicallyPrecedes(rhs.bytes) : lhs.shelf < rhs.shelf
    }
}

package struct SlotRecord: Hashable, Sendable {
    package static let keyBytesMax = 64
    /// A certified event at its largest, with what proves it.
    package static let valueBytesMax = 262_144

    package let key: SlotKey
    package let value: [UInt8]

    package init(_ key: SlotKey, _ value: [UInt8]) {
        self.key = key
        self.value = value
    }

    /// Stores refuse a batch with any other.
    package var isWithinLimits: Bool {
        key.bytes.count <= Self.keyBytesMax && value.count <= Self.valueBytesMax
    }

    package var bytesCount: Int { 64 + key.bytes.count + value.count }
}
