// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal
import TuttiMarket
import TuttiWitness

/// Decides each slot once, as four witnesses would who all agree.
private struct Oracle {
    let keys = (0..<4).map { KeyPair(seed: Bytes32(words: ($0, 4, 4, 4))) }
    var decided: [SlotID: Certificate] = [:]
    var requests: [SlotID: SlotRequest] = [:]

    func witnesses() throws -> WitnessSet { try #require(WitnessSet(keys.map(\.tradeKey))) }

    mutating func decide(_ task: RegisterTask) -> RegisterOutcome {
        if let certificate = decided[task.id] { return .decided(certificate, requests[task.id], nil) }
        let value: SlotValue =
            switch task.request {
            case .exposure(let request):
                .event((ExposureState().after(request.change, cap: .max) ?? ExposureState()).digest)
            case .reservation(let request): .event(request.plan.digest)
            case .step(let request): .event(request.step.digest.bytes)
            case nil: .noEvent
            }
        let bytes = Statement.commit(task.id, .first, value).bytes
        let signatures = task.set.keys.enumerated().compactMap { place, key in
            keys.first { $0.tradeKey == key }.map { WitnessSignature(witness: place, signature: $0.sign(bytes)) }
        }
        guard let commits = QuorumProof(signatures, quorum: task.set.quorum) else { return .failed(.badTask) }
        let certificate = Certificate(
            slot: task.slot, set: task.set.id, ballot: .first, value: value, commits: commits)
        decided[task.id] = certificate
        requests[task.id] = task.request
        return .decided(certificate, task.request, nil)
    }
}

/// Two members' devices, the witnesses, and the mail between them.
private struct Fair {
    var oracle = Oracle()
    var stalls: [MemberID: Stall] = [:]
    var bargain = Bargain(seed: 77)
    var number: UInt64 = 100
    /// Mail that isn't delivered yet: to whom, and what.
    var mail: [(MemberID, OpenedRow)] = []
    /// Who is off: mail waits.
    var absent: Set<MemberID> = []
    var contract: Contract?
    var asked: [RegisterTask] = []

    init() throws {
        let nonce = Bytes32(words: (6, 6, 6, 6))
        let seller = Bargain.desk(Bargain.seller, 2)
        let stub = UnitStub(
            seller: try #require(seller.keyring.current).keyPair(for: .listing(nonce: nonce)).tradeKey,
            witnesses: try oracle.witnesses().id, quantity: 1, nonce: nonce)
        let events = try bargain.proposals([100])
        let trade = events[0].trade
        guard case .offer(let offer) = events[0].body else { return }
        let key = try #require(seller.pair(for: .seller, in: trade, named: nil)).tradeKey
        let arbiters = (1...2).map { place in
            TradeParty(
                member: MemberID(Bytes32(words: (50, 0, 0, UInt64(place)))),
                key: KeyPair(seed: Bytes32(words: (60, 0, 0, UInt64(place)))).tradeKey)
        }
        let contract = Contract(
            community: Bargain.community, nonce: offer.nonce, terms: offer.terms, unit: stub.unit(0), round: 0,
            buyer: offer.buyer, seller: TradeParty(member: Bargain.seller, key: key), arbiters: arbiters,
            witnesses: try oracle.witnesses(),
            deadlines: [24, 72, 96, 120, 336, 168, 120, 72, 72, 48, 120, 48].map { $0 * 3_600 },
            account: Bytes32(words: (3, 3, 3, 3)), exposure: 1_000, charter: .zero)
        try #require(contract.isWellFormed)
        self.contract = contract
        let accept = try #require(seller.accept(contract, after: events[0], from: &bargain.source))
        for (member, seed) in [(Bargain.buyer, UInt64(1)), (Bargain.seller, 2)] {
            var stall = Stall(member)
            stall.listings = [Bargain.row]
            var source = KeySource.seeded(SeededGenerator(seed: seed))
            var row = Bargain.row(seed, TradeLetter(trade), by: member)
            row.kind = SealedKind.marketSecret.rawValue
            row.subject = .zero
            stall.put(row, MarketSecret(from: &source).content)
            let body = try #require(
                ListingBody(
                    stub: stub,
                    terms: try Self.listed()))
            stall.entries[Bargain.listing] = Self.stored(.listing, body.bytes)
            stalls[member] = stall
        }
        send(TradeLetter(trade, events: [events[0].bytes]), by: Bargain.buyer, to: [Bargain.seller])
        send(TradeLetter(trade, events: [accept.bytes]), by: Bargain.seller, to: [Bargain.buyer])
        settle()
    }

