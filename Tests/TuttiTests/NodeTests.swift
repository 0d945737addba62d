// SPDX-License-Identifier: Apache-2.0
import Logging
import ServiceLifecycle
import Synchronization
import Testing
import Tutti

@Suite("A node and its peers", .timeLimit(.minutes(2)))
struct NodeTests {
    @Test("A dial says who answered, and both sides know the other", arguments: Medium.allCases)
    func dial(_ medium: Medium) async throws {
        try await withPair(medium) { pair in
            #expect(pair.dialler.peers.isEmpty)
            let events = pair.listener.events
            let peer = try await pair.dialler.dial(at: pair.addresses)
            #expect(peer == pair.listener.peerID)
            #expect(pair.dialler.peers == [pair.listener.peerID])
            for await event in events {
                if case .peerConnected(let peer) = event {
                    #expect(peer == pair.dialler.peerID)
                    break
                }
            }
            #expect(pair.listener.peers == [pair.dialler.peerID])
            // Again: the same connection.
            #expect(try await pair.dialler.dial(pair.listener.peerID) == pair.listener.peerID)
        }
    }

    @Test("Listen addresses are complete: they end with the node's own peer id", arguments: Medium.allCases)
    func addresses(_ medium: Medium) async throws {
        try await withPair(medium) { pair in
            #expect(!pair.addresses.isEmpty)
            for address in pair.addresses {
                #expect(address.description.hasSuffix("/p2p/\(pair.listener.peerID)"))
                #expect(!address.description.contains("/tcp/0/"))
            }
        }
    }

    @Test("Whoever answers under another peer id is refused, and the error says who it was", arguments: Medium.allCases)
    func wrongPeer(_ medium: Medium) async throws {
        let other = KeyPair().peerID
        try await withPair(medium) { pair in
            let bare = try pair.addresses.map { address in
                let text = address.description
                return try #require(Multiaddr(text.replacing("/p2p/\(pair.listener.peerID)", with: "")))
            }
            let error = await nodeError { try await pair.dialler.dial(other, at: bare) }
            #expect(error?.code == .wrongPeer)
            #expect(error?.peer == other)
            #expect(error?.stage == .secure)
            #expect(error?.message.contains("\(pair.listener.peerID)") == true)
            #expect(pair.dialler.peers.isEmpty)
        }
    }

    @Test("An address where nobody listens is unreachable", arguments: Medium.allCases)
    func nobody(_ medium: Medium) async throws {
        try await withPair(medium) { pair in
            let text = medium == .memory ? "/memory/4711" : "/ip4/127.0.0.1/tcp/1"
            let address = try #require(Multiaddr(text))
            let error = await nodeError { try await pair.dialler.dial(at: [address]) }
            #expect(error?.code == .unreachable)
            #expect(error?.stage == .dial)
            #expect(error?.message.contains(text) == true)
        }
    }

    @Test("A dial without any address says so", arguments: Medium.allCases)
    func noAddress(_ medium: Medium) async throws {
        try await withPair(medium) { pair in
            let error = await nodeError { try await pair.dialler.dial(KeyPair().peerID) }
            #expect(error?.code == .noAddress)
        }
    }

    @Test("Addresses of two different peers in one dial are refused")
    func mixedAddresses() async throws {
        let node = try Node()
        let addresses = try [KeyPair(), KeyPair()].map { key in
            try #require(Multiaddr("/ip4/127.0.0.1/tcp/1/p2p/\(key.peerID)"))
        }
        #expect(await nodeError { try await node.dial(at: addresses) }?.code == .noAddress)
    }

    @Test("A peer that never speaks fails the dial at its deadline")
    func dialDeadline() async throws {
        let silent = try SilentListener()
        try await withPair(.noise) { pair in
            let error = await nodeError {
                try await pair.dialler.dial(at: [silent.address], deadline: .milliseconds(200))
            }
            #expect(error?.code == .deadline)
        }
    }

    @Test("Cancelling a dial ends it at once")
    func dialCancelled() async throws {
        let silent = try SilentListener()
        try await withPair(.noise) { pair in
            let error = await withTaskGroup(of: NodeError?.self) { group in
                group.addTask {
                    await nodeError { try await pair.dialler.dial(at: [silent.address], deadline: .seconds(60)) }
                }
                group.cancelAll()
                return await group.next() ?? nil
            }
            #expect(error?.code == .cancelled)
        }
    }

