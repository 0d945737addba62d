// SPDX-License-Identifier: Apache-2.0

/// Runs a node for as long as `body` takes: for programs and tests without a `ServiceGroup`.
///
/// The node's connections are closed in order before this returns. When the node can't start, `body` is cancelled and the
/// node's error is thrown.
public func withNode<Value: Sendable>(
    _ configuration: NodeConfiguration = NodeConfiguration(), _ body: @escaping @Sendable (Node) async throws -> Value
) async throws -> Value {
    try await withNode(Node(configuration: configuration), body)
}

/// Runs this node for as long as `body` takes.
public func withNode<Value: Sendable>(
    _ node: Node, _ body: @escaping @Sendable (Node) async throws -> Value
) async throws -> Value {
    try await withThrowingTaskGroup(of: Value?.self) { group in
        group.addTask {
            try await node.run()
            return nil
        }
        group.addTask { try await body(node) }
        defer { group.cancelAll() }
        while let ended = try await group.next() {
            if let value = ended {
                group.cancelAll()
                try await group.waitForAll()
                return value
            }
        }
        throw CancellationError()
    }
}
