// SPDX-License-Identifier: Apache-2.0
import Testing
import Tutti

/// Nodes that all dialled the first, with every core on, for as long as `body` runs.
private func withNetwork(
    _ count: Int, configure: @escaping @Sendable (inout NodeConfiguration) -> Void = { _ in },
    _ body: @escaping @Sendable ([Node]) async throws -> Void
) async throws {
    let network = InMemoryNetwork()
    let nodes = try (0..<count).map { _ in
        try makeNode(.memory, network) { configuration in
            var dht = DHTSettings()
            dht.accepts = { name, _ in name.starts(with: Array("/test/".utf8)) }
            configuration.dht = dht
            configuration.gossip = GossipSettings()
            configuration.mesh = MeshSettings()
            configuration.limits = .lab
            configure(&configuration)
        }
    }
    try await withThrowingTaskGroup(of: Void.self) { group in
        for node in nodes { group.addTask { try await node.run() } }
        let entry = try await nodes[0].listenAddresses
        for node in nodes.dropFirst() {
            for peer in try await node.join(at: entry) { _ = try await node.profile(of: peer) }
        }
        // The first knows all of them too.
        for node in nodes.dropFirst() { _ = try await nodes[0].profile(of: node.peerID) }
        try await body(nodes)
        group.cancelAll()
    }
}

@Suite("DHT, topics and mesh of a node", .timeLimit(.minutes(1)))
struct OverlayTests {
    @Test("What one node puts another gets, and providers are found")
    func records() async throws {
        try await withNetwork(4) { nodes in
            let name = Array("/test/a".utf8)
            let stored = try await nodes[1].dht.put(name, value: [1, 2])
            #expect(stored >= 1)
            let value = try await nodes[2].dht.get(name)
            #expect(value == [1, 2])
            let content = ContentID(of: ByteBuffer(string: "content"))
            let told = try await nodes[1].dht.provide(content)
            #expect(told >= 1)
            let providers = try await nodes[3].dht.findProviders(content, countMax: 1)
            #expect(providers == [nodes[1].peerID])
            let addresses = try await nodes[3].dht.findPeer(nodes[2].peerID)
            #expect(!addresses.isEmpty)
        }
    }

    @Test("A name that nobody stored, a record against the rules, a peer that nobody knows: each says so")
    func failures() async throws {
        try await withNetwork(2) { nodes in
            let unknown = await nodeError { _ = try await nodes[1].dht.get(Array("/test/none".utf8)) }
            #expect(unknown?.code == .notFound)
            let refused = await nodeError { try await nodes[1].dht.put(Array("/other/a".utf8), value: [1]) }
            #expect(refused?.code == .invalidUse)
            let nobody = KeyPair().peerID
            let missing = await nodeError { _ = try await nodes[1].dht.findPeer(nobody) }
            #expect(missing?.code == .notFound)
        }
    }

    @Test("A node without peers, and one whose cores are off, say so")
    func off() async throws {
        try await withNetwork(1) { nodes in
            let alone = await nodeError { _ = try await nodes[0].dht.get(Array("/test/a".utf8)) }
            #expect(alone?.code == .noPeers)
        }
        let plain = try makeNode(.memory, InMemoryNetwork())
        try await withNode(plain) { node in
            let errors = [
                await nodeError { _ = try await node.dht.get([1]) },
                await nodeError { _ = try await node.gossip.subscribe("t") },
                await nodeError { _ = try await node.mesh.neighbours },
            ]
            #expect(errors.allSatisfy { $0?.code == .invalidUse })
        }
    }

    @Test("A published message reaches every other subscriber with its author")
    func topics() async throws {
        try await withNetwork(3) { nodes in
            var readers: [TopicMessages] = []
            for node in nodes { readers.append(try await node.gossip.subscribe("news")) }
            // Sent again until all have it: who follows what spreads a moment after the call.
            await withTaskGroup(of: Void.self) { group in
                group.addTask {
                    while !Task.isCancelled {
                        _ = try? await nodes[1].gossip.publish(ByteBuffer(string: "hello"), to: "news")
                        await Task.yield()
                    }
                }
                for reader in [readers[0], readers[2]] {
                    var iterator = reader.makeAsyncIterator()
                    let message = await iterator.next()
                    #expect(message?.author == nodes[1].peerID)
                    #expect(message?.data == ByteBuffer(string: "hello"))
                    #expect(message?.topic == "news")
                }
                group.cancelAll()
            }
        }
    }

    @Test("The application's validator keeps a message from going on")
    func validator() async throws {
        let configure: @Sendable (inout NodeConfiguration) -> Void = { configuration in
            configuration.gossip?.validator = { $0.data == ByteBuffer(string: "bad") ? .ignore : .accept }
        }
        try await withNetwork(2, configure: configure) { nodes in
            let reader = try await nodes[0].gossip.subscribe("news")
            await withTaskGroup(of: Void.self) { group in
                group.addTask {
                    while !Task.isCancelled {
                        for text in ["bad", "good"] {
                            _ = try? await nodes[1].gossip.publish(ByteBuffer(string: text), to: "news")
                            await Task.yield()
                        }
                    }
                }
                var iterator = reader.makeAsyncIterator()
                for _ in 0..<3 {
                    let message = await iterator.next()
                    #expect(message?.data == ByteBuffer(string: "good"))
                }
                group.cancelAll()
            }
        }
    }

    @Test("Nodes that joined become neighbours, and a search finds who has the answer")
    func mesh() async throws {
        let configure: @Sendable (inout NodeConfiguration) -> Void = { configuration in
            configuration.mesh?.answers = { $0 == ByteBuffer(string: "who") ? ByteBuffer(string: "me") : nil }
        }
        try await withNetwork(3, configure: configure) { nodes in
            var events = nodes[2].events.makeAsyncIterator()
            while try await nodes[2].mesh.neighbours.isEmpty { _ = await events.next() }
            let hits = try await nodes[2].mesh.search(ByteBuffer(string: "who"), deadline: .seconds(20))
            #expect(hits.first?.answer == ByteBuffer(string: "me"))
        }
    }

    @Test("Ten nodes on sockets, all given one address, knit into one network")
    func knit() async throws {
        let count = 10
        let nodes = try (0..<count).map { _ in
            try makeNode(.noise, InMemoryNetwork()) { configuration in
                configuration.limits = .lab
                configuration.dht = DHTSettings()
                configuration.mesh = MeshSettings()
            }
        }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for node in nodes { group.addTask { try await node.run() } }
            let entry = try await nodes[0].listenAddresses
            for node in nodes.dropFirst() { try await node.join(at: entry) }
            for node in nodes {
                var events = node.events.makeAsyncIterator()
                while try await node.mesh.neighbours.isEmpty { _ = await events.next() }
            }
            // Whoever is asked finds any other.
            let addresses = try await nodes[3].dht.findPeer(nodes[8].peerID)
            #expect(!addresses.isEmpty)
            var reached: Set = [nodes[0].peerID]
            var next = [nodes[0].peerID]
            while let peer = next.popLast() {
                for node in nodes where node.peerID == peer {
                    for neighbour in try await node.mesh.neighbours where reached.insert(neighbour).inserted {
                        next.append(neighbour)
                    }
                }
            }
            #expect(reached.count == count)
            group.cancelAll()
        }
    }
}
