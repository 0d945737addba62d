// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity
package import TuttiJournal
package import TuttiWitness

/// Signs what a member says in its trades. Whether it may be said is the dossier's to tell.
package struct TradeDesk: Sendable {
    package let community: CommunityID
    package let member: MemberID
    package let keyring: MarketKeyring

    package init(community: CommunityID, member: MemberID, keyring: MarketKeyring) {
        self.community = community
        self.member = member
        self.keyring = keyring
    }

    /// The first word of a trade. Nil without a secret, and for terms that no event can hold.
    package func offer(_ terms: TradeTerms, until expiry: UInt64, from source: inout KeySource) -> TradeEvent? {
        guard let secret = keyring.current else { return nil }
        let nonce = source.nextBytes32()
        let trade = Contract.trade(listing: terms.listing, buyer: member, nonce: nonce)
        let key = secret.keyPair(for: .buyer(trade))
        let offer = TradeOffer(
            community: community, nonce: nonce, buyer: TradeParty(member: member, key: key.tradeKey), terms: terms,
            expiry: expiry)
        return TradeEvent(
            trade: trade, number: 0, previous: .zero, kind: .offer, salt: source.nextBytes32(), authors: [.buyer],
            body: .offer(offer)
        )?.signed(as: .buyer, with: key)
    }

    /// Other terms than the last proposal's.
    /// - Parameters:
    ///   - key: with which we began, or, for a seller's first word, nil.
    package func counter(
        _ terms: TradeTerms, as role: TradeRole, after last: TradeEvent, key: TradeKey?, until expiry: UInt64,
        from source: inout KeySource
    ) -> TradeEvent? {
        guard let pair = pair(for: role, in: last.trade, named: key) else { return nil }
        let counter = TradeCounter(
            author: TradeParty(member: member, key: pair.tradeKey), terms: terms, expiry: expiry)
        return TradeEvent(
            trade: last.trade, number: last.number + 1, previous: last.hash, kind: .counter,
            salt: source.nextBytes32(), authors: [role], body: .counter(counter)
        )?.signed(as: role, with: pair)
    }

    /// The seller's word under the whole contract.
    package func accept(
        _ contract: Contract, after last: TradeEvent, from source: inout KeySource
    ) -> TradeEvent? {
        guard let pair = pair(for: .seller, in: last.trade, named: contract.seller.key) else { return nil }
        return TradeEvent(
            trade: last.trade, number: 0, previous: last.hash, kind: .accept, salt: source.nextBytes32(),
            authors: [.seller], body: .accept(contract)
        )?.signed(as: .seller, with: pair)
    }

    /// A step of the contract's course.
    package func step(
        _ act: StepAct, _ body: TradeEventBody, as role: TradeRole, in contract: Contract, number: UInt32,
        after previous: Bytes32, from source: inout KeySource
    ) -> TradeEvent? {
        guard let party = contract.party(role), party.member == member,
            let pair = pair(for: role, in: contract.trade, named: party.key)
        else { return nil }
        return TradeEvent(
            trade: contract.trade, number: number, previous: previous, kind: .step(act.kind), detail: act.detail,
            salt: source.nextBytes32(), authors: [role], body: body
        )?.signed(as: role, with: pair)
    }

    /// The key pair of a role of ours. Without a name the one that a newcomer to the trade would use.
    package func pair(for role: TradeRole, in trade: TradeID, named key: TradeKey?) -> KeyPair? {
        let use: TradeKeyUse =
            switch role {
            case .buyer: .buyer(trade)
            case .seller: .seller(trade)
            case .arbiter: .arbiter(community)
            }
        guard let key else { return keyring.current?.keyPair(for: use) }
        return keyring.keyPair(named: key, for: use)
    }
}
