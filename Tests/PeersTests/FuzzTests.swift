// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiConnection
import TuttiIdentity
import TuttiPeers

import struct NIOCore.ByteBuffer

/// Random calls, legal and not, in random order; what must always hold is checked after each.
@Suite("Random inputs")
struct FuzzTests {
    @Test(
        "Whatever happens, each request has one answer, limits hold, time goes forward, unknown ids get nothing",
        arguments: 1...24)
    func fuzz(seed: UInt64) {
        var run = FuzzRun(seed: seed)
        for _ in 0..<3_000 { run.step() }
        run.finish()
        #expect(run.findings.isEmpty, "seed \(seed): \(run.findings.prefix(3))")
        #expect(run.requested > 300)
        #expect(run.dialed > 5)
        #expect(run.rejected > 20)
    }

    @Test("The same seed gives the same effects")
    func deterministic() {
        var runs = [FuzzRun(seed: 99), FuzzRun(seed: 99)]
        for index in runs.indices {
            for _ in 0..<2_000 { runs[index].step() }
        }
        #expect(runs[0].digest == runs[1].digest)
    }
}

private struct FuzzRun {
    private enum Life { case accepted, admitted, attempt, up, gone }

    private static let keys = (0..<12).map { key(UInt64(700 + $0)) }
    private static let texts = (0..<24).map { index in
        index % 3 == 0
            ? "/ip6/2001:db8::\(index)/tcp/1"
            : index % 5 == 0
                ? "/dns4/n\(index).example.org/tcp/1" : "/ip4/\(index % 2 == 0 ? 8 : 10).8.\(index).8/tcp/1"
    }

    private var generator: SeededGenerator
    private var core: PeersCore
    private let limits: NodeLimits
    private var now = Instant.zero
    private var lives: [ConnectionID: Life] = [:]
    private var ids: [ConnectionID] = []
    private var resolutions: [ConnectionID] = []
    private var openRequests: [(ConnectionID, RequestID, ProtocolID)] = []
    private var streams: [(ConnectionID, StreamID)] = []
    private var live: Set<RequestID> = []
    private var answered: Set<RequestID> = []
    private var nextInbound: UInt64 = 2
    private var nextStream: UInt64 = 1
    private(set) var requested: UInt64 = 0
    private(set) var dialed = 0
    private(set) var rejected = 0
    private(set) var findings: [String] = []
    private(set) var digest: UInt64 = 0xCBF2_9CE4_8422_2325

    init(seed: UInt64) {
        generator = SeededGenerator(seed: seed)
        var limits = NodeLimits.internet
        limits.connectionsMax = 20
        limits.connectionsInboundMax = 12
        limits.connectionsHighWater = 14
        limits.connectionsLowWater = 8
        limits.unauthenticatedMax = 5
        limits.dialsMax = 4
        limits.dialQueueMax = 3
        limits.dialRequestsMax = 12
        limits.inboundPerIP4GroupMax = 6
        self.limits = limits
        core = PeersCore(
            configuration: PeersConfiguration(identity: key(700), limits: limits, agent: "fuzz"), at: .zero)
    }

    private mutating func below(_ bound: Int) -> Int { Int.random(in: 0..<max(1, bound), using: &generator) }
    private mutating func anyID() -> ConnectionID {
        ids.isEmpty || below(20) == 0 ? ConnectionID(UInt64(below(5_000))) : ids[below(ids.count)]
    }
    private mutating func anyStream() -> (ConnectionID, StreamID) {
        streams.isEmpty || below(10) == 0 ? (anyID(), StreamID(UInt64(below(50)))) : streams[below(streams.count)]
    }
    private mutating func addresses() -> [Multiaddr] {
        (0..<below(6)).map { _ in address(FuzzRun.texts[below(FuzzRun.texts.count)]) }
    }

    mutating func step() {
        if below(3) == 0 { return pass(Int64(below(800))) }
        switch below(16) {
        case 0, 1, 2:
            requested += 1
            let id = RequestID(requested)
            live.insert(id)
            let peer = below(4) == 0 ? nil : FuzzRun.keys[below(FuzzRun.keys.count)].peerID
            give(.dialRequested(id, peer: peer, addresses: addresses(), deadline: now + .milliseconds(below(6_000))))
        case 3:
            give(.dialCancelled(RequestID(UInt64(below(Int(requested) + 2)))))
        case 4, 5:
            accept()
        case 6, 7, 8, 9:
            moveOn()
        case 10:
            if let id = resolutions.popLast() { give(.resolved(id, addresses())) }
        case 11:
            let reason: CloseReason = below(2) == 0 ? .remote : .timeout(.stream)
            let id = anyID()
            let wasKnown = lives[id] != nil && lives[id] != .gone
            if wasKnown { lives[id] = .gone }
            if wasKnown || below(4) == 0 { give(.closed(id, reason)) }
        default:
            stream()
        }
    }