    @Test("Events tell of connection, identification and end, in this order", arguments: Medium.allCases)
    func events(_ medium: Medium) async throws {
        try await withPair(medium) { pair in
            let events = pair.dialler.events
            try await pair.dialler.dial(at: pair.addresses)
            _ = try await pair.dialler.profile(of: pair.listener.peerID)
            try await pair.dialler.disconnect(pair.listener.peerID)
            var seen: [String] = []
            loop: for await event in events {
                switch event {
                case .peerConnected(pair.listener.peerID): seen.append("connected")
                case .peerIdentified(pair.listener.peerID, _): seen.append("identified")
                case .peerDisconnected(pair.listener.peerID, _):
                    seen.append("disconnected")
                    break loop
                default: break
                }
            }
            #expect(seen == ["connected", "identified", "disconnected"])
            #expect(pair.dialler.peers.isEmpty)
        }
    }

    @Test("A profile tells the peer's software and protocols", arguments: Medium.allCases)
    func profile(_ medium: Medium) async throws {
        try await withPair(medium, configure: { $0.agent = "test/7" }, serve: { $0.echo() }) { pair in
            try await pair.dialler.dial(at: pair.addresses)
            let profile = try await pair.dialler.profile(of: pair.listener.peerID)
            #expect(profile.agent == "test/7")
            #expect(profile.protocols.contains("/echo/1.0.0"))
            #expect(profile.protocols.contains("/ipfs/ping/1.0.0"))
            #expect(profile.protocols.contains("/ipfs/id/1.0.0"))
            let error = await nodeError { _ = try await pair.dialler.profile(of: KeyPair().peerID) }
            #expect(error?.code == .disconnected)
            #expect(error?.stage == .identify)
        }
    }

    @Test("A handler that is added later is pushed to connected peers and serves them", arguments: Medium.allCases)
    func handlerAddedLater(_ medium: Medium) async throws {
        try await withPair(medium) { pair in
            try await pair.connect()
            _ = try await pair.dialler.profile(of: pair.listener.peerID)
            let events = pair.dialler.events
            pair.listener.echo("/late/1.0.0")
            for await event in events {
                if case .peerIdentified(_, let profile) = event, profile.protocols.contains("/late/1.0.0") { break }
            }
            let stream = try await pair.dialler.open("/late/1.0.0", to: pair.listener.peerID)
            try await stream.write(pattern(5))
            #expect(try await stream.read(exactly: 5) == pattern(5))
        }
    }

    @Test("After a disconnect a stream dials again, at the addresses that are known", arguments: Medium.allCases)
    func reconnect(_ medium: Medium) async throws {
        try await withPair(medium, serve: { $0.echo() }) { pair in
            for _ in 0..<3 {
                let stream = try await pair.dialler.open("/echo/1.0.0", to: pair.listener.peerID, at: pair.addresses)
                try await stream.write(pattern(9))
                #expect(try await stream.read(exactly: 9) == pattern(9))
                try await pair.dialler.disconnect(pair.listener.peerID)
                #expect(pair.dialler.peers.isEmpty)
            }
            // Nobody there any more: nothing to do.
            try await pair.dialler.disconnect(pair.listener.peerID)
        }
    }

    @Test("Pings and perf measure", arguments: Medium.allCases)
    func measuring(_ medium: Medium) async throws {
        try await withPair(medium) { pair in
            try await pair.dialler.dial(at: pair.addresses)
            let trips = try await pair.dialler.ping(pair.listener.peerID, count: 3)
            #expect(trips.count == 3)
            #expect(trips.allSatisfy { $0 > .zero })
            let last = Mutex(PerfProgress?.none)
            let result = try await pair.dialler.perf(
                pair.listener.peerID, upload: 64 << 20, download: 32_000_001
            ) { progress in
                last.withLock { $0 = progress }
            }
            #expect(result.upload > .zero && result.download > .zero)
            #expect(last.withLock { $0?.sent } == 64 << 20)
            #expect(last.withLock { $0?.received } == 32_000_001)
        }
    }

