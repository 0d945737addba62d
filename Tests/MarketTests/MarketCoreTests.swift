// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal
import TuttiMarket
import TuttiWitness

/// One device's market, and its disk, which answers when it is asked to.
private struct Stall {
    var core: MarketCore
    var settings: [String: [UInt8]] = [:]
    var rows: [OpenedRow] = []
    var sealed: [EntryID: SealedContent] = [:]
    var asked: [MarketEffect] = []
    var events: [MarketEvent] = []
    var now: UInt64 = 1_000_000
    private var time: HybridTime { HybridTime(milliseconds: now) }

    init() {
        core = MarketCore(settings: [:])
        tell(.opened)
    }

    mutating func restart() {
        asked = []
        core = MarketCore(settings: settings)
        tell(.opened)
    }

    mutating func tell(_ input: MarketInput) {
        core.handle(input, at: time)
        collect()
    }

    private mutating func collect() {
        while let effect = core.nextEffect() {
            if case .emit(let event) = effect { events.append(event) } else { asked.append(effect) }
        }
    }

    mutating func put(_ row: OpenedRow, _ content: SealedContent? = nil) {
        rows.append(row)
        if let content { sealed[row.id] = content }
        tell(.opened)
    }

    mutating func answer(isRefused: Bool = false) {
        guard !asked.isEmpty else { return }
        switch asked.removeFirst() {
        case .load(let query, let id): tell(.loaded(id, isRefused ? .failed(.damaged) : answer(to: query)))
        case .unseal(let ids, let id): tell(.unsealed(id, ids.compactMap { sealed[$0] }))
        case .persist(let batch, let id):
            guard !isRefused else { return tell(.persistFailed(id)) }
            settings.merge(batch.settings) { $1 }
            tell(.persisted(id))
        case .emit: break
        }
    }

    private func answer(to query: JournalQuery) -> JournalAnswer {
        switch query {
        case .opened(let after, let countMax, _):
            let first = min(Int(after), rows.count)
            let end = min(first + countMax, rows.count)
            return .opened(Array(rows[first..<end]), last: UInt64(end))
        case .openedAbout(let subject, let countMax):
            return .opened(Array(rows.filter { $0.subject == subject }.prefix(countMax)), last: 0)
        default: return .failed(.failed("not asked by a market"))
        }
    }

    mutating func settle() {
        for _ in 0..<10_000 where !asked.isEmpty || core.nextTimeout != nil {
            if asked.isEmpty {
                now += MarketLimits.pauseMilliseconds
                core.handleTimeout(at: time)
                collect()
            }
            answer()
        }
        #expect(core.isLevel && asked.isEmpty)
    }
}

@Suite("The market of a device")
struct MarketCoreTests {
    private static let member = MemberID(Bytes32(words: (1, 1, 1, 1)))

    private static func row(
        _ number: UInt64, _ kind: SealedKind, about subject: Bytes32, _ payload: [UInt8]
    ) -> OpenedRow {
        OpenedRow(
            id: EntryID(Bytes32(words: (number, 9, 9, 9))), kind: kind.rawValue, subject: subject, author: member,
            device: DeviceID(Bytes32(words: (2, 2, 2, 2))), sequence: EntrySequence(number + 1),
            time: HybridTime(milliseconds: number), payload: payload)
    }

    private static func trade(_ number: UInt64) -> TradeID { TradeID(Bytes32(words: (0, 0, 0, number + 1))) }

    private static func letter(_ number: UInt64, _ trade: TradeID) -> OpenedRow {
        row(number, .tradeEvent, about: trade.bytes, TradeLetter(trade, events: [[UInt8(number % 251)]]).bytes)
    }

    private static func secret(_ number: UInt64) -> (OpenedRow, SealedContent) {
        var source = KeySource.seeded(SeededGenerator(seed: number))
        return (row(number, .marketSecret, about: .zero, []), MarketSecret(from: &source).content)
    }

    @Test("reads the same whatever came when, with crashes and refusals of the disk in between", arguments: 0..<100)
    func orders(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var stall = Stall()
        var left: [(OpenedRow, SealedContent?)] = (UInt64(0)..<150).map { number in
            switch number {
            case 20, 90: Self.secret(number)
            default: (Self.letter(number, Self.trade(number % 7)), nil)
            }
        }
        while !left.isEmpty {
            switch Int.random(in: 0..<6, using: &generator) {
            case 0, 1:
                let (row, content) = left.removeFirst()
                stall.put(row, content)
            case 2: if Int.random(in: 0..<5, using: &generator) == 0 { stall.restart() }
            case 3: stall.answer(isRefused: true)
            default: stall.answer()
            }
        }
        stall.settle()
        check(stall)
        stall.restart()
        stall.settle()
        check(stall)
    }

    private func check(_ stall: Stall) {
        #expect(stall.core.keyring.secrets.count == 2)
        let open = stall.core.openTrades
        #expect(open.map(\.id) == (0..<7).map { Self.trade($0) })
        for file in open {
            #expect(file.letters.map(\.id) == stall.rows.filter { $0.subject == file.id.bytes }.map(\.id))
        }
    }

    @Test("reads nothing twice after a restart")
    func resumes() {
        var stall = Stall()
        for number: UInt64 in 0..<200 { stall.put(Self.letter(number, Self.trade(0))) }
        stall.settle()
        stall.restart()
        var pages = 0
        for _ in 0..<100 where !stall.asked.isEmpty {
            if case .load(.opened, _) = stall.asked[0] { pages += 1 }
            stall.answer()
        }
        #expect(pages == 1 && stall.core.isLevel)
        #expect(stall.core.openTrades.first?.letters.count == 200)
    }

    @Test("passes over what can't be read or says it is of another trade")
    func malformed() {
        var stall = Stall()
        let other = TradeLetter(Self.trade(1), events: [[1]]).bytes
        stall.put(Self.row(0, .tradeEvent, about: Self.trade(0).bytes, other))
        stall.put(Self.row(1, .tradeEvent, about: Self.trade(0).bytes, Self.trade(0).bytes.bytes + [0xFF]))
        stall.put(Self.letter(2, Self.trade(0)))
        stall.put(Self.row(3, SealedKind(0x0177), about: Self.trade(2).bytes, Self.trade(2).bytes.bytes))
        stall.settle()
        #expect(stall.core.openTrades.map(\.id) == [Self.trade(0)])
        #expect(stall.core.openTrades.first?.letters.count == 1 && stall.core.openTrades.first?.malformedCount == 2)
    }

    @Test("keeps no more open trades than the limit")
    func bounds() {
        var stall = Stall()
        let count = UInt64(MarketLimits.openTradesMax) + 3
        for number in 0..<count { stall.rows.append(Self.letter(number, Self.trade(number))) }
        stall.tell(.opened)
        stall.settle()
        #expect(stall.core.openTrades.count == MarketLimits.openTradesMax && stall.core.stats.tradesRefused == 3)
    }
}
