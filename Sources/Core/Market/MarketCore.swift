// SPDX-License-Identifier: Apache-2.0
import DequeModule
package import TuttiBase
import TuttiCommunityCore
package import TuttiIdentity
package import TuttiJournal
package import TuttiWitness

/// The market of one member, on one of its devices: it reads what the mailbox has opened, keeps the trades that aren't over
/// and the secrets from which the member's keys come.
///
/// All that it knows it reads from the disk, where the mailbox put it: so what came while the node was off, and what a new
/// device of the member learns by the recovery code, goes the same way as what comes now. It notes how far it has read, and
/// which trades are open, when it has read them; after a crash it reads a little again, which changes nothing.
///
///     idle -> loadingPage -> (loadingTrade -> loadingListing, loadingSecrets -> unsealing)* -> writing -> idle
///
/// Legal late events: answers to what is no longer asked are dropped.
package struct MarketCore: Sendable {
    private enum Work: Sendable {
        case idle
        case loadingPage(RequestID)
        case loadingSecrets(RequestID)
        case unsealing(RequestID)
        case loadingTrade(RequestID, TradeID)
        case loadingListing(RequestID, TradeFile)
        /// What an errand needs of an entry.
        case loadingEntry(RequestID, TradeID)
        case writing(RequestID, Mark)
    }

    /// How far was read, and what is open at that point.
    private struct Mark: Hashable, Sendable {
        var read: UInt64 = 0
        /// Ascending.
        var open: [TradeID] = []
    }

    private static let readSetting = "market.read"
    private static let openSetting = "market.open"
    /// What goes with the rows when these are made anew.
    package static let viewSettings = [readSetting, openSetting]

    package private(set) var keyring = MarketKeyring()
    /// Those that aren't over, and those that were looked at last.
    private var trades: [TradeID: TradeFile] = [:]

    private var work = Work.idle
    private var mark: Mark
    private var saved: Mark
    private var areSecretsDue = true
    private var hasMore = true
    private var tradesDue: Deque<TradeID> = []
    private var pausedUntil: HybridTime?
    private var errands: TradeErrands
    private var errandsDue: Deque<TradeID> = []
    /// When the other side of a trade is late, in milliseconds since 1970.
    private var silences: [TradeID: UInt64] = [:]
    /// Letters on their way, and events that witnesses held, by trade.
    private var letters: [RequestID: (letter: TradeLetter, members: [MemberID])] = [:]
    private var opening: [RequestID: TradeID] = [:]
    private let member: MemberID
    private var wasLevel = false
    private var lastRequest: UInt64 = 0
    private var effects: Deque<MarketEffect> = []
    package private(set) var stats = MarketStats()

    /// - Parameters:
    ///   - device: signs changes of exposure.
    ///   - settings: what the journal's disk held.
    package init(member: MemberID, device: KeyPair, settings: [String: [UInt8]]) {
        self.member = member
        errands = TradeErrands(member: member, device: device)
        var mark = Mark()
        mark.read = settings[Self.readSetting].flatMap(Self.number) ?? 0
        mark.open = Self.trades(settings[Self.openSetting] ?? [])
        self.mark = mark
        saved = mark
        tradesDue = Deque(mark.open)
    }

    // MARK: Inputs

    package mutating func handle(_ input: MarketInput, at now: HybridTime) {
        switch input {
        case .opened: hasMore = true
        case .loaded(let id, let answer): loaded(id, answer, at: now)
        case .unsealed(let id, let contents):
            if let trade = opening.removeValue(forKey: id) { opened(trade, contents) } else { unsealed(id, contents) }
        case .persisted(let id): persisted(id)
        case .persistFailed(let id): persistFailed(id, at: now)
        case .written(let id, let isGood): written(id, isGood, at: now)
        case .registered(let slot, let outcome): registered(slot, outcome, at: now)
        }
        step(at: now)
    }

    // MARK: Timeouts

    /// Wall time.
    package var nextTimeout: HybridTime? {
        let due = silences.values.min().map { HybridTime(milliseconds: $0) }
        return [pausedUntil, due].compactMap(\.self).min()
    }

    package mutating func handleTimeout(at now: HybridTime) {
        if let paused = pausedUntil, paused <= now { pausedUntil = nil }
        for (trade, due) in silences.sorted(by: { $0.key < $1.key }) where due <= now.milliseconds {
            silences[trade] = nil
            want(trade)
        }
        step(at: now)
    }

    // MARK: Outputs

    package mutating func nextEffect() -> MarketEffect? { effects.popFirst() }

    package static func owns(_ id: RequestID) -> Bool {
        id.value & MarketCoreLimits.requestMask == MarketCoreLimits.requestBase
    }

    /// Nothing that is here is left to read.
    package var isLevel: Bool {
        guard case .idle = work else { return false }
        return !hasMore && !areSecretsDue && tradesDue.isEmpty
    }

    /// Open ones, ascending.
    package var openTrades: [TradeFile] { mark.open.compactMap { trades[$0] } }

    package func trade(_ id: TradeID) -> TradeFile? { trades[id] }

    /// Why the witnesses refuse for good what a trade needs next.
    package func failure(of trade: TradeID) -> RegisterFailure? { errands.failures[trade] }

    // MARK: Reading

    private mutating func nextRequest() -> RequestID {
        lastRequest += 1
        return RequestID(MarketCoreLimits.requestBase | lastRequest)
    }

    private mutating func step(at now: HybridTime) {
        guard case .idle = work, pausedUntil == nil else { return }
        runErrands(at: now)
        guard case .idle = work else { return }
        let id = nextRequest()
        if areSecretsDue {
            work = .loadingSecrets(id)
            effects.append(.load(.openedAbout(.zero, countMax: MarketKeyring.secretsMax), id))
        } else if let trade = tradesDue.first {
            work = .loadingTrade(id, trade)
            effects.append(.load(.openedAbout(trade.bytes, countMax: MarketCoreLimits.lettersMax), id))
        } else if hasMore {
            work = .loadingPage(id)
            effects.append(
                .load(
                    .opened(
                        after: mark.read, countMax: MarketCoreLimits.pageCountMax,
                        bytesMax: MarketCoreLimits.pageBytesMax), id)
            )
        } else if mark != saved {
            work = .writing(id, mark)
            var batch = JournalBatch()
            batch.settings[Self.readSetting] = Self.bytes(mark.read)
            batch.settings[Self.openSetting] = mark.open.flatMap(\.bytes.bytes)
            effects.append(.persist(batch, id))
        }
        guard isLevel != wasLevel else { return }
        wasLevel = isLevel
        if wasLevel { effects.append(.emit(.level)) }
    }

    private mutating func loaded(_ id: RequestID, _ answer: JournalAnswer, at now: HybridTime) {
        switch work {
        case .loadingSecrets(id):
            guard case .opened(let rows, _) = answer else { return pause(at: now) }
            let secrets = rows.filter { $0.kind == SealedKind.marketSecret.rawValue }.map(\.id)
            areSecretsDue = false
            guard !secrets.isEmpty else { return work = .idle }
            let next = nextRequest()
            work = .unsealing(next)
            effects.append(.unseal(secrets, next))
        case .loadingTrade(id, let trade):
            guard case .opened(let rows, _) = answer else { return pause(at: now) }
            let file = TradeFile(trade, rows)
            guard let listing = file.listing else { return read(file, at: now) }
            let next = nextRequest()
            work = .loadingListing(next, file)
            effects.append(.load(.listingsNamed(listing...listing, countMax: 1), next))
        case .loadingListing(id, var file):
            guard case .listings(let rows) = answer else { return pause(at: now) }
            if let row = rows.first { file.fold(seller: row.seller, countersMax: MarketCoreLimits.countersMax) }
            read(file, at: now)
        case .loadingEntry(id, let trade):
            guard case .entries(let found) = answer else { return pause(at: now) }
            work = .idle
            if let file = trades[trade] { begin(file, found.first, at: now) }
        case .loadingPage(id):
            guard case .opened(let rows, let last) = answer else { return pause(at: now) }
            work = .idle
            guard !rows.isEmpty else { return hasMore = false }
            mark.read = last
            for row in rows {
                if row.kind == SealedKind.marketSecret.rawValue { areSecretsDue = true }
                let trade = TradeID(row.subject)
                guard TradeFile.holds(row), !tradesDue.contains(trade) else { continue }
                tradesDue.append(trade)
            }
        case .idle, .loadingPage, .loadingSecrets, .unsealing, .loadingTrade, .loadingListing, .loadingEntry, .writing:
            stats.late += 1
        }
    }

    private mutating func unsealed(_ id: RequestID, _ contents: [SealedContent]) {
        guard case .unsealing(id) = work else { return stats.late += 1 }
        work = .idle
        let before = keyring.secrets
        for content in contents { if let secret = MarketSecret(content) { keyring.insert(secret) } }
        if keyring.secrets != before { effects.append(.emit(.secretsChanged)) }
    }

    private mutating func read(_ file: TradeFile, at now: HybridTime) {
        work = .idle
        tradesDue.removeFirst()
        let id = file.id
        stats.letters += UInt64(file.letters.count)
        stats.malformed += UInt64(file.malformedCount)
        let place = mark.open.firstIndex { $0 >= id } ?? mark.open.endIndex
        let isListed = place < mark.open.endIndex && mark.open[place] == id
        if file.isOpen(at: now.milliseconds) {
            if !isListed {
                guard mark.open.count < MarketCoreLimits.openTradesMax else { return stats.tradesRefused += 1 }
                mark.open.insert(id, at: place)
            }
            trades[id] = file
            silences[id] = errands.silenceDue(file)
            want(id)
        } else {
            silences[id] = nil
            if isListed { mark.open.remove(at: place) }
            trades[id] = nil
        }
        effects.append(.emit(.tradeChanged(id)))
    }

    // MARK: Errands

    private mutating func want(_ trade: TradeID) {
        if !errandsDue.contains(trade) { errandsDue.append(trade) }
    }

    /// Until one of them has to read something.
    private mutating func runErrands(at now: HybridTime) {
        while case .idle = work, let trade = errandsDue.popFirst() {
            guard let file = trades[trade], let need = errands.need(of: file, at: now.milliseconds) else { continue }
            switch need {
            case .nothing: begin(file, nil, at: now)
            case .listing(let entry), .event(let entry):
                let id = nextRequest()
                work = .loadingEntry(id, trade)
                effects.append(.load(.entries([entry]), id))
            }
        }
    }

    private mutating func begin(_ file: TradeFile, _ stored: StoredEntry?, at now: HybridTime) {
        guard let errand = errands.begin(file, stored, keyring) else { return }
        effects.append(.register(errand.task, errand.signer))
    }

    private mutating func registered(_ slot: SlotID, _ outcome: RegisterOutcome, at now: HybridTime) {
        guard let result = errands.finished(slot, outcome) else { return stats.late += 1 }
        if let held = result.held {
            let id = nextRequest()
            opening[id] = result.trade
            effects.append(.openHeld(held, id))
        }
        if let proof = result.proof {
            stats.registered += 1
            send(TradeLetter(result.trade, certificates: [proof.letterBytes]))
        } else if errands.failures[result.trade] != nil {
            stats.registerFailures += 1
            effects.append(.emit(.tradeChanged(result.trade)))
        } else if result.hasAccountMoved {
            want(result.trade)
        } else {
            silences[result.trade] = now.milliseconds + MarketCoreLimits.errandPauseMilliseconds
        }
    }

    /// To the other party, who may be off, and to ourselves: what isn't in our own mailbox nothing rests on.
    private mutating func send(_ letter: TradeLetter) {
        guard let contract = trades[letter.trade]?.dossier?.contract else { return }
        let members = [contract.buyer.member, contract.seller.member].filter { $0 != member }
        write(letter, to: members)
    }

    private mutating func write(_ letter: TradeLetter, to members: [MemberID]) {
        let id = nextRequest()
        letters[id] = (letter, members)
        effects.append(.write(letter, to: members, id))
    }

    /// What can't be written is made again: the errand comes up once more.
    private mutating func written(_ id: RequestID, _ isGood: Bool, at now: HybridTime) {
        guard let (letter, _) = letters.removeValue(forKey: id), !isGood else { return }
        stats.diskFailures += 1
        silences[letter.trade] = now.milliseconds + MarketCoreLimits.errandPauseMilliseconds
    }

    /// The other's event, which its own letter hasn't brought yet.
    private mutating func opened(_ trade: TradeID, _ contents: [SealedContent]) {
        for content in contents where content.kind == .tradeEvent {
            guard let letter = try? TradeLetter(bytes: content.payload), letter.trade == trade else { continue }
            write(TradeLetter(trade, events: letter.events), to: [])
        }
    }

    // MARK: The disk

    private mutating func persisted(_ id: RequestID) {
        guard case .writing(id, let written) = work else { return stats.late += 1 }
        work = .idle
        saved = written
    }

    private mutating func persistFailed(_ id: RequestID, at now: HybridTime) {
        guard case .writing(id, _) = work else { return stats.late += 1 }
        stats.diskFailures += 1
        pause(at: now)
    }

    private mutating func pause(at now: HybridTime) {
        work = .idle
        pausedUntil = HybridTime(milliseconds: now.milliseconds + MarketCoreLimits.pauseMilliseconds)
    }

    private static func bytes(_ value: UInt64) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: value >> (56 - 8 * $0)) }
    }

    private static func number(_ bytes: [UInt8]) -> UInt64? {
        bytes.count == 8 ? bytes.reduce(0) { $0 << 8 | UInt64($1) } : nil
    }

    private static func trades(_ bytes: [UInt8]) -> [TradeID] {
        let found = stride(from: 0, to: bytes.count, by: Bytes32.count).compactMap { start in
            Bytes32(bytes[start...].prefix(Bytes32.count)).map { TradeID($0) }
        }
        return Set(found).sorted()
    }
}