    @Test("A peer that asks perf for more than strangers may have is reset")
    func perfLimit() async throws {
        try await withPair(.noise) { pair in
            try await pair.dialler.dial(at: pair.addresses)
            let error = await nodeError {
                _ = try await pair.dialler.perf(pair.listener.peerID, upload: 0, download: .max)
            }
            #expect(error?.code == .streamReset)
        }
    }

    @Test("The connection gate is asked before a dial and can refuse it", arguments: Medium.allCases)
    func gateOutbound(_ medium: Medium) async throws {
        let network = InMemoryNetwork()
        let listener = try makeNode(medium, network)
        let dialler = try makeNode(medium, network) { $0.gate = { _, _, direction in direction != .outbound } }
        try await withNode(listener) { listener in
            let addresses = try await listener.listenAddresses
            try await withNode(dialler) { dialler in
                let error = await nodeError { try await dialler.dial(at: addresses) }
                #expect(error?.code == .refusedByGate)
            }
        }
    }

    @Test("The connection gate of a listener turns a proven peer away", arguments: Medium.allCases)
    func gateInbound(_ medium: Medium) async throws {
        let asked = Mutex<[Bool]>([])
        try await withPair(
            medium,
            configure: { configuration in
                configuration.gate = { peer, _, direction in
                    guard direction == .inbound else { return true }
                    asked.withLock { $0.append(peer != nil) }
                    return peer == nil
                }
            }
        ) { pair in
            let events = pair.dialler.events
            // The dial may have succeeded before the other side hung up.
            let error = await nodeError { try await pair.dialler.dial(at: pair.addresses) }
            if error == nil {
                for await event in events {
                    if case .peerDisconnected = event { break }
                }
            }
            #expect(pair.dialler.peers.isEmpty)
            #expect(pair.listener.peers.isEmpty)
            #expect(asked.withLock { $0 } == [false, true])
        }
    }
}

@Suite("Starting and stopping", .timeLimit(.minutes(2)))
struct LifecycleTests {
    @Test("Graceful shutdown ends run and says goodbye to peers", arguments: Medium.allCases)
    func gracefulShutdown(_ medium: Medium) async throws {
        let network = InMemoryNetwork()
        let stopping = try makeNode(medium, network)
        let services = ServiceGroup(
            configuration: .init(services: [.init(service: stopping)], logger: Logger(label: "test")))
        try await withNode(makeNode(medium, network)) { staying in
            try await withThrowingDiscardingTaskGroup { group in
                group.addTask { try await services.run() }
                let events = staying.events
                try await staying.dial(at: try await stopping.listenAddresses)
                await services.triggerGracefulShutdown()
                for await event in events {
                    guard case .peerDisconnected(stopping.peerID, let reason) = event else { continue }
                    #expect(reason == "closed by the peer")
                    break
                }
            }
            #expect(staying.peers.isEmpty)
        }
        #expect(await nodeError { try await stopping.dial(at: []) }?.code == .stopped)
        #expect(await nodeError { _ = try await stopping.listenAddresses }?.code == .stopped)
    }

