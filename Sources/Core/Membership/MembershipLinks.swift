// SPDX-License-Identifier: Apache-2.0
import DequeModule
import TuttiBase

/// What the machines of MembershipCore share: the way out, the links beneath it, lots and counts.
///
/// A message to a peer that is not connected waits for a connection (`Transport.connections`). Links made only to send
/// something are given back after a while; those of neighbours are kept by the views.
struct MembershipLinks: Sendable {
    /// What one machine tells the others, through the core.
    enum Notice: Sendable {
        case neighbourUp(PeerIndex)
        case neighbourDown(PeerIndex)
        case memberGone(PeerIndex)
        case pathDown(PeerIndex)
        case pathRestored(PeerIndex)
    }

    private struct Pending: Sendable {
        let peer: PeerIndex
        var messages: [MembershipMessage]
    }

    private struct Temporary: Sendable {
        let peer: PeerIndex
        let until: Instant
    }

    /// A link made to send something is kept this long, for the answer.
    private static let temporaryDuration = Duration.seconds(10)

    let own: PeerIndex
    let transport: MembershipConfiguration.Transport
    let limits: MembershipLimits
    var generator: SeededGenerator
    var stats = MembershipStats()
    var notices = Deque<Notice>()

    private var effects = Deque<MembershipEffect>()
    private var groups: [PeerIndex: AddressGroup] = [:]
    private var pending: [Pending] = []
    private var temporaries: [Temporary] = []

    init(own: PeerIndex, configuration: MembershipConfiguration, seed: UInt64) {
        self.own = own
        transport = configuration.transport
        limits = configuration.limits
        generator = SeededGenerator(seed: seed)
    }

    // MARK: Inputs

    /// True when it was not connected before.
    mutating func connected(_ peer: PeerIndex, group: AddressGroup) -> Bool {
        let isNew = groups.updateValue(group, forKey: peer) == nil
        if let place = pending.firstIndex(where: { $0.peer == peer }) {
            let waiting = pending.remove(at: place)
            for message in waiting.messages { effects.append(.send(peer, message)) }
        }
        return isNew
    }

    mutating func disconnected(_ peer: PeerIndex) {
        groups[peer] = nil
        pending.removeAll { $0.peer == peer }
        temporaries.removeAll { $0.peer == peer }
    }

    // MARK: Towards peers

    func isConnected(_ peer: PeerIndex) -> Bool {
        transport == .datagrams || groups[peer] != nil
    }

    func group(of peer: PeerIndex) -> AddressGroup { groups[peer] ?? .none }

    mutating func send(_ message: MembershipMessage, to peer: PeerIndex) {
        guard peer != own else { return }
        if isConnected(peer) {
            effects.append(.send(peer, message))
        } else if let place = pending.firstIndex(where: { $0.peer == peer }) {
            guard pending[place].messages.count < limits.messagesPerConnectMax else { return stats.dropped &+= 1 }
            pending[place].messages.append(message)
        } else if pending.count < limits.connectsMax {
            pending.append(Pending(peer: peer, messages: [message]))
            effects.append(.connect(peer))
        } else {
            stats.dropped &+= 1
        }
    }

    /// Like `send`, for a peer that is no neighbour: the connection, if it takes one, is given back later.
    mutating func sendOnce(_ message: MembershipMessage, to peer: PeerIndex, at now: Instant) {
        let isTemporary = !isConnected(peer) && peer != own
        send(message, to: peer)
        guard isTemporary, !temporaries.contains(where: { $0.peer == peer }) else { return }
        if temporaries.count >= limits.temporaryLinksMax {
            effects.append(.release(temporaries.removeFirst().peer))
        }
        temporaries.append(Temporary(peer: peer, until: now + Self.temporaryDuration))
    }

    /// The link belongs to the views from now on.
    mutating func keep(_ peer: PeerIndex) {
        temporaries.removeAll { $0.peer == peer }
    }

    // MARK: Towards the caller

    mutating func effect(_ effect: MembershipEffect) { effects.append(effect) }
    mutating func emit(_ event: MembershipEvent) { effects.append(.emit(event)) }
    mutating func nextEffect() -> MembershipEffect? { effects.popFirst() }

    var nextTimeout: Instant? { temporaries.first?.until }

    mutating func handleTimeout(at now: Instant) {
        while let first = temporaries.first, first.until <= now {
            temporaries.removeFirst()
            effects.append(.release(first.peer))
        }
    }

    func forEachPeer(_ body: (PeerIndex) -> Void) {
        for peer in groups.keys { body(peer) }
        for waiting in pending { body(waiting.peer) }
        for link in temporaries { body(link.peer) }
    }

    // MARK: Lots

    mutating func below(_ end: Int) -> Int {
        end > 1 ? Int(truncatingIfNeeded: generator.next() % UInt64(end)) : 0
    }

    /// `count` of `peers` at random, in random order.
    mutating func sample(_ peers: [PeerIndex], count: Int) -> [PeerIndex] {
        var rest = peers
        let wanted = min(max(0, count), rest.count)
        for place in 0..<wanted { rest.swapAt(place, place + below(rest.count - place)) }
        rest.removeSubrange(wanted...)
        return rest
    }
}
