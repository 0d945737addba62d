// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

/// What a call is for.
package enum CallPurpose: UInt8, Sendable {
    /// A step of a lookup.
    case search
    /// A record or provider is sent.
    case store
    /// Whether a contact lives.
    case check
    /// An older record is corrected; nobody waits.
    case correction
}

package struct Call: Sendable {
    package enum Patience: UInt8, Sendable {
        case waiting
        /// Another was started in its stead.
        case overtaken
        /// Its lookup goes on without it.
        case givenUp
    }

    package let id: RequestID
    package let peer: PeerIndex
    /// Its operation's serial number; zero when nobody waits for it any more.
    package var operation: UInt32
    package let purpose: CallPurpose
    package var patience: Patience
    package let distance: UInt64
    package let sent: Instant
    package var deadline: Instant
}

/// The calls under way, in the order in which they were made, and how long they usually take.
///
/// The time-out after which a call is overtaken is TCP's (RFC 6298): smoothed time and four times its deviation, of all
/// peers together. Twice that later a lookup no longer waits for the call; after the full time-out the call is dead.
package struct CallTable: Sendable {
    private static let restingCapacity = 4

    private var calls: [Call] = []
    private var nextID: UInt64 = 0
    private var smoothedMicroseconds: UInt32 = 0
    private var deviationMicroseconds: UInt32 = 0

    package init() {}

    package var count: Int { calls.count }

    package var checkCount: Int { calls.reduce(0) { $0 + ($1.purpose == .check ? 1 : 0) } }

    private func overtakeTime(_ settings: KademliaSettings) -> Duration {
        guard smoothedMicroseconds > 0 else { return settings.configuration.overtakeInitial }
        let time = Duration.microseconds(Int64(smoothedMicroseconds) + 4 * Int64(deviationMicroseconds))
        return min(max(time, settings.configuration.overtakeMin), settings.configuration.overtakeMax)
    }

    package mutating func add(
        _ peer: PeerIndex, _ purpose: CallPurpose, operation: UInt32, distance: UInt64, at now: Instant,
        _ settings: KademliaSettings
    ) -> RequestID {
        nextID += 1
        let timeout = settings.configuration.callTimeout
        let patience =
            switch purpose {
            case .search, .store: min(overtakeTime(settings), timeout)
            case .check, .correction: timeout
            }
        calls.append(
            Call(
                id: RequestID(nextID), peer: peer, operation: operation, purpose: purpose, patience: .waiting,
                distance: distance, sent: now, deadline: now + patience))
        return RequestID(nextID)
    }

    package mutating func remove(_ id: RequestID) -> Call? {
        guard let place = place(of: id) else { return nil }
        let call = calls.remove(at: place)
        // A core that rests keeps no room for the calls of its busiest hour.
        if calls.isEmpty, calls.capacity > Self.restingCapacity { calls = [] }
        return call
    }

    /// An answer came after this long.
    package mutating func measure(_ time: Duration) {
        let sample = UInt32(clamping: max(1, time.saturatedNanoseconds / 1_000))
        guard smoothedMicroseconds > 0 else {
            smoothedMicroseconds = sample
            deviationMicroseconds = sample / 2
            return
        }
        let smoothed = Int64(smoothedMicroseconds)
        let deviation = abs(smoothed - Int64(sample))
        deviationMicroseconds = UInt32(clamping: (3 * Int64(deviationMicroseconds) + deviation) / 4)
        smoothedMicroseconds = UInt32(clamping: max(1, (7 * smoothed + Int64(sample)) / 8))
    }

    package var nextDeadline: Instant {
        var next = Instant.distantFuture
        for call in calls where call.deadline < next { next = call.deadline }
        return next
    }

    package enum OnExpired: Sendable {
        /// Dead, and no longer here.
        case cancel(Call)
        /// As it was before; its lookup is to ask another.
        case overtake(Call)
        /// As it was before; its lookup no longer waits for it.
        case giveUp(Call)
    }

    /// The first call whose deadline has come.
    package mutating func expire(at now: Instant, hardTimeout: Duration) -> OnExpired? {
        guard let place = calls.firstIndex(where: { $0.deadline <= now }) else { return nil }
        let call = calls[place]
        let end = call.sent + hardTimeout
        guard now < end else {
            _ = remove(call.id)
            return .cancel(call)
        }
        switch call.patience {
        case .waiting:
            calls[place].patience = .overtaken
            calls[place].deadline = min(end, now + (now - call.sent))
            return .overtake(call)
        case .overtaken, .givenUp:
            calls[place].patience = .givenUp
            calls[place].deadline = end
            return .giveUp(call)
        }
    }

    /// The operation is over. Calls that nobody has had to wait for long are returned, to be cancelled; the others stay,
    /// because whether they are ever answered says whether the contact lives.
    package mutating func release(operation: UInt32, cancel: (Call) -> Void, hardTimeout: Duration) {
        var isAnyCancelled = false
        for place in calls.indices where calls[place].operation == operation {
            if calls[place].purpose == .search, calls[place].patience == .waiting {
                isAnyCancelled = true
                cancel(calls[place])
            } else {
                calls[place].operation = 0
                calls[place].patience = .givenUp
                calls[place].deadline = calls[place].sent + hardTimeout
            }
        }
        guard isAnyCancelled else { return }
        calls.removeAll { $0.operation == operation }
        if calls.isEmpty, calls.capacity > Self.restingCapacity { calls = [] }
    }

    /// Whether the operation has a call for `purpose` that it still waits for.
    package func isWaiting(operation: UInt32, purpose: CallPurpose, exceptOvertaken: Bool) -> Bool {
        for call in calls where call.operation == operation && call.purpose == purpose {
            switch call.patience {
            case .waiting: return true
            case .overtaken: if !exceptOvertaken { return true }
            case .givenUp: continue
            }
        }
        return false
    }

    package func forEachPeer(_ body: (PeerIndex) -> Void) {
        for call in calls { body(call.peer) }
    }

    private func place(of id: RequestID) -> Int? {
        var low = 0
        var high = calls.count
        while low < high {
            let middle = (low + high) / 2
            if calls[middle].id < id { low = middle + 1 } else { high = middle }
        }
        return low < calls.count && calls[low].id == id ? low : nil
    }
}
