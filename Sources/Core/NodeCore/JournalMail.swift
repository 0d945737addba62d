// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiCommunityCore
import TuttiJournal
import TuttiMarket

/// What is sealed, and what rests on it.
extension JournalPort {
    // MARK: MailboxCore

    mutating func tellMailbox(_ input: MailboxInput, at now: Instant) {
        mailbox?.handle(input, journal.time(at: now), at: now)
    }

    mutating func perform(_ effect: MailboxEffect, at now: Instant) {
        switch effect {
        case .load(let query, let id): results.append(.load(query, .mailbox(id)))
        case .persist(let batch, let id): results.append(.persist(batch, id))
        case .keep(let keyring, let id): results.append(.keepKeyring(keyring, id))
        case .append(let draft):
            let (sequence, head) = (journal.nextOwnSequence, community.head)
            if let input = mailbox?.input(draft, at: sequence, head: head) { journal.handle(input, at: now) }
        case .emit(let event):
            if event == .opened { tellMarket(.opened, at: now) }
            results.append(.mailbox(event))
        }
    }

    // MARK: MarketCore

    mutating func tellMarket(_ input: MarketInput, at now: Instant) {
        market?.handle(input, journal.time(at: now), at: now)
    }

    mutating func perform(_ effect: MarketEffect, at now: Instant) {
        switch effect {
        case .load(let query, let id): results.append(.load(query, .market(id)))
        case .unseal(let entries, let id): results.append(.load(.entries(entries), .marketSecrets(id)))
        case .persist(let batch, let id): results.append(.persist(batch, id))
        case .write(let letter, let members, let id): seal(Letter(letter.content, to: members), for: id, at: now)
        case .register(let task, let signer): results.append(.register(task, signer))
        case .openHeld(let held, let id):
            let content = mailbox?.opened(held.body, at: held.place)
            tellMarket(.unsealed(id, content.map { [$0] } ?? []), at: now)
        case .emit(let event): results.append(.market(event))
        }
    }

    mutating func unsealed(_ id: RequestID, _ answer: JournalAnswer, at now: Instant) {
        var contents: [SealedContent] = []
        if case .entries(let entries) = answer {
            for stored in entries { if let content = mailbox?.opened(stored.entry) { contents.append(content) } }
        }
        tellMarket(.unsealed(id, contents), at: now)
    }

    mutating func seal(_ letter: Letter, for request: RequestID, at now: Instant) {
        let (sequence, head) = (journal.nextOwnSequence, community.head)
        guard let input = mailbox?.input(letter, for: request, at: sequence, head: head) else {
            return notAppended(request, journal.ownDevice == nil ? .noDevice : .notSealed, at: now)
        }
        journal.handle(input, at: now)
    }

    mutating func appendFailed(_ request: RequestID, _ error: AppendError, at now: Instant) {
        switch mailbox?.appendFailed(request, error) ?? .passOn {
        case .passOn: notAppended(request, error, at: now)
        case .ours: break
        case .again(let letter): seal(letter, for: request, at: now)
        }
    }

    mutating func appended(_ request: RequestID, _ entries: [Entry], at now: Instant) {
        guard mailbox?.appended(request) ?? true else { return }
        if MarketCore.owns(request) {
            tellMarket(.written(request, true), at: now)
        } else {
            results.append(.appended(request, entries))
        }
    }

    private mutating func notAppended(_ request: RequestID, _ error: AppendError, at now: Instant) {
        if MarketCore.owns(request) {
            tellMarket(.written(request, false), at: now)
        } else {
            results.append(.appendFailed(request, error))
        }
    }
}
