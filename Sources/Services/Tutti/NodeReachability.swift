// SPDX-License-Identifier: Apache-2.0
public import TuttiIdentity
import TuttiNodeCore
import TuttiPeers

/// Whether others can dial this node. Only what other nodes found when they dialled it counts (AutoNAT v2).
public struct NodeReachability: Hashable, Sendable {
    public enum Status: String, Hashable, Sendable, CaseIterable {
        /// Nobody was asked yet, or nobody could answer.
        case unknown
        /// From its own machine or local network.
        case local
        /// Across the internet.
        case everywhere
        /// Others tried, in vain.
        case nowhere

        init(_ reachability: Reachability) {
            switch reachability {
            case .unknown: self = .unknown
            case .local: self = .local
            case .everywhere: self = .everywhere
            case .nowhere: self = .nowhere
            }
        }
    }

    /// An address that others dialled.
    public struct Address: Hashable, Sendable {
        public let address: Multiaddr
        public let isReachable: Bool
        /// How many reached it, and how many tried.
        public let reachedCount: Int
        public let triedCount: Int
    }

    public let status: Status
    public let addresses: [Address]
    /// Connected peers that dial back when they are asked.
    public let helperCount: Int

    init(_ core: borrowing NodeCore) {
        status = Status(core.reachability)
        let table = core.peers.reachability
        addresses = table.judged.map { address in
            let judgements = table.judgements(of: address)
            return Address(
                address: address, isReachable: table.state(of: address) == .reachable,
                reachedCount: judgements.reached, triedCount: judgements.all)
        }
        helperCount = core.dialBackServerCount
    }
}

extension Node {
    /// What other nodes found so far when they dialled this one.
    public var reachability: NodeReachability {
        get async throws(NodeError) {
            await (try await started(.identify, peer: nil, deadline: nil)).driver.reachability()
        }
    }
}
