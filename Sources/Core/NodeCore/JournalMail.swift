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

    mutating func perform(_ effect: MarketEffect) {
        switch effect {
        case .load(let query, let id): results.append(.load(query, .market(id)))
        case .unseal(let entries, let id): results.append(.load(.entries(entries), .marketSecrets(id)))
        case .persist(let batch, let id): results.append(.persist(batch, id))
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
            return results.append(.appendFailed(request, journal.ownDevice == nil ? .noDevice : .notSealed))
        }
        journal.handle(input, at: now)
    }

    mutating func appendFailed(_ request: RequestID, _ error: AppendError, at now: Instant) {
        switch mailbox?.appendFailed(request, error) ?? .passOn {
        case .passOn: results.append(.appendFailed(request, error))
        case .ours: break
        case .again(let letter): seal(letter, for: request, at: now)
        }
    }
}
