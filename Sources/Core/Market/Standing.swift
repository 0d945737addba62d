// SPDX-License-Identifier: Apache-2.0
import TuttiBase
package import TuttiCommunityCore
package import TuttiJournal
import TuttiWitness

/// How much a buyer may lose to a seller, by what members answered for: money, not stars.
///
/// **Network.** A vouch leads from its author to whom it is for, with its amount; a completed trade from buyer to seller,
/// with its units: the buyer was at risk and came out whole. (Not back: else a cheat would buy trust with goods he can
/// sell.) Whatever many identities a cheat makes, and whatever they say of each other, no more flows to all of them
/// together than the others' words about them let through.
///
/// **Open trades** use up capacity, as in Bazaar (Post, Shah, Mislove, NSDI 2011): those whose buyer is known along ways from
/// that buyer to the seller. So buyers who all trade at once with sellers behind one cut can't lose more than the
/// cut, either. Where less fits than is open, the rest counts against the seller's account.
///
/// The limit is advice to a buyer. What holds for everybody is the account's cap, which the witnesses keep.
package struct Standing: Sendable {
    package enum Limit: Hashable, Sendable {
        case units(Int64)
        /// News of others' exposure are too old or incomplete. Shown as 0.
        case unknown

        package var units: Int64 {
            switch self {
            case .units(let units): units
            case .unknown: 0
            }
        }
    }

    private let accounts: CapAccounts
    private var places: [MemberID: Int] = [:]
    private let network: FlowNetwork
    /// Without what open trades use.
    private var free: FlowNetwork
    /// By account.
    private var open: [Bytes32: Int64] = [:]
    private var unplaced: [Bytes32: Int64] = [:]
    private let isComplete: Bool

    /// Some milliseconds for 2,000 members, 20,000 words and 100 open trades; a network is made anew when one of them changes.
    package init(_ state: CommunityState, accounts: CapAccounts, trades: TradeTable, exposures: ExposureTable) {
        self.accounts = accounts
        isComplete = !exposures.isIncomplete
        let members = state.members.keys.sorted()
        for (place, member) in members.enumerated() { places[member] = place }
        // The order changes no result, except where the bound on work cuts a flow short.
        var arcs: [FlowNetwork.Arc] = []
        for vouch in state.vouches.values.sorted(by: { $0.id < $1.id }) {
            guard let from = places[vouch.author], let to = places[vouch.body.member] else { continue }
            arcs.append(.init(from: from, to: to, capacity: min(vouch.body.amount, MarketLimits.unitsMax)))
        }
        for trade in trades.completed(state) {
            guard let from = places[trade.buyer], let to = places[trade.seller] else { continue }
            arcs.append(.init(from: from, to: to, capacity: trade.units))
        }
        network = FlowNetwork(nodesCount: members.count, arcs: arcs)
        free = network
        for exposure in exposures.open(state) { use(exposure) }
    }

    private mutating func use(_ exposure: ExposureTable.Open) {
        // Who is on another account by now still owes what the old one was debited with.
        let concerned = Set([exposure.account, accounts.id(of: exposure.seller)].compactMap(\.self))
        for account in concerned { open[account, default: 0] += exposure.units }
        guard let buyer = exposure.buyer, let from = places[buyer], let to = places[exposure.seller] else { return }
        let placed = free.reserve(upTo: exposure.units, from: from, to: to)
        for account in concerned { unplaced[account, default: 0] += exposure.units - placed }
    }

    /// - Parameters:
    ///   - knownAt: until when this node knows everybody's exposure, ms since 1970; nil: not at all.
    ///   - milliseconds: now.
    package func limit(
        of viewer: MemberID, for seller: MemberID, knownAt: UInt64?, at milliseconds: UInt64
    ) -> Limit {
        guard let knownAt, isComplete,
            milliseconds - min(milliseconds, knownAt) <= StandingLimits.exposureAgeMilliseconds
        else { return .unknown }
        guard let from = places[viewer], let to = places[seller], let id = accounts.id(of: seller),
            let cap = accounts.account(of: seller)?.cap
        else { return .units(0) }
        let open = open[id] ?? 0
        let left = min(cap, network.flow(upTo: cap, from: from, to: to)) - open
        guard left > 0 else { return .units(0) }
        let free = free.flow(upTo: cap, from: from, to: to) - (unplaced[id] ?? 0)
        return .units(max(0, min(left, free)))
    }
}
