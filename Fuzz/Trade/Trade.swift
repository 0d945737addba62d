// SPDX-License-Identifier: Apache-2.0
import FuzzSupport
import TuttiBase
import TuttiIdentity
import TuttiJournal
import TuttiMarket
import TuttiWitness

/// What is said in trades: contracts, events, dossier files as bytes; courses and dossiers under anything. The first byte
/// chooses.
@_cdecl("LLVMFuzzerTestOneInput")
func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var source = ByteSource(start, count)
    switch source.byte() % 6 {
    case 0: fuzzCodecs(source.rest())
    case 1, 2: fuzzDamage(&source)
    case 3: fuzzCourse(&source)
    default: fuzzDossier(&source)
    }
    return 0
}

@_cdecl("Trade_main")
func start(_ count: CInt, _ arguments: Arguments?) -> CInt {
    fuzz(count, arguments) { testOneInput($0, $1) }
}

func bytes32(_ byte: UInt8) -> Bytes32 {
    let word = UInt64(byte) &* 0x0101_0101_0101_0101
    return Bytes32(words: (word, word, word, word))
}

func party(_ byte: UInt8) -> TradeParty {
    TradeParty(member: MemberID(bytes32(byte)), key: TradeKey(bytes32(0x40 + byte)))
}

let contract: Contract? = {
    guard let currency = CurrencyCode("EUR"), let price = Money(1_000, currency),
        let witnesses = WitnessSet((0..<4).map { TradeKey(bytes32(0x80 + $0)) })
    else { return nil }
    let terms = TradeTerms(
        listing: EntryID(bytes32(1)), revision: EntryID(bytes32(1)), title: "A thing", price: price,
        delivery: .domestic, transportDays: 1)
    return Contract(
        community: CommunityID(bytes32(2)), nonce: bytes32(3), terms: terms, unit: UnitID(bytes32(4)), round: 0,
        buyer: party(1), seller: party(2), arbiters: [party(3), party(4)], witnesses: witnesses,
        deadlines: DeadlineName.allCases.map { _ in 86_400 }, account: bytes32(5), exposure: 1_000,
        charter: bytes32(6))
}()

// MARK: Codecs

func fuzzCodecs(_ bytes: [UInt8]) {
    if let read = try? Contract(bytes: bytes) {
        require(read.bytes == bytes && read.isWellFormed, "a contract survives its encoding")
        require(read.plan?.isWellFormed == true, "a contract has a plan")
    }
    if let read = try? TradeEvent(bytes: bytes) {
        require(read.bytes == bytes, "an event survives its encoding")
        require(read.act?.isWellFormed ?? true, "an act means something")
        _ = contract?.breach(of: read, challenged: nil)
    }
    if let read = try? DossierFile(bytes: bytes) {
        require(read.bytes == bytes, "a dossier survives its encoding")
        let verdict = read.verified(under: .zero) { _, _, _ in false }
        require(verdict?.isSound == false, "nobody forges a dossier by accident")
    }
    if let read = try? DossierDisclosure(bytes: bytes) {
        require(read.bytes == bytes, "a disclosure survives its encoding")
        require(DisclosureAssembly(read).file == nil || read.count == 1, "a part isn't the whole")
    }
}

func fuzzDamage(_ source: inout ByteSource) {
    guard var dossier = newDossier() else { return }
    for _ in 0..<1 + source.below(4) {
        guard let event = event(&source, dossier) else { continue }
        dossier.take(event)
        let damaged = source.mutate(event.bytes)
        if let read = try? TradeEvent(bytes: damaged), damaged != event.bytes {
            require(read != event, "damage shows")
        }
    }
    let bytes = DossierFile(dossier).bytes
    let damaged = source.mutate(bytes)
    fuzzCodecs(bytes)
    fuzzCodecs(damaged)
}

// MARK: Machines

func newDossier() -> Dossier? {
    guard let contract else { return nil }
    return TradeEvent(
        trade: contract.trade, number: 0, previous: .zero, kind: .accept, salt: .zero, authors: [.seller],
        body: .accept(contract)
    ).map { $0.adding(TradeEvent.Signature(role: .seller, bytes: [UInt8](repeating: 0, count: 64))) }
        .flatMap { Dossier(acceptance: $0) }
}

let everybody: [Set<TradeRole>] = [
    [.buyer], [.seller], [.buyer, .seller], [.arbiter(0)], [.arbiter(1)], [.arbiter(4)], [.buyer, .arbiter(0)],
]

