// SPDX-License-Identifier: Apache-2.0
import Logging
import NIOCore
import NIOPosix
import Synchronization
import TuttiBase
import TuttiIdentity
import TuttiNodeCore
import TuttiPeers
import TuttiTransport

/// How a running node comes to know others: the bootstrap list, multicast on the local network, what it remembers.
final class NodeDiscovery: Sendable {
    private static let saveInterval: Duration = .seconds(180)

    private let driver: NodeDriver
    private let logger: Logger
    private let bootstrap: [Multiaddr]
    private let multicast: MulticastDNSService?
    private let file: PeerFile?
    /// As last written, to write changes only. Nil: nothing may be written.
    private let saved = Mutex<ByteBuffer?>(nil)

    init(_ configuration: NodeConfiguration, own: PeerID, driver: NodeDriver, loop: any EventLoop) {
        self.driver = driver
        logger = configuration.logger
        bootstrap = configuration.bootstrap
        file = configuration.peerFile.map { PeerFile(path: $0) }
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
        let isWanted =
            configuration.multicastDNS || !configuration.bootstrap.isEmpty || configuration.peerFile != nil
        guard isWanted else { return nil }
        var discovery = DiscoveryConfiguration()
        discovery.connectionsMax = configuration.limits.nodeLimits.connectionsLowWater
        return discovery
    }

    /// A node that only this machine can reach says nothing to the network.
    func start(listening: [Multiaddr]) async {
        await load()
        if !bootstrap.isEmpty { driver.submit(.discovery(.bootstrap(bootstrap))) }
        if listening.contains(where: { $0.ipAddress.map { !$0.isLoopback } ?? false }) {
            multicast?.start(listening: listening)
        }
    }

    /// Writes what changed now and then, until cancelled.
    func keep() async {
        guard file != nil else { return }
        while (try? await Task.sleep(for: Self.saveInterval)) != nil { await save() }
    }

    /// The last word on the peers, while they are still connected.
    func stop() async {
        await multicast?.stop()
        await save()
    }

    private func load() async {
        guard let file else { return }
        let loaded = try? await NIOThreadPool.singleton.runIfActive { file.load() }
        switch loaded {
        case .snapshot(let snapshot):
            driver.submit(.discovery(.restore(snapshot)))
        case .damaged(let kept, let reason):
            logger.warning(
                "the peer file is damaged: it was moved aside and the node starts with no known peers",
                metadata: ["file": "\(file.path)", "kept": "\(kept)", "reason": "\(reason)"])
        case .unreadable(let reason):
            logger.warning(
                "the peer file can't be read: the node starts with no known peers and leaves it alone",
                metadata: ["file": "\(file.path)", "reason": "\(reason)"])
            return
        case .missing, nil: break
        }
        saved.withLock { $0 = ByteBuffer() }
    }

    private func save() async {
        guard let file, let last = saved.withLock({ $0 }) else { return }
        let snapshot = await driver.peerSnapshot()
        let outcome = try? await NIOThreadPool.singleton.runIfActive { () -> (ByteBuffer, String?)? in
            let bytes = snapshot.encoded()
            return bytes == last ? nil : (bytes, file.save(bytes))
        }
        guard let (bytes, failure) = outcome else { return }
        if let failure {
            logger.warning(
                "the peer file can't be written: check the data folder's rights and room",
                metadata: ["file": "\(file.path)", "reason": "\(failure)"])
        } else {
            saved.withLock { $0 = bytes }
        }
    }
}
