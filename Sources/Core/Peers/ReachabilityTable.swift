// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity

/// What is known of an address of ours.
package enum AddressState: Hashable, Sendable {
    case unknown
    /// A peer that dialled us said that it reached us there.
    case observed
    /// Others dialled it when they were asked to, and we saw them come.
    case reachable
    /// Others say that they dialled it in vain.
    case unreachable
}

/// Whether others can dial this node, as far as others have tried.
package enum Reachability: Hashable, Sendable {
    case unknown
    /// From its own machine or site, and it deals with nobody outside.
    case local
    /// From anywhere.
    case everywhere
    case nowhere
}

/// Our own addresses: where others reached us, as they tell by identify, and what came of dial-backs (AutoNAT).
///
/// By identify only peers that dialled us are asked: what a peer sees of a connection that we dialled carries a port that
/// nobody can dial.
///
/// A dial-back that succeeded is proven by its nonce; that one failed is only said. So an address is reachable as long as
/// at least as many of the latest judges reached it as not. Judges in one part of the network are one judge.
///
/// Bounded: the address heard of longest ago is forgotten first, one without a judgement before the others, and of an
/// address the judgement made longest ago.
package struct ReachabilityTable: Sendable {
    /// Who says so: a part of the network, or within one site a peer.
    package enum Judge: Hashable, Sendable {
        case group(AddressGroup)
        case peer(PeerID)
    }

    private struct Entry: Sendable {
        let address: Multiaddr
        /// Distinct parts of the network in which those are who saw it; at most `observersMax` are kept.
        var observers: [AddressGroup] = []
        /// The latest last.
        var judgements: [(judge: Judge, isReachable: Bool)] = []

        var reachedCount: Int { judgements.count { $0.isReachable } }

        var state: AddressState {
            let reached = reachedCount
            if judgements.isEmpty { return observers.isEmpty ? .unknown : .observed }
            return reached > 0 && reached >= judgements.count - reached ? .reachable : .unreachable
        }
    }

    package static let addressesMax = 32
    package static let observersMax = 4
    package static let judgementsMax = 8
    /// An address at which we don't listen ourselves is told to others when so many reached it: one liar, or one network of
    /// them, must not have us send others to a victim.
    package static let announceJudgesMin = 3

    /// The latest heard of last.
    private var entries: [Entry] = []

    package init() {}

    package mutating func observed(_ address: Multiaddr, by observer: Multiaddr) {
        let group = observer.group
        guard address.kind != .unusable, address.kind != .name, group != .none else { return }
        change(address) { entry in
            if entry.observers.count < Self.observersMax, !entry.observers.contains(group) {
                entry.observers.append(group)
            }
        }
    }

    package mutating func judged(_ address: Multiaddr, by judge: Judge, isReachable: Bool) {
        change(address) { entry in
            entry.judgements.removeAll { $0.judge == judge }
            entry.judgements.append((judge, isReachable))
            if entry.judgements.count > Self.judgementsMax { entry.judgements.removeFirst() }
        }
    }

    package func state(of address: Multiaddr) -> AddressState {
        entries.first { $0.address == address }?.state ?? .unknown
    }

    /// How many reached it, of how many that tried.
    package func judgements(of address: Multiaddr) -> (reached: Int, all: Int) {
        guard let entry = entries.first(where: { $0.address == address }) else { return (0, 0) }
        return (entry.reachedCount, entry.judgements.count)
    }

    /// The most often seen first.
    package var observed: [Multiaddr] {
        entries.filter { !$0.observers.isEmpty }
            .sorted { ($1.observers.count, $0.address) < ($0.observers.count, $1.address) }.map(\.address)
    }

    /// Those about which there is a judgement, in order.
    package var judged: [Multiaddr] { entries.filter { !$0.judgements.isEmpty }.map(\.address).sorted() }

    package var announceable: [Multiaddr] {
        entries.filter { $0.state == .reachable && $0.reachedCount >= Self.announceJudgesMin }.map(\.address).sorted()
    }

    /// - Parameter isOutside: we deal with somebody outside this machine and site, for whom a local address is none.
    package func summary(isOutside: Bool) -> Reachability {
        var (isEverywhere, isLocal, isNowhere) = (false, false, false)
        for entry in entries {
            switch entry.state {
            case .reachable:
                if entry.address.kind.scope == .global { isEverywhere = true } else { isLocal = true }
            case .unreachable: isNowhere = true
            case .unknown, .observed: break
            }
        }
        if isEverywhere { return .everywhere }
        if isLocal, !isOutside { return .local }
        return isNowhere ? .nowhere : .unknown
    }

    private mutating func change(_ address: Multiaddr, _ body: (inout Entry) -> Void) {
        var entry = Entry(address: address)
        if let position = entries.firstIndex(where: { $0.address == address }) {
            entry = entries.remove(at: position)
        }
        body(&entry)
        entries.append(entry)
        guard entries.count > Self.addressesMax else { return }
        // What anybody can make up gives way before what was tried.
        entries.remove(at: entries.firstIndex { $0.judgements.isEmpty } ?? 0)
    }
}
