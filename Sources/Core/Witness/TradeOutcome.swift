// SPDX-License-Identifier: Apache-2.0

/// How a ruling or a settlement ends a trade. Public, as ``StepAct/detail``: nobody can hide it.
package enum TradeOutcome: Hashable, Sendable {
    /// The seller keeps the money, the buyer the goods.
    case release
    /// The seller gives the money back.
    case refund
    /// The buyer sends the goods back; then the seller gives the money back.
    case returnThenRefund
    /// Neither owes the other anything.
    case void
    /// So many thousandths of the price are the seller's, the rest goes back.
    case split(permille: Int)

    package static let permilleMax = 1_000
    private static let splitDetail = 1_000

    /// Nil for a number without a meaning.
    package init?(detail: UInt16) {
        switch Int(detail) {
        case 0: self = .release
        case 1: self = .refund
        case 2: self = .returnThenRefund
        case 3: self = .void
        case Self.splitDetail...Self.splitDetail + Self.permilleMax:
            self = .split(permille: Int(detail) - Self.splitDetail)
        default: return nil
        }
    }

    package var detail: UInt16 {
        switch self {
        case .release: 0
        case .refund: 1
        case .returnThenRefund: 2
        case .void: 3
        case .split(let permille): UInt16(Self.splitDetail + min(max(permille, 0), Self.permilleMax))
        }
    }
}

extension StepAct {
    package init(_ kind: StepKind, outcome: TradeOutcome) { self.init(kind, detail: outcome.detail) }

    /// Nil for kinds that have none.
    package var outcome: TradeOutcome? {
        switch kind {
        case .ruling, .settlement: TradeOutcome(detail: detail)
        case .contract, .paid, .received, .shipped, .receipt, .carrierProof, .accepted, .cancel, .refund, .dispute,
            .answer, .acknowledgement, .challenge, .opening, .handover:
            nil
        }
    }

    /// Rulings and settlements say how; nothing else says anything.
    package var isWellFormed: Bool {
        switch kind {
        case .ruling, .settlement: outcome != nil
        case .contract, .paid, .received, .shipped, .receipt, .carrierProof, .accepted, .cancel, .refund, .dispute,
            .answer, .acknowledgement, .challenge, .opening, .handover:
            detail == 0
        }
    }
}
