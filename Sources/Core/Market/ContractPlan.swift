// SPDX-License-Identifier: Apache-2.0
import TuttiBase
package import TuttiCommunityCore
package import TuttiWitness

extension Contract {
    /// What witnesses see of it. Nil never, for a contract that was read or is well formed.
    package var plan: TradePlan? {
        guard let deadlines = TradeDeadlines(deadlines.map { UInt32(clamping: $0) }) else { return nil }
        return TradePlan(
            trade: trade, unit: unit, buyer: buyer.key, seller: seller.key, arbiters: arbiters.map(\.key),
            witnesses: witnesses.id, deadlines: deadlines, contract: digest, account: account, amount: exposure,
            charter: charter)
    }

    /// Whether deadlines, arbiters and exposure are those of the charter's market.
    package func keeps(_ rules: MarketRules) -> Bool {
        deadlines == rules.deadlineSeconds(transportDays: terms.transportDays)
            && arbiters.count >= rules.arbitersMin && arbiters.count <= rules.arbitersMax
            && exposure == rules.exposure(terms.price.amount, terms.price.currency.text)
    }

    /// Everything decided so far in one digest, as witnesses compute it.
    package func history(of steps: some Sequence<DecidedStep>) -> TradeHistory? {
        guard let plan else { return nil }
        var history = TradeHistory(plan: plan.digest, round: round)
        for (index, step) in steps.enumerated() {
            history.append(value(of: step, number: UInt32(clamping: index + 1), after: history))
        }
        return history
    }

    private func value(of step: DecidedStep, number: UInt32, after history: TradeHistory) -> SlotValue {
        switch step {
        case .silence: .noEvent
        case .event(let act, let roles, let event):
            .event(
                Step(history: history.digest, number: number, act: act, roles: roles, event: event).digest.bytes)
        }
    }
}
