// SPDX-License-Identifier: Apache-2.0
import TuttiMarket
import TuttiWitness

/// What the rules advise an honest side to say; several where it may choose.
struct BargainAdvice: Sendable {
    let isMoneySellers: Bool
    let areGoodsBuyers: Bool

    /// Money goes only when PAID is registered, goods only when the money has come.
    func kinds(of role: TradeRole, in dossier: Dossier) -> [StepKind] {
        var kinds = role == .buyer ? ofBuyer(dossier.course.state) : ofSeller(dossier.course.state)
        if dossier.mayChallenge(role) { kinds.append(.challenge) }
        return kinds
    }

    private func ofBuyer(_ state: TradeCourse.State) -> [StepKind] {
        switch state {
        case .reserved: [.contract]
        case .bound: [.paid]
        case .unpaid: isMoneySellers ? [.paid] : [.cancel]
        case .unconfirmed, .unrefunded: [.dispute]
        case .refundClaimed: isMoneySellers ? [.dispute] : [.accepted]
        case .shipped: areGoodsBuyers ? [.receipt] : []
        case .undelivered: areGoodsBuyers ? [.receipt] : [.dispute]
        case .delivered: areGoodsBuyers ? [.accepted] : [.dispute]
        case .disputed(by: .seller): [.answer]
        case .challenged(author: .buyer): [.opening]
        case .paidClaimed, .paid, .unshipped, .disputed, .called, .judged, .challenged, .completed, .cancelled,
            .refunded, .settled, .ruled, .ruledByTable, .abandoned, .lapsed:
            []
        }
    }

    private func ofSeller(_ state: TradeCourse.State) -> [StepKind] {
        switch state {
        case .unpaid: isMoneySellers ? [] : [.cancel]
        case .paidClaimed, .unconfirmed: isMoneySellers ? [.received] : []
        case .paid: [.shipped]
        case .unshipped, .unrefunded: areGoodsBuyers || !isMoneySellers ? [] : [.refund]
        case .undelivered: areGoodsBuyers ? [.carrierProof] : []
        case .disputed(by: .buyer): [.answer]
        case .challenged(author: .seller): [.opening]
        case .reserved, .bound, .refundClaimed, .shipped, .delivered, .disputed, .called, .judged, .challenged,
            .completed, .cancelled, .refunded, .settled, .ruled, .ruledByTable, .abandoned, .lapsed:
            []
        }
    }
}
