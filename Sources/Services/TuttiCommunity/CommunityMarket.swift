// SPDX-License-Identifier: Apache-2.0
import Foundation
import Tutti
import TuttiBase
import TuttiCommunityCore
import TuttiJournal
import TuttiMarket
import TuttiNodeCore
import TuttiWitness

/// Listings: what is offered, by whom.
extension CommunityNode {
    private static let categoriesMax = 1_000
    private static let searchMax = 1_000
    /// A secret that was written is read within this, or the command says why not.
    private static let secretTimeout: Duration = .seconds(10)

    func market(_ command: MarketCommand) async throws -> CommunityReply {
        switch command {
        case .arbitrate(let fee, let languages, let cap, let days):
            try await arbitrate(fee: fee, languages: languages, cap: cap, days: days)
            return .done
        case .list(let draft): return .listing(try await list(draft))
        case .revise(let listing, let change): return .listing(try await revise(listing, change))
        case .end(let listing, let sold): return .listing(try await end(listing, sold ? .sold : .withdrawn))
        case .search(let search): return .listings(try await self.search(search))
        case .show(let listing): return .listing(try await summary(try await self.listing(listing), withDelivery: true))
        case .categories: return .categories(try await categories())
        case .importFile(let file): return .imported(try await importListings(file))
        case .exportFile(let path, let jsonLines):
            return .exported(entries: try await exportListings(to: path, asJSON: jsonLines))
        }
    }

    // MARK: The member's keys

    /// From which new trade keys come. The first thing that needs one makes it.
    func marketSecret() async throws -> MarketSecret {
        // Another device of ours may have made one that is still to be read.
        try await waitForMarket()
        if let secret = try await read({ $0.market?.core.keyring.current }) { return secret }
        var source = KeySource.system
        let secret = MarketSecret(from: &source)
        let known = self.changes.watch()
        _ = try await append(Letter(secret.content, to: []))
        try await within(Self.secretTimeout) {
            for await change in known { if case .market(.secretsChanged) = change { return } }
        }
        guard let current = try await read({ $0.market?.core.keyring.current }) else {
            throw CommunityError(.storage, "the key of your trades was kept but can't be read: run `tutti repair`")
        }
        return current
    }

    // MARK: Writing

    private func list(_ draft: ListingDraft) async throws -> ListingSummary {
        let currency = try ListingTyping.currency(draft.currency)
        let terms = ListingTerms(
            title: draft.title, text: draft.text, category: draft.category.lowercased(),
            condition: try ListingTyping.condition(draft.condition),
            price: try ListingTyping.amount(draft.price, currency), currency: currency, quantity: draft.quantity,
            expiry: try ListingTyping.expiry(days: draft.days, from: configuration.wallClock()),
            reference: draft.reference, delivery: try ListingTyping.delivery(draft.delivery, currency))
        if let refusal = terms.refusal { throw ListingTyping.refused(refusal) }
        let secret = try await marketSecret()
        let stub = Self.stub(of: terms, secret, try await witnessSet())
        let entry = try await actAlone { port, _ in
            guard let body = ListingBody(stub: stub, terms: terms) else {
                throw CommunityError(.invalidInput, "no listing can say that")
            }
            return EntryDraft(kind: .listing, retention: .year, body: body.bytes, governance: port.community.head)
        }
        return try await summary(try await row(entry.id), withDelivery: true)
    }

    private func revise(_ typed: String, _ change: ListingChange) async throws -> ListingSummary {
        let row = try await ownListing(typed)
        var terms = try await self.terms(of: row)
        if let title = change.title { terms.title = title }
        if let text = change.text { terms.text = text }
        if let category = change.category { terms.category = category.lowercased() }
        if let condition = change.condition { terms.condition = try ListingTyping.condition(condition) }
        if let price = change.price { terms.price = try ListingTyping.amount(price, terms.currency) }
        if let quantity = change.quantity { terms.quantity = quantity }
        if let delivery = change.delivery { terms.delivery = try ListingTyping.delivery(delivery, terms.currency) }
        if let days = change.days {
            terms.expiry = try ListingTyping.expiry(days: days, from: configuration.wallClock())
        }
        if let refusal = terms.refusal { throw ListingTyping.refused(refusal) }
        guard terms.quantity <= row.units else {
            throw CommunityError(
                .invalidInput, "\(row.units) were listed, and no revision makes more of them: list the others anew")
        }
        guard let body = ListingRevisionBody(listing: row.id, terms: terms) else {
            throw CommunityError(.invalidInput, "no listing can say that")
        }
        try await actAlone { port, _ in
            EntryDraft(kind: .listingRevision, retention: .year, body: body.bytes, governance: port.community.head)
        }
        return try await summary(try await self.row(row.id), withDelivery: true)
    }

    private func end(_ typed: String, _ outcome: ListingState) async throws -> ListingSummary {
        let row = try await ownListing(typed)
        guard row.state == .open else { throw CommunityError(.notAllowed, "this listing has ended already") }
        guard let body = ListingEndBody(listing: row.id, outcome: outcome) else {
            throw CommunityError(.invalidInput, "a listing ends as sold or withdrawn")
        }
        try await actAlone { port, _ in
            EntryDraft(kind: .listingEnd, retention: .year, body: body.bytes, governance: port.community.head)
        }
        return try await summary(try await self.row(row.id), withDelivery: true)
    }

    // MARK: Reading

