// SPDX-License-Identifier: Apache-2.0
import TuttiBase
public import TuttiIdentity
import TuttiKademlia
import TuttiNodeCore

/// The distributed hash table as this node sees it. Needs `NodeConfiguration.dht`.
public struct NodeDHT: Sendable {
    private let node: Node

    init(_ node: Node) { self.node = node }

    /// Where the peer can be reached, as those near its id tell. A connected peer is not looked for.
    public func findPeer(
        _ peer: PeerID, deadline: Duration = .seconds(60)
    ) async throws(NodeError) -> [Multiaddr] {
        let known = await node.runtimeAddresses(of: peer, isConnected: true)
        if !known.isEmpty { return known }
        _ = try await ask(deadline) { .findPeer($0, peer, deadline: $1) }
        return await node.runtimeAddresses(of: peer, isConnected: false)
    }

    /// The value under a name such as `/pk/…`.
    /// - Parameter quorum: peers that must agree; 0: the best of what all say.
    public func get(
        _ name: [UInt8], quorum: Int = 1, deadline: Duration = .seconds(60)
    ) async throws(NodeError) -> [UInt8] {
        let answer = try await ask(deadline) { .get($0, name, quorum: quorum, deadline: $1) }
        guard let value = answer.value else {
            throw NodeError(code: .notFound, stage: .lookup, message: "nobody who was asked knows it")
        }
        return value
    }

    /// Stores the value at the peers nearest to its name, now and again from time to time while the node runs.
    /// - Returns: how many took it.
    @discardableResult
    public func put(
        _ name: [UInt8], value: [UInt8], deadline: Duration = .seconds(60)
    ) async throws(NodeError) -> Int {
        try await ask(deadline) { .put($0, name, value: value, deadline: $1) }.storedCount
    }

    /// Tells the peers nearest to the content that this node has it, now and again until `stopProviding`.
    /// - Returns: how many were told.
    @discardableResult
    public func provide(_ content: ContentID, deadline: Duration = .seconds(60)) async throws(NodeError) -> Int {
        try await ask(deadline) { .provide($0, content.name, deadline: $1) }.storedCount
    }

    /// What was told runs out by itself.
    public func stopProviding(_ content: ContentID) async throws(NodeError) {
        let runtime = try await runtime(nil)
        runtime.driver.submit(.kademlia(.withdraw(content.name)))
    }

    /// Peers that have the content, at most `countMax`; fewer when no more are known.
    public func findProviders(
        _ content: ContentID, countMax: Int = 20, deadline: Duration = .seconds(60)
    ) async throws(NodeError) -> [PeerID] {
        try await ask(deadline) {
            .findProviders($0, content.name, countMax: max(1, countMax), deadline: $1)
        }.providers
    }

    private func runtime(_ deadline: Duration?) async throws(NodeError) -> NodeRuntime {
        guard node.configuration.dht != nil else { throw .off("DHT", "dht", .lookup) }
        return try await node.started(.lookup, peer: nil, deadline: deadline)
    }

    private func ask(
        _ deadline: Duration, _ command: @escaping @Sendable (RequestID, Instant) -> KademliaCommand
    ) async throws(NodeError) -> KademliaAnswer {
        let began = ContinuousClock.now
        let runtime = try await runtime(deadline)
        let left = deadline - began.duration(to: .now)
        let end = await runtime.driver.call(within: left, cancel: { .kademlia(.cancel($0)) }) {
            .kademlia(command($0, $1))
        }
        switch end {
        case .answered(let answer):
            if let error = NodeError.dht(answer.status, deadline) { throw error }
            return answer
        case .cancelled: throw .cancelled(.lookup)
        case .stopped, .published, .publishFailed, .searched: throw .stopped(.lookup)
        }
    }
}

extension Node {
    /// Lookups, records and providers.
    public var dht: NodeDHT { NodeDHT(self) }

    fileprivate func runtimeAddresses(of peer: PeerID, isConnected: Bool) async -> [Multiaddr] {
        if isConnected, !isConnectedTo(peer) { return [] }
        guard let runtime = try? await started(.lookup, peer: peer, deadline: .zero) else { return [] }
        return await runtime.driver.addresses(of: peer)
    }
}
