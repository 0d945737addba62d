// SPDX-License-Identifier: Apache-2.0
import DequeModule
import TuttiBase

/// Until when a peer isn't asked for something again: twice as long each time.
struct SyncHoldOff: Sendable {
    let until: Instant
    private let count: Int

    init(after last: SyncHoldOff?, _ configuration: SyncConfiguration, at now: Instant) {
        count = (last?.count ?? 0) + 1
        until = now + configuration.holdOff.doubled(count - 1, max: configuration.holdOffMax)
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
