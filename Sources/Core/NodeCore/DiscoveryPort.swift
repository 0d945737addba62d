// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity
package import TuttiPeers

/// What the embedder and the finders of the local network tell DiscoveryCore, in the names of the outside.
package enum DiscoveryCommand: Sendable {
    /// Addresses to come back to for as long as the node runs.
    case bootstrap([Multiaddr])
    /// A peer that may be dialled when more neighbours are wanted.
    case found(PeerID, [Multiaddr], DiscoverySource)
    /// What an earlier run knew.
    case restore(PeerStoreSnapshot)
}

/// DiscoveryCore's dials through PeersCore, and its walks through Kademlia.
package struct DiscoveryPort: Sendable {
    package private(set) var core: DiscoveryCore
    private var numbers = RequestNumbers(owner: 6)
    private var dials: [RequestID: RequestID] = [:]
    private static let walkTimeout: Duration = .seconds(20)

    package init(own: PeerID, configuration: DiscoveryConfiguration, seed: UInt64) {
        core = DiscoveryCore(own: own, configuration: configuration, seed: seed)
    }

    package var nextTimeout: Instant? { core.nextTimeout }
    package func owns(_ request: RequestID) -> Bool { numbers.owns(request) }
    package mutating func handleTimeout(at now: Instant) { core.handleTimeout(at: now) }

    package mutating func handle(_ command: DiscoveryCommand, at now: Instant, _ context: inout NodeContext) {
        switch command {
        case .bootstrap(let addresses):
            core.handle(.bootstrap(addresses), at: now)
        case .found(let peer, let addresses, let source):
            if !addresses.isEmpty { context.peers.handle(.addressesFound(peer, addresses), at: now) }
            found([peer], source, at: now, context)
        case .restore: break
        }
    }

    /// Peers whose addresses the store has; without one they are no use.
    package mutating func found(
        _ peers: [PeerID], _ source: DiscoverySource, at now: Instant, _ context: NodeContext
    ) {
        for peer in peers {
            guard let address = context.peers.store.addresses(of: peer).first else { continue }
            core.handle(.found(peer, address.group, source), at: now)
        }
    }

    package mutating func connected(_ peer: PeerID, _ id: ConnectionID, at now: Instant, _ context: NodeContext) {
        // Our own dials have odd ids.
        core.handle(.connected(peer, isOutbound: id.value & 1 == 1, context.group(of: peer)), at: now)
    }

    package mutating func disconnected(_ peer: PeerID, at now: Instant) {
        core.handle(.disconnected(peer), at: now)
    }

    package mutating func dialed(_ request: RequestID, _ peer: PeerID, at now: Instant) {
        guard let number = dials.removeValue(forKey: request) else { return }
        core.handle(.dialed(number, peer), at: now)
    }

    package mutating func dialFailed(_ request: RequestID, at now: Instant) {
        guard let number = dials.removeValue(forKey: request) else { return }
        core.handle(.dialFailed(number), at: now)
    }

    package mutating func nextEffect() -> DiscoveryEffect? { core.nextEffect() }

    /// Dials go to PeersCore at once; a walk is Kademlia's to do.
    package mutating func perform(
        _ effect: DiscoveryEffect, at now: Instant, _ context: inout NodeContext
    ) -> KademliaCommand? {
        switch effect {
        case .dial(let number, let peer, let addresses, let deadline):
            let request = numbers.next()
            dials[request] = number
            context.peers.handle(
                .dialRequested(request, peer: peer, addresses: addresses, deadline: deadline), at: now)
            return nil
        case .walk(let name):
            return .closest(numbers.next(), name, deadline: now + Self.walkTimeout)
        }
    }
}