func act(_ source: inout ByteSource) -> StepAct {
    StepAct(source.pick(StepKind.allCases), detail: source.bool() ? 0 : source.word16())
}

func event(_ source: inout ByteSource, _ dossier: Dossier) -> TradeEvent? {
    guard let contract else { return nil }
    let number = source.bool() ? dossier.course.number : UInt32(source.byte() & 63)
    let authors = source.pick(everybody)
    var kind = TradeEventKind.step(source.pick(StepKind.allCases))
    var body = TradeEventBody.words(TradeWords(text: String(source.byte())))
    switch kind {
    case .step(.contract): body = .contract(destination: source.bool() ? "here" : "")
    case .step(.paid), .step(.refund):
        body = .payment(TradePayment(sum: contract.terms.price, way: "", reference: ""))
    case .step(.shipped), .step(.carrierProof):
        body = .shipment(TradeShipment(carrier: "", tracking: source.bool() ? "1" : ""))
    case .step(.opening): body = .opening(dossier.allEvents.last?.bytes ?? [])
    default: break
    }
    if source.byte() < 24 {
        let count = source.below(dossier.decisions.count + 1)
        let history = contract.history(of: dossier.decisions.prefix(count))?.digest ?? .zero
        kind = .mode
        body = .mode(TradeModeChange(lastNumber: UInt32(count), history: history))
    }
    let detail = source.bool() ? 0 : source.word16()
    let event = TradeEvent(
        trade: contract.trade, number: number, previous: source.bool() ? dossier.tip : bytes32(source.byte()),
        kind: kind, detail: detail, salt: bytes32(source.byte() & 1), authors: authors, body: body)
    return event.map { event in
        authors.sorted { $0.number < $1.number }.prefix(source.bool() ? 2 : 1).reduce(event) {
            $0.adding(TradeEvent.Signature(role: $1, bytes: [UInt8](repeating: 1, count: 64)))
        }
    }
}

func fuzzCourse(_ source: inout ByteSource) {
    var course = TradeCourse(arbiterCount: source.below(8))
    var steps = 0
    while !source.isEmpty, steps < 100 {
        let kinds = course.choices.map(\.kind)
        let act = source.bool() && !kinds.isEmpty ? StepAct(source.pick(kinds)) : act(&source)
        let next = source.byte() < 64 ? course.afterSilence() : course.after(act, by: source.pick(everybody))
        guard let next else { continue }
        steps += 1
        require(!course.isTerminal, "nothing follows an end")
        require(next.number == course.number + 1, "each step takes one slot")
        course = next
    }
    require(steps < 40, "every course ends")
    while let next = course.afterSilence() { course = next }
    require(course.isTerminal, "silence ends it")
}

func fuzzDossier(_ source: inout ByteSource) {
    guard var dossier = newDossier(), let contract else { return }
    var inputs: [(inout Dossier) -> Void] = []
    while !source.isEmpty, inputs.count < 60 {
        let before = dossier
        switch source.byte() % 8 {
        case 0...3:
            guard let event = event(&source, dossier) else { continue }
            dossier.take(event)
            inputs.append { $0.take(event) }
            if dossier.isWitnessed, before.isWitnessed {
                require(dossier.state == before.state, "what isn't decided moves nothing")
            }
        case 4:
            let steps = dossier.decisions + [.silence]
            let isTaken = dossier.decide(steps)
            if isTaken { inputs.append { $0.decide(steps) } }
        default:
            let last = dossier.pending.last
            let act = last?.act ?? act(&source)
            let step = DecidedStep.event(
                act, RoleSet(last?.authors ?? source.pick(everybody)), event: last?.hash ?? bytes32(source.byte()))
            let steps = dossier.decisions + [step]
            let isTaken = dossier.decide(steps)
            if isTaken { inputs.append { $0.decide(steps) } }
        }
        require(dossier.contract == contract, "nothing alters the contract")
        require(dossier.allEvents.count <= TradeLimits.eventsMax, "events are limited")
        require((dossier.turn == nil) == dossier.isOver, "somebody's turn, or over")
        require(!dossier.text(for: .buyer, name: { _ in "" }).isEmpty, "it can be shown")
    }
    guard var other = newDossier() else { return }
    for input in inputs.reversed() { input(&other) }
    for input in inputs { input(&other) }
    if dossier.allEvents.count < TradeLimits.eventsPerSlotMax {
        require(other.state == dossier.state && other.records == dossier.records, "order doesn't matter")
    }
    let file = DossierFile(dossier)
    require((try? DossierFile(bytes: file.bytes)) == file, "its file can be read")
}
