// SPDX-License-Identifier: Apache-2.0
import TuttiBase
package import TuttiCommunityCore
import TuttiIdentity
package import TuttiJournal

/// Something for a few, as it is given to be sealed.
package struct Letter: Sendable {
    package let content: SealedContent
    /// Beside our own member.
    package let members: [MemberID]
    package let retention: RetentionClass

    package init(_ content: SealedContent, to members: [MemberID], retention: RetentionClass = .year) {
        self.content = content
        self.members = members
        self.retention = retention
    }
}

/// The mailbox of a replica's device: MailboxCore on the journal's time, feed and numbers.
package struct MailboxPort: Sendable {
    /// Letters whose place was taken are sealed again so often.
    private static let attemptsMax = 3
    /// The wall clock may be set meanwhile.
    private static let waitMax = Duration.seconds(3_600)

    package private(set) var core: MailboxCore
    private var numbers = RequestNumbers(owner: 8)
    private var letters: [RequestID: (letter: Letter, attempts: Int)] = [:]
    private(set) var nextTimeout: Instant?

    /// Nil when the start asks for none, or there is no device to whom anything could be sealed.
    init?(_ start: JournalStart, at now: Instant) {
        guard let begin = start.mailbox, let device = start.device else { return nil }
        core = MailboxCore(
            begin, community: start.community, member: start.member, key: device, settings: start.opening.settings,
            from: start.keys)
        handle(.restored(start.governance), HybridTime(milliseconds: start.milliseconds), at: now)
    }

    mutating func handle(_ input: MailboxInput, _ time: HybridTime, at now: Instant) {
        core.handle(input, at: time)
        schedule(time, at: now)
    }

    mutating func handleTimeout(_ time: HybridTime, at now: Instant) {
        core.handleTimeout(at: time)
        schedule(time, at: now)
    }

    private mutating func schedule(_ time: HybridTime, at now: Instant) {
        nextTimeout = core.nextTimeout.map { due in
            let left = due.milliseconds > time.milliseconds ? due.milliseconds - time.milliseconds : 0
            return now + min(.milliseconds(Int64(clamping: left)), Self.waitMax)
        }
    }

    mutating func nextEffect() -> MailboxEffect? { core.nextEffect() }

    mutating func opened(_ entry: Entry) -> SealedContent? { core.open(entry)?.content }

    /// The body of a sealed entry that came by another way.
    mutating func opened(_ body: [UInt8], at place: SealedPlace) -> SealedContent? {
        guard let body = try? SealedBody(bytes: body) else { return nil }
        return core.open(body, at: place)?.content
    }

    // MARK: Entries

    /// What the mailbox itself wants written.
    mutating func input(_ draft: MailboxDraft, at sequence: EntrySequence?, head: EntryID) -> JournalInput? {
        switch draft {
        case .announcement(let announcement):
            return .appendRequested(
                numbers.next(),
                [EntryDraft(kind: .mailbox, retention: .year, body: announcement.bytes, governance: head)])
        case .sealed(let content, let recipients):
            guard let sequence, let body = try? core.seal(content, to: recipients, at: sequence) else {
                return nil
            }
            return .appendRequested(
                numbers.next(), [Self.draft(body, SealedLimits.retentionMax, at: sequence, head: head)])
        }
    }

    /// Nil: it can't be sealed.
    mutating func input(
        _ letter: Letter, for request: RequestID, at sequence: EntrySequence?, head: EntryID
    ) -> JournalInput? {
        guard let sequence, let body = try? core.seal(letter.content, to: letter.members, at: sequence) else {
            letters[request] = nil
            return nil
        }
        letters[request] = (letter, (letters[request]?.attempts ?? 0) + 1)
        return .appendRequested(request, [Self.draft(body, letter.retention, at: sequence, head: head)])
    }

    private static func draft(
        _ body: SealedBody, _ retention: RetentionClass, at sequence: EntrySequence, head: EntryID
    ) -> EntryDraft {
        EntryDraft(kind: .sealed, retention: retention, body: body.bytes, governance: head, sequence: sequence)
    }

    /// - Returns: whether somebody else asked for it.
    mutating func appended(_ request: RequestID) -> Bool {
        letters[request] = nil
        return !numbers.owns(request)
    }

    enum Failed {
        case passOn
        /// The mailbox asks again, in its time.
        case ours
        case again(Letter)
    }

    mutating func appendFailed(_ request: RequestID, _ error: AppendError) -> Failed {
        if numbers.owns(request) { return .ours }
        guard let (letter, attempts) = letters[request] else { return .passOn }
        if case .sequencePassed = error, attempts < Self.attemptsMax { return .again(letter) }
        letters[request] = nil
        return .passOn
    }
}
