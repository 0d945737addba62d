// SPDX-License-Identifier: Apache-2.0
import DequeModule
import TuttiBase

/// Updates on their way to everybody, passed on with other messages: those passed on least go first (SWIM section 4.1).
struct UpdateQueue: Sendable {
    private struct Item: Sendable {
        let update: MemberUpdate
        var count: Int
    }

    private let countMax: Int
    private var items = Deque<Item>()

    init(countMax: Int) {
        self.countMax = max(1, countMax)
    }

    var isEmpty: Bool { items.isEmpty }
    var count: Int { items.count }

    /// Replaces what was said of the same peer before.
    mutating func insert(_ update: MemberUpdate) {
        if let place = items.firstIndex(where: { $0.update.peer == update.peer }) { items.remove(at: place) }
        if items.count >= countMax { items.removeLast() }
        items.prepend(Item(update: update, count: 0))
    }

    /// The next `wanted` updates; one that was passed on `timesMax` times is done.
    mutating func take(_ wanted: Int, timesMax: Int, into updates: inout [MemberUpdate]) {
        for _ in 0..<max(0, min(wanted, items.count)) {
            guard var item = items.popFirst() else { return }
            item.count += 1
            if !updates.contains(where: { $0.peer == item.update.peer }) { updates.append(item.update) }
            if item.count < timesMax { items.append(item) }
        }
    }

    func forEachPeer(_ body: (PeerIndex) -> Void) {
        for item in items {
            body(item.update.peer)
            body(item.update.accuser)
        }
    }
}
