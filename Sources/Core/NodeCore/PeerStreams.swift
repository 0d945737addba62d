// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiIdentity
import TuttiPeers

import struct NIOCore.ByteBuffer

/// Streams that peers opened to a port, and who opened each.
struct ArrivedStreams: Sendable {
    private var peers: [StreamKey: PeerID] = [:]

    subscript(_ key: StreamKey) -> PeerID? { peers[key] }

    mutating func add(_ key: StreamKey, _ peer: PeerID) {
        peers[key] = peer
    }

    /// The peer has said all that it will say; so have we. False for a stream of ours.
    mutating func ended(_ key: StreamKey, _ context: inout NodeContext) -> Bool {
        guard peers.removeValue(forKey: key) != nil else { return false }
        context.commands.append(.closeWriting(key))
        return true
    }

    /// False for a stream of ours.
    mutating func failed(_ key: StreamKey) -> Bool {
        peers.removeValue(forKey: key) != nil
    }

    mutating func connectionClosed(_ id: ConnectionID) {
        for key in peers.keys where key.connection == id { peers[key] = nil }
    }

    /// Nothing more is read from it.
    mutating func refuse(_ key: StreamKey, _ context: inout NodeContext) {
        peers[key] = nil
        context.commands.append(.reset(key))
    }

    mutating func refuseAll(of peer: PeerID, _ context: inout NodeContext) {
        for key in peers.filter({ $0.value == peer }).keys.sorted() { refuse(key, &context) }
    }
}

/// Who counts as connected to a core that tells its peers things: one stream of ours to each, any number of theirs to us.
///
/// A peer counts from the moment that either side begins to speak (`connect`) until it disconnects or takes nothing any
/// more; what we say meanwhile waits for our stream to open.
struct PeerStreams: Sendable {
    private var outbound: MessageStreams
    private var arrived = ArrivedStreams()
    private var connected: [PeerID: PeerIndex] = [:]

    init(owner: UInt8) {
        outbound = MessageStreams(owner: owner)
    }

    var nextTimeout: Instant? { outbound.nextTimeout }
    func owns(_ request: RequestID) -> Bool { outbound.owns(request) }
    func isConnected(_ peer: PeerID) -> Bool { connected[peer] != nil }
    var isAnyConnected: Bool { !connected.isEmpty }
    var connectedPeers: [PeerID] { connected.keys.sorted() }
    func forEachPeer(_ body: (PeerIndex) -> Void) {
        for index in connected.values { body(index) }
    }

    /// Its number when it was not connected before; nil otherwise, and when there is no number left.
    mutating func connect(
        _ peer: PeerID, _ name: ProtocolID, over id: ConnectionID, _ context: inout NodeContext
    ) -> PeerIndex? {
        guard connected[peer] == nil, let index = context.table.index(of: peer) else { return nil }
        connected[peer] = index
        outbound.open(peer, name, over: id)
        return index
    }

    mutating func streamArrived(_ key: StreamKey, from peer: PeerID) {
        arrived.add(key, peer)
    }

    /// Who speaks on a stream of theirs, as long as it counts as connected.
    func speaker(on key: StreamKey) -> PeerIndex? {
        arrived[key].flatMap { connected[$0] }
    }

    mutating func send(_ bytes: ByteBuffer, to peer: PeerID) {
        outbound.send(bytes, to: peer)
    }

    mutating func refuse(_ key: StreamKey, _ context: inout NodeContext) {
        arrived.refuse(key, &context)
    }

    /// Nothing more is said or read; `nextLoss` tells of it.
    mutating func close(_ peer: PeerID, _ context: inout NodeContext) {
        arrived.refuseAll(of: peer, &context)
        outbound.close(peer)
    }

    /// What happens to streams and connections, whatever they carry; the rest is the port's own.
    mutating func handle(_ input: PortInput, at now: Instant, _ context: inout NodeContext) {
        switch input {
        case .streamEnded(let key): if !arrived.ended(key, &context) { outbound.lost(key, at: now) }
        case .streamFailed(let key): if !arrived.failed(key) { outbound.lost(key, at: now) }
        case .connectionPreferred(let peer, let id): outbound.connectionPreferred(peer, id)
        case .connectionClosed(let id):
            arrived.connectionClosed(id)
            outbound.connectionClosed(id)
        case .streamOpened(let request, let key): outbound.opened(request, key)
        case .openFailed(let request): outbound.openFailed(request, at: now)
        case .peerIdentified, .peerDisconnected, .streamArrived, .message, .dialed, .dialFailed: break
        }
    }

    mutating func handleTimeout(at now: Instant) {
        outbound.handleTimeout(at: now)
    }

    /// Its number when it was connected.
    mutating func peerDisconnected(_ peer: PeerID) -> PeerIndex? {
        outbound.peerDisconnected(peer)
        return connected.removeValue(forKey: peer)
    }

    /// A peer that takes nothing any more and counted as connected until now.
    mutating func nextLoss() -> PeerIndex? {
        while let peer = outbound.nextLoss() {
            if let index = connected.removeValue(forKey: peer) { return index }
        }
        return nil
    }

    mutating func hand(over context: inout NodeContext) {
        while let command = outbound.nextCommand() { context.commands.append(command) }
    }
}