    private func search(_ search: ListingSearch) async throws -> [ListingSummary] {
        var query = ListingQuery()
        query.words = search.words
        query.category = search.category?.lowercased()
        query.conditions = try search.conditions.map(ListingTyping.condition)
        let currency = try search.currency.map(ListingTyping.currency)
        query.currency = currency?.text
        if search.priceMin != nil || search.priceMax != nil {
            guard let currency else {
                throw CommunityError(.invalidInput, "a price says little without a currency: add --currency")
            }
            let least = try search.priceMin.map { try ListingTyping.amount($0, currency) } ?? 0
            let most = try search.priceMax.map { try ListingTyping.amount($0, currency) } ?? .max
            guard least <= most else { throw CommunityError(.invalidInput, "the lowest price is above the highest") }
            query.prices = least...most
        }
        if let seller = search.seller {
            query.seller = try await read { try $0.community.state.member(typed: seller) }
        }
        if search.all { query.states = ListingState.allCases } else { query.unexpiredAt = configuration.wallClock() }
        query.order =
            switch search.order {
            case .best: .bestMatch
            case .newest: .newest
            case .cheapest: .cheapest
            case .dearest: .dearest
            }
        query.countMax = max(1, min(search.count, Self.searchMax))
        if let after = search.after { query.after = try await listing(after).id }
        let found = try await summaries(try await listings(.listings(query)))
        return search.all ? found : found.filter { $0.hidden == nil }
    }

    private func categories() async throws -> [CategorySummary] {
        let query = JournalQuery.listingCategories(
            unexpiredAt: configuration.wallClock(), countMax: Self.categoriesMax)
        guard case .categories(let found) = await host.writer.answer(query) else { throw Self.unreadable }
        return found.map { CategorySummary(name: $0.name, count: $0.count) }
    }

    /// By its id, or by how that begins.
    func listing(_ typed: String) async throws -> ListingRow {
        guard let range = ListingTyping.range(typed) else {
            throw CommunityError(.invalidInput, "'\(typed)' is no id: `tutti market search` shows them")
        }
        let found = try await listings(.listingsNamed(range, countMax: 2))
        guard let first = found.first else {
            throw CommunityError(.notFound, "there is no listing '\(typed)' here")
        }
        guard found.count == 1 else {
            throw CommunityError(.invalidInput, "several listings begin with '\(typed)': type more of it")
        }
        return first
    }

    private func ownListing(_ typed: String) async throws -> ListingRow {
        let row = try await listing(typed)
        guard row.seller == settings.member else {
            throw CommunityError(.notAllowed, "only its seller changes or ends a listing")
        }
        return row
    }

    private func row(_ id: EntryID) async throws -> ListingRow {
        guard let row = try await listings(.listingsNamed(id...id, countMax: 1)).first else {
            throw CommunityError(.storage, "the listing was kept but isn't shown: run `tutti repair`")
        }
        return row
    }

    func listings(_ query: JournalQuery) async throws -> [ListingRow] {
        guard case .listings(let rows) = await host.writer.answer(query) else { throw Self.unreadable }
        return rows
    }

    /// As the entry in force says them.
    func terms(of row: ListingRow) async throws -> ListingTerms {
        guard let terms = try await terms(of: [row]).first else { throw Self.unreadable }
        return terms
    }

    func terms(of rows: [ListingRow]) async throws -> [ListingTerms] {
        guard case .entries(let found) = await host.writer.answer(.entries(rows.map(\.source))) else {
            throw Self.unreadable
        }
        let entries = Dictionary(found.map { ($0.entry.id, $0) }) { first, _ in first }
        return try rows.map { row in
            guard let arrival = entries[row.source].flatMap({ ListingArrival($0, author: row.seller) }) else {
                throw Self.unreadable
            }
            switch arrival.act {
            case .list(let body): return body.terms
            case .revise(let body): return body.terms
            case .end: throw Self.unreadable
            }
        }
    }

    private static let unreadable = CommunityError(.storage, "the listings can't be read: run `tutti repair`")

    private func summary(_ row: ListingRow, withDelivery: Bool) async throws -> ListingSummary {
        guard var summary = try await summaries([row]).first else { throw Self.unreadable }
        if withDelivery, let currency = CurrencyCode(row.currency) {
            summary.delivery = try await terms(of: row).delivery.map { ListingTyping.text($0, currency) }
        }
        return summary
    }

    private func summaries(_ rows: [ListingRow]) async throws -> [ListingSummary] {
        let (own, choices, now) = (settings.member, settings.choices, configuration.wallClock())
        return try await read { port in
            let state = port.community.state
            let hidden = state.hidingReasons
            return rows.compactMap { row in
                guard let standing = port.community.roster.devices[row.device],
                    !standing.isVoid(FeedPoint(sequence: row.sequence, id: row.id)),
                    let currency = CurrencyCode(row.currency)
                else { return nil }
                let shown: String =
                    switch row.state {
                    case .open: row.expiry < now ? "expired" : "open"
                    case .withdrawn: "withdrawn"
                    case .sold: "sold"
                    }
                return ListingSummary(
                    id: Names.text(row.id.bytes), title: row.title, text: row.text, category: row.category,
                    condition: row.condition.name, price: currency.amount(row.price), currency: row.currency,
                    units: row.units, quantity: row.quantity, state: shown,
                    expiry: Date(timeIntervalSince1970: Double(row.expiry) / 1_000),
                    seller: Names.text(row.seller.bytes), nickname: state.nickname(row.seller),
                    isOwn: row.seller == own, reference: row.reference,
                    hidden: choices.reason(.entry(row.id), by: row.seller, hidden))
            }
        }
    }
}
