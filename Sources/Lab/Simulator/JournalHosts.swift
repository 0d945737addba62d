// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
import TuttiCommunityCore
package import TuttiIdentity
package import TuttiJournal
package import TuttiNodeCore
import TuttiWitness

import struct NIOCore.ByteBuffer

/// What stands beside the replicas of a fleet: each node's disk, the threads that check signatures, and the wire, where
/// some lie and receipts are compared with disks.
///
/// Signatures are the real ones; a verdict is found once and then remembered for all nodes, which changes nothing but the
/// time that a run takes.
package struct JournalHosts: Sendable {
    /// What is left out on purpose.
    package enum Planted: Int, CaseIterable, Sendable {
        case nothing = 0
        /// The disk says that it has what it would lose.
        case earlyDisk = 1
        /// Whatever a signature is, it counts as good.
        case blindness = 2
        /// Nobody answers those that ask for what they miss.
        case silence = 3
        /// One receipt is enough.
        case oneReceipt = 4
        /// Who lied in sync is asked again at once.
        case forgiveness = 5
        /// Usurpers are admins.
        case authority = 6
        /// Of governance only the signature of the header is checked.
        case bodies = 7
        /// Liars are the majority of those that end proposals.
        case closers = 8
    }

    package enum Manner: Int, CaseIterable, Sendable {
        case honest
        /// Honest, and corrupted admins want to be rid of it.
        case victim
        /// Writes two entries at one place.
        case forker
        /// Hands on entries and fault proofs with signatures that are false.
        case forger
        /// Governs without the right to.
        case usurper
        /// An admin, and one of three who end proposals, who uses that for himself, and forks his governance.
        case corrupted
        /// Says in sync what isn't so.
        case garbler
        /// Says that its disk has what it threw away.
        case boaster
        /// Answers nothing that is asked of it.
        case silent

        package var isHonest: Bool { self == .honest || self == .victim }
        static let liars = allCases.filter { !$0.isHonest }
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
        let device: DeviceID
        var draws: DrawStream
        var lies: SyncLies
        /// Requests to each garbler.
        var requests: [Int: Int] = [:]
    }

    /// Somebody honest has checked the signature of a fork's second entry.
    private struct Sighting: Sendable {
        let author: DeviceID
        let node: Int
        let at: Instant
    }

    private static let checkDuration = Duration.milliseconds(1)
    /// What was checked so long ago is on the disk, however slow.
    private static let diskDelayMax = Duration.seconds(10)
    private static let receiptsForm: UInt8? = {
        var bytes = ByteBuffer()
        SyncWire.encode(.receipts([]), into: &bytes)
        return bytes.getInteger(at: bytes.readerIndex)
    }()

    private let planted: Planted
    private var hosts: [Host] = []
    private var verdicts: [Question: Bool] = [:]
    private var checkVerdicts: [SignatureCheck: Bool] = [:]
    package private(set) var checked = 0
    package private(set) var forged = 0
    /// What is for whoever uses a replica.
    private var told: [(at: Instant, node: Int, result: JournalResult)] = []
    /// Second entries of forks.
    private var twins: [EntryID: DeviceID] = [:]
    private var sightings: [Sighting] = []
    /// Up to where nodes say that they hold feeds.
    private var receipts: [DeviceID: [Int: EntrySequence]] = [:]
    /// Receipts for what the disk hasn't got.
    package private(set) var falseReceipts = (honest: 0, liars: 0)

    package init(planted: Planted = .nothing) {
        self.planted = planted
    }

    /// - Parameter device: what it writes with; only a boaster's hosts ask.
    package mutating func add(
        _ manner: Manner, device: DeviceID = DeviceID(.zero), disk: DiskModel, seed: UInt64
    ) {
        let draws = DrawStream(seed: seed, peer: PeerIndex(UInt32(hosts.count)), .faults)
        let lies = DrawStream(seed: ~seed, peer: PeerIndex(UInt32(hosts.count)), .faults)
        hosts.append(
            Host(
                disk: MemoryJournal(disk: disk, seed: seed &+ UInt64(hosts.count)), manner: manner, device: device,
                draws: draws, lies: SyncLies(draws: lies)))
    }

    package mutating func takeTold() -> [(at: Instant, node: Int, result: JournalResult)] {
        var taken: [(at: Instant, node: Int, result: JournalResult)] = []
        swap(&taken, &told)
        return taken
    }

    package mutating func answer(_ node: Int, _ query: JournalQuery, at now: Instant) -> JournalAnswer {
        hosts[node].disk.answer(query, at: now).answer
    }

    /// With what a node's replica begins: what its disk holds.
    package mutating func start(
        _ node: Int, _ community: CommunityID, member: MemberID, device: KeyPair, epoch: UInt64, at now: Instant
    ) -> JournalStart? {
        guard case .opening(let opening) = answer(node, .opening, at: now),
            case .arrivals(let governance, _) = answer(node, .governance(after: 0, countMax: .max), at: now)
        else { return nil }
        return JournalStart(
            community: community, member: member, device: device, opening: opening, governance: governance,
            milliseconds: epoch + UInt64(now.nanoseconds / 1_000_000))
    }

    package mutating func crash(_ node: Int, seed: UInt64, at now: Instant) {
        hosts[node].disk.crash(seed: seed, at: now)
        sightings.removeAll { $0.node == node && $0.at + Self.diskDelayMax > now }
    }

    /// Everything that it knew is gone for good.
    mutating func lose(_ node: Int) { sightings.removeAll { $0.node == node } }

    package func diskStats(_ node: Int) -> MemoryJournal.Stats { hosts[node].disk.stats }

    // MARK: What came of it

    mutating func expect(twin: EntryID, of author: DeviceID) { twins[twin] = author }

    /// Whose forks an honest node has seen that lives on.
    var forkersSeen: Set<DeviceID> { Set(sightings.map(\.author)) }

    /// How many nodes say that they hold a feed up to there.
    func receiptCount(_ device: DeviceID, through sequence: EntrySequence) -> Int {
        receipts[device]?.values.count { $0 >= sequence } ?? 0
    }

    var liesInSync: Int { hosts.reduce(0) { $0 + $1.lies.count } }
    /// The most that one honest node asked of one garbler.
    var requestsMost: Int { hosts.flatMap(\.requests.values).max() ?? 0 }

    // MARK: What replicas want done

    /// - Returns: what the replica is to be told, and when.
    mutating func perform(
        _ node: Int, _ result: JournalResult, at now: Instant
    ) -> (at: Instant, command: JournalCommand)? {
        switch result {
        case .persist(let batch, let id):
            let isOthers = batch.entries.contains { $0.entry.header.device != hosts[node].device }
            if hosts[node].manner == .boaster, isOthers { return (now, .persisted(id)) }
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
            if hosts[node].manner.isHonest {
                for entry in entries {
                    guard let author = twins[entry.id] else { continue }
                    sightings.append(Sighting(author: author, node: node, at: now))
                }
            }
            let results = entries.map { isAuthentic($0) || planted == .blindness }
            return (now + Self.checkDuration, .verified(id, results))
        case .check(let checks, let id):
            return (now + Self.checkDuration, .checked(id, checks.map { isValid($0) }))
        // This disk keeps every keyring; nothing in the lab reads one again.
        case .keepKeyring(_, let id): return (now, .keyringKept(id, true))
        case .mailbox, .market, .register, .appended, .appendFailed, .admitted, .event, .sync, .communityChanged,
            .witness:
            told.append((now, node, result))
            return nil
        }
    }

    private mutating func isAuthentic(_ entry: Entry) -> Bool {
        let question = Question(id: entry.id, signature: entry.signature, hasBody: entry.content != nil)
        if let known = verdicts[question] { return known }
        checked += 1
        let verdict = planted == .bodies ? entry.isSignatureValid : GovernanceEntry.isAuthentic(entry)
        verdicts[question] = verdict
        return verdict
    }

    private mutating func isValid(_ check: SignatureCheck) -> Bool {
        if let known = checkVerdicts[check] { return known }
        checked += 1
        let verdict = check.isValid
        checkVerdicts[check] = verdict
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

    // MARK: The wire

    /// What goes out when a node says this in `/tutti/sync/1`.
    mutating func say(
        _ node: Int, _ bytes: ByteBuffer, isAsking: Bool, to other: Int, at now: Instant
    ) -> [ByteBuffer] {
        let said = hosts[node].manner == .garbler ? hosts[node].lies.lie(bytes, isAsking: isAsking) : [bytes]
        guard isAsking else { return said }
        if hosts[other].manner == .garbler, hosts[node].manner.isHonest {
            hosts[node].requests[other, default: 0] += 1
        }
        for bytes in said where bytes.getInteger(at: bytes.readerIndex) == Self.receiptsForm {
            note(bytes, of: node, at: now)
        }
        return said
    }

    private mutating func note(_ bytes: ByteBuffer, of node: Int, at now: Instant) {
        guard case .receipts(let given)? = try? SyncWire.decodeRequest(bytes) else { return }
        for receipt in given {
            let known = receipts[receipt.device]?[node] ?? .none
            receipts[receipt.device, default: [:]][node] = max(known, receipt.head)
            let query = JournalQuery.feed(
                receipt.device, .first...max(.first, receipt.head), newestFirst: false, countMax: .max,
                bytesMax: .max)
            guard case .entries(let held) = answer(node, query, at: now), held.count < receipt.head.value else {
                continue
            }
            if hosts[node].manner.isHonest { falseReceipts.honest += 1 } else { falseReceipts.liars += 1 }
        }
    }
}
