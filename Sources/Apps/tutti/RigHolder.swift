// SPDX-License-Identifier: Apache-2.0
import Tutti

/// Many connections to one listener, each of a node with a key of its own, kept open until the program ends.
enum RigHolder {
    private static let dialsAtOnce = 8

    static func hold(_ address: Multiaddr, count: Int) async throws -> Int {
        let loops = NodeLoops()
        let nodes = try (0..<count).map { _ in
            var configuration = NodeConfiguration()
            configuration.listen = []
            configuration.limits = .lab
            configuration.loops = loops
            return try Node(configuration: configuration)
        }
        // The nodes run for as long as the program does: nothing waits for them.
        for node in nodes { Task { try await node.run() } }
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
        return nodes.count
    }
}
