// SPDX-License-Identifier: Apache-2.0
import TuttiBase

/// Now and then drops bodies whose time is over, one retention class after the other. Headers stay, and so does everything
/// of the class that is kept for ever, which is all of governance.
struct RetentionPass: Sendable {
    private enum State: Sendable {
        case waiting(until: Instant)
        case asking(RequestID, RetentionClass)
        case dropping(RetentionClass, isMoreThere: Bool)
    }

    private var state: State
    private static let classes = RetentionClass.allCases.filter { $0.period != nil }

    init(_ configuration: JournalConfiguration, at now: Instant) {
        state = .waiting(until: now + configuration.retentionFirst)
    }

    var nextTimeout: Instant? {
        switch state {
        case .waiting(let at): at
        case .asking, .dropping: nil
        }
    }

    mutating func handleTimeout(_ holdings: inout JournalHoldings, at now: Instant) {
        guard case .waiting(let at) = state, at <= now else { return }
        ask(Self.classes.first, &holdings, at: now)
    }

    private mutating func ask(_ retention: RetentionClass?, _ holdings: inout JournalHoldings, at now: Instant) {
        guard let retention, let period = retention.period else {
            state = .waiting(until: now + holdings.configuration.retentionInterval)
            return
        }
        let wall = holdings.clock.wall(at: now)
        let milliseconds = UInt64(max(0, period.saturatedNanoseconds)) / 1_000_000
        guard wall > milliseconds else { return ask(Self.after(retention), &holdings, at: now) }
        let id = holdings.request()
        state = .asking(id, retention)
        let before = HybridTime(milliseconds: wall - milliseconds)
        holdings.emit(.load(.expired(retention, before: before, countMax: holdings.limits.expiredBatchMax), id))
    }

    /// Nil if it is the answer to somebody else's question; else the bodies to drop.
    mutating func loaded(
        _ id: RequestID, _ answer: JournalAnswer, _ holdings: inout JournalHoldings, at now: Instant
    ) -> [EntryID]? {
        guard case .asking(id, let retention) = state else { return nil }
        switch answer {
        case .ids(let ids) where !ids.isEmpty:
            state = .dropping(retention, isMoreThere: ids.count >= holdings.limits.expiredBatchMax)
            return ids
        case .ids, .opening, .arrivals, .entries, .messages, .documents, .rows, .listings, .categories, .opened,
            .subjects, .usage, .slots:
            ask(Self.after(retention), &holdings, at: now)
        case .failed:
            state = .waiting(until: now + holdings.configuration.retentionInterval)
        }
        return []
    }

    mutating func dropped(_ count: Int, _ holdings: inout JournalHoldings, at now: Instant) {
        guard count > 0, case .dropping(let retention, let isMoreThere) = state else { return }
        holdings.stats.bodiesDropped &+= UInt64(count)
        ask(isMoreThere ? retention : Self.after(retention), &holdings, at: now)
    }

    /// The disk refused; the next pass finds them again.
    mutating func failed(_ holdings: JournalHoldings, at now: Instant) {
        guard case .dropping = state else { return }
        state = .waiting(until: now + holdings.configuration.retentionInterval)
    }

    private static func after(_ retention: RetentionClass) -> RetentionClass? {
        classes.first { $0.rawValue > retention.rawValue }
    }
}
