// SPDX-License-Identifier: Apache-2.0
import Foundation
import Tutti
import TuttiBase
import TuttiCommunityCore
import TuttiJournal
import TuttiMarket
import TuttiNodeCore
import TuttiWitness

/// From the seller's acceptance on: each step is signed, sent to both sides, and registered by the node itself.
extension CommunityNode {
    /// Reserves a unit for the buyer on the terms that stand.
    func acceptOffer(_ negotiation: TradeNegotiation) async throws -> TradeSummary {
        guard let last = negotiation.proposals.last else { throw Self.unsayable }
        let row = try await listing(Names.text(negotiation.terms.listing.bytes))
        guard row.state == .open else { throw CommunityError(.notAllowed, "this listing has ended") }
        _ = try await marketSecret()
        try await checkMailbox(of: negotiation.offer.buyer.member)
        let desk = try await desk()
        guard let key = desk.pair(for: .seller, in: negotiation.trade, named: negotiation.sellerKey) else {
            throw Self.unsayable
        }
        let (roster, state) = try await marketRoster()
        let stub = try await stub(of: row)
        guard stub.witnesses == roster.witnessSet(state)?.id else {
            throw CommunityError(
                .notAllowed,
                "this listing was made when the community had other witnesses, or none, and they alone could reserve it: "
                    + "list it anew")
        }
        let unit = stub.unit(try await freeUnit(of: row, stub))
        let contract: Contract
        do throws(ContractDraft.Refusal) {
            contract = try ContractDraft.contract(
                negotiation, seller: key.tradeKey, unit: unit, round: 0, state,
                roster, at: configuration.wallClock())
        } catch { throw TradeTyping.refused(error) }
        var source = KeySource.system
        guard let event = desk.accept(contract, after: last, from: &source) else { throw Self.unsayable }
        return try await send(event, to: [negotiation.offer.buyer.member])
    }

    private func stub(of row: ListingRow) async throws -> UnitStub {
        guard case .entries(let found) = await host.writer.answer(.entries([row.id])),
            let body = (found.first?.entry.content?.body).flatMap({ try? ListingBody(bytes: $0) })
        else { throw CommunityError(.storage, "the listing can't be read: run `tutti repair`") }
        return body.stub
    }

    /// One that none of our trades has; those that were sold before stand first.
    private func freeUnit(of row: ListingRow, _ stub: UnitStub) async throws -> Int {
        let taken = Set(try await files().compactMap { $0.dossier?.contract.unit })
        let first = max(0, min(row.units - row.quantity, stub.quantity))
        guard let number = (first..<stub.quantity).first(where: { !taken.contains(stub.unit($0)) }) else {
            throw CommunityError(
                .notAllowed, "all that is left of this listing is reserved for others: list more, or wait")
        }
        return number
    }

    func act(_ typed: String, _ act: TradeAct) async throws -> TradeSummary {
        let file = try await file(typed)
        guard let dossier = file.dossier, let role = role(in: dossier.contract) else {
            throw CommunityError(.notAllowed, "there is no contract yet: `tutti trade status` says what comes first")
        }
        let (step, body) = try TradeTyping.step(act, in: dossier)
        guard dossier.isReserved else {
            throw CommunityError(.notAllowed, "the unit isn't reserved yet: \(dossier.status(for: role))")
        }
        guard dossier.choices(of: role).contains(step.kind) else {
            throw CommunityError(.notAllowed, "not now: \(dossier.status(for: role, since: file.since))")
        }
        guard dossier.course.signers(of: step.kind).map({ $0.admit([role]) }) == true else {
            throw CommunityError(
                .notAllowed, "both sides would have to sign this together, which this version can't yet")
        }
        if let waiting = dossier.pending.first(where: { $0.authors == [role] }) {
            throw CommunityError(
                .notAllowed, "your \(waiting.kind.name) is signed already and on its way to the witnesses")
        }
        var source = KeySource.system
        let event = try await desk().step(
            step, body, as: role, in: dossier.contract, number: dossier.course.number, after: dossier.tip,
            from: &source)
        guard let event else { throw Self.unsayable }
        if let breach = dossier.contract.breach(of: event, challenged: dossier.tip) {
            throw CommunityError(.invalidInput, "the other side could refuse this: it \(breach.sentence)")
        }
        let others = [dossier.contract.buyer, dossier.contract.seller].map(\.member).filter { $0 != settings.member }
        for other in others { try await checkMailbox(of: other) }
        return try await send(event, to: others)
    }

    func role(in contract: Contract) -> TradeRole? {
        let roles: [TradeRole] = [.buyer, .seller] + contract.arbiters.indices.map { .arbiter($0) }
        return roles.first { contract.party($0)?.member == settings.member }
    }

    func exportDossier(_ typed: String, to path: String) async throws -> Int {
        let file = try await file(typed)
        guard let dossier = file.dossier else {
            throw CommunityError(.notAllowed, "there is no contract yet, and so no dossier")
        }
        let whole = DossierFile(dossier, proof: file.proof)
        do {
            try Data(whole.bytes).write(to: URL(fileURLWithPath: path), options: .atomic)
        } catch {
            throw CommunityError(.folder, "the file \(path) can't be written: check its folder and mode")
        }
        return whole.events.count
    }

    /// From the contract on.
    func summary(_ file: TradeFile, _ dossier: Dossier) async throws -> TradeSummary {
        let contract = dossier.contract
        guard let role = role(in: contract) else { throw CommunityError.noDevice }
        let (names, failure) = try await read { port in
            let state = port.community.state
            let members = [contract.buyer, contract.seller] + contract.arbiters
            return (
                Dictionary(members.map { ($0.member, state.nickname($0.member)) }) { first, _ in first },
                port.market?.core.failure(of: file.id)
            )
        }
        func name(_ party: TradeParty) -> String { names[party.member] ?? "?" }
        let since = file.proof == nil ? nil : file.since
        var turn = dossier.status(for: role, since: since)
        if let failure { turn += " The witnesses refuse: \(TradeTyping.text(failure))." }
        let price = contract.terms.price
        let id = Names.text(file.id.bytes)
        return TradeSummary(
            id: id, title: contract.terms.title, price: price.currency.amount(price.amount),
            currency: price.currency.text, role: TradeTyping.text(role), buyer: name(contract.buyer),
            seller: name(contract.seller), state: TradeTyping.text(dossier), turn: turn,
            acts: dossier.isReserved
                ? dossier.choices(of: role).compactMap(TradeTyping.command).map { "tutti trade \($0) \(id.prefix(8))" }
                : [],
            deadline: since.flatMap { since in
                dossier.course.deadline.map { deadline in
                    Date(
                        timeIntervalSince1970: Double(since) / 1_000 + Double(contract.seconds(deadline)))
                }
            }, isOver: dossier.isOver, history: dossier.text(for: role, since: since, name: name))
    }
}
