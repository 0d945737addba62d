// SPDX-License-Identifier: Apache-2.0
import TuttiBase
package import TuttiCommunityCore
import TuttiIdentity
package import TuttiWitness

/// Makes a contract out of what was agreed, by the community's rules and from the words that arbiters and witnesses have
/// published. A pure function: the buyer makes the same, and signs only that.
package enum ContractDraft {
    package enum Refusal: Error, Hashable, Sendable {
        case noCharter
        /// Fewer than four of the charter's witnesses have told their keys.
        case noWitnesses
        /// Fewer than the charter wants consent to judge a trade like this one.
        case arbiters(found: Int, needed: Int)
        /// The community doesn't trade in it, or not for so much.
        case sum
        case transportDays(limit: Int)
        /// The seller has no account.
        case noAccount
        /// With these deadlines a trade could last over 90 days.
        case tooLong
        case malformed
    }

    /// - Parameters:
    ///   - unit: one that is free, and how often it was reserved before.
    ///   - milliseconds: since 1970, now.
    package static func contract(
        _ negotiation: TradeNegotiation, seller key: TradeKey, unit: UnitID, round: UInt32, _ state: CommunityState,
        _ roster: MarketRoster, at milliseconds: UInt64
    ) throws(Refusal) -> Contract {
        guard let charter = state.charter else { throw .noCharter }
        guard let witnesses = roster.witnessSet(state) else { throw .noWitnesses }
        let (rules, terms) = (charter.market, negotiation.terms)
        guard let exposure = rules.exposure(terms.price.amount, terms.price.currency.text) else { throw .sum }
        guard let deadlines = rules.deadlineSeconds(transportDays: terms.transportDays) else {
            throw .transportDays(limit: rules.transportDaysMax)
        }
        guard let account = CapAccounts(state).id(of: negotiation.seller) else { throw .noAccount }
        let candidates = arbiters(negotiation, roster, state, witnesses, units: exposure, at: milliseconds)
        guard candidates.count >= rules.arbitersMin else {
            throw .arbiters(found: candidates.count, needed: rules.arbitersMin)
        }
        // As many as leave the whole within 90 days.
        let counts = (rules.arbitersMin...min(rules.arbitersMax, candidates.count)).reversed()
        for count in counts {
            let contract = Contract(
                community: negotiation.offer.community, nonce: negotiation.offer.nonce, terms: terms, unit: unit,
                round: round, buyer: negotiation.offer.buyer,
                seller: TradeParty(member: negotiation.seller, key: key), arbiters: Array(candidates.prefix(count)),
                witnesses: witnesses, deadlines: deadlines, account: account, exposure: exposure,
                charter: charter.digest)
            guard contract.secondsFromPayment <= WitnessLimits.secondsFromPaymentMax else { continue }
            guard contract.isWellFormed else { throw .malformed }
            return contract
        }
        throw .tooLong
    }

    /// Who may judge, in an order that neither side chooses: by a digest of the trade and the arbiter.
    private static func arbiters(
        _ negotiation: TradeNegotiation, _ roster: MarketRoster, _ state: CommunityState, _ witnesses: WitnessSet,
        units: Int64, at milliseconds: UInt64
    ) -> [TradeParty] {
        let parties = [negotiation.seller, negotiation.offer.buyer.member]
        let currency = negotiation.terms.price.currency.text
        let able = roster.arbiters(state, at: milliseconds).filter { arbiter in
            !parties.contains(arbiter.member) && !witnesses.keys.contains(arbiter.consent.key)
                && arbiter.consent.covers(units: units, currency: currency, at: milliseconds)
        }
        func lot(_ arbiter: MarketRoster.Arbiter) -> Bytes32 {
            KeyDerivation.sha256(
                Array("tutti-arbiter-order".utf8) + negotiation.trade.bytes.bytes + arbiter.member.bytes.bytes)
        }
        return able.map { (lot($0), $0) }.sorted { $0.0 < $1.0 }
            .map { TradeParty(member: $0.1.member, key: $0.1.consent.key) }
    }
}
