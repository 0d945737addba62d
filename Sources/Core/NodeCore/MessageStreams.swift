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
///     peer: opening -> open -> (failed) waiting -> opening … -> lost
package struct MessageStreams: Sendable {
    package struct Limits: Sendable {
        /// Bytes that wait for a stream to open, per peer. At it: the newest message is dropped and counted.
        package var queuedBytesMax = 1024 * 1024
        /// Attempts to open after a failure, one each `reopenDelay`.
        package var reopensMax = 3
        package var reopenDelay: Duration = .seconds(1)

        package init() {}
    }

    private enum Stage: Sendable {
        case opening(RequestID, ConnectionID)
        case open(StreamKey)
        /// For a moment to try again, or for another connection.
        case waiting
    }

    private struct Line: Sendable {
        let name: ProtocolID
        /// That new streams use.
        var connection: ConnectionID
        var stage: Stage
        var queued: Deque<ByteBuffer> = []
        var queuedBytes = 0
        var failures = 0
    }

    private let limits: Limits
    private var numbers: RequestNumbers
    private var lines: [PeerID: Line] = [:]
    private var peerOfRequest: [RequestID: PeerID] = [:]
    private var peerOfStream: [StreamKey: PeerID] = [:]
    private var timers = TimerQueue<PeerID>()
    private var commands: Deque<StreamCommand> = []
    private var losses: Deque<PeerID> = []
    package private(set) var droppedCount: UInt64 = 0

    package init(owner: UInt8, limits: Limits = Limits()) {
        self.limits = limits
        numbers = RequestNumbers(owner: owner)
    }

    package var nextTimeout: Instant? { timers.next }
    package func owns(_ request: RequestID) -> Bool { numbers.owns(request) }
    package func owns(_ key: StreamKey) -> Bool { peerOfStream[key] != nil }
    package mutating func nextCommand() -> StreamCommand? { commands.popFirst() }
    /// A peer that takes nothing any more, each once per `open`.
    package mutating func nextLoss() -> PeerID? { losses.popFirst() }

    // MARK: Peers

    package mutating func open(_ peer: PeerID, _ name: ProtocolID, over connection: ConnectionID) {
        guard lines[peer] == nil else { return }
        lines[peer] = Line(name: name, connection: connection, stage: .waiting)
        ask(peer)
    }

    /// New streams use another connection from now on.
    package mutating func connectionPreferred(_ peer: PeerID, _ connection: ConnectionID) {
        guard let line = lines[peer] else { return }
        lines[peer]?.connection = connection
        lines[peer]?.failures = 0
        if case .waiting = line.stage { ask(peer) }
    }

    /// Its streams are gone without a word of each.
    package mutating func connectionClosed(_ id: ConnectionID) {
        var gone: [PeerID] = []
        for (peer, line) in lines {
            switch line.stage {
            case .opening(_, let connection): if connection == id { gone.append(peer) }
            case .open(let key): if key.connection == id { gone.append(peer) }
            case .waiting: break
            }
        }
        for peer in gone.sorted() {
            leave(peer)
            lines[peer]?.stage = .waiting
            // Otherwise `connectionPreferred` or `peerDisconnected` follows.
            if let line = lines[peer], line.connection != id { ask(peer) }
        }
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
        guard let peer = peerOfRequest.removeValue(forKey: request), lines[peer] != nil else {
            return commands.append(.reset(key))
        }
        peerOfStream[key] = peer
        lines[peer]?.stage = .open(key)
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
        guard let line = lines[peer], case .waiting = line.stage else { return }
        timers.cancel(peer)
        let request = numbers.next()
        peerOfRequest[request] = peer
        lines[peer]?.stage = .opening(request, line.connection)
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
        guard lines[peer] != nil else { return }
        leave(peer)
        timers.cancel(peer)
        lines[peer] = nil
        losses.append(peer)
    }

    /// Forgets the stream that is open or being opened.
    private mutating func leave(_ peer: PeerID) {
        switch lines[peer]?.stage {
        case .opening(let request, _): peerOfRequest[request] = nil
        case .open(let key): peerOfStream[key] = nil
        case .waiting, nil: break
        }
    }
}
