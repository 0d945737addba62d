// SPDX-License-Identifier: Apache-2.0
import NIOCore
import TuttiBase
import TuttiIdentity
import TuttiNodeCore
import TuttiPeers
import TuttiTransport

/// How a running node comes to know others: the bootstrap list, multicast on the local network, what it remembers.
struct NodeDiscovery: Sendable {
    private let driver: NodeDriver
    private let bootstrap: [Multiaddr]
    private let multicast: MulticastDNSService?

    init(_ configuration: NodeConfiguration, own: PeerID, driver: NodeDriver, loop: any EventLoop) {
        self.driver = driver
        bootstrap = configuration.bootstrap
        guard configuration.multicastDNS else {
            multicast = nil
            return
        }
        multicast = MulticastDNSService(own: own, seed: .random(in: .min ... .max), loop: loop) { peer, addresses in
            driver.submit(.discovery(.found(peer, addresses, .local)))
        }
    }

    /// What the core needs for it; nil for a node that dials only whom it is told to.
    static func configuration(_ configuration: NodeConfiguration) -> DiscoveryConfiguration? {
        guard configuration.multicastDNS || !configuration.bootstrap.isEmpty else { return nil }
        var discovery = DiscoveryConfiguration()
        discovery.connectionsMax = configuration.limits.nodeLimits.connectionsLowWater
        return discovery
    }

    /// A node that only this machine can reach says nothing to the network.
    func start(listening: [Multiaddr]) {
        if !bootstrap.isEmpty { driver.submit(.discovery(.bootstrap(bootstrap))) }
        if listening.contains(where: { $0.ipAddress.map { !$0.isLoopback } ?? false }) {
            multicast?.start(listening: listening)
        }
    }

    func stop() async {
        await multicast?.stop()
    }
}
