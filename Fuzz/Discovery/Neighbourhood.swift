// SPDX-License-Identifier: Apache-2.0
import FuzzSupport
import TuttiBase
import TuttiIdentity
import TuttiPeers

/// One DiscoveryCore, and a driver that keeps its contract: each dial ends once, and who is connected was told.
struct Neighbourhood {
    private var core: DiscoveryCore
    private let configuration: DiscoveryConfiguration
    private var now = Instant.zero
    private var connected: Set<PeerID> = []
    private var dials: [(request: RequestID, peer: PeerID?, isBootstrap: Bool)] = []

    init(_ source: inout ByteSource) {
        var configuration = DiscoveryConfiguration()
        configuration.outboundTarget = source.pick([8, 1, 0, 2])
        configuration.groupsTarget = source.pick([8, 0, 1])
        configuration.outboundMax = source.pick([16, 2])
        configuration.neighboursTarget = source.pick([12, 1, 3])
        configuration.connectionsMax = source.pick([96, 2])
        configuration.localTarget = source.pick([32, 1])
        configuration.dialsMax = source.pick([8, 1, 2])
        configuration.failuresMax = source.pick([6, 1])
        configuration.bootstrapMax = source.pick([64, 1])
        configuration.candidatesPerSourceMax = source.pick([128, 2])
        configuration.candidatesPerGroupMax = source.pick([16, 1])
        self.configuration = configuration
        core = DiscoveryCore(own: keys[0].peerID, configuration: configuration, seed: source.word64())
    }

    mutating func run(_ source: inout ByteSource) {
        var steps = 0
        while !source.isEmpty, steps < 500 {
            steps += 1
            step(&source)
            drain()
            check()
        }
    }

    private mutating func step(_ source: inout ByteSource) {
        let choice = source.byte() % 10
        trace("at \(now): step \(choice)")
        let id = peer(&source)
        let group = source.bool() ? AddressGroup(UInt64(source.byte() & 3)) : .none
        switch choice {
        case 0:
            let named = address(&source)
            core.handle(.bootstrap([source.bool() ? named.appending(.p2p(id)) : named]), at: now)
        case 1, 2, 3: core.handle(.found(id, group, source.pick(DiscoverySource.allCases)), at: now)
        case 4:
            guard id != keys[0].peerID, connected.insert(id).inserted else { return }
            core.handle(.connected(id, isOutbound: source.bool(), group), at: now)
        case 5:
            guard connected.remove(id) != nil else { return }
            core.handle(.disconnected(id), at: now)
        case 6, 7:
            guard !dials.isEmpty else { return }
            let (request, wanted, _) = dials.remove(at: source.below(dials.count))
            guard source.bool() else { return core.handle(.dialFailed(request), at: now) }
            let answerer = wanted ?? id
            if answerer != keys[0].peerID, connected.insert(answerer).inserted {
                core.handle(.connected(answerer, isOutbound: true, group), at: now)
            }
            core.handle(.dialed(request, answerer), at: now)
        default:
            now = now + .milliseconds(source.pick([1, 20, 500, 1_000, 60_000, 600_000]))
            for _ in 0..<64 {
                guard let next = core.nextTimeout, next <= now else { return }
                core.handleTimeout(at: now)
                drain()
            }
            require(core.nextTimeout.map { $0 > now } ?? true, "timeouts move on")
        }
    }

    private mutating func drain() {
        var count = 0
        while let effect = core.nextEffect() {
            count += 1
            require(count <= configuration.dialsMax + 2, "one input has a limited effect")
            guard case .dial(let request, let id, let addresses, let deadline) = effect else { continue }
            require(!dials.contains { $0.request == request }, "a request has one number")
            require(id != nil || !addresses.isEmpty, "a dial leads somewhere")
            require(id != keys[0].peerID, "we don't dial ourselves")
            require(deadline > now, "a dial has time")
            let isBootstrap = !addresses.isEmpty
            if let id {
                require(!connected.contains(id), "who is connected isn't dialled")
                // But at each of the addresses that the user gave.
                require(
                    !dials.contains { $0.peer == id && !($0.isBootstrap && isBootstrap) },
                    "nobody is dialled twice at a time")
            }
            dials.append((request, id, isBootstrap))
        }
    }

    private func check() {
        require(core.dialCount == dials.count && dials.count <= configuration.dialsMax, "dials are limited")
        require(
            core.candidateCount <= DiscoverySource.allCases.count * configuration.candidatesPerSourceMax,
            "candidates are limited")
        require(core.neighbourCount == connected.count, "who is connected was told")
        require(core.anchors.allSatisfy { connected.contains($0) }, "anchors are connected")
        require(core.anchors.count <= configuration.anchorsMax, "anchors are limited")
    }
}
