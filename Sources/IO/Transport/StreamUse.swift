// SPDX-License-Identifier: Apache-2.0
import TuttiBase

/// What the node knows of whether applications use a connection.
///
/// It hears of use at once and of its end after a while: streams that come one after another would cost it two visits
/// each.
struct StreamUse {
    private let freeDelay: Duration
    private var isKnown = false
    /// When the node is to hear that the connection is free.
    private(set) var deadline = Instant.distantFuture

    init(freeDelay: Duration) {
        self.freeDelay = freeDelay
    }

    /// The count that the node is to be told now, if any.
    mutating func counted(_ streams: Int, at now: Instant) -> Int? {
        guard streams == 0 else {
            deadline = .distantFuture
            defer { isKnown = true }
            return isKnown ? nil : streams
        }
        guard isKnown else { return nil }
        if deadline == .distantFuture { deadline = now + freeDelay }
        guard now >= deadline else { return nil }
        deadline = .distantFuture
        isKnown = false
        return 0
    }
}
