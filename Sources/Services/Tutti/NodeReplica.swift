// SPDX-License-Identifier: Apache-2.0
package import TuttiIdentity
package import TuttiNodeCore

/// How the layer above, which has the disk, speaks with the replica of the node's community.
extension Node {
    /// Waits until the node runs. What is returned may be called from any thread, in order.
    package func replicaCommands() async throws(NodeError) -> @Sendable (JournalCommand) -> Void {
        let driver = try await started(.start, peer: nil, deadline: nil).driver
        return { driver.submit(.journal($0)) }
    }

    /// The same with the deadline register.
    package func readRegister<Value: Sendable>(
        _ body: @escaping @Sendable (borrowing WitnessPort) -> Value
    ) async throws(NodeError) -> Value? {
        let driver = try await started(.start, peer: nil, deadline: nil).driver
        return await driver.read { core in core.register.map { body($0) } }
    }

    /// Where the peer can be dialled, as far as is known here.
    package func knownAddresses(of peer: PeerID) async throws(NodeError) -> [Multiaddr] {
        await (try await started(.dial, peer: peer, deadline: nil)).driver.addresses(of: peer)
    }

    /// Looks at the replica between two turns of the node; nil: there is none. Keep `body` short: the node waits for it.
    package func readReplica<Value: Sendable>(
        _ body: @escaping @Sendable (borrowing JournalPort) -> Value
    ) async throws(NodeError) -> Value? {
        let driver = try await started(.start, peer: nil, deadline: nil).driver
        return await driver.read { core in core.replica.map { body($0) } }
    }
}
