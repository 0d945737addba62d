// SPDX-License-Identifier: Apache-2.0
import DequeModule

/// A first-in, first-out queue that refuses what does not fit and counts the refusals.
package struct BoundedQueue<Element> {
    private var elements: Deque<Element> = []
    package let countMax: Int
    package private(set) var refusedCount: UInt64 = 0

    package init(countMax: Int) {
        precondition(countMax > 0, "a queue that holds nothing is a mistake of ours")
        self.countMax = countMax
    }

    package var count: Int { elements.count }
    package var isEmpty: Bool { elements.isEmpty }
    package var isFull: Bool { elements.count >= countMax }
    package var first: Element? { elements.first }

    /// False when full; the element is then dropped and counted, and the caller says what that means.
    package mutating func append(_ element: Element) -> Bool {
        guard !isFull else {
            refusedCount &+= 1
            return false
        }
        elements.append(element)
        return true
    }

    package mutating func popFirst() -> Element? {
        elements.popFirst()
    }

    package mutating func removeAll() {
        elements.removeAll()
    }
}

extension BoundedQueue: Sendable where Element: Sendable {}
