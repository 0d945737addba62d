// SPDX-License-Identifier: Apache-2.0
import DequeModule
import TuttiBase
import TuttiConnection
import TuttiIdentity
import TuttiNodeCore
import TuttiPeers

import struct NIOCore.ByteBuffer

/// What a bad line or somebody on it does to bytes. Shares of segments, parts per million.
package struct WireFaults: Hashable, Sendable {
    /// One bit is another.
    package var flips: UInt32 = 0
    /// Some bytes are missing.
    package var cuts: UInt32 = 0
    /// Off: what was damaged is whole again when it is read, as for one that checks nothing.
    package var areNoticeable = true

    package init() {}
}

/// What came of bytes on their way.
package struct WireStats: Hashable, Sendable {
    package var bytes: UInt64 = 0
    package var segments: UInt64 = 0
    package var resent: UInt64 = 0
    package var damaged: UInt64 = 0
    /// Ends that read damaged bytes, and why they then ended.
    package var endsDamaged = 0
    package var endsByViolation = 0
    package var endsByTimeout = 0
    package var endsOtherwise = 0

    /// What such ends told their nodes after the first damaged byte, beside that they end.
    package var toldAfterDamage = 0

    /// Ends that read damaged bytes and have not ended. A length that was damaged makes one wait for the rest of its record.
    package var endsWaiting: Int { endsDamaged - endsByViolation - endsByTimeout - endsOtherwise }
}

/// Sockets of `NodeFleet` at byte level: two connections and a pipe each way between them.
///
/// A pipe keeps order. It has its socket's latency, its sender's uplink, a window of bytes under way, and delays what is
/// lost until it was sent again. What arrives at one moment is read in one piece, so that nothing lies at the bounds of
/// messages or records.
struct ByteLinks: ~Copyable {
    struct Plan {
        let dialler: Int
        let listener: Int
        let dialID: ConnectionID
        let acceptID: ConnectionID
        /// As the listener sees the dialler, and as the dialler named the listener.
        let remoteOfListener: Multiaddr
        let remoteOfDialler: Multiaddr
        let expected: PeerID?
        let security: ProtocolID
        let deadline: Instant
        let latency: UInt64
    }

    /// Side 0 is the dialler's.
    enum Event {
        case accepted(Int)
        case connected(Int)
        case arrived(Int, side: Int)
        case writable(Int, side: Int)
        case timer(Int, side: Int)
        case ended(Int, side: Int, failure: String?)
    }

    private struct End {
        let node: Int
        var connection: VirtualConnection?
        /// What comes to this end.
        var incoming: Deque<(at: UInt64, bytes: ByteBuffer, isDamaged: Bool)> = []
        var incomingBytes = 0
        var lastArrival: UInt64 = 0
        var isSenderBlocked = false
        /// The bytes before the next ones are missing.
        var isCut = false
        var hasReadDamage = false
        var armed = UInt64.max
        var isTouched = false
        var isOver = false
    }

    private struct Link {
        let plan: Plan
        var ends: [End]
    }

    private struct Host {
        var terms: ConnectionTerms
        var secrets: SeededGenerator
        var uplinkFree: UInt64 = 0
    }

    private static let segmentBytesMax = 1_448
    private static let windowBytesMax = 256 * 1_024
    private static let chunkBytesMax = 64 * 1_024

    var faults = WireFaults()
    private(set) var stats = WireStats()
    private(set) var digest = EventDigest()
    private var hosts: [Host] = []
    private var links: [Link] = []
    private var touched: Deque<(link: Int, side: Int)> = []
    private var scheduled: [(at: UInt64, node: Int, Event)] = []
    private var told: [(node: Int, input: PeersInput)] = []
    private var over: [Int] = []
    private let network: NetworkModel
    private let seed: UInt64
    private var draws: DrawStream
    private var damage: DrawStream

    init(network: NetworkModel, seed: UInt64) {
        self.network = network
        self.seed = seed
        draws = DrawStream(seed: seed &+ 1, .link)
        damage = DrawStream(seed: seed, .faults)
    }

    // MARK: Hosts

    mutating func add(_ key: KeyPair, limits: ConnectionLimits, protocols: [CoreProtocol]) {
        var own = DrawStream(seed: seed, peer: PeerIndex(UInt32(hosts.count)), .secrets)
        var secrets = KeySource.seeded(SeededGenerator(seed: own.next()))
        let terms = ConnectionTerms(key, limits: limits, protocols: protocols, secrets: &secrets)
        hosts.append(Host(terms: terms, secrets: SeededGenerator(seed: own.next())))
    }

