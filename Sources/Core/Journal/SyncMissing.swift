// SPDX-License-Identifier: Apache-2.0
import DequeModule
import TuttiBase

/// Until when a peer isn't asked for something again: twice as long each time.
struct SyncHoldOff: Sendable {
    private(set) var until: Instant
    private let count: Int

    init(after last: SyncHoldOff?, _ configuration: SyncConfiguration, at now: Instant) {
        count = (last?.count ?? 0) + 1
        until = now + configuration.holdOff.doubled(count - 1, max: configuration.holdOffMax)
    }

    /// What was refused may be taken by others' leave now. Only the first few times: else who is refused for good would be
    /// asked with each change.
    /// - Returns: whether it was held off.
    mutating func end(at now: Instant) -> Bool {
        guard until > now, count <= 3 else { return false }
        until = now
        return true
    }
}

/// What one peer isn't asked for, by device or entry.
struct SyncHoldOffs: Sendable {
    private var ends: [Bytes32: SyncHoldOff] = [:]

    func covers(_ key: Bytes32, at now: Instant) -> Bool { ends[key].map { now < $0.until } ?? false }

    mutating func begin(_ key: Bytes32, _ configuration: SyncConfiguration, at now: Instant) {
        if ends.count >= JournalLimits.feedsMax { ends.removeAll() }
        ends[key] = SyncHoldOff(after: ends[key], configuration, at: now)
    }

    mutating func forget(_ key: Bytes32) { ends[key] = nil }

    /// - Returns: whether there is something to ask for again.
    mutating func endAll(at now: Instant) -> Bool {
        var isAny = false
        for key in ends.keys where ends[key]?.end(at: now) == true { isAny = true }
        return isAny
    }
}

/// Governance entries that one peer is to be asked for by name although it never said that it has them: others refer to
/// them. That it doesn't have one is no fault, and no reason not to take it later by the tree.
struct SyncMissing: Sendable {
    private var waiting: Deque<EntryID> = []
    private var lacked: [EntryID: SyncHoldOff] = [:]
    private let configuration: SyncConfiguration

    init(_ configuration: SyncConfiguration) { self.configuration = configuration }

    var isEmpty: Bool { waiting.isEmpty }

    mutating func seek(_ ids: [EntryID], _ replica: SyncReplica, at now: Instant) {
        lacked = lacked.filter { replica.missing.contains($0.key) }
        let known = Set(waiting)
        for id in ids where waiting.count < configuration.limits.missingMax && !known.contains(id) {
            if let until = lacked[id]?.until, now < until { continue }
            waiting.append(id)
        }
    }

    /// While another is asked for one, it waits.
    mutating func next(countMax: Int, _ replica: SyncReplica, _ ledger: SyncLedger) -> [EntryID] {
        var ids: [EntryID] = []
        for _ in 0..<min(waiting.count, SyncSession.looksMax) where ids.count < countMax {
            guard let wanted = waiting.popFirst() else { break }
            guard replica.missing.contains(wanted), !replica.holds(wanted) else { continue }
            if ledger.isClaimed(wanted) { waiting.append(wanted) } else { ids.append(wanted) }
        }
        return ids
    }

    mutating func putBack(_ ids: [EntryID]) { waiting.append(contentsOf: ids) }

    mutating func lacks(_ id: EntryID, at now: Instant) {
        lacked[id] = SyncHoldOff(after: lacked[id], configuration, at: now)
    }

    mutating func removeAll() { waiting.removeAll() }
}
