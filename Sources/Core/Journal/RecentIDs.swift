// SPDX-License-Identifier: Apache-2.0
import DequeModule

/// The last ids that went to the disk: most of what comes twice comes soon.
struct RecentIDs: Sendable {
    private var ids: Set<EntryID> = []
    private var order: Deque<EntryID> = []
    private let countMax: Int

    init(countMax: Int) { self.countMax = max(1, countMax) }

    func contains(_ id: EntryID) -> Bool { ids.contains(id) }

    mutating func insert(_ id: EntryID) {
        guard ids.insert(id).inserted else { return }
        order.append(id)
        if order.count > countMax, let oldest = order.popFirst() { ids.remove(oldest) }
    }
}
