// SPDX-License-Identifier: Apache-2.0
import Testing
import Tutti

/// Real nodes on sockets that ask each other to dial back.
@Suite("Whether others can dial a node", .timeLimit(.minutes(1)))
struct ReachabilityTests {
    /// Two nodes with a DHT that decide by themselves what they are; the second one dials the first.
    private static func withNodes(
        _ configure: @escaping @Sendable (inout NodeConfiguration) -> Void,
        _ body: @escaping @Sendable (Node, Node) async throws -> Void
    ) async throws {
        let first = try makeNode(.noise, InMemoryNetwork()) { $0.dht = DHTSettings() }
        let second = try makeNode(.noise, InMemoryNetwork()) { configuration in
            configuration.dht = DHTSettings()
            configure(&configuration)
        }
        try await withNode(first) { first in
            try await withNode(second) { second in
                let events = second.events
                try await second.dial(at: try await first.listenAddresses)
                for await event in events {
                    if case .reachabilityChanged = event { break }
                }
                try await body(first, second)
            }
        }
    }

    private static func serves(_ node: Node, in events: NodeEvents) async -> Bool {
        for await event in events {
            guard case .peerIdentified(node.peerID, let profile) = event else { continue }
            if profile.protocols.contains("/ipfs/kad/1.0.0") { return true }
        }
        return false
    }

    @Test("One that another reached is reachable, says where, and serves the DHT from then on")
    func reachable() async throws {
        let first = try makeNode(.noise, InMemoryNetwork()) { $0.dht = DHTSettings() }
        let second = try makeNode(.noise, InMemoryNetwork()) { $0.dht = DHTSettings() }
        try await withNode(first) { first in
            try await withNode(second) { second in
                let (events, seen) = (second.events, first.events)
                let entry = try await first.listenAddresses
                let own = try await second.listenAddresses
                try await second.dial(at: entry)
                for await event in events {
                    if case .reachabilityChanged(let status) = event {
                        #expect(status == .local)
                        break
                    }
                }
                let found = try await second.reachability
                #expect(found.status == .local)
                #expect(found.helperCount == 1)
                #expect(found.addresses.count == 1)
                let address = try #require(found.addresses.first)
                #expect(address.isReachable)
                #expect(own.first?.description.hasPrefix(address.address.description + "/p2p/") == true)
                #expect(await Self.serves(second, in: seen))
            }
        }
    }

    @Test("One that lets nobody in learns that, and stays a client")
    func firewalled() async throws {
        try await Self.withNodes({ $0.gate = { _, _, direction in direction == .outbound } }) { first, second in
            let found = try await second.reachability
            #expect(found.status == .nowhere)
            #expect(found.addresses.map(\.isReachable) == [false])
            let profile = try await first.profile(of: second.peerID)
            #expect(!profile.protocols.contains("/ipfs/kad/1.0.0"))
            #expect(profile.protocols.contains("/libp2p/autonat/2/dial-request"))
        }
    }

    @Test("A node told to serve serves at once, one told not to never does")
    func explicit() async throws {
        for (mode, expected) in [(DHTSettings.Mode.server, true), (.client, false)] {
            try await Self.withNodes({ $0.dht = DHTSettings(mode: mode) }) { first, second in
                #expect(try await second.reachability.status == .local)
                let profile = try await first.profile(of: second.peerID)
                #expect(profile.protocols.contains("/ipfs/kad/1.0.0") == expected)
            }
        }
    }
}
