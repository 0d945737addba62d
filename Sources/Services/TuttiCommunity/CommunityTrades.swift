// SPDX-License-Identifier: Apache-2.0
import Foundation
import Tutti
import TuttiBase
import TuttiCommunityCore
import TuttiJournal
import TuttiMarket
import TuttiNodeCore
import TuttiWitness

/// Trades of the folder's member.
extension CommunityNode {
    /// A letter that was written is read within this.
    private static let tradeTimeout: Duration = .seconds(10)

    func trade(_ command: TradeCommand) async throws -> CommunityReply {
        switch command {
        case .offer(let listing, let proposal): .trade(try await offer(listing, proposal))
        case .counter(let trade, let proposal): .trade(try await counter(trade, proposal))
        case .accept(let trade): .trade(try await accept(trade))
        case .status(let trade): .trade(try await summary(try await file(trade)))
        case .list(let all): .trades(try await trades(all: all))
        case .act(let trade, let step): .trade(try await act(trade, step))
        case .export(let trade, let path): .exported(entries: try await exportDossier(trade, to: path))
        }
    }

    // MARK: Words before the contract

    private func offer(_ typed: String, _ proposal: TradeProposal) async throws -> TradeSummary {
        let row = try await listing(typed)
        let now = configuration.wallClock()
        guard row.seller != settings.member else {
            throw CommunityError(.notAllowed, "this is your own listing: others make offers for it")
        }
        guard row.state == .open, row.expiry > now else {
            throw CommunityError(.notAllowed, "this listing isn't open any more")
        }
        let listed = try await terms(of: row)
        let terms = try TradeTyping.terms(proposal, listing: row, listed)
        _ = try await marketSecret()
        try await checkMailbox(of: row.seller)
        let desk = try await desk()
        var source = KeySource.system
        guard let event = desk.offer(terms, until: now + MarketCoreLimits.proposalMilliseconds, from: &source) else {
            throw Self.unsayable
        }
        return try await send(event, to: [row.seller])
    }

    private func counter(_ typed: String, _ proposal: TradeProposal) async throws -> TradeSummary {
        let (negotiation, role) = try await negotiation(typed)
        let terms = try TradeTyping.terms(proposal, after: negotiation.terms)
        guard terms != negotiation.terms else {
            throw CommunityError(.invalidInput, "these are the same terms: `tutti trade accept` agrees to them")
        }
        return try await propose(terms, in: negotiation, as: role)
    }

    private func accept(_ typed: String) async throws -> TradeSummary {
        let (negotiation, role) = try await negotiation(typed)
        // A buyer agrees by proposing the same; then it is the seller's to reserve the unit.
        if role == .buyer { return try await propose(negotiation.terms, in: negotiation, as: role) }
        return try await acceptOffer(negotiation)
    }

    private func propose(
        _ terms: TradeTerms, in negotiation: TradeNegotiation, as role: TradeRole
    ) async throws -> TradeSummary {
        guard negotiation.countersLeft > 0, let last = negotiation.proposals.last else {
            throw CommunityError(.notAllowed, "all counter-offers of this trade are used up: begin with another offer")
        }
        if role == .seller { _ = try await marketSecret() }
        let other = role == .buyer ? negotiation.seller : negotiation.offer.buyer.member
        try await checkMailbox(of: other)
        let desk = try await desk()
        var source = KeySource.system
        let key = role == .buyer ? negotiation.offer.buyer.key : negotiation.sellerKey
        let event = desk.counter(
            terms, as: role, after: last, key: key,
            until: configuration.wallClock() + MarketCoreLimits.proposalMilliseconds, from: &source)
        guard let event else { throw Self.unsayable }
        return try await send(event, to: [other])
    }

    /// That is still open, in which it is our turn.
    private func negotiation(_ typed: String) async throws -> (TradeNegotiation, TradeRole) {
        let file = try await file(typed)
        guard let negotiation = file.negotiation, let role = role(in: negotiation) else {
            throw CommunityError(.notFound, "no offer of this trade is here")
        }
        guard file.dossier == nil else {
            throw CommunityError(.notAllowed, "the terms are agreed already: `tutti trade status` says what comes next")
        }
        guard !negotiation.hasLapsed(at: configuration.wallClock()) else {
            throw CommunityError(.notAllowed, "the offer has lapsed: begin with another one")
        }
        guard negotiation.lastAuthor != role else {
            throw CommunityError(.notAllowed, "it is the other side's turn: your last proposal stands")
        }
        return (negotiation, role)
    }