    mutating func announce(_ node: Int, _ statement: IdentifyStatement) {
        hosts[node].terms.statement = statement
        tellTerms(of: node)
    }

    mutating func setProtocols(_ node: Int, _ protocols: [CoreProtocol]) {
        hosts[node].terms.protocols = protocols
        tellTerms(of: node)
    }

    private func tellTerms(of node: Int) {
        for link in links {
            for end in link.ends where end.node == node { end.connection?.terms = hosts[node].terms }
        }
    }

    /// The process ends; what it had is closed by its system.
    mutating func crash(_ node: Int, at time: UInt64) {
        for index in links.indices {
            for side in 0...1 where links[index].ends[side].node == node && !links[index].ends[side].isOver {
                leave(index, side, at: time, failure: "connection reset by peer")
            }
        }
    }

    // MARK: What is to be done elsewhere

    mutating func takeScheduled() -> [(at: UInt64, node: Int, Event)] {
        var taken: [(at: UInt64, node: Int, Event)] = []
        swap(&taken, &scheduled)
        return taken
    }

    mutating func takeTold() -> [(node: Int, input: PeersInput)] {
        var taken: [(node: Int, input: PeersInput)] = []
        swap(&taken, &told)
        return taken
    }

    /// Links whose ends are both over.
    mutating func takeOver() -> [Int] {
        var taken: [Int] = []
        swap(&taken, &over)
        return taken
    }

    // MARK: Links

    /// They are numbered as they come.
    mutating func open(_ plan: Plan, at time: UInt64) {
        let index = links.count
        links.append(Link(plan: plan, ends: [End(node: plan.dialler), End(node: plan.listener)]))
        scheduled.append((time &+ plan.latency, plan.listener, .accepted(index)))
        scheduled.append((time &+ plan.latency &* 2, plan.dialler, .connected(index)))
    }

    mutating func perform(_ effect: PeersEffect, on index: Int, _ side: Int, at time: UInt64) {
        let now = Instant(nanoseconds: Int64(time))
        guard !links[index].ends[side].isOver else { return }
        guard let connection = links[index].ends[side].connection else {
            switch effect {
            case .admit: begin(index, side, at: time)
            case .close, .refuse, .cancelDial:
                let plan = links[index].plan
                told.append(
                    side == 0
                        ? (plan.dialler, .dialFailed(plan.dialID, .local))
                        : (plan.listener, .closed(plan.acceptID, .local)))
                leave(index, side, at: time, failure: nil)
            default: break
            }
            return
        }
        switch effect {
        case .cancelDial: if !connection.isEstablished { connection.close(at: now) }
        case .close, .refuse: connection.close(at: now)
        case .openStream(_, let name, let request, let first): connection.open(name, request, first, at: now)
        case .send(_, let stream, let message): connection.send(message, on: stream, at: now)
        case .closeWriting(_, let stream): connection.closeWriting(stream, at: now)
        case .resetStream(_, let stream): connection.reset(stream, at: now)
        default: return
        }
        touch(index, side)
    }

    mutating func handle(_ event: Event, at time: UInt64) {
        let now = Instant(nanoseconds: Int64(time))
        switch event {
        case .accepted(let index):
            let plan = links[index].plan
            guard !links[index].ends[1].isOver else { return }
            told.append((plan.listener, .accepted(plan.acceptID, remote: plan.remoteOfListener)))
        case .connected(let index): if !links[index].ends[0].isOver { begin(index, 0, at: time) }
        case .arrived(let index, let side): read(index, side, at: time)
        case .writable(let index, let side): touch(index, side)
        case .timer(let index, let side):
            guard links[index].ends[side].armed == time else { return }
            links[index].ends[side].armed = .max
            guard let connection = links[index].ends[side].connection else { return }
            if let due = connection.nextTimeout, due <= now { connection.handleTimeout(at: now) }
            touch(index, side)
        case .ended(let index, let side, let failure):
            guard !links[index].ends[side].isOver else { return }
            if let connection = links[index].ends[side].connection {
                connection.ended(failure, at: now)
                return touch(index, side)
            }
            let plan = links[index].plan
            told.append(
                side == 0
                    ? (plan.dialler, .dialFailed(plan.dialID, .transport("connection refused", .dial)))
                    : (plan.listener, .closed(plan.acceptID, .remote)))
            leave(index, side, at: time, failure: nil)
        }
    }

