// SPDX-License-Identifier: Apache-2.0
import DequeModule
package import TuttiBase
package import TuttiIdentity

package import struct NIOCore.ByteBuffer

/// Asks peers and brings back their answers: one message each way, several in turn over one stream per peer.
///
/// A peer that isn't connected is dialled first. What waits when a stream is opened goes out behind the proposal. The
/// stream to a peer is kept for the next request until it was idle for a while; answers come in the order of the
/// requests. A peer that ends its stream after an answer is asked the rest on a new one, once. Streams that peers open are not here: their owner answers on them.
///
///     peer: (nothing) -> dialling -> opening -> open(waiting for answers) -> open(idle) -> closed
///
/// Invariant: each call is answered, fails, or is cancelled, exactly once.
package struct RequestStreams: Sendable {
    package struct Limits: Sendable {
        /// Calls that wait for an answer, all peers. At it: the call fails.
        package var callsMax = 1_024
        /// Calls that wait for one peer. At it: the call fails.
        package var callsPerPeerMax = 32
        package var dialTimeout: Duration = .seconds(10)
        package var callTimeout: Duration = .seconds(10)
        package var idleTimeout: Duration = .seconds(30)

        package init() {}
    }

    package enum Outcome: Sendable {
        case answered(RequestID, ByteBuffer)
        case failed(RequestID)
    }

    private struct Call: Sendable {
        let id: RequestID
        let bytes: ByteBuffer
        let expectsAnswer: Bool
        var wasRetried = false
    }

    private enum Stage: Sendable {
        case dialling(RequestID)
        case opening(ConnectionID, RequestID)
        case open(StreamKey, answersSeen: Int)
    }

    private struct Line: Sendable {
        var stage: Stage
        /// Not sent yet.
        var queued: Deque<Call> = []
        /// Sent, waiting for their answers in this order.
        var sent: Deque<Call> = []
        var count: Int { queued.count + sent.count }
    }

    private enum TimerKey: Hashable, Sendable {
        case call(RequestID)
        case idle(PeerID)
    }

    private let name: ProtocolID
    private let limits: Limits
    private var numbers: RequestNumbers
    private var lines: [PeerID: Line] = [:]
    private var peerOfCall: [RequestID: PeerID] = [:]
    /// Sent, and nobody wants their answers any more.
    private var unwanted: Set<RequestID> = []
    private var peerOfRequest: [RequestID: PeerID] = [:]
    private var peerOfStream: [StreamKey: PeerID] = [:]
    private var timers = TimerQueue<TimerKey>()
    private var commands: Deque<StreamCommand> = []
    private var outcomes: Deque<Outcome> = []

    package init(_ name: ProtocolID, owner: UInt8, limits: Limits = Limits()) {
        self.name = name
        self.limits = limits
        numbers = RequestNumbers(owner: owner)
    }

    package var nextTimeout: Instant? { timers.next }
    package var callCount: Int { peerOfCall.count }
    package func owns(_ request: RequestID) -> Bool { numbers.owns(request) }
    package func owns(_ key: StreamKey) -> Bool { peerOfStream[key] != nil }
    package mutating func nextCommand() -> StreamCommand? { commands.popFirst() }
    package mutating func nextOutcome() -> Outcome? { outcomes.popFirst() }

    // MARK: Calls

    /// - Parameter connection: the one to use when there is one.
    package mutating func call(
        _ id: RequestID, _ peer: PeerID, _ bytes: ByteBuffer, expectsAnswer: Bool, over connection: ConnectionID?,
        at now: Instant
    ) {
        guard peerOfCall.count < limits.callsMax, lines[peer]?.count ?? 0 < limits.callsPerPeerMax else {
            return outcomes.append(.failed(id))
        }
        peerOfCall[id] = peer
        timers.set(.call(id), at: now + limits.callTimeout)
        let call = Call(id: id, bytes: bytes, expectsAnswer: expectsAnswer)
        guard lines[peer] != nil else { return begin(peer, [call], over: connection, at: now) }
        lines[peer]?.queued.append(call)
        flush(peer, at: now)
    }

    /// The answer is no longer wanted; when it comes it is dropped.
    package mutating func cancel(_ id: RequestID, at now: Instant) {
        guard let peer = peerOfCall[id], let line = lines[peer] else { return }
        // One that was sent keeps its place: its answer would else be taken for the next one's.
        if line.sent.contains(where: { $0.id == id }) {
            unwanted.insert(id)
            return
        }
        lines[peer]?.queued.removeAll { $0.id == id }
        peerOfCall[id] = nil
        timers.cancel(.call(id))
        settle(peer, at: now)
    }

    private mutating func begin(
        _ peer: PeerID, _ calls: Deque<Call>, over connection: ConnectionID?, at now: Instant
    ) {
        let request = numbers.next()
        peerOfRequest[request] = peer
        if let connection {
            open(peer, calls, over: connection, request)
        } else {
            lines[peer] = Line(stage: .dialling(request), queued: calls)
            commands.append(.dial(request, peer, deadline: now + limits.dialTimeout))
        }
    }

    private mutating func open(
        _ peer: PeerID, _ calls: Deque<Call>, over connection: ConnectionID, _ request: RequestID
    ) {
        lines[peer] = Line(stage: .opening(connection, request), sent: calls)
        commands.append(.open(connection, name, request, first: calls.map(\.bytes)))
    }

    private mutating func flush(_ peer: PeerID, at now: Instant) {
        guard case .open(let key, _) = lines[peer]?.stage else { return }
        timers.cancel(.idle(peer))
        while let call = lines[peer]?.queued.popFirst() {
            commands.append(.send(key, call.bytes))
            if call.expectsAnswer {
                lines[peer]?.sent.append(call)
            } else {
                finish(call.id, .answered(call.id, ByteBuffer()))
            }
        }
        settle(peer, at: now)
    }

    private mutating func finish(_ id: RequestID, _ outcome: Outcome) {
        guard peerOfCall.removeValue(forKey: id) != nil else { return }
        timers.cancel(.call(id))
        if unwanted.remove(id) == nil { outcomes.append(outcome) }
    }

    /// Nothing waits: the stream is kept for a while.
    private mutating func settle(_ peer: PeerID, at now: Instant) {
        guard let line = lines[peer], line.count == 0, case .open = line.stage else { return }
        timers.set(.idle(peer), at: now + limits.idleTimeout)
    }

    // MARK: Connections and streams

    package mutating func dialed(_ request: RequestID, _ connection: ConnectionID, at now: Instant) {
        guard let peer = peerOfRequest.removeValue(forKey: request), let line = lines[peer],
            case .dialling(request) = line.stage
        else { return }
        let next = numbers.next()
        peerOfRequest[next] = peer
        open(peer, line.queued, over: connection, next)
    }

    package mutating func dialFailed(_ request: RequestID) {
        guard let peer = peerOfRequest.removeValue(forKey: request) else { return }
        drop(peer)
    }

    package mutating func openFailed(_ request: RequestID) {
        guard let peer = peerOfRequest.removeValue(forKey: request) else { return }
        drop(peer)
    }

    package mutating func opened(_ request: RequestID, _ key: StreamKey, at now: Instant) {
        guard let peer = peerOfRequest.removeValue(forKey: request), case .opening(_, request) = lines[peer]?.stage
        else {
            return commands.append(.reset(key))
        }
        peerOfStream[key] = peer
        lines[peer]?.stage = .open(key, answersSeen: 0)
        let unanswered = lines[peer]?.sent.filter { !$0.expectsAnswer } ?? []
        lines[peer]?.sent.removeAll { !$0.expectsAnswer }
        for call in unanswered { finish(call.id, .answered(call.id, ByteBuffer())) }
        flush(peer, at: now)
    }

    /// A whole message on a stream of ours.
    package mutating func message(_ key: StreamKey, _ bytes: ByteBuffer, at now: Instant) {
        guard let peer = peerOfStream[key], case .open(_, let seen) = lines[peer]?.stage else { return }
        guard let call = lines[peer]?.sent.popFirst() else {
            // Nothing was asked.
            commands.append(.reset(key))
            return lost(key, at: now)
        }
        lines[peer]?.stage = .open(key, answersSeen: seen + 1)
        finish(call.id, .answered(call.id, bytes))
        settle(peer, at: now)
    }

    /// The stream ended or failed.
    package mutating func lost(_ key: StreamKey, at now: Instant) {
        guard let peer = peerOfStream.removeValue(forKey: key), let line = lines.removeValue(forKey: peer) else {
            return
        }
        timers.cancel(.idle(peer))
        guard case .open(_, let seen) = line.stage else { return }
        commands.append(.reset(key))
        var again: Deque<Call> = []
        for var call in line.sent + line.queued where peerOfCall[call.id] != nil {
            // A peer that answers once per stream is legal; one that answers nothing is not worth another try.
            if seen > 0, !call.wasRetried, !unwanted.contains(call.id) {
                call.wasRetried = true
                again.append(call)
            } else {
                finish(call.id, .failed(call.id))
            }
        }
        guard !again.isEmpty else { return }
        begin(peer, again, over: key.connection, at: now)
    }

    package mutating func connectionClosed(_ connection: ConnectionID) {
        let gone = lines.filter { _, line in
            switch line.stage {
            case .dialling: false
            case .opening(let id, _): id == connection
            case .open(let key, _): key.connection == connection
            }
        }.keys.sorted()
        for peer in gone { drop(peer) }
    }

    private mutating func drop(_ peer: PeerID) {
        guard let line = lines.removeValue(forKey: peer) else { return }
        timers.cancel(.idle(peer))
        switch line.stage {
        case .dialling(let request), .opening(_, let request): peerOfRequest[request] = nil
        case .open(let key, _): peerOfStream[key] = nil
        }
        for call in line.sent + line.queued { finish(call.id, .failed(call.id)) }
    }

    // MARK: Time

    package mutating func handleTimeout(at now: Instant) {
        while let key = timers.popExpired(at: now) {
            switch key {
            case .call(let id): expired(id, at: now)
            case .idle(let peer): closeIdle(peer)
            }
        }
    }

    private mutating func expired(_ id: RequestID, at now: Instant) {
        guard let peer = peerOfCall[id] else { return }
        finish(id, .failed(id))
        guard let line = lines[peer] else { return }
        lines[peer]?.queued.removeAll { $0.id == id }
        // The stream is stuck: those behind it on the same stream get another one.
        if line.sent.contains(where: { $0.id == id }), case .open(let key, _) = line.stage { return lost(key, at: now) }
        // Those that went out with it behind the proposal won't be answered either.
        if line.sent.contains(where: { $0.id == id }) { return drop(peer) }
        guard let left = lines[peer], left.count == 0 else { return }
        switch left.stage {
        case .dialling, .opening: drop(peer)
        case .open: settle(peer, at: now)
        }
    }

    private mutating func closeIdle(_ peer: PeerID) {
        guard let line = lines[peer], line.count == 0, case .open(let key, _) = line.stage else { return }
        lines[peer] = nil
        peerOfStream[key] = nil
        commands.append(.closeWriting(key))
        commands.append(.reset(key))
    }
}