    private mutating func accept() {
        let id = ConnectionID(nextInbound)
        nextInbound += 2
        lives[id] = .accepted
        ids.append(id)
        give(.accepted(id, remote: address("/ip4/20.0.\(below(4)).\(below(5) + 1)/tcp/\(below(60_000) + 1)")))
    }

    /// A connection that is under way comes up or fails.
    private mutating func moveOn() {
        let id = anyID()
        let remote = address("/ip4/20.0.0.1/tcp/1")
        let peer = FuzzRun.keys[below(FuzzRun.keys.count)]
        switch lives[id] {
        case .attempt:
            switch below(5) {
            case 0, 1, 2:
                up(id)
                give(.established(id, establishment(peer), .outbound, remote: remote))
            case 3:
                lives[id] = .gone
                give(.dialFailed(id, .violation(.refused(below(2) == 0 ? .noise : .tls), .negotiate)))
            default:
                lives[id] = .gone
                give(.dialFailed(id, unreachable))
            }
        case .admitted:
            up(id)
            give(.established(id, establishment(peer), .inbound, remote: remote))
        case .accepted, .up, .gone, nil:
            // Nonsense, as a broken driver would send it.
            if below(3) == 0 { give(.dialFailed(id, unreachable)) }
        }
    }

    private mutating func up(_ id: ConnectionID) {
        lives[id] = .up
        openRequests.append((id, PeersCore.query, IdentifyMessage.protocolID))
    }

    private mutating func stream() {
        let (id, stream) = anyStream()
        switch below(9) {
        case 0:
            guard !openRequests.isEmpty else { return }
            let (connection, request, name) = openRequests.remove(at: below(openRequests.count))
            guard lives[connection] == .up else { return }
            if below(5) == 0 { return give(.openFailed(connection, request: request)) }
            nextStream += 1
            streams.append((connection, StreamID(nextStream)))
            give(.streamOpened(connection, StreamID(nextStream), name, .outbound, request: request))
        case 1:
            nextStream += 1
            let connection = anyID()
            guard lives[connection] == .up else { return }
            streams.append((connection, StreamID(nextStream)))
            let name = below(8) == 0 ? "/other" : PeersCore.protocols[below(2)]
            give(.streamOpened(connection, StreamID(nextStream), name, .inbound, request: nil))
        case 2, 3:
            give(.message(id, stream, randomMessage()))
        case 4:
            give(.streamEnded(id, stream))
        case 5:
            give(.streamFailed(id, stream, .reset))
        case 6:
            give(.streamsInUse(id, count: below(4) - 1))
        case 7:
            give(.processorUsed(id, percent: below(120) - 10))
        default:
            switch below(5) {
            case 0: give(below(2) == 0 ? .listening(addresses()) : .told(id, version: UInt64(below(9))))
            case 1: give(.protocolsChanged([ProtocolID("/p\(below(9))")]))
            case 2: give(.disconnectRequested(FuzzRun.keys[below(12)].peerID))
            case 3: give(.protectionChanged(FuzzRun.keys[below(12)].peerID, isProtected: below(2) == 0))
            default: give(.addressesFound(FuzzRun.keys[below(12)].peerID, addresses()))
            }
        }
    }

    private mutating func randomMessage() -> ByteBuffer {
        var message = IdentifyMessage()
        message.protocols = [IdentifyMessage.pushProtocolID]
        message.listenAddresses = addresses()
        if below(3) == 0 { message.publicKey = FuzzRun.keys[below(12)].publicKey.protobuf }
        var bytes = Array(message.encoded.readableBytesView)
        if below(3) == 0, !bytes.isEmpty { bytes[below(bytes.count)] = UInt8(truncatingIfNeeded: below(256)) }
        return ByteBuffer(bytes: bytes)
    }

    private mutating func pass(_ milliseconds: Int64) {
        let end = now + .milliseconds(milliseconds)
        var rounds = 0
        while let next = core.nextTimeout, next <= end {
            now = max(now, next)
            core.handleTimeout(at: now)
            drain()
            if let after = core.nextTimeout, after <= now {
                findings.append("nextTimeout stays in the past")
                return
            }
            rounds += 1
            if rounds > 10_000 { return findings.append("timers without end") }
        }
        now = end
    }