    private static func listed() throws -> ListingTerms {
        ListingTerms(
            title: "A bass", category: "basses", condition: .good, price: 100,
            currency: try #require(CurrencyCode("EUR")), expiry: 1)
    }

    private static func stored(_ kind: EntryKind, _ body: [UInt8]) -> StoredEntry {
        let content = Entry.Content(salt: .zero, body: body)
        let header = EntryHeader(
            kind: kind, isCritical: false, retention: .year, bodyBytesCount: body.count, sequence: .first,
            time: HybridTime(milliseconds: 1), community: Bargain.community,
            device: DeviceID(Bytes32(words: (6, 6, 6, 6))), previous: .none, governance: .none,
            bodyDigest: content.digest)
        let entry = Entry(stored: header, signature: [UInt8](repeating: 0, count: 64), content: content)
        return StoredEntry(entry, firstSeen: HybridTime(milliseconds: 1))
    }

    mutating func send(_ letter: TradeLetter, by author: MemberID, to others: [MemberID]) {
        number += 1
        var row = Bargain.row(number, letter, by: author)
        row.time = HybridTime(milliseconds: now)
        stalls[author]?.entries[row.id] = Self.stored(.sealed, letter.bytes)
        for member in [author] + others { mail.append((member, row)) }
    }

    var now: UInt64 { stalls[Bargain.buyer]?.now ?? 0 }

    mutating func settle() {
        for _ in 0..<500 {
            let due = mail.filter { !absent.contains($0.0) }
            mail.removeAll { !absent.contains($0.0) }
            for (member, row) in due { stalls[member]?.put(row) }
            var isQuiet = due.isEmpty
            for member in stalls.keys.sorted() where !absent.contains(member) {
                guard var stall = stalls[member] else { continue }
                stall.settle()
                let wishes = stall.wishes
                stall.wishes = []
                stalls[member] = stall
                for wish in wishes {
                    isQuiet = false
                    perform(wish, of: member)
                }
            }
            if isQuiet { return }
        }
        Issue.record("errands without end")
    }

    private mutating func perform(_ wish: MarketEffect, of member: MemberID) {
        switch wish {
        case .register(let task, _):
            asked.append(task)
            stalls[member]?.tell(.registered(task.id, oracle.decide(task)))
        case .write(let letter, let others, let id):
            send(letter, by: member, to: others)
            stalls[member]?.tell(.written(id, true))
        case .openHeld(_, let id): stalls[member]?.tell(.unsealed(id, []))
        case .load, .unseal, .persist, .emit: break
        }
    }

    mutating func wait(milliseconds: UInt64) {
        for member in stalls.keys.sorted() { stalls[member]?.wait(milliseconds) }
        settle()
    }

    func dossier(_ member: MemberID) throws -> Dossier {
        let contract = try #require(contract)
        return try #require(stalls[member]?.core.trade(contract.trade)?.dossier)
    }

    /// What a command of this member would do.
    mutating func act(_ kind: StepKind, _ body: TradeEventBody, by role: TradeRole) throws {
        let contract = try #require(contract)
        let member = try #require(contract.party(role)).member
        let dossier = try dossier(member)
        let desk = Bargain.desk(member, member == Bargain.buyer ? 1 : 2)
        let event = try #require(
            desk.step(
                StepAct(kind), body, as: role, in: contract, number: dossier.course.number, after: dossier.tip,
                from: &bargain.source))
        let other = role == .buyer ? Bargain.seller : Bargain.buyer
        send(TradeLetter(contract.trade, events: [event.bytes]), by: member, to: [other])
        settle()
    }

    mutating func bind() throws { try act(.contract, .contract(destination: "12 High Street"), by: .buyer) }

