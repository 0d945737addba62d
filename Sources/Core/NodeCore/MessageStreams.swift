// SPDX-License-Identifier: Apache-2.0
import DequeModule
package import TuttiBase
package import TuttiIdentity

package import struct NIOCore.ByteBuffer

/// One stream to each peer that takes our messages for as long as both are connected (gossip, membership).
///
/// The stream is opened when the peer says that it speaks the protocol, and again, a few times, when it fails. Messages
/// that come meanwhile wait, up to a limit; then the peer counts as lost. What peers send comes on streams of theirs.
///
///     peer: opening -> open -> (failed) opening … -> lost
package struct MessageStreams: Sendable {
    package struct Limits: Sendable {
        /// Bytes that wait for a stream to open, per peer. At it: the newest message is dropped and counted.
        package var queuedBytesMax = 1024 * 1024
        /// Attempts to open after a failure, one each `reopenDelay`.
        package var reopensMax = 3
        package var reopenDelay: Duration = .seconds(1)

        package init() {}
    }

    package enum Event: Sendable {
        case ready(PeerID, ProtocolID)
        case lost(PeerID)
    }

    private enum Stage: Sendable {
        case opening(RequestID)
        case open(StreamKey)
        case waiting
    }

    private struct Line: Sendable {
        let name: ProtocolID
        var connection: ConnectionID
        var stage: Stage
        var queued: Deque<ByteBuffer> = []
        var queuedBytes = 0
        var failures = 0
        var wasReady = false
    }

    private let limits: Limits
    private var numbers: RequestNumbers
    private var lines: [PeerID: Line] = [:]
    private var peerOfRequest: [RequestID: PeerID] = [:]
    private var peerOfStream: [StreamKey: PeerID] = [:]
    private var timers = TimerQueue<PeerID>()
    private var commands: Deque<StreamCommand> = []
    private var events: Deque<Event> = []
    package private(set) var droppedCount: UInt64 = 0

    package init(owner: UInt8, limits: Limits = Limits()) {
        self.limits = limits
        numbers = RequestNumbers(owner: owner)
    }

    package var nextTimeout: Instant? { timers.next }
    package func owns(_ request: RequestID) -> Bool { numbers.owns(request) }
    package func owns(_ key: StreamKey) -> Bool { peerOfStream[key] != nil }
    package func isOpen(to peer: PeerID) -> Bool { lines[peer] != nil }
    package mutating func nextCommand() -> StreamCommand? { commands.popFirst() }
    package mutating func nextEvent() -> Event? { events.popFirst() }

    // MARK: Peers

    package mutating func open(_ peer: PeerID, _ name: ProtocolID, over connection: ConnectionID) {
        guard lines[peer] == nil else { return }
        lines[peer] = Line(name: name, connection: connection, stage: .waiting)
        ask(peer)
    }

    /// New streams use another connection from now on.
    package mutating func connectionPreferred(_ peer: PeerID, _ connection: ConnectionID) {
        lines[peer]?.connection = connection
    }

    /// The last connection to the peer is gone.
    package mutating func peerDisconnected(_ peer: PeerID) {
        drop(peer)
    }

    package mutating func close(_ peer: PeerID) {
        if case .open(let key) = lines[peer]?.stage { commands.append(.reset(key)) }
        drop(peer)
    }

    package mutating func send(_ bytes: ByteBuffer, to peer: PeerID) {
        guard let line = lines[peer] else {
            droppedCount &+= 1
            return
        }
        if case .open(let key) = line.stage { return commands.append(.send(key, bytes)) }
        guard line.queuedBytes + bytes.readableBytes <= limits.queuedBytesMax else {
            droppedCount &+= 1
            return
        }
        lines[peer]?.queued.append(bytes)
        lines[peer]?.queuedBytes += bytes.readableBytes
    }

    // MARK: Streams

    package mutating func opened(_ request: RequestID, _ key: StreamKey) {
        guard let peer = peerOfRequest.removeValue(forKey: request), let line = lines[peer] else {
            return commands.append(.reset(key))
        }
        peerOfStream[key] = peer
        lines[peer]?.stage = .open(key)
        lines[peer]?.wasReady = true
        if !line.wasReady { events.append(.ready(peer, line.name)) }
        while let bytes = lines[peer]?.queued.popFirst() { commands.append(.send(key, bytes)) }
        lines[peer]?.queuedBytes = 0
    }

    package mutating func openFailed(_ request: RequestID, at now: Instant) {
        guard let peer = peerOfRequest.removeValue(forKey: request) else { return }
        failed(peer, at: now)
    }

    /// A stream of ours ended or failed.
    package mutating func lost(_ key: StreamKey, at now: Instant) {
        guard let peer = peerOfStream.removeValue(forKey: key) else { return }
        commands.append(.reset(key))
        failed(peer, at: now)
    }

    package mutating func handleTimeout(at now: Instant) {
        while let peer = timers.popExpired(at: now) { ask(peer) }
    }

    // MARK: Private parts

    private mutating func ask(_ peer: PeerID) {
        guard let line = lines[peer] else { return }
        let request = numbers.next()
        peerOfRequest[request] = peer
        lines[peer]?.stage = .opening(request)
        commands.append(.open(line.connection, line.name, request))
    }

    private mutating func failed(_ peer: PeerID, at now: Instant) {
        guard var line = lines[peer] else { return }
        line.failures += 1
        guard line.failures <= limits.reopensMax else { return drop(peer) }
        line.stage = .waiting
        lines[peer] = line
        timers.set(peer, at: now + limits.reopenDelay)
    }

    private mutating func drop(_ peer: PeerID) {
        guard let line = lines.removeValue(forKey: peer) else { return }
        timers.cancel(peer)
        switch line.stage {
        case .opening(let request): peerOfRequest[request] = nil
        case .open(let key): peerOfStream[key] = nil
        case .waiting: break
        }
        if line.wasReady { events.append(.lost(peer)) }
    }
}
