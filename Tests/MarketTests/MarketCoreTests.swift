// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal
import TuttiMarket
import TuttiWitness

/// One device's market, and its disk, which answers when it is asked to.
struct Stall {
    private static let device = KeyPair(seed: Bytes32(words: (8, 1, 8, 1)))

    let member: MemberID
    var core: MarketCore
    var settings: [String: [UInt8]] = [:]
    var rows: [OpenedRow] = []
    var sealed: [EntryID: SealedContent] = [:]
    var listings: [ListingRow] = []
    var entries: [EntryID: StoredEntry] = [:]
    var asked: [MarketEffect] = []
    /// What isn't for the disk.
    var wishes: [MarketEffect] = []
    var now: UInt64 = 1_000_000
    private var time: HybridTime { HybridTime(milliseconds: now) }

    init(_ member: MemberID = Bargain.buyer) {
        self.member = member
        core = MarketCore(member: member, device: Self.device, settings: [:])
        tell(.opened)
    }

    mutating func restart() {
        (asked, wishes) = ([], [])
        core = MarketCore(member: member, device: Self.device, settings: settings)
        tell(.opened)
    }

    mutating func tell(_ input: MarketInput) {
        core.handle(input, at: time)
        collect()
    }

    private mutating func collect() {
        while let effect = core.nextEffect() {
            switch effect {
            case .load, .unseal, .persist: asked.append(effect)
            case .write, .register, .openHeld: wishes.append(effect)
            case .emit: break
            }
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
        case .write, .register, .openHeld, .emit: break
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
        case .listingsNamed(let ids, let countMax):
            return .listings(Array(listings.filter { ids.contains($0.id) }.prefix(countMax)))
        case .entries(let ids): return .entries(ids.compactMap { entries[$0] })
        default: return .failed(.failed("not asked by a market"))
        }
    }

    /// Until the disk has answered all, and refusals are over.
    mutating func settle() {
        for _ in 0..<10_000 {
            if asked.isEmpty, core.isLevel { return }
            if asked.isEmpty { wait(MarketCoreLimits.pauseMilliseconds) }
            answer()
        }
        Issue.record("a market that never rests")
    }

    mutating func wait(_ milliseconds: UInt64) {
        now += milliseconds
        core.handleTimeout(at: time)
        collect()
    }
}

@Suite("The market of a device")
struct MarketCoreTests {
    /// Offers of as many trades, in letters.
    private static func letters(_ count: Int) throws -> [TradeLetter] {
        var bargain = Bargain(seed: 5)
        return try (0..<count).map { _ in
            let offer = try bargain.proposals([100])[0]
            return TradeLetter(offer.trade, events: [offer.bytes])
        }
    }

    private static func row(_ number: Int, _ letter: TradeLetter) -> OpenedRow {
        Bargain.row(UInt64(number), letter, by: Bargain.buyer)
    }

    private static func secret(_ number: Int) -> (OpenedRow, SealedContent) {
        var source = KeySource.seeded(SeededGenerator(seed: UInt64(number)))
        var row = row(number, TradeLetter(TradeID(.zero)))
        row.kind = SealedKind.marketSecret.rawValue
        row.payload = []
        return (row, MarketSecret(from: &source).content)
    }

    @Test("reads the same whatever came when, with crashes and refusals of the disk in between", arguments: 0..<30)
    func orders(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let letters = try Self.letters(7)
        var stall = Bargain.stall([])
        var left: [(OpenedRow, SealedContent?)] = (0..<150).map { number in
            switch number {
            case 20, 90: Self.secret(number)
            default: (Self.row(number, letters[number % 7]), nil)
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
        check(stall, letters)
        stall.restart()
        stall.settle()
        check(stall, letters)
    }

    private func check(_ stall: Stall, _ letters: [TradeLetter]) {
        #expect(stall.core.keyring.secrets.count == 2)
        #expect(stall.core.openTrades.map(\.id) == letters.map(\.trade).sorted())
        for file in stall.core.openTrades {
            #expect(file.letters.count == stall.rows.count { $0.subject == file.id.bytes })
        }
    }

    @Test("reads nothing twice after a restart")
    func resumes() throws {
        let letter = try Self.letters(1)[0]
        var stall = Bargain.stall((0..<200).map { Self.row($0, letter) })
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
    func malformed() throws {
        let letters = try Self.letters(2)
        var other = Self.row(0, letters[1])
        other.subject = letters[0].trade.bytes
        var broken = Self.row(1, letters[0])
        broken.payload.append(0xFF)
        var unknown = Self.row(3, letters[1])
        unknown.kind = 0x0177
        let stall = Bargain.stall([other, broken, Self.row(2, letters[0]), unknown])
        #expect(stall.core.openTrades.map(\.id) == [letters[0].trade])
        #expect(stall.core.openTrades.first?.letters.count == 1 && stall.core.openTrades.first?.malformedCount == 2)
    }

    @Test("keeps no more open trades than the limit")
    func bounds() throws {
        let letters = try Self.letters(MarketCoreLimits.openTradesMax + 3)
        var stall = Bargain.stall([])
        stall.rows = letters.enumerated().map { Self.row($0, $1) }
        stall.tell(.opened)
        stall.settle()
        #expect(stall.core.openTrades.count == MarketCoreLimits.openTradesMax)
        #expect(stall.core.stats.tradesRefused == 3)
    }
}
