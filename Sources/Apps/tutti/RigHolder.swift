// SPDX-License-Identifier: Apache-2.0
import Tutti

/// Many connections to one listener, each of a node with a key of its own, kept open until it is cancelled.
enum RigHolder {
    private static let dialsAtOnce = 8

    /// - Throws: a dial's error; nothing after `whenUp` was called.
    static func hold(
        _ address: Multiaddr, count: Int, whenUp: @Sendable (Int) async -> Void
    ) async throws {
        let loops = NodeLoops()
        let nodes = try (0..<count).map { _ in
            var configuration = NodeConfiguration()
            configuration.listen = []
            configuration.limits = .lab
            configuration.loops = loops
            return try Node(configuration: configuration)
        }
        try await withThrowingDiscardingTaskGroup { group in
            // One that can't run fails its dial.
            for node in nodes { group.addTask { try? await node.run() } }
            try await dial(address, from: nodes)
            await whenUp(nodes.count)
        }
    }

    private static func dial(_ address: Multiaddr, from nodes: [Node]) async throws {
        try await withThrowingDiscardingTaskGroup { group in
            for worker in 0..<dialsAtOnce {
                group.addTask {
                    for index in stride(from: worker, to: nodes.count, by: dialsAtOnce) {
                        let peer = try await nodes[index].dial(at: [address], deadline: .seconds(30))
                        _ = try await nodes[index].profile(of: peer, deadline: .seconds(30))
                    }
                }
            }
        }
    }
}
