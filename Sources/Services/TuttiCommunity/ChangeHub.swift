// SPDX-License-Identifier: Apache-2.0
import Synchronization
import TuttiCommunityCore
import TuttiJournal
import TuttiMarket
import TuttiNodeCore

/// What changed in a community's replica.
enum CommunityChange: Sendable {
    /// On disk.
    case admitted([StoredEntry])
    case communityChanged
    case journal(JournalEvent)
    case sync(SyncEvent)
    case mailbox(MailboxEvent)
    case market(MarketEvent)
    case register(WitnessEvent)
}

/// Tells those who look on; a slow one misses the oldest.
final class ChangeHub: Sendable {
    private static let waitingMax = 4_096

    private struct State {
        var watchers: [UInt64: AsyncStream<CommunityChange>.Continuation] = [:]
        var last: UInt64 = 0
    }

    private let state = Mutex(State())

    func emit(_ change: CommunityChange) {
        let watchers = state.withLock { Array($0.watchers.values) }
        for watcher in watchers { watcher.yield(change) }
    }

    /// From now on, until the stream is let go of.
    func watch() -> AsyncStream<CommunityChange> {
        let (stream, continuation) = AsyncStream.makeStream(
            of: CommunityChange.self, bufferingPolicy: .bufferingNewest(Self.waitingMax))
        let number = state.withLock { state in
            state.last += 1
            state.watchers[state.last] = continuation
            return state.last
        }
        continuation.onTermination = { _ in self.state.withLock { $0.watchers[number] = nil } }
        return stream
    }

    func finish() {
        for watcher in state.withLock({ Array($0.watchers.values) }) { watcher.finish() }
    }
}