    /// Sends and tells what connections want sent and told, since the last call.
    mutating func work(at time: UInt64) {
        while let (index, side) = touched.popFirst() {
            links[index].ends[side].isTouched = false
            guard let connection = links[index].ends[side].connection else { continue }
            pump(connection, index, side, at: time)
            let node = links[index].ends[side].node
            tell(connection, index, side)
            if let reason = connection.end {
                if links[index].ends[side].hasReadDamage { count(reason) }
                leave(index, side, at: time, failure: nil)
            } else if let due = connection.nextTimeout, due < .distantFuture {
                let at = max(UInt64(max(0, due.nanoseconds)), time)
                guard at < links[index].ends[side].armed else { continue }
                links[index].ends[side].armed = at
                scheduled.append((at, node, .timer(index, side: side)))
            }
        }
    }

    // MARK: Ends

    private mutating func touch(_ index: Int, _ side: Int) {
        guard !links[index].ends[side].isTouched else { return }
        links[index].ends[side].isTouched = true
        touched.append((index, side))
    }

    private mutating func begin(_ index: Int, _ side: Int, at time: UInt64) {
        let plan = links[index].plan
        let node = links[index].ends[side].node
        links[index].ends[side].connection = VirtualConnection(
            side == 0 ? plan.dialID : plan.acceptID, side == 0 ? .outbound : .inbound,
            remote: side == 0 ? plan.remoteOfDialler : plan.remoteOfListener,
            expected: side == 0 ? plan.expected : nil, security: plan.security,
            deadline: side == 0 ? plan.deadline : .distantFuture, terms: hosts[node].terms,
            secrets: .seeded(hosts[node].secrets.split()), at: Instant(nanoseconds: Int64(time)))
        touch(index, side)
        read(index, side, at: time)
    }

    private mutating func leave(_ index: Int, _ side: Int, at time: UInt64, failure: String?) {
        links[index].ends[side].isOver = true
        links[index].ends[side].connection = nil
        links[index].ends[side].incoming = []
        if links[index].ends[1 - side].isOver { return over.append(index) }
        let other = links[index].ends[1 - side]
        let arrival = max(time &+ links[index].plan.latency, other.lastArrival)
        scheduled.append((arrival, other.node, .ended(index, side: 1 - side, failure: failure)))
    }

    private mutating func tell(_ connection: VirtualConnection, _ index: Int, _ side: Int) {
        for input in connection.takeTold() {
            if links[index].ends[side].hasReadDamage, input.isTrusted { stats.toldAfterDamage += 1 }
            told.append((links[index].ends[side].node, input))
        }
    }

    private mutating func count(_ reason: CloseReason) {
        switch reason {
        case .violation: stats.endsByViolation += 1
        case .timeout: stats.endsByTimeout += 1
        case .local, .remote, .transport: stats.endsOtherwise += 1
        }
    }

    // MARK: Pipes

    private mutating func read(_ index: Int, _ side: Int, at time: UInt64) {
        while let connection = links[index].ends[side].connection, connection.end == nil {
            var bytes = ByteBuffer()
            while let next = links[index].ends[side].incoming.first, next.at <= time {
                if next.isDamaged, !links[index].ends[side].hasReadDamage {
                    // What came whole is told before.
                    if bytes.readableBytes > 0 { break }
                    tell(connection, index, side)
                    links[index].ends[side].hasReadDamage = true
                    stats.endsDamaged += 1
                }
                links[index].ends[side].incoming.removeFirst()
                bytes.writeImmutableBuffer(next.bytes)
            }
            guard bytes.readableBytes > 0 else { return }
            receive(bytes, connection, index, side, at: time)
        }
    }

    private mutating func receive(
        _ bytes: ByteBuffer, _ connection: VirtualConnection, _ index: Int, _ side: Int, at time: UInt64
    ) {
        links[index].ends[side].incomingBytes -= bytes.readableBytes
        if links[index].ends[side].isSenderBlocked {
            links[index].ends[side].isSenderBlocked = false
            let (at, sender) = (time &+ links[index].plan.latency, links[index].ends[1 - side].node)
            scheduled.append((at, sender, .writable(index, side: 1 - side)))
        }
        // Ciphertext ends in its tag, which is another if any byte before it is.
        digest.mix(UInt64(bytes.readableBytes))
        for byte in bytes.readableBytesView.suffix(8) { digest.mix(UInt64(byte)) }
        connection.receive(bytes, at: Instant(nanoseconds: Int64(time)))
        touch(index, side)
    }