    mutating func pay() throws {
        let sum = try #require(contract).terms.price
        try act(.paid, .payment(TradePayment(sum: sum, way: "bank", reference: "1")), by: .buyer)
    }
}

@Suite("By itself a market's device")
struct TradeErrandsTests {
    @Test("registers what its member signs, so that a trade goes from its acceptance to its end")
    func completes() throws {
        var fair = try Fair()
        #expect(try fair.dossier(Bargain.buyer).isReserved && fair.dossier(Bargain.seller).isReserved)
        #expect(fair.asked.map { $0.slot.chain }.count == 2, "the account is debited, then the unit reserved")
        try fair.bind()
        try fair.pay()
        try fair.act(.received, .words(TradeWords()), by: .seller)
        try fair.act(.shipped, .shipment(TradeShipment(carrier: "Post", tracking: "9")), by: .seller)
        try fair.act(.receipt, .words(TradeWords()), by: .buyer)
        #expect(try fair.dossier(Bargain.seller).state == .delivered)
        try fair.act(.accepted, .words(TradeWords()), by: .buyer)
        for member in [Bargain.buyer, Bargain.seller] {
            let dossier = try fair.dossier(member)
            #expect(dossier.state == .completed && dossier.refused.isEmpty && dossier.records.count == 6)
            #expect(dossier.records.allSatisfy { $0.isCertified && $0.event != nil })
        }
        #expect(try fair.dossier(Bargain.buyer) == fair.dossier(Bargain.seller))
        let wants = fair.asked.count
        fair.wait(milliseconds: 40 * 86_400_000)
        #expect(fair.asked.count == wants, "of what is over nothing is asked any more")
    }

    @Test("asks for NO-EVENT when the other side is late, and not before, until the trade is over")
    func lapses() throws {
        var fair = try Fair()
        try fair.bind()
        fair.wait(milliseconds: 71 * 3_600_000)
        #expect(try fair.dossier(Bargain.seller).state == .bound)
        fair.wait(milliseconds: 2 * 3_600_000)
        #expect(try fair.dossier(Bargain.seller).state == .unpaid)
        fair.wait(milliseconds: 73 * 3_600_000)
        for member in [Bargain.buyer, Bargain.seller] { #expect(try fair.dossier(member).state == .lapsed) }
    }

    @Test("goes on alone when the other is gone for good, and the other learns of it when it is back")
    func alone() throws {
        var fair = try Fair()
        try fair.bind()
        try fair.pay()
        fair.absent = [Bargain.seller]
        for _ in 0..<3 { fair.wait(milliseconds: 5 * 86_400_000) }
        #expect(try fair.dossier(Bargain.buyer).isOver)
        #expect(try fair.dossier(Bargain.seller).state == .paidClaimed)
        fair.absent = []
        fair.settle()
        #expect(try fair.dossier(Bargain.seller).state == fair.dossier(Bargain.buyer).state)
    }

    @Test("takes its errands up again after a restart, whatever was under way")
    func restarts() throws {
        var fair = try Fair()
        try fair.bind()
        let contract = try #require(fair.contract)
        let dossier = try fair.dossier(Bargain.buyer)
        let desk = Bargain.desk(Bargain.buyer, 1)
        let paid = TradePayment(sum: contract.terms.price, way: "bank", reference: "1")
        let event = try #require(
            desk.step(
                StepAct(.paid), .payment(paid), as: .buyer, in: contract, number: 2, after: dossier.tip,
                from: &fair.bargain.source))
        fair.send(TradeLetter(contract.trade, events: [event.bytes]), by: Bargain.buyer, to: [Bargain.seller])
        // The letter is read, the register asked; then the process dies.
        for (member, row) in fair.mail where member == Bargain.buyer { fair.stalls[member]?.put(row) }
        fair.stalls[Bargain.buyer]?.settle()
        #expect(fair.stalls[Bargain.buyer]?.wishes.isEmpty == false)
        fair.stalls[Bargain.buyer]?.restart()
        fair.settle()
        #expect(try fair.dossier(Bargain.seller).state == .paidClaimed)
    }
}