    private mutating func give(_ input: PeersInput) {
        core.handle(input, at: now)
        drain()
    }

    private mutating func drain() {
        while let effect = core.nextEffect() { check(effect) }
        let stats = [core.connectionCount, core.inboundCount, core.unauthenticatedCount, core.activeDialCount]
        if core.inboundCount > limits.connectionsInboundMax { findings.append("inbound \(stats)") }
        if core.unauthenticatedCount > limits.unauthenticatedMax { findings.append("unauthenticated \(stats)") }
        if core.activeDialCount > limits.dialsMax { findings.append("dials \(stats)") }
        if core.queuedDialCount > limits.dialQueueMax { findings.append("queue \(stats)") }
        if core.pendingRequestCount != live.subtracting(answered).count { findings.append("a request got lost") }
        if core.connectionCount + core.unauthenticatedCount + core.activeDialCount > limits.connectionsMax {
            findings.append("connections \(stats)")
        }
        for key in FuzzRun.keys {
            let connections = core.connections(to: key.peerID)
            if connections.count > limits.connectionsPerPeerMax { findings.append("per peer") }
            if let preferred = core.connection(to: key.peerID), !connections.contains(preferred) {
                findings.append("the preferred connection is not in use")
            }
            if core.connection(to: key.peerID) == nil, !connections.isEmpty { findings.append("none is preferred") }
        }
    }

    private mutating func note(_ words: UInt64...) {
        for word in words { digest = (digest ^ word) &* 0x100_0000_01B3 }
    }

    private mutating func answer(_ request: RequestID) {
        if !live.contains(request) { findings.append("an answer nobody asked for") }
        if !answered.insert(request).inserted { findings.append("two answers for \(request)") }
    }

    private mutating func check(_ effect: PeersEffect) {
        switch effect {
        case .dial(let id, _, _, _, _):
            if lives[id] != nil { findings.append("id used twice") }
            lives[id] = .attempt
            ids.append(id)
            note(1, id.value)
        case .cancelDial(let id):
            if lives[id] != .attempt { findings.append("cancelDial for \(id)") }
            note(2, id.value)
        case .resolve(let id, _):
            resolutions.append(id)
            note(3, id.value)
        case .admit(let id):
            if lives[id] != .accepted { findings.append("admit for \(id)") }
            lives[id] = .admitted
            note(4, id.value)
        case .close(let id), .refuse(let id, _):
            if lives[id] == nil || lives[id] == .gone || lives[id] == .attempt { findings.append("close for \(id)") }
            note(5, id.value)
        case .openStream(let id, let name, let request, _):
            if lives[id] != .up { findings.append("openStream for \(id)") }
            openRequests.append((id, request, name))
            note(6, id.value, request.value)
        case .send(let id, let stream, _), .closeWriting(let id, let stream), .resetStream(let id, let stream):
            if lives[id] != .up { findings.append("stream effect for \(id)") }
            if !streams.contains(where: { $0 == (id, stream) }) { findings.append("unknown stream \(stream)") }
            note(7, id.value, stream.value)
        case .dialed(let request, let id, _):
            dialed += 1
            answer(request)
            if lives[id] != .up { findings.append("dialed with \(id)") }
            note(8, request.value, id.value)
        case .dialRejected(let request, _):
            rejected += 1
            answer(request)
            note(9, request.value)
        case .announce(let statement):
            note(11, statement.version)
        case .emit:
            note(10)
        }
    }

    /// Everybody goes; nothing may be left.
    mutating func finish() {
        for id in ids where lives[id] != .gone {
            let wasAttempt = lives[id] == .attempt
            lives[id] = .gone
            give(wasAttempt ? .dialFailed(id, unreachable) : .closed(id, .remote))
        }
        pass(60_000)
        for id in ids where lives[id] != .gone {
            lives[id] = .gone
            give(.dialFailed(id, unreachable))
        }
        pass(60_000)
        if live != answered { findings.append("requests without an answer") }
        if core.connectionCount != 0 || core.inboundCount != 0 || core.unauthenticatedCount != 0 {
            findings.append("connections left")
        }
        if core.activeDialCount != 0 || core.queuedDialCount != 0 || core.nextTimeout != nil {
            findings.append("dials or timers left")
        }
    }
}
