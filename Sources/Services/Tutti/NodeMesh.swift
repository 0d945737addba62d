// SPDX-License-Identifier: Apache-2.0
public import NIOCore
import TuttiBase
public import TuttiIdentity
import TuttiMembership
import TuttiNodeCore

/// What a peer has for a question.
public struct SearchHit: Hashable, Sendable {
    public let peer: PeerID
    public let answer: ByteBuffer
}

/// The mesh: a few neighbours that stand for the whole network. Needs `NodeConfiguration.mesh`.
public struct NodeMesh: Sendable {
    private let node: Node

    init(_ node: Node) { self.node = node }

    /// The peers that this node keeps a link with.
    public var neighbours: [PeerID] {
        get async throws(NodeError) { await (try await runtime(nil)).driver.neighbours() }
    }

    /// Becomes part of the network of a connected peer.
    public func join(through peer: PeerID) async throws(NodeError) {
        try await runtime(nil).driver.submit(.membership(.join(peer)))
    }

    /// Asks the peers around for what they have for a question, at most so many hops away. Ends with `hitsMax` hits or
    /// at the deadline.
    public func search(
        _ question: ByteBuffer, hops: Int = 4, hitsMax: Int = 1, deadline: Duration = .seconds(5)
    ) async throws(NodeError) -> [SearchHit] {
        let runtime = try await runtime(deadline)
        let plan = SearchPlan(kind: .flood, timeToLive: UInt8(clamping: hops), hitsMax: max(1, hitsMax))
        let end = await runtime.driver.call(within: deadline, cancel: { .membership(.cancelSearch($0)) }) {
            .membership(.search($0, question, plan, deadline: $1))
        }
        switch end {
        case .searched(let hits): return hits
        case .cancelled: throw .cancelled(.search)
        case .answered, .published, .publishFailed, .stopped: throw .stopped(.search)
        }
    }

    private func runtime(_ deadline: Duration?) async throws(NodeError) -> NodeRuntime {
        guard node.configuration.mesh != nil else { throw .off("mesh", "mesh", .search) }
        return try await node.started(.search, peer: nil, deadline: deadline)
    }
}

extension Node {
    /// Neighbours and search.
    public var mesh: NodeMesh { NodeMesh(self) }

    /// Dials the addresses, all at once, and enters the networks of those who answer: their tables, their mesh.
    /// - Returns: who answered.
    /// - Throws: the error of an address when none led to anybody.
    @discardableResult
    public func join(
        at addresses: [Multiaddr], deadline: Duration = .seconds(15)
    ) async throws(NodeError) -> [PeerID] {
        let results = await withTaskGroup(of: Result<PeerID, NodeError>.self) { group in
            for address in addresses {
                group.addTask {
                    do throws(NodeError) {
                        let peer = try await self.dial(at: [address], deadline: deadline)
                        if self.configuration.mesh != nil { try await self.mesh.join(through: peer) }
                        return .success(peer)
                    } catch {
                        return .failure(error)
                    }
                }
            }
            return await group.reduce(into: [Result<PeerID, NodeError>]()) { $0.append($1) }
        }
        var reached: [PeerID] = []
        var failure: NodeError?
        for result in results {
            switch result {
            case .success(let peer): reached.append(peer)
            case .failure(let error): failure = error
            }
        }
        if reached.isEmpty, let failure { throw failure }
        return reached
    }
}
