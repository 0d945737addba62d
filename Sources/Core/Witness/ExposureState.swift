// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

package import struct NIOCore.ByteBuffer

/// One trade on an account: it counts against the cap until it has ended, or its reservation went to another.
package struct ExposureItem: Hashable, Sendable, CanonicalBody {
    /// The digest of the trade's plan.
    package let plan: Bytes32
    /// The one reservation that this debit is for.
    package let unit: UnitID
    package let round: UInt32
    package let amount: Int64

    package init(plan: Bytes32, unit: UnitID, round: UInt32, amount: Int64) {
        self.plan = plan
        self.unit = unit
        self.round = round
        self.amount = amount
    }

    package init(from reader: inout BodyReader) throws(DecodeError) {
        plan = try reader.bytes32(1, "plan of an exposure")
        unit = UnitID(try reader.bytes32(2, "unit of an exposure"))
        round = UInt32(try reader.number(3, in: 0...Slot.numberMax, "round"))
        amount = Int64(try reader.number(4, in: 1...Int(WitnessLimits.amountMax), "amount"))
    }

    package func write(into buffer: inout ByteBuffer) {
        buffer.write(1, plan)
        buffer.write(2, unit.bytes)
        buffer.write(3, Int(round))
        buffer.write(4, Int(amount))
    }

    package var reservation: Slot { .reservation(unit, round: round) }
}

package enum ExposureChange: Hashable, Sendable, CanonicalBody {
    case debit(ExposureItem)
    /// By the plan's digest; the proof that it has ended comes with the request.
    case credit(plan: Bytes32)

    package init(from reader: inout BodyReader) throws(DecodeError) {
        if let item: ExposureItem = try reader.bodyIfThere(1, "debit") {
            self = .debit(item)
        } else {
            self = .credit(plan: try reader.bytes32(2, "credit"))
        }
    }

    package func write(into buffer: inout ByteBuffer) {
        switch self {
        case .debit(let item): buffer.write(1, item)
        case .credit(let plan): buffer.write(2, plan)
        }
    }
}

/// What an account has open. Slot n of its chain holds the digest of the state after change n, so each witness checks the
/// arithmetic itself, and the cap holds exactly.
package struct ExposureState: Hashable, Sendable, CanonicalBody {
    package static let bytesMax = 32_768

    /// Ascending by plan, none twice.
    package private(set) var open: [ExposureItem]

    package init() { open = [] }

    package init(from reader: inout BodyReader) throws(DecodeError) {
        open = try reader.bodies(1, countMax: WitnessLimits.openExposuresMax, "open exposure")
        guard zip(open, open.dropFirst()).allSatisfy({ $0.plan < $1.plan }) else { throw .malformed("open exposure") }
        // Amounts are limited, so their sum can't overflow; written again it must be the same.
        let total = try reader.number(2, in: 0...Int.max, "total exposure")
        guard total == Int(self.total) else { throw .malformed("total exposure") }
    }

    package func write(into buffer: inout ByteBuffer) {
        for item in open { buffer.write(1, item) }
        buffer.write(2, Int(total))
    }

    package var total: Int64 { open.reduce(0) { $0 + $1.amount } }
    package var digest: Bytes32 { digest(domain: "tutti-exposure") }

    package func item(of plan: Bytes32) -> ExposureItem? { open.first { $0.plan == plan } }

    /// Nil when the change isn't possible: over the cap, known already, or not there.
    package func after(_ change: ExposureChange, cap: Int64) -> ExposureState? {
        var next = self
        switch change {
        case .debit(let item):
            guard self.item(of: item.plan) == nil, open.count < WitnessLimits.openExposuresMax,
                (1...WitnessLimits.amountMax).contains(item.amount), item.amount <= cap, total <= cap - item.amount
            else { return nil }
            next.open.insert(item, at: open.firstIndex { $0.plan > item.plan } ?? open.endIndex)
        case .credit(let plan):
            guard let index = open.firstIndex(where: { $0.plan == plan }) else { return nil }
            next.open.remove(at: index)
        }
        return next
    }
}

/// What a witness's own roster says of an account; never what a request says.
package struct WitnessAccount: Hashable, Sendable {
    package let cap: Int64
    /// The devices of the members whose account it is, by their Ed25519 keys.
    package let devices: Set<TradeKey>

    package init(cap: Int64, devices: Set<TradeKey>) {
        self.cap = cap
        self.devices = devices
    }
}