    private mutating func pump(_ connection: VirtualConnection, _ index: Int, _ side: Int, at time: UInt64) {
        let now = Instant(nanoseconds: Int64(time))
        while connection.hasOutput {
            let room = Self.windowBytesMax - links[index].ends[1 - side].incomingBytes
            guard room > 0 || connection.end != nil else {
                links[index].ends[1 - side].isSenderBlocked = true
                return
            }
            let bytes = connection.produce(bytesMax: min(max(room, 1), Self.chunkBytesMax), at: now)
            guard bytes.readableBytes > 0 else { return }
            carry(bytes, index, from: side, at: time)
        }
    }

    private mutating func carry(_ bytes: ByteBuffer, _ index: Int, from side: Int, at time: UInt64) {
        guard !links[index].ends[1 - side].isOver else { return }
        let (sender, receiver) = (links[index].ends[side].node, links[index].ends[1 - side].node)
        var bytes = bytes
        while let slice = bytes.readSlice(length: min(Self.segmentBytesMax, bytes.readableBytes)),
            slice.readableBytes > 0
        {
            // A copy, as a socket would make it: it is decrypted in place.
            var segment = ByteBuffer()
            segment.writeImmutableBuffer(slice)
            stats.segments += 1
            stats.bytes += UInt64(segment.readableBytes)
            let sent = leaveUplink(sender, segment.readableBytes, at: time)
            let arrival = max(sent &+ links[index].plan.latency &+ lossDelay(), links[index].ends[1 - side].lastArrival)
            if arrival > links[index].ends[1 - side].lastArrival {
                scheduled.append((arrival, receiver, .arrived(index, side: 1 - side)))
            }
            links[index].ends[1 - side].lastArrival = arrival
            for (part, isDamaged) in parts(of: segment, index, 1 - side) where part.readableBytes > 0 {
                links[index].ends[1 - side].incomingBytes += part.readableBytes
                links[index].ends[1 - side].incoming.append((arrival, part, isDamaged))
            }
        }
    }

    private mutating func leaveUplink(_ node: Int, _ bytes: Int, at time: UInt64) -> UInt64 {
        guard network.uplinkBytesPerSecond > 0 else { return time }
        let duration = UInt64(bytes) &* 1_000_000_000 / network.uplinkBytesPerSecond
        hosts[node].uplinkFree = max(hosts[node].uplinkFree, time) &+ duration
        return hosts[node].uplinkFree
    }

    private mutating func lossDelay() -> UInt64 {
        let (delay, resends) = network.resendDelay(&draws)
        stats.resent += resends
        return delay
    }

    /// A segment as it arrives: what is whole, and what is not or comes after bytes that are missing.
    private mutating func parts(
        of segment: ByteBuffer, _ index: Int, _ side: Int
    ) -> [(bytes: ByteBuffer, isDamaged: Bool)] {
        let isDamaged = links[index].ends[side].isCut
        links[index].ends[side].isCut = false
        let (isFlipped, isCut) = (damage.happens(faults.flips), damage.happens(faults.cuts))
        guard isFlipped || isCut else { return [(segment, isDamaged)] }
        stats.damaged += 1
        guard faults.areNoticeable else { return [(segment, true)] }
        let view = segment.readableBytesView
        let place = Int(damage.below(UInt64(view.count)))
        var (whole, rest) = (ByteBuffer(), ByteBuffer())
        whole.writeBytes(view.prefix(place))
        rest.writeBytes(view.dropFirst(isCut ? place + 1 + Int(damage.below(UInt64(view.count - place))) : place))
        if isCut, rest.readableBytes == 0 { links[index].ends[side].isCut = true }
        if isFlipped, let byte = rest.getInteger(at: rest.readerIndex, as: UInt8.self) {
            rest.setInteger(byte ^ 1 << UInt8(damage.below(8)), at: rest.readerIndex)
        }
        return [(whole, isDamaged), (rest, true)]
    }
}

extension PeersInput {
    /// What a node takes for the word of its peer.
    fileprivate var isTrusted: Bool {
        switch self {
        case .established, .streamOpened, .message, .streamEnded: true
        default: false
        }
    }
}

extension NetworkModel {
    /// How much later something comes that is sent again after each loss, and how often it was.
    func resendDelay(_ draws: inout DrawStream) -> (delay: UInt64, resends: UInt64) {
        var delay: UInt64 = 0
        var again = UInt64(max(1, resendTimeout.saturatedNanoseconds))
        var resends: UInt64 = 0
        while resends < 8, draws.happens(loss) {
            delay &+= again
            again &*= 2
            resends += 1
        }
        return (delay, resends)
    }
}
