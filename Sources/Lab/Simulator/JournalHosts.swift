// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
package import TuttiJournal
package import TuttiNodeCore

/// What stands beside the replicas of a fleet: each node's disk, and the threads that check signatures.
///
/// Signatures are the real ones; a verdict is found once and then remembered for all nodes, which changes nothing but the
/// time that a run takes.
package struct JournalHosts: Sendable {
    /// What is left out on purpose.
    package enum Planted: Int, Sendable {
        case nothing = 0
        /// The disk says that it has what it would lose.
        case earlyDisk = 1
        /// Whatever a signature is, it counts as good.
        case blindness = 2
        /// Nobody answers those that ask for what they miss.
        case silence = 3
    }

    package enum Manner: Sendable {
        case honest
        /// Hands on entries with signatures that are false.
        case forger
        /// Writes two entries at one place.
        case forker
        /// Answers nothing that is asked of it.
        case silent
    }

    /// Everything that a verdict depends on: the id covers the header, and this the digest of the body.
    private struct Question: Hashable, Sendable {
        let id: EntryID
        let signature: [UInt8]
        let hasBody: Bool
    }

    private struct Host: Sendable {
        var disk: MemoryJournal
        let manner: Manner
        var draws: DrawStream
    }

    private static let checkDuration = Duration.milliseconds(1)

    private let planted: Planted
    private var hosts: [Host] = []
    private var verdicts: [Question: Bool] = [:]
    package private(set) var checked = 0
    package private(set) var forged = 0
    /// What is for whoever uses a replica.
    private var told: [(at: Instant, node: Int, result: JournalResult)] = []

    package init(planted: Planted = .nothing) {
        self.planted = planted
    }

    package mutating func add(_ manner: Manner, disk: DiskModel, seed: UInt64) {
        let draws = DrawStream(seed: seed, peer: PeerIndex(UInt32(hosts.count)), .faults)
        hosts.append(
            Host(disk: MemoryJournal(disk: disk, seed: seed &+ UInt64(hosts.count)), manner: manner, draws: draws))
    }

    package mutating func takeTold() -> [(at: Instant, node: Int, result: JournalResult)] {
        var taken: [(at: Instant, node: Int, result: JournalResult)] = []
        swap(&taken, &told)
        return taken
    }

    package mutating func answer(_ node: Int, _ query: JournalQuery, at now: Instant) -> JournalAnswer {
        hosts[node].disk.answer(query, at: now).answer
    }

    package mutating func crash(_ node: Int, seed: UInt64, at now: Instant) {
        hosts[node].disk.crash(seed: seed, at: now)
    }

    package func diskStats(_ node: Int) -> MemoryJournal.Stats { hosts[node].disk.stats }

    /// - Returns: what the replica is to be told, and when.
    mutating func perform(
        _ node: Int, _ result: JournalResult, at now: Instant
    ) -> (at: Instant, command: JournalCommand)? {
        switch result {
        case .persist(let batch, let id):
            do throws(JournalStorageError) {
                let done = try hosts[node].disk.write(batch, at: now)
                return (planted == .earlyDisk ? now : done, .persisted(id))
            } catch {
                return (now, .persistFailed(id, error))
            }
        case .load(let query, let reader):
            let (answer, done) = hosts[node].disk.answer(query, at: now)
            guard case .sync = reader else { return (done, .loaded(reader, answer)) }
            guard planted != .silence, hosts[node].manner != .silent else { return nil }
            return (done, .loaded(reader, hosts[node].manner == .forger ? forge(answer, node) : answer))
        case .verify(let entries, let id):
            let results = entries.map { isAuthentic($0) || planted == .blindness }
            return (now + Self.checkDuration, .verified(id, results))
        // This disk keeps every keyring; nothing in the lab reads one again.
        case .keepKeyring(_, let id): return (now, .keyringKept(id, true))
        case .mailbox, .appended, .appendFailed, .admitted, .event, .sync, .communityChanged:
            told.append((now, node, result))
            return nil
        }
    }

    private mutating func isAuthentic(_ entry: Entry) -> Bool {
        let question = Question(id: entry.id, signature: entry.signature, hasBody: entry.content != nil)
        if let known = verdicts[question] { return known }
        checked += 1
        let verdict = GovernanceEntry.isAuthentic(entry)
        verdicts[question] = verdict
        return verdict
    }

    /// Some of what is answered is signed by nobody.
    private mutating func forge(_ answer: JournalAnswer, _ node: Int) -> JournalAnswer {
        guard case .entries(let entries) = answer else { return answer }
        return .entries(
            entries.map { stored in
                guard hosts[node].draws.below(2) == 0 else { return stored }
                forged += 1
                return StoredEntry(stored.entry.forged, firstSeen: stored.firstSeen)
            })
    }
}

extension Entry {
    /// The same with a signature that nobody made.
    package var forged: Entry {
        Entry(stored: header, signature: signature.map { ~$0 }, content: content)
    }
}
