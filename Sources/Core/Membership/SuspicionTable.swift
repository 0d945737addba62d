// SPDX-License-Identifier: Apache-2.0
import TuttiBase

/// One member under suspicion. Its time runs out sooner with each independent accuser (Lifeguard section 4.2).
struct Suspicion: Sendable {
    static let confirmersMax = 3

    let peer: PeerIndex
    private let startedAt: Instant
    private let shortest: Duration
    private let longest: Duration
    private let wanted: Int
    private let accuser: PeerIndex
    private var confirmers: (PeerIndex, PeerIndex, PeerIndex)
    private var count = 0

    init(peer: PeerIndex, accuser: PeerIndex, shortest: Duration, longest: Duration, wanted: Int, at now: Instant) {
        self.peer = peer
        self.accuser = accuser
        self.shortest = shortest
        self.longest = longest
        self.wanted = min(max(0, wanted), Self.confirmersMax)
        startedAt = now
        confirmers = (accuser, accuser, accuser)
    }

    /// True when the accuser is a new one and still of interest.
    mutating func confirm(by peer: PeerIndex) -> Bool {
        guard count < wanted, peer != accuser, peer != self.peer else { return false }
        guard peer != confirmers.0, peer != confirmers.1, peer != confirmers.2 else { return false }
        switch count {
        case 0: confirmers.0 = peer
        case 1: confirmers.1 = peer
        default: confirmers.2 = peer
        }
        count += 1
        return true
    }

    /// longest - (longest - shortest) * log(count + 1) / log(wanted + 1)
    var deadline: Instant {
        guard wanted > 0 else { return startedAt + shortest }
        let range = (longest - shortest).saturatedNanoseconds
        let share = IntegerLogarithm.log2Milli(count + 1) * 1_000 / max(1, IntegerLogarithm.log2Milli(wanted + 1))
        let cut = range / 1_000 * Int64(min(1_000, share))
        return startedAt + max(shortest, longest - .nanoseconds(cut))
    }

    func forEachPeer(_ body: (PeerIndex) -> Void) {
        body(peer)
        body(accuser)
        body(confirmers.0)
        body(confirmers.1)
        body(confirmers.2)
    }
}

/// Suspicions by deadline. Few at most times; scanned only when the earliest is due or one changes.
struct SuspicionTable: Sendable {
    private var suspicions: [Suspicion] = []
    private(set) var next: Instant?

    var count: Int { suspicions.count }

    mutating func insert(_ suspicion: Suspicion) {
        suspicions.append(suspicion)
        next = next.map { min($0, suspicion.deadline) } ?? suspicion.deadline
    }

    mutating func confirm(_ peer: PeerIndex, by accuser: PeerIndex) -> Bool {
        guard let place = suspicions.firstIndex(where: { $0.peer == peer }) else { return false }
        guard suspicions[place].confirm(by: accuser) else { return false }
        next = next.map { min($0, suspicions[place].deadline) }
        return true
    }

    mutating func remove(_ peer: PeerIndex) {
        guard let place = suspicions.firstIndex(where: { $0.peer == peer }) else { return }
        suspicions.remove(at: place)
        next = suspicions.lazy.map(\.deadline).min()
    }

    /// Call until nil.
    mutating func popExpired(at now: Instant) -> PeerIndex? {
        guard let next, next <= now else { return nil }
        guard let place = suspicions.firstIndex(where: { $0.deadline <= now }) else {
            self.next = suspicions.lazy.map(\.deadline).min()
            return nil
        }
        let peer = suspicions[place].peer
        remove(peer)
        return peer
    }

    func forEachPeer(_ body: (PeerIndex) -> Void) {
        for suspicion in suspicions { suspicion.forEachPeer(body) }
    }
}
