// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
import TuttiIdentity

/// A trade: the digest of listing, buyer and nonce.
package struct TradeID: Hashable, Comparable, Sendable {
    package let bytes: Bytes32

    package init(_ bytes: Bytes32) { self.bytes = bytes }
    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.bytes < rhs.bytes }
}

/// A public Ed25519 key that stands in a contract: of a party for one trade, of an arbiter, of a witness. Roles are keys;
/// no later message changes one.
package struct TradeKey: Hashable, Comparable, Sendable {
    package let bytes: Bytes32

    package init(_ bytes: Bytes32) { self.bytes = bytes }
    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.bytes < rhs.bytes }
}

/// The 3f + 1 witnesses of a contract. f counts dead and cheating ones together.
package struct WitnessSet: Hashable, Sendable {
    package static let countMin = 4
    package static let countMax = 13

    /// Ascending, none twice.
    package let keys: [TradeKey]

    /// Nil unless there are 4, 7, 10 or 13 different ones.
    package init?(_ keys: some Sequence<TradeKey>) {
        let ordered = Set(keys).sorted()
        guard (Self.countMin...Self.countMax).contains(ordered.count), ordered.count % 3 == 1 else { return nil }
        self.keys = ordered
    }

    package var faultsMax: Int { (keys.count - 1) / 3 }
    /// 2f + 1: any two of them share an honest witness.
    package var quorum: Int { 2 * faultsMax + 1 }
    package var id: WitnessSetID {
        WitnessSetID(KeyDerivation.sha256(Array("tutti-witnesses".utf8) + keys.flatMap(\.bytes.bytes)))
    }
}

/// The digest of a ``WitnessSet``.
package struct WitnessSetID: Hashable, Comparable, Sendable {
    package let bytes: Bytes32

    package init(_ bytes: Bytes32) { self.bytes = bytes }
    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.bytes < rhs.bytes }
}

/// One unit of one listing: the digest of the listing's stub and the unit's number.
package struct UnitID: Hashable, Comparable, Sendable {
    package let bytes: Bytes32

    package init(_ bytes: Bytes32) { self.bytes = bytes }
    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.bytes < rhs.bytes }
}

/// What witnesses decide once, and never again.
package enum Slot: Hashable, Sendable {
    /// Change `number` (from 1) of the open exposure of an account: so a cap holds exactly, not per quorum.
    case exposure(account: Bytes32, number: UInt32)
    /// Who gets a unit, the `round`-th time (from 0) that it is free.
    case reservation(UnitID, round: UInt32)
    /// The `number`-th event of a trade after its reservation (from 1).
    case step(TradeID, number: UInt32)
}

/// The digest of a ``Slot`` and of the witness set that decides it.
package struct SlotID: Hashable, Comparable, Sendable {
    package let bytes: Bytes32

    package init(_ bytes: Bytes32) { self.bytes = bytes }
    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.bytes < rhs.bytes }
}

/// What a slot was decided to be.
package enum SlotValue: Hashable, Sendable {
    /// The digest of what was registered; for a step, of its kind and of the event's hash (``StepDigest``).
    case event(Bytes32)
    case noEvent
}

/// A round of agreement over one slot; later ones have the higher number.
package struct Ballot: Hashable, Comparable, Sendable {
    package let value: UInt32

    package static let first = Ballot(0)

    package init(_ value: UInt32) { self.value = value }
    package var next: Ballot { Ballot(value &+ 1) }
    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.value < rhs.value }
}
