// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiConnection
package import TuttiIdentity

package import struct NIOCore.ByteBuffer

/// What happened, as PeersCore is told.
package enum PeersInput: Sendable {
    /// The addresses that our listeners are bound to, without `/p2p`.
    case listening([Multiaddr])
    /// The protocols that we answer to.
    case protocolsChanged([ProtocolID])
    /// The embedder wants a connection to `peer` (nil: whoever answers at these addresses).
    case dialRequested(RequestID, peer: PeerID?, addresses: [Multiaddr], deadline: Instant)
    case dialCancelled(RequestID)
    /// Answer to `.resolve`; empty when the name has no usable address.
    case resolved(ConnectionID, [Multiaddr])
    /// A socket was accepted and waits for `.admit` or `.close`. Its id is even, those of our dials are odd.
    case accepted(ConnectionID, remote: Multiaddr)
    ///
    /// It opens the query of identify by itself (`PeersCore.query`), so that it needn't wait to be told.
    case established(ConnectionID, Establishment, Direction, remote: Multiaddr)
    /// What the connection says of us when it is asked, until the next `.announce`.
    case told(ConnectionID, version: UInt64)
    /// An attempt that never became a connection.
    case dialFailed(ConnectionID, CloseReason)
    case closed(ConnectionID, CloseReason)
    /// How many streams other than PeersCore's own the connection carries now.
    case streamsInUse(ConnectionID, count: Int)
    /// Streams of protocols that PeersCore owns, and the query. `request` is the one given in `.openStream`.
    case streamOpened(ConnectionID, StreamID, ProtocolID, Direction, request: RequestID?)
    case message(ConnectionID, StreamID, ByteBuffer)
    case streamEnded(ConnectionID, StreamID)
    case streamFailed(ConnectionID, StreamID, StreamFault)
    /// `.openStream` could not be done.
    case openFailed(ConnectionID, request: RequestID)
    case roundTripMeasured(ConnectionID, Duration)
    /// The embedder lets go of a peer: all its connections are closed.
    case disconnectRequested(PeerID)
    /// Share of one core that work for this connection took lately, in percent.
    case processorUsed(ConnectionID, percent: Int)
    /// Connections to a protected peer are never closed for the high water.
    case protectionChanged(PeerID, isProtected: Bool)
    /// Addresses of a peer that somebody told us; for later dials.
    case addressesFound(PeerID, [Multiaddr])
    /// A connection to one address of a peer, beside those that there are, to see whether it can be made. Answered like
    /// `.dialRequested`; whoever asked closes it.
    case dialBackRequested(RequestID, PeerID, Multiaddr, deadline: Instant)
    /// Whether a connection that the peer makes now is its dial-back.
    case dialBackAwaited(PeerID, Bool)
    /// What another node says of an address of ours, once it dialled it.
    case addressJudged(Multiaddr, by: ReachabilityTable.Judge, isReachable: Bool)
    case closeRequested(ConnectionID)
    /// What an earlier run knew of a peer.
    case remembered(PeerStoreSnapshot.Peer)
}

/// What PeersCore wants done.
package enum PeersEffect: Sendable {
    /// One attempt: connect, secure, multiplex. `address` is `/ip4|ip6/…/tcp/…`.
    case dial(ConnectionID, address: Multiaddr, expected: PeerID?, security: ProtocolID, deadline: Instant)
    /// Ends an attempt that is no longer wanted; `.dialFailed` follows or `.established` was under way.
    case cancelDial(ConnectionID)
    /// Look up a `/dns…` address; the id is for the answer only.
    case resolve(ConnectionID, Multiaddr)
    case admit(ConnectionID)
    /// Ends an accepted socket unread. Until that instant, further ones of its source (an IPv4 address, an IPv6 /56) may be
    /// closed without asking.
    case refuse(ConnectionID, sourceUntil: Instant)
    case close(ConnectionID)
    /// The messages of `first` go out behind the proposal; when it is refused they are lost.
    case openStream(ConnectionID, ProtocolID, request: RequestID, first: [ByteBuffer] = [])
    /// One whole message; the driver puts the varint length before it.
    case send(ConnectionID, StreamID, ByteBuffer)
    case closeWriting(ConnectionID, StreamID)
    case resetStream(ConnectionID, StreamID)
    /// Answers to `.dialRequested`, exactly one each.
    case dialed(RequestID, ConnectionID, PeerID)
    case dialRejected(RequestID, DialError)
    /// What to tell peers that ask who we are, on connections that are up and on later ones.
    case announce(IdentifyStatement)
    case emit(PeersEvent)
}

/// Why no attempt of a dial led to a connection.
package struct DialError: Error, Sendable {
    package enum Code: Hashable, Sendable {
        case noUsableAddress
        case deadline
        case cancelled
        case refusedByGate
        /// The peer is this node.
        case ourselves
        case limit
        case allAttemptsFailed
    }

    package let code: Code
    /// What each attempt met, in the order of the attempts.
    package let attempts: [(address: Multiaddr, reason: CloseReason)]

    package init(code: Code, attempts: [(address: Multiaddr, reason: CloseReason)]) {
        self.code = code
        self.attempts = attempts
    }
}

/// What embedders and other cores may want to know.
package enum PeersEvent: Sendable {
    case listening([Multiaddr])
    /// The first connection to this peer is up.
    case peerConnected(PeerID, ConnectionID)
    /// The last connection to this peer is gone.
    case peerDisconnected(PeerID, CloseReason)
    case peerIdentified(PeerID, PeerProfile)
    /// New streams to the peer use this connection from now on.
    case connectionPreferred(PeerID, ConnectionID)
    case inboundRefused(remote: Multiaddr, reason: StaticText)
}

/// What a peer says of itself (identify), checked against its signed record where it sent one.
package struct PeerProfile: Sendable {
    package var agent = ""
    package var protocolVersion = ""
    package var protocols: [ProtocolID] = []
    package var listenAddresses: [Multiaddr] = []
    /// Where the peer sees us.
    package var observedAddress: Multiaddr?

    package init() {}
}
