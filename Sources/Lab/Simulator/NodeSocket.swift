// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiIdentity
import TuttiPeers

/// A connection of two nodes of a NodeFleet, or one that is being made.
struct NodeSocket {
    /// Where a dial leaves its host, and for whom.
    struct Source: Sendable {
        let inside: UInt16
        let remote: VirtualEndpoint
    }

    let dialler: Int
    let listener: Int
    let source: Source
    let dialID: ConnectionID
    let acceptID: ConnectionID
    let remoteOfListener: Multiaddr
    let address: Multiaddr
    let security: ProtocolID
    let expected: PeerID?
    let latency: UInt64
    let isDiallerFirst: Bool
    var isEstablished = false
    /// What it carries goes nowhere any more.
    var isSevered = false
    var isClosed = false
    var lastArrival: (UInt64, UInt64) = (0, 0)
    var nextStream: (UInt64, UInt64) = (1, 2)
    /// Those that speak `/tutti/sync/1`, where there are hosts that listen.
    var syncStreams: Set<StreamID> = []
}

extension PeersEffect {
    /// The connection that this is about, if it is about one that a node has.
    var connection: ConnectionID? {
        switch self {
        case .cancelDial(let id), .admit(let id), .refuse(let id, _), .close(let id), .openStream(let id, _, _, _),
            .send(let id, _, _), .closeWriting(let id, _), .resetStream(let id, _):
            id
        case .dial, .resolve, .dialed, .dialRejected, .announce, .emit: nil
        }
    }
}