    @Test("A handler that runs may finish within a graceful shutdown, and nothing new begins meanwhile")
    func handlerFinishes() async throws {
        let network = InMemoryNetwork()
        let (begun, mayFinish) = (Signal(), Signal())
        let finished = Flag()
        let stopping = try makeNode(.memory, network) {
            // Long enough that only the handler's end can be what ends the wait.
            $0.handlerTimeout = .seconds(600)
        }
        stopping.handle("/job/1.0.0") { stream in
            _ = try await stream.read(exactly: 1)
            begun.raise()
            await mayFinish.wait()
            try await stream.write(ByteBuffer(string: "done"))
            while try await stream.read() != nil {}
            if !Task.isCancelled { finished.set() }
        }
        let services = ServiceGroup(
            configuration: .init(services: [stopping], logger: Logger(label: "test")))
        try await withNode(makeNode(.memory, network)) { staying in
            try await withThrowingDiscardingTaskGroup { group in
                group.addTask {
                    try await services.run()
                    #expect(finished.isSet, "run returned before the handler had finished")
                }
                let addresses = try await stopping.listenAddresses
                let stream = try await staying.open("/job/1.0.0", to: stopping.peerID, at: addresses)
                try await stream.write(ByteBuffer(string: "x"))
                await begun.wait()
                await services.triggerGracefulShutdown()
                // The node stops: soon every further stream is reset and nobody can dial it.
                let late = try makeNode(.memory, network)
                try await withNode(late) { late in
                    while await nodeError({ try await late.dial(at: addresses) }) == nil {
                        try await late.disconnect(stopping.peerID)
                    }
                }
                await #expect(throws: (any Error).self) {
                    let second = try await staying.open("/job/1.0.0", to: stopping.peerID)
                    _ = try await second.read(exactly: 4)
                }
                mayFinish.raise()
                #expect(try await stream.read(exactly: 4) == ByteBuffer(string: "done"))
                stream.closeWriting()
            }
        }
    }

    @Test("A handler that doesn't finish in time is cancelled")
    func handlerCancelled() async throws {
        let network = InMemoryNetwork()
        let begun = Signal()
        let cancelled = Flag()
        let stopping = try makeNode(.memory, network) { $0.handlerTimeout = .milliseconds(1) }
        stopping.handle("/job/1.0.0") { stream in
            begun.raise()
            defer { if Task.isCancelled { cancelled.set() } }
            while try await stream.read() != nil {}
        }
        let services = ServiceGroup(
            configuration: .init(services: [stopping], logger: Logger(label: "test")))
        try await withNode(makeNode(.memory, network)) { staying in
            try await withThrowingDiscardingTaskGroup { group in
                group.addTask { try await services.run() }
                let addresses = try await stopping.listenAddresses
                let stream = try await staying.open("/job/1.0.0", to: stopping.peerID, at: addresses)
                try await stream.write(ByteBuffer(string: "x"))
                await begun.wait()
                await services.triggerGracefulShutdown()
                await #expect(throws: (any Error).self) { while try await stream.read() != nil {} }
            }
        }
        #expect(cancelled.isSet)
    }

    @Test("Cancelling run ends it, and events end with it")
    func cancellation() async throws {
        let node = try Node()
        let events = node.events
        try await withThrowingDiscardingTaskGroup { group in
            group.addTask { try await node.run() }
            _ = try await node.listenAddresses
            group.cancelAll()
        }
        for await _ in events {}
        for await _ in node.events {}
        #expect(await nodeError { try await node.run() }?.code == .invalidUse)
    }

    @Test("A call before run waits for it, within its deadline")
    func callBeforeRun() async throws {
        let node = try Node()
        let error = await nodeError { try await node.dial(KeyPair().peerID, deadline: .milliseconds(20)) }
        #expect(error?.code == .deadline)
        let address = try await withThrowingTaskGroup(of: [Multiaddr].self) { group in
            group.addTask { try await node.listenAddresses }
            return try await withNode(node) { _ in try await node.listenAddresses }
        }
        #expect(address.count == 1)
    }

    @Test("A port in use is one clear error")
    func portInUse() async throws {
        let silent = try SilentListener()
        var configuration = NodeConfiguration()
        configuration.listen = [silent.address]
        let error = await nodeError { [configuration] in try await withNode(configuration) { _ in } }
        #expect(error?.code == .addressInUse)
        #expect(error?.stage == .listen)
        #expect(error?.message.contains("\(silent.address)") == true)
    }

    @Test("An address that can't be listened on is refused")
    func unusableListenAddress() async throws {
        var configuration = NodeConfiguration()
        configuration.listen = [try #require(Multiaddr("/ip4/127.0.0.1/udp/4001/quic-v1"))]
        let error = await nodeError { [configuration] in try await withNode(configuration) { _ in } }
        #expect(error?.code == .cannotListen)
    }

    @Test("A configuration that contradicts itself is refused")
    func invalidConfiguration() async throws {
        for securities in [[], [NodeConfiguration.Security.noise, .noise]] {
            var configuration = NodeConfiguration()
            configuration.securities = securities
            let error = await nodeError { [configuration] in _ = try Node(configuration: configuration) }
            #expect(error?.code == .invalidConfiguration)
        }
    }

    @Test("A node that only dials has no addresses")
    func dialOnly() async throws {
        var configuration = NodeConfiguration()
        configuration.listen = []
        try await withNode(configuration) { node in
            let addresses = try await node.listenAddresses
            #expect(addresses.isEmpty)
        }
    }
}