    func role(in negotiation: TradeNegotiation) -> TradeRole? {
        if settings.member == negotiation.seller { return .seller }
        return settings.member == negotiation.offer.buyer.member ? .buyer : nil
    }

    func checkMailbox(of member: MemberID) async throws {
        guard try await read({ $0.mailbox?.core.canWrite(to: member) ?? false }) else {
            throw CommunityError(
                .notAllowed, "the other's node has told no key to seal for yet: it does when it is next up")
        }
    }

    func desk() async throws -> TradeDesk {
        guard let community = settings.community, let member = settings.member else { throw CommunityError.noDevice }
        let keyring = try await read { $0.market?.core.keyring ?? MarketKeyring() }
        return TradeDesk(community: community, member: member, keyring: keyring)
    }

    static let unsayable = CommunityError(.invalidInput, "no trade can say that: shorten it")

    /// To the others' mailboxes and our own; returns when our own market has read it.
    func send(_ event: TradeEvent, to others: [MemberID]) async throws -> TradeSummary {
        let changes = changes.watch()
        let letter = TradeLetter(event.trade, events: [event.bytes])
        _ = try await append(Letter(letter.content, to: others))
        try await within(Self.tradeTimeout) {
            for await change in changes {
                guard case .market(.tradeChanged(event.trade)) = change else { continue }
                let file = try await self.read { $0.market?.core.trade(event.trade) }
                if file?.letters.contains(letter) == true { return }
            }
        }
        return try await summary(try await file(Names.text(event.trade.bytes)))
    }

    // MARK: Reading

    func file(_ typed: String) async throws -> TradeFile {
        try await waitForMarket()
        let open = try await files()
        let id = try Names.match(typed, open.map(\.id), \.bytes, "open trade")
        guard let file = open.first(where: { $0.id == id }) else { throw CommunityError.noDevice }
        return file
    }

    func files() async throws -> [TradeFile] { try await read { $0.market?.core.openTrades ?? [] } }

    private func trades(all: Bool) async throws -> [TradeSummary] {
        try await waitForMarket()
        var summaries: [TradeSummary] = []
        for file in try await files() where file.negotiation != nil {
            let summary = try await summary(file)
            if all || !summary.isOver { summaries.append(summary) }
        }
        return summaries
    }

    /// What is here is read.
    func waitForMarket() async throws {
        try await waitForMailbox { $0.isLevel }
        let changes = changes.watch()
        guard try await !read({ $0.market?.core.isLevel ?? true }) else { return }
        try await within(Self.tradeTimeout) {
            for await _ in changes where try await self.read({ $0.market?.core.isLevel ?? true }) { return }
        }
    }

    private func summary(_ file: TradeFile) async throws -> TradeSummary {
        if let dossier = file.dossier { return try await summary(file, dossier) }
        guard let negotiation = file.negotiation, let role = role(in: negotiation) else {
            throw CommunityError(.notFound, "no offer of this trade is here")
        }
        let now = configuration.wallClock()
        let names = try await read { port in
            let state = port.community.state
            return (state.nickname(negotiation.offer.buyer.member), state.nickname(negotiation.seller))
        }
        let text = NegotiationText(negotiation, as: role, buyer: names.0, seller: names.1, at: now)
        let price = negotiation.terms.price
        return TradeSummary(
            id: Names.text(file.id.bytes), title: negotiation.terms.title,
            price: price.currency.amount(price.amount), currency: price.currency.text,
            role: role == .buyer ? "buyer" : "seller", buyer: names.0, seller: names.1, state: text.state,
            turn: text.turn, acts: text.acts(Names.text(file.id.bytes).prefix(8)),
            deadline: text.isOver ? nil : Date(timeIntervalSince1970: Double(negotiation.expiry) / 1_000),
            isOver: text.isOver, history: text.history)
    }
}
