// SPDX-License-Identifier: Apache-2.0
import DequeModule
package import TuttiBase
package import TuttiIdentity
package import TuttiJournal

/// The sealed mail of one device: it keeps its member's mailbox keys, knows where others can be written to, seals, and
/// reads what is addressed to it, whatever came first: the message, the key, or who its author is.
///
/// Keys change by ``MailboxKeys``, in whose order effects leave here: nothing is announced or passed before `.keep` is
/// confirmed. What is admitted is read at once; what couldn't be read then is read from the disk: a scan goes over all
/// sealed entries once more when a key or an author came that was missing, and at a start over those that came since the
/// last one ended. One page is under way at a time, and rows go to the disk with how far the scan is. Rows don't depend
/// on order (``ChatFold``), so reading twice does no harm.
///
///     idle -> loadingKeys -> idle                        announcements, at the start
///     idle -> (loadingPage ->) loadingRows -> writing -> idle
///
/// Legal late events: answers to what is no longer asked are dropped.
package struct MailboxCore: Sendable {
    /// A page, and what it gave.
    private struct Reading: Sendable {
        var arrivals: [ChatArrival] = []
        var opened: [OpenedRow] = []
        /// Where the scan is after it; nil: the entries came by themselves.
        var through: UInt64?
    }

    private enum Work: Sendable {
        case idle
        case loadingKeys(RequestID)
        case loadingPage(RequestID)
        case loadingRows(RequestID, Reading)
        case writing(RequestID, through: UInt64?, rows: [JournalRow], isReset: Bool)
    }

    private enum Order: Sendable {
        case keep
        case announce(MailboxAnnouncement)
        case pass(MailboxKeyPass, to: [SealingPublicKey])
    }

    /// How far the disk's sealed entries were read with all keys that are held.
    package static let readSetting = "mailbox.read"
    /// What goes with the rows when these are made anew.
    package static let viewSettings = [readSetting]

    package let member: MemberID
    package let device: DeviceID
    private let community: CommunityID
    private let deviceKey: KeyPair
    private var keys: MailboxKeys
    private var reader: SealedReader
    private var readingKeys: Set<SealingPublicKey>
    private var chat: ChatFold
    private var source: KeySource
    private var lastRequest: UInt64 = 0

    private var directory = MailboxDirectory()
    /// Announcements on disk up to there are in the directory; nil: all.
    private var announcementsAfter: UInt64? = 0
    private var roster = Roster()
    private var closed: Set<DeviceID> = []
    /// Feeds that began with a founding or a join, and the codes' keys that their members' key entries name.
    private var joined: Set<DeviceID> = []
    private var codes: [DeviceID: (point: FeedPoint, key: SealingPublicKey)] = [:]
    private var hasBegun = false

    private var work = Work.idle
    private var pending: Deque<StoredEntry> = []
    private var pendingBytes = 0
    /// Read up to there; nil: no scan is under way.
    private var scan: UInt64?
    private var readThrough: UInt64
    private var pagesUnsaved = 0
    /// The disk has to know that all must be read again before a new key is kept.
    private var isResetDue = false
    private var isRescanDue = false
    /// Whose entries were passed over, because nobody said whose device it is.
    private var authorless: Set<DeviceID> = []
    private var pausedUntil: HybridTime?
    private var isLevelWithPeers = false
    private var wasLevel = false

    private var orders: Deque<Order> = []
    private var keeping: RequestID?
    private var effects: Deque<MailboxEffect> = []
    package private(set) var stats = MailboxStats()

    /// - Parameters:
    ///   - settings: what the journal's disk held.
    ///   - source: of keys and salts.
    package init(
        _ start: MailboxStart, community: CommunityID, member: MemberID, key: KeyPair, settings: [String: [UInt8]],
        from source: KeySource
    ) {
        self.community = community
        self.member = member
        let device = key.device
        var source = source
        deviceKey = key
        self.device = device
        chat = ChatFold(community: community, own: member)
        let held = start.keyring.flatMap { try? MailboxKeys(keyring: $0, of: device, for: key) }
        keys = held ?? MailboxKeys(device: device, from: &source)
        if held == nil, start.keyring != nil { stats.keyringsRefused += 1 }
        keys.mayWrite = false
        if let code = start.code {
            keys.handle(.codeTyped(code), at: HybridTime(0), from: &source)
        }
        reader = SealedReader(keys: keys.readingKeys)
        readingKeys = Set(keys.readingKeys.map(\.publicKey))
        // Without keys of before nothing that lies here was read with the ones that are there now.
        readThrough = held == nil ? 0 : settings[Self.readSetting].flatMap(Self.number) ?? 0
        scan = readThrough
        self.source = source
    }

    // MARK: Inputs

    package mutating func handle(_ input: MailboxInput, at now: HybridTime) {
        switch input {
        case .communityChanged(let state, let roster): communityChanged(state, roster, at: now)
        case .admitted(let entries): for stored in entries { admitted(stored, at: now) }
        case .restored(let governance): for stored in governance { keep(stored.entry) }
        case .caughtUp: isLevelWithPeers = true
        case .loaded(let id, let answer): loaded(id, answer, at: now)
        case .persisted(let id): persisted(id)
        case .persistFailed(let id): persistFailed(id, at: now)
        case .kept(let id): kept(id, isGood: true, at: now)
        case .keepFailed(let id): kept(id, isGood: false, at: now)
        }
        proceed(at: now)
    }

    // MARK: Timeouts

    /// Wall time.
    package var nextTimeout: HybridTime? {
        [isActive && hasBegun ? keys.nextTimeout : nil, codeDue, pausedUntil].compactMap(\.self).min()
    }

    package mutating func handleTimeout(at now: HybridTime) {
        if let paused = pausedUntil, paused <= now { pausedUntil = nil }
        if hasBegun, isActive { drive(at: now) { $0.handleTimeout(at: now, from: &$1) } }
        proceed(at: now)
    }

    // MARK: Outputs

    package mutating func nextEffect() -> MailboxEffect? { effects.popFirst() }

    /// Announcements are read: who can be written to is known as far as this node knows anything.
    package var isOpen: Bool { announcementsAfter == nil }
    /// Nothing that is here is left to read.
    package var isLevel: Bool {
        guard case .idle = work else { return false }
        return isOpen && scan == nil && pending.isEmpty && !isRescanDue && !isResetDue
    }

    package func canWrite(to member: MemberID) -> Bool { member == self.member || directory.mailbox(of: member) != nil }

    /// Other live devices of our member: for whom markers of channels are worth an entry.
    package var hasFellows: Bool { directory.devices(of: member).contains { $0.device != device } }

    /// To the mailboxes of these members and of our own.
    package mutating func seal(
        _ content: SealedContent, to members: [MemberID], at sequence: EntrySequence
    ) throws(SealedError) -> SealedBody {
        var recipients = [keys.devicePair.publicKey]
        if let own = directory.mailbox(of: member) ?? keys.current?.pair.publicKey { recipients.append(own) }
        for other in members where other != member {
            guard let mailbox = directory.mailbox(of: other) else { throw .recipientsCount(0) }
            recipients.append(mailbox)
        }
        return try seal(content, to: recipients, at: sequence)
    }

    package mutating func seal(
        _ content: SealedContent, to recipients: [SealingPublicKey], at sequence: EntrySequence
    ) throws(SealedError) -> SealedBody {
        try SealedBody(
            sealing: content, to: recipients, as: keys.devicePair,
            at: SealedPlace(community: community, device: device, sequence: sequence), from: &source)
    }

    // MARK: Who belongs

    /// May write, so that its announcements are taken by others.
    private var isActive: Bool {
        guard let own = roster.devices[device] else { return false }
        return own.open == .all && own.cut == nil && !closed.contains(device)
    }

    private mutating func communityChanged(_ state: CommunityState, _ roster: Roster, at now: HybridTime) {
        self.roster = roster
        var gone = Set(roster.devices.lazy.filter { $0.value.cut != nil }.map(\.key))
        gone.formUnion(state.devices.lazy.filter { $0.value.standing != .good }.map(\.key))
        if !closed.subtracting(gone).isEmpty {
            // What a device announced counts again: read all of it again.
            directory = MailboxDirectory()
            announcementsAfter = 0
            for device in gone.sorted() { directory.closed(device) }
        }
        let news = gone.subtracting(closed).sorted()
        closed = gone
        for device in news { directory.closed(device) }
        if !authorless.isEmpty, authorless.contains(where: { roster.devices[$0] != nil }) {
            authorless.removeAll()
            isResetDue = true
            announcementsAfter = 0
        }
        guard isOpen else { return }
        begin(at: now)
    }

    /// Tells the keys of all that concerns them; what they know already changes nothing.
    private mutating func begin(at now: HybridTime) {
        guard isActive else { return }
        hasBegun = true
        let own = closed.filter { roster.devices[$0]?.member == member }.sorted()
        let (code, fellows) = (recoveryKey, directory.devices(of: member))
        drive(at: now) { keys, source in
            // First what the feed shows already, or it would be announced and passed once more.
            keys.handle(.fellowsChanged(fellows), at: now, from: &source)
            for device in own { keys.handle(.fellowClosed(device), at: now, from: &source) }
            keys.handle(.recoveryKeyChanged(code), at: now, from: &source)
        }
    }

    /// The code that the member was given when it came, not one that a stolen device names later.
    private var recoveryKey: SealingPublicKey? {
        let own = codes.filter { device, code in
            guard let standing = roster.devices[device] else { return false }
            return standing.member == member && !standing.isVoid(code.point)
        }
        func order(_ device: DeviceID) -> (Int, EntrySequence, DeviceID) {
            (joined.contains(device) ? 0 : 1, own[device]?.point.sequence ?? .max, device)
        }
        return own.keys.min { order($0) < order($1) }.flatMap { own[$0]?.key }
    }

    private mutating func keep(_ entry: Entry) {
        let device = entry.header.device
        if entry.header.kind == .founding || entry.header.kind == .join { joined.insert(device) }
        guard let sealed = MemberKeyEntry.sealed(in: entry) else { return }
        if let known = codes[device], known.point.sequence <= entry.header.sequence { return }
        codes[device] = (entry.point, sealed.recoveryKey)
    }

    // MARK: Entries

    private mutating func admitted(_ stored: StoredEntry, at now: HybridTime) {
        let header = stored.entry.header
        switch header.kind {
        case .sealed:
            guard stored.entry.content != nil else { return }
            let bytes = stored.entry.encodedBytesCount
            guard pending.count < MailboxLimits.pendingMax, pendingBytes + bytes <= MailboxLimits.pendingBytesMax else {
                // It is on the disk.
                scan = scan ?? readThrough
                return
            }
            pending.append(stored)
            pendingBytes += bytes
        case .mailbox:
            guard announced(stored.entry), hasBegun, roster.devices[header.device]?.member == member else { return }
            begin(at: now)
        case .memberKey, .founding, .join:
            keep(stored.entry)
            if hasBegun { begin(at: now) }
        case .deviceRevocation where header.device == device && hasBegun && isActive:
            drive(at: now) { $0.handle(.rotationRequested, at: now, from: &$1) }
        default: break
        }
    }

    /// - Returns: whether it says something.
    private mutating func announced(_ entry: Entry) -> Bool {
        guard let standing = standing(of: entry), !standing.isVoid(entry.point),
            let body = entry.content?.body, let announcement = try? MailboxAnnouncement(bytes: body)
        else { return false }
        directory.announced(announcement, by: entry.header.device, of: standing.member)
        return true
    }

    // MARK: Keys

    private mutating func drive(at now: HybridTime, _ body: (inout MailboxKeys, inout KeySource) -> Void) {
        keys.mayWrite = hasBegun && isActive
        body(&keys, &source)
        collect()
        let all = keys.readingKeys
        let current = Set(all.map(\.publicKey))
        guard current != readingKeys else { return }
        readingKeys = current
        reader = SealedReader(keys: all)
    }

    private mutating func collect() {
        while let effect = keys.nextEffect() {
            switch effect {
            case .keep:
                if !orders.contains(where: { if case .keep = $0 { true } else { false } }) { orders.append(.keep) }
            case .announce(let announcement): orders.append(.announce(announcement))
            case .pass(let pass, let recipients): orders.append(.pass(pass, to: recipients))
            }
        }
    }

    /// In order; nothing leaves while the keys that it rests on are on their way to the disk.
    private mutating func performOrders(at now: HybridTime) {
        while keeping == nil, pausedUntil == nil, let order = orders.first {
            switch order {
            case .keep:
                guard !isResetDue else { return }
                orders.removeFirst()
                let id = nextRequest()
                keeping = id
                effects.append(.keep(keys.keyring(for: deviceKey, from: &source), id))
            case .announce(let announcement):
                orders.removeFirst()
                effects.append(.append(.announcement(announcement)))
            case .pass(let pass, let recipients):
                orders.removeFirst()
                effects.append(.append(.sealed(pass.content, to: recipients)))
            }
        }
    }

    private mutating func kept(_ id: RequestID, isGood: Bool, at now: HybridTime) {
        guard keeping == id else { return }
        keeping = nil
        guard !isGood else { return }
        stats.diskFailures += 1
        orders.prepend(.keep)
        pause(at: now)
    }

    private mutating func pause(at now: HybridTime) {
        pausedUntil = HybridTime(milliseconds: now.milliseconds + MailboxLimits.pauseMilliseconds)
    }

    // MARK: Reading

    private mutating func nextRequest() -> RequestID {
        lastRequest += 1
        return RequestID(MailboxLimits.requestBase | lastRequest)
    }

    package static func owns(_ id: RequestID) -> Bool {
        id.value & MailboxLimits.requestMask == MailboxLimits.requestBase
    }

    private mutating func proceed(at now: HybridTime) {
        collect()
        step(at: now)
        performOrders(at: now)
        if let due = codeDue, due <= now {
            drive(at: now) { $0.handle(.codeUsed, at: now, from: &$1) }
            performOrders(at: now)
        }
        guard isLevel != wasLevel else { return }
        wasLevel = isLevel
        if wasLevel { effects.append(.emit(.level)) }
    }

    /// When the code's key has served: what was passed to it comes in one sync, or in some when nodes are down.
    private var codeDue: HybridTime? {
        guard keys.codePair != nil, isLevelWithPeers, isLevel, let began = keys.firstOwn else { return nil }
        return HybridTime(milliseconds: began.milliseconds + MailboxLimits.codeKeptMilliseconds)
    }

    private mutating func step(at now: HybridTime) {
        while case .idle = work, pausedUntil == nil {
            if let after = announcementsAfter {
                let id = nextRequest()
                work = .loadingKeys(id)
                effects.append(.load(Self.page(.mailbox, after: after), id))
            } else if isResetDue {
                write([], through: 0, isReset: true)
            } else if !pending.isEmpty {
                let page = Array(pending.prefix(MailboxLimits.pageCountMax))
                pending.removeFirst(page.count)
                pendingBytes -= page.reduce(0) { $0 + $1.entry.encodedBytesCount }
                read(page, through: nil, at: now)
            } else if let after = scan {
                let id = nextRequest()
                work = .loadingPage(id)
                effects.append(.load(Self.page(.sealed, after: after), id))
            } else if isRescanDue {
                isRescanDue = false
                scan = 0
                stats.rescans += 1
            } else {
                return
            }
        }
    }

    private static func page(_ kind: EntryKind, after: UInt64) -> JournalQuery {
        .ofKind(
            kind, after: after, countMax: MailboxLimits.pageCountMax, bytesMax: MailboxLimits.pageBytesMax)
    }

    private mutating func loaded(_ id: RequestID, _ answer: JournalAnswer, at now: HybridTime) {
        switch work {
        case .loadingKeys(id):
            work = .idle
            guard case .arrivals(let entries, let last) = answer else { return pause(at: now) }
            for stored in entries { _ = announced(stored.entry) }
            announcementsAfter = entries.isEmpty ? nil : last
            guard entries.isEmpty else { return }
            begin(at: now)
            effects.append(.emit(.open))
        case .loadingPage(id):
            work = .idle
            guard case .arrivals(let entries, let last) = answer else { return pause(at: now) }
            guard entries.isEmpty else {
                return read(entries.filter { $0.entry.content != nil }, through: last, at: now)
            }
            let end = scan
            scan = nil
            if let end, end != readThrough, isSettled { write([], through: end) }
        case .loadingRows(id, let reading):
            // A disk that can't be read shows less, and says so when it is asked.
            guard case .messages(let existing) = answer else {
                work = .idle
                scan = scan ?? readThrough
                return pause(at: now)
            }
            finish(reading, existing)
        case .idle, .loadingKeys, .loadingPage, .loadingRows, .writing: stats.late += 1
        }
    }

    private mutating func read(_ entries: [StoredEntry], through: UInt64?, at now: HybridTime) {
        var reading = Reading(through: through)
        for stored in entries {
            stats.looked += 1
            guard let standing = standing(of: stored.entry), !standing.isVoid(stored.entry.point),
                let opening = open(stored.entry)
            else { continue }
            stats.opened += 1
            switch opening.content.kind {
            case .chat:
                guard let body = try? ChatBody(bytes: opening.content.payload) else { continue }
                reading.arrivals.append(ChatArrival(stored, author: standing.member, isSealed: true, body: body))
            case .mailboxKeys:
                guard standing.member == member, let pass = try? MailboxKeyPass(bytes: opening.content.payload) else {
                    continue
                }
                let before = readingKeys
                let author = stored.entry.header.device
                drive(at: now) { $0.handle(.keysPassed(pass, by: author), at: now, from: &$1) }
                if !readingKeys.isSubset(of: before) { isResetDue = true }
            case let kind where kind.isHandedOn:
                if let row = row(stored, standing.member, opening.content) { reading.opened.append(row) }
            default: continue
            }
        }
        let needed = reading.arrivals.isEmpty ? [] : chat.rowsNeeded(for: reading.arrivals)
        guard !needed.isEmpty else { return finish(reading, []) }
        let id = nextRequest()
        work = .loadingRows(id, reading)
        effects.append(.load(.messageRows(needed), id))
    }

    /// What is handed on begins with the 32 bytes of what it is about; only secrets are about nothing. Nil: it doesn't, or is
    /// a secret that isn't ours.
    private func row(_ stored: StoredEntry, _ author: MemberID, _ content: SealedContent) -> OpenedRow? {
        let isSecret = content.kind.isSecret
        guard let subject = Bytes32(content.payload.prefix(Bytes32.count)),
            isSecret ? author == member : subject != .zero
        else { return nil }
        return OpenedRow(
            id: stored.entry.id, kind: content.kind.rawValue, subject: isSecret ? .zero : subject, author: author,
            device: stored.entry.header.device, sequence: stored.entry.header.sequence, time: stored.displayTime,
            payload: isSecret ? [] : content.payload)
    }

    /// Nil: whose it is may be known later.
    private mutating func standing(of entry: Entry) -> Roster.Device? {
        let device = entry.header.device
        if let standing = roster.devices[device] { return standing }
        if authorless.count < MailboxLimits.authorlessMax { authorless.insert(device) }
        return nil
    }

    /// What an entry of ours or to us holds.
    package mutating func open(_ entry: Entry) -> SealedOpening? {
        guard let body = (entry.content?.body).flatMap({ try? SealedBody(bytes: $0) }) else { return nil }
        return open(body, at: SealedPlace(entry.header))
    }

    package mutating func open(_ body: SealedBody, at place: SealedPlace) -> SealedOpening? {
        try? reader.open(body, at: place)
    }

    private mutating func finish(_ reading: Reading, _ existing: [MessageRow]) {
        work = .idle
        var rows = reading.arrivals.isEmpty ? [] : chat.rows(for: reading.arrivals, existing: existing)
        rows += reading.opened.map { .opened($0) }
        if let through = reading.through {
            scan = through
            pagesUnsaved += 1
        }
        // While all has to be read once more, nothing may say that it was.
        let through = isSettled ? reading.through : nil
        if !rows.isEmpty || (through != nil && pagesUnsaved >= MailboxLimits.pagesUnsavedMax) {
            write(rows, through: through)
        }
    }

    /// What was read needn't be read again.
    private var isSettled: Bool { !isResetDue && !isRescanDue && authorless.isEmpty }

    private mutating func write(_ rows: [JournalRow], through: UInt64?, isReset: Bool = false) {
        var batch = JournalBatch()
        batch.rows = rows
        if let through { batch.settings[Self.readSetting] = Self.bytes(through) }
        let id = nextRequest()
        work = .writing(id, through: through, rows: rows, isReset: isReset)
        effects.append(.persist(batch, id))
    }

    private mutating func persisted(_ id: RequestID) {
        guard case .writing(id, let through, let rows, let isReset) = work else { return stats.late += 1 }
        work = .idle
        if let through {
            readThrough = through
            pagesUnsaved = 0
        }
        if isReset {
            isResetDue = false
            isRescanDue = true
        }
        let opened = rows.filter { if case .opened = $0 { true } else { false } }
        if opened.count < rows.count { effects.append(.emit(.rows(rows.map(\.id)))) }
        if !opened.isEmpty { effects.append(.emit(.opened)) }
    }

    private mutating func persistFailed(_ id: RequestID, at now: HybridTime) {
        guard case .writing(id, _, _, _) = work else { return stats.late += 1 }
        work = .idle
        stats.diskFailures += 1
        // What was read stands on the disk; from where it is known to be read, all is read again.
        scan = min(scan ?? readThrough, readThrough)
        pause(at: now)
    }

    private static func bytes(_ value: UInt64) -> [UInt8] {
        (0..<8).map { UInt8(truncatingIfNeeded: value >> (56 - 8 * $0)) }
    }

    private static func number(_ bytes: [UInt8]) -> UInt64? {
        bytes.count == 8 ? bytes.reduce(0) { $0 << 8 | UInt64($1) } : nil
    }
}
