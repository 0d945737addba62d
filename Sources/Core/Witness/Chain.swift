// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

package import struct NIOCore.ByteBuffer

/// Slots that follow each other: one is decided only after the one before it.
package enum Chain: Hashable, Sendable {
    case exposure(account: Bytes32)
    case unit(UnitID)
    case trade(TradeID)

    package var firstNumber: UInt32 {
        switch self {
        case .unit: 0
        case .exposure, .trade: 1
        }
    }

    package func slot(_ number: UInt32) -> Slot {
        switch self {
        case .exposure(let account): .exposure(account: account, number: number)
        case .unit(let unit): .reservation(unit, round: number)
        case .trade(let trade): .step(trade, number: number)
        }
    }

    private var kind: Int {
        switch self {
        case .exposure: 1
        case .unit: 2
        case .trade: 3
        }
    }

    private var name: Bytes32 {
        switch self {
        case .exposure(let account): account
        case .unit(let unit): unit.bytes
        case .trade(let trade): trade.bytes
        }
    }

    /// The digest of a chain and of the set that decides its slots.
    package func digest(in set: WitnessSetID) -> Bytes32 {
        var buffer = ByteBuffer()
        buffer.write(domain: "tutti-chain")
        buffer.write(1, set.bytes)
        buffer.write(2, kind)
        buffer.write(3, name)
        return buffer.sha256
    }
}

extension Slot {
    package static let numberMax = 1 << 30

    package var chain: Chain {
        switch self {
        case .exposure(let account, _): .exposure(account: account)
        case .reservation(let unit, _): .unit(unit)
        case .step(let trade, _): .trade(trade)
        }
    }

    package var number: UInt32 {
        switch self {
        case .exposure(_, let number), .reservation(_, let number), .step(_, let number): number
        }
    }

    /// Only steps of a trade may hold NO-EVENT: the others wait for ever, if need be.
    package var hasDeadline: Bool {
        if case .step = self { true } else { false }
    }

    package func id(in set: WitnessSetID) -> SlotID {
        var buffer = ByteBuffer()
        buffer.write(domain: "tutti-slot")
        buffer.write(1, set.bytes)
        write(into: &buffer, from: 2)
        return SlotID(buffer.sha256)
    }

    private func write(into buffer: inout ByteBuffer, from field: Int) {
        switch self {
        case .exposure(let account, _):
            buffer.write(field, 1)
            buffer.write(field + 1, account)
        case .reservation(let unit, _):
            buffer.write(field, 2)
            buffer.write(field + 1, unit.bytes)
        case .step(let trade, _):
            buffer.write(field, 3)
            buffer.write(field + 1, trade.bytes)
        }
        buffer.write(field + 2, Int(number))
    }
}

extension Slot: CanonicalBody {
    package init(from reader: inout BodyReader) throws(DecodeError) {
        let kind = try reader.number(1, in: 1...3, "kind of a slot")
        let name = try reader.bytes32(2, "slot")
        let chain: Chain =
            switch kind {
            case 1: .exposure(account: name)
            case 2: .unit(UnitID(name))
            default: .trade(TradeID(name))
            }
        self = chain.slot(
            UInt32(try reader.number(3, in: Int(chain.firstNumber)...Self.numberMax, "number of a slot")))
    }

    package func write(into buffer: inout ByteBuffer) { write(into: &buffer, from: 1) }
}
