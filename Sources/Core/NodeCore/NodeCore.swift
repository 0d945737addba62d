// SPDX-License-Identifier: Apache-2.0
import DequeModule
package import TuttiBase
package import TuttiGossip
package import TuttiIdentity
package import TuttiJournal
package import TuttiKademlia
package import TuttiMembership
package import TuttiPeers

/// The whole node as one value: routes inputs to its cores and effects out of them. No logic of its own beyond wiring.
///
/// The same code runs under `NodeDriver` on sockets and under virtual time. The caller drains `nextEffect()` until nil
/// after every call, then sets one timer for `nextTimeout`. Time never goes back. Messages and verdicts may also come
/// several in a row before that: what the cores say to one peer about all of them then leaves in one piece.
///
/// Kademlia, Gossip and Membership are optional. Each sits in a port, which turns its typed messages into bytes on
/// streams and peers' numbers into ids. Streams are routed by protocol when they open, by their key afterwards.
package struct NodeCore: Sendable {
    private enum Owner: Sendable {
        case kademlia
        case gossip
        case membership
        case autonat
        case journal
        case witness
    }

    private var context: NodeContext
    private var kademlia: KademliaPort?
    private var gossip: GossipPort?
    private var membership: MembershipPort?
    private var discovery: DiscoveryPort?
    private var autonat: AutoNATPort?
    private var journal: JournalPort?
    private var witness: WitnessPort?
    /// For the journal, which begins later than the node.
    private let journalSeed: UInt64
    private let kademliaFollowsReachability: Bool
    private var lastReachability = Reachability.unknown
    /// Streams that are not PeersCore's.
    private var owners: [ConnectionID: [StreamID: Owner]] = [:]
    private var outbox: Deque<Effect> = []
    /// When the last input came whose effects have not been carried between the cores yet.
    private var unsettledSince: Instant?

    package var peers: PeersCore { context.peers }
    /// Peers of the membership overlay that we hold a link with.
    package var neighbours: [PeerID] { membership?.neighbours(context) ?? [] }
    /// Peers in Kademlia's table.
    package var kademliaTableCount: Int { kademlia?.tableCount ?? 0 }
    /// What to keep over a restart.
    package var peerSnapshot: PeerStoreSnapshot {
        var snapshot = PeerStoreSnapshot()
        snapshot.anchors = discovery?.core.anchors ?? []
        snapshot.table = Array((kademlia?.snapshot(context) ?? []).prefix(PeerStoreSnapshot.tableMax))
        let store = context.peers.store
        snapshot.peers = store.mostUseful(countMax: PeerStoreSnapshot.peersMax).map { id in
            PeerStoreSnapshot.Peer(
                id: id, addresses: Array(store.addresses(of: id).prefix(PeerStoreSnapshot.addressesPerPeerMax)),
                record: store.record(of: id) ?? [], lastGood: store.lastGood(of: id))
        }
        return snapshot
    }
    /// Whether others can dial us, as far as others have tried.
    package var reachability: Reachability {
        context.peers.reachability.summary(isOutside: context.peers.isOutside)
    }
    /// Peers that may be asked to dial back.
    package var dialBackServerCount: Int { autonat?.serverCount ?? 0 }
    package var isKademliaServer: Bool { kademlia?.isServer ?? false }
    package var autoNATStats: (client: AutoNATClient.Stats, server: AutoNATServer.Stats)? {
        autonat.map { ($0.clientStats, $0.serverStats) }
    }
    package var discoveryStats: DiscoveryStats { discovery?.core.stats ?? DiscoveryStats() }

    /// - Parameter seed: for the choices of cores that draw lots. PeersCore draws none.
    package init(configuration: NodeCoreConfiguration, seed: UInt64, at now: Instant) {
        let own = configuration.peers.identity.peerID
        context = NodeContext(
            peers: PeersCore(configuration: configuration.peers, at: now),
            table: PeerTable(own: own, countMax: configuration.numberedPeersMax))
        let ownKey = KademliaKey(context.table.keys.first ?? .zero)
        var seeds = SeededGenerator(seed: seed)
        let (first, second, third) = (seeds.next(), seeds.next(), seeds.next())
        kademlia = configuration.kademlia.map {
            KademliaPort(configuration: $0, own: own, key: ownKey, seed: first, at: now)
        }
        gossip = configuration.gossip.map { GossipPort(configuration: $0, seed: second, at: now) }
        membership = configuration.membership.map { MembershipPort(configuration: $0, seed: third, at: now) }
        let fourth = seeds.next()
        discovery = configuration.discovery.map { DiscoveryPort(own: own, configuration: $0, seed: fourth) }
        let fifth = seeds.next()
        journalSeed = seeds.next()
        autonat = configuration.autonat.map { AutoNATPort(configuration: $0, seed: fifth, at: now) }
        kademliaFollowsReachability = configuration.kademliaFollowsReachability
        context.hasDiscovery = discovery != nil
    }

    /// Protocols that the cores answer to, PeersCore's included.
    package var protocols: [CoreProtocol] {
        var all = PeersCore.protocols.map {
            CoreProtocol($0, messageBytesMax: PeersCore.messageBytesMax, inboundMax: 4)
        }
        all += kademlia?.protocols ?? []
        all += gossip?.protocols ?? []
        all += membership?.protocols ?? []
        all += autonat?.protocols ?? []
        all += journal?.protocols ?? []
        all += witness?.protocols ?? []
        return all
    }

    // MARK: Inputs

    package mutating func handle(_ input: Input, at now: Instant) {
        let isOneOfMany = Self.isOneOfMany(input)
        if let since = unsettledSince, !isOneOfMany || context.table.isCrowded { settle(at: since) }
        if context.table.isCrowded { sweep() }
        switch input {
        case .peers(let input): handle(input, at: now)
        case .kademlia(let command): kademlia?.handle(command, at: now, &context)
        case .gossip(let command): gossip?.handle(command, at: now, &context)
        case .membership(let command): membership?.handle(command, at: now, &context)
        case .journal(.start(let start)): startJournal(start, at: now)
        case .journal(.stop): stopJournal(at: now)
        case .journal(.witness(let command)): witness?.handle(command, at: now)
        case .journal(let command): handle(command, at: now)
        case .discovery(.restore(let snapshot)): restore(snapshot, at: now)
        case .discovery(let command): discovery?.handle(command, at: now, &context)
        }
        if isOneOfMany { unsettledSince = now } else { settle(at: now) }
    }

    private static func isOneOfMany(_ input: Input) -> Bool {
        switch input {
        case .peers(.message), .gossip(.validated): true
        case .peers, .gossip, .kademlia, .membership, .discovery, .journal: false
        }
    }

    package mutating func handleTimeout(at now: Instant) {
        if let next = context.peers.nextTimeout, next <= now { context.peers.handleTimeout(at: now) }
        if let next = kademlia?.nextTimeout, next <= now { kademlia?.handleTimeout(at: now, &context) }
        if let next = gossip?.nextTimeout, next <= now { gossip?.handleTimeout(at: now, &context) }
        if let next = membership?.nextTimeout, next <= now { membership?.handleTimeout(at: now, &context) }
        if let next = discovery?.nextTimeout, next <= now { discovery?.handleTimeout(at: now) }
        if let next = autonat?.nextTimeout, next <= now { autonat?.handleTimeout(at: now) }
        if let next = journal?.nextTimeout, next <= now { journal?.handleTimeout(at: now, &context) }
        if let next = witness?.nextTimeout, next <= now { witness?.handleTimeout(at: now) }
        settle(at: now)
    }

    package var nextTimeout: Instant? {
        // One after the other: this is asked in every turn, and a list of them would be allocated.
        var earliest = context.peers.nextTimeout
        if let next = kademlia?.nextTimeout { earliest = min(earliest ?? next, next) }
        if let next = gossip?.nextTimeout { earliest = min(earliest ?? next, next) }
        if let next = membership?.nextTimeout { earliest = min(earliest ?? next, next) }
        if let next = discovery?.nextTimeout { earliest = min(earliest ?? next, next) }
        if let next = autonat?.nextTimeout { earliest = min(earliest ?? next, next) }
        if let next = journal?.nextTimeout { earliest = min(earliest ?? next, next) }
        if let next = witness?.nextTimeout { earliest = min(earliest ?? next, next) }
        return earliest
    }

    /// `nextTimeout` for a class that holds the core: reading a property there would copy the whole value.
    package mutating func timeoutInPlace() -> Instant? { nextTimeout }

    package mutating func nextEffect() -> Effect? {
        if outbox.isEmpty, let since = unsettledSince { settle(at: since) }
        return outbox.popFirst()
    }

    /// The replica of the community, when there is one.
    package var replica: JournalPort? { journal }
    /// The deadline register, beside a replica.
    package var register: WitnessPort? { witness }
    /// Counts since the replica began, always in the same order.
    package var replicaCounts: [JournalCount] { (journal?.counts ?? []) + (witness?.counts ?? []) }

    private mutating func startJournal(_ start: JournalStart, at now: Instant) {
        stopJournal(at: now)
        var port = JournalPort(start, own: context.peers.ownID, seed: journalSeed, at: now)
        port.begin(at: now, context)
        journal = port
        witness = WitnessPort(start, seed: ~journalSeed, at: now)
        gossip?.handle(.subscribe(port.topic), at: now, &context)
        outbox.append(.protocolsChanged)
    }

    private mutating func stopJournal(at now: Instant) {
        guard let port = journal else { return }
        journal = nil
        witness = nil
        gossip?.handle(.unsubscribe(port.topic), at: now, &context)
        outbox.append(.protocolsChanged)
    }

    private mutating func handle(_ command: JournalCommand, at now: Instant) {
        if witness?.answered(command, at: now) == true { return }
        if case .clockRead(let milliseconds) = command { witness?.clockRead(milliseconds, at: now) }
        journal?.handle(command, at: now, &context)
    }

    private mutating func restore(_ snapshot: PeerStoreSnapshot, at now: Instant) {
        // The least useful first, so that the most useful is the last that the store forgets.
        for peer in snapshot.peers.reversed() { context.peers.handle(.remembered(peer), at: now) }
        discovery?.found(snapshot.anchors, .anchor, at: now, context)
        discovery?.found(snapshot.peers.map(\.id), .remembered, at: now, context)
        kademlia?.handle(.remember(snapshot.table), at: now, &context)
    }

    // MARK: Routing

    private mutating func handle(_ input: PeersInput, at now: Instant) {
        switch input {
        case .streamOpened(let id, let stream, let name, let direction, let request):
            let key = StreamKey(id, stream)
            if direction == .outbound, let request, let owner = owner(of: request) {
                owners[id, default: [:]][stream] = owner
                return give(.streamOpened(request, key), to: owner, at: now)
            }
            guard direction == .inbound, let owner = owner(of: name) else { break }
            // Of a connection that is given up.
            guard let peer = context.peers.peer(on: id) else { return perform(.reset(key), at: now) }
            owners[id, default: [:]][stream] = owner
            return give(.streamArrived(key, name, peer), to: owner, at: now)
        case .message(let id, let stream, let bytes):
            guard let owner = owners[id]?[stream] else { break }
            return give(.message(StreamKey(id, stream), bytes), to: owner, at: now)
        case .streamEnded(let id, let stream):
            guard let owner = owners[id]?.removeValue(forKey: stream) else { break }
            return give(.streamEnded(StreamKey(id, stream)), to: owner, at: now)
        case .streamFailed(let id, let stream, let fault):
            guard let owner = owners[id]?.removeValue(forKey: stream) else { break }
            if owner == .journal, case .negotiation = fault { journal?.streamBroken(id, at: now, context) }
            return give(.streamFailed(StreamKey(id, stream)), to: owner, at: now)
        case .openFailed(_, let request):
            guard let owner = owner(of: request) else { break }
            return give(.openFailed(request), to: owner, at: now)
        case .closed(let id, _):
            owners[id] = nil
            giveAll(.connectionClosed(id), at: now)
        default:
            break
        }
        context.peers.handle(input, at: now)
    }

    private func owner(of name: ProtocolID) -> Owner? {
        if kademlia?.speaks(name) == true { return .kademlia }
        if gossip?.speaks(name) == true { return .gossip }
        if membership?.speaks(name) == true { return .membership }
        if autonat?.speaks(name) == true { return .autonat }
        if journal?.speaks(name) == true { return .journal }
        if witness?.speaks(name) == true { return .witness }
        return nil
    }

    private func owner(of request: RequestID) -> Owner? {
        if kademlia?.owns(request) == true { return .kademlia }
        if gossip?.owns(request) == true { return .gossip }
        if membership?.owns(request) == true { return .membership }
        if autonat?.owns(request) == true { return .autonat }
        if journal?.owns(request) == true { return .journal }
        if witness?.owns(request) == true { return .witness }
        return nil
    }

    private mutating func give(_ input: PortInput, to owner: Owner, at now: Instant) {
        switch owner {
        case .kademlia: kademlia?.handle(input, at: now, &context)
        case .gossip: gossip?.handle(input, at: now, &context)
        case .membership: membership?.handle(input, at: now, &context)
        case .autonat: autonat?.handle(input, at: now, &context)
        case .journal: journal?.handle(input, at: now, &context)
        case .witness: witness?.handle(input, at: now, &context, journal)
        }
    }

    private mutating func giveAll(_ input: PortInput, at now: Instant) {
        kademlia?.handle(input, at: now, &context)
        gossip?.handle(input, at: now, &context)
        membership?.handle(input, at: now, &context)
        autonat?.handle(input, at: now, &context)
        journal?.handle(input, at: now, &context)
        witness?.handle(input, at: now, &context, journal)
    }

    /// Carries effects between the cores until all are quiet; what concerns the outside is left in `outbox`.
    private mutating func settle(at now: Instant) {
        unsettledSince = nil
        var hasMore = true
        while hasMore {
            hasMore = false
            while let effect = context.peers.nextEffect() {
                hasMore = true
                route(effect, at: now)
            }
            settleKademlia(at: now)
            gossip?.settle(at: now, &context, &outbox)
            membership?.settle(at: now, &context, &outbox)
            autonat?.settle(at: now, &context)
            if settleJournal(at: now) { hasMore = true }
            if !context.exchanged.isEmpty { settleExchanged(at: now) }
            if context.isReachabilityStale { settleReachability(at: now) }
            while let effect = discovery?.nextEffect() {
                hasMore = true
                guard let walk = discovery?.perform(effect, at: now, &context) else { continue }
                kademlia?.handle(walk, at: now, &context)
            }
            guard !context.commands.isEmpty else { continue }
            hasMore = true
            var commands: [StreamCommand] = []
            swap(&commands, &context.commands)
            for command in commands { perform(command, at: now) }
        }
    }

    /// The register hears what the replica tells the embedder.
    private mutating func settleJournal(at now: Instant) -> Bool {
        let before = outbox.count
        var isBusy = journal?.settle(at: now, &context, &gossip, &outbox) == true
        if witness != nil {
            for index in before..<outbox.count {
                if case .journal(let result) = outbox[index] { witness?.overheard(result) }
            }
            if witness?.settle(at: now, &context, journal, &outbox) == true { isBusy = true }
        }
        return isBusy
    }

    private mutating func settleExchanged(at now: Instant) {
        discovery?.found(context.exchanged, .exchange, at: now, context)
        context.exchanged.removeAll()
    }

    /// Whoever can be dialled serves the DHT, if nobody said otherwise.
    private mutating func settleReachability(at now: Instant) {
        context.isReachabilityStale = false
        let reachability = reachability
        guard reachability != lastReachability else { return }
        lastReachability = reachability
        outbox.append(.reachabilityChanged(reachability))
        let serves = reachability == .local || reachability == .everywhere
        guard kademliaFollowsReachability, let port = kademlia, port.isServer != serves else { return }
        kademlia?.setServer(serves, at: now, context)
        outbox.append(.protocolsChanged)
    }

    /// What came of discovery's walks stays here.
    private mutating func settleKademlia(at now: Instant) {
        var results: Deque<Effect> = []
        kademlia?.settle(at: now, &context, &results)
        for result in results {
            if case .kademlia(.finished(let request, let answer)) = result, discovery?.owns(request) == true {
                discovery?.found(answer.closest, .table, at: now, context)
            } else {
                outbox.append(result)
            }
        }
    }

    private mutating func route(_ effect: PeersEffect, at now: Instant) {
        switch effect {
        case .dialed(let request, let id, let peer):
            if discovery?.owns(request) == true { return discovery?.dialed(request, peer, at: now) ?? () }
            if let owner = owner(of: request) { return give(.dialed(request, id), to: owner, at: now) }
        case .dialRejected(let request, let error):
            if autonat?.owns(request) == true {
                return autonat?.dialFailed(request, error, at: now) ?? ()
            }
            if discovery?.owns(request) == true { return discovery?.dialFailed(request, at: now) ?? () }
            if let owner = owner(of: request) { return give(.dialFailed(request), to: owner, at: now) }
        case .emit(.peerConnected(let peer, let id)):
            context.isReachabilityStale = autonat != nil
            discovery?.connected(peer, id, at: now, context)
        case .emit(.peerIdentified(let peer, let profile)):
            if let id = context.peers.connection(to: peer) { giveAll(.peerIdentified(peer, profile, id), at: now) }
        case .emit(.peerDisconnected(let peer, _)):
            context.isReachabilityStale = autonat != nil
            discovery?.disconnected(peer, at: now)
            giveAll(.peerDisconnected(peer), at: now)
        case .emit(.connectionPreferred(let peer, let id)):
            giveAll(.connectionPreferred(peer, id), at: now)
        default:
            break
        }
        outbox.append(.peers(effect))
    }

    private mutating func perform(_ command: StreamCommand, at now: Instant) {
        switch command {
        case .dial(let request, let peer, let deadline):
            context.peers.handle(.dialRequested(request, peer: peer, addresses: [], deadline: deadline), at: now)
        case .open(let id, let name, let request, let first):
            outbox.append(.peers(.openStream(id, name, request: request, first: first)))
        case .send(let key, let bytes):
            outbox.append(.peers(.send(key.connection, key.stream, bytes)))
        case .closeWriting(let key):
            outbox.append(.peers(.closeWriting(key.connection, key.stream)))
        case .reset(let key):
            owners[key.connection]?[key.stream] = nil
            outbox.append(.peers(.resetStream(key.connection, key.stream)))
        case .dialBack(let request, let peer, let address, let deadline):
            context.peers.handle(.dialBackRequested(request, peer, address, deadline: deadline), at: now)
        case .close(let id):
            context.peers.handle(.closeRequested(id), at: now)
        }
    }

    /// Frees the numbers of peers that no core speaks of any more.
    private mutating func sweep() {
        let (kademlia, gossip, membership, journal) = (kademlia, gossip, membership, journal)
        context.table.sweep { mark in
            kademlia?.forEachPeer(mark)
            gossip?.forEachPeer(mark)
            membership?.forEachPeer(mark)
            journal?.forEachPeer(mark)
        }
    }
}

/// A protocol whose streams carry whole messages to a core.
package struct CoreProtocol: Hashable, Sendable {
    package let name: ProtocolID
    package let messageBytesMax: Int
    /// Streams that one connection may hold open.
    package let inboundMax: Int

    package init(_ name: ProtocolID, messageBytesMax: Int, inboundMax: Int) {
        self.name = name
        self.messageBytesMax = messageBytesMax
        self.inboundMax = inboundMax
    }
}

/// Which cores a node has, and how each is set up.
package struct NodeCoreConfiguration: Sendable {
    package var peers: PeersConfiguration
    package var kademlia: KademliaConfiguration?
    package var gossip: GossipConfiguration?
    package var membership: MembershipConfiguration?
    package var discovery: DiscoveryConfiguration?
    package var autonat: AutoNATConfiguration?
    /// Kademlia serves while others can dial us, as told by AutoNAT, and only asks otherwise.
    package var kademliaFollowsReachability = false
    /// Peers that cores speak of at once. At it: peers newly heard of are passed over.
    package var numberedPeersMax = 65_536

    package init(peers: PeersConfiguration) {
        self.peers = peers
    }
}
