// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

/// One core type at up to a million peers, message by message, in virtual time.
///
/// A peer is a struct in an array; it has at most one timer that counts in the queue, and is asked for the next one
/// after everything that it was told. A timer that fires too early, because the core put it off, is set again: putting
/// off costs nothing. What goes wrong is `FaultAction`s and a `NetworkModel`, drawn from streams per peer.
package struct Fleet<Core: SimulatedCore>: ~Copyable {
    enum Happening: Sendable {
        case timer
        case message(from: UInt32, life: UInt16, Core.Message)
        case command(Core.Command)
        case dialled(from: UInt32, life: UInt16)
        case accepted(by: UInt32, life: UInt16, own: UInt16)
        case dialFailed(to: UInt32)
        case linkDown(with: UInt32, life: UInt16)
        /// We let go of it.
        case released(UInt32)
        /// A message came to a life that knows of no link.
        case reset(by: UInt32)
        /// A session or an absence ends.
        case churn(life: UInt16)
    }

    struct Cell: Sendable {
        /// When the timer in the queue fires that counts.
        var armed = UInt64.max
        var draws: DrawStream
        var sent: UInt32 = 0
        var received: UInt32 = 0
        /// Counts lives: what was meant for an earlier one is dropped.
        var life: UInt16 = 0
        var isAlive = true
        /// Nobody can dial it.
        var isUnreachable = false
        var isLineBad = false
        var isSilent = false
    }

    struct Link: Sendable {
        let peer: UInt32
        /// The life of that peer in which the link began.
        let life: UInt16
        var isBreaking = false
        /// Order is kept: nothing arrives before this.
        var lastArrival: UInt64 = 0
    }

    /// What one peer's clock shows: `time + time * drift / 1,000,000 + offset`.
    struct LocalClock: Sendable {
        var offset: Int64 = 0
        var drift: Int64 = 0
    }

    /// A peer that does not read: what comes for it waits in its socket.
    struct Stall: Sendable {
        var until: UInt64 = 0
        var waiting: UInt32 = 0
    }

    struct Partition: Sendable {
        let first: UInt32
        let rotation: UInt32
        let oneWay: Bool
    }

    package private(set) var peers: [Core]
    package internal(set) var world: Core.World
    package let seed: UInt64
    package private(set) var digest = EventDigest()
    package private(set) var events: UInt64 = 0
    package internal(set) var counts = FleetCounts()
    package private(set) var reports: [(at: Instant, peer: PeerIndex, report: Core.Report)] = []

    var queue = EventQueue<Happening>()
    var cells: [Cell]
    var time: UInt64 = 0
    /// The peers don't fit the cache of a processor, so that `warm` pays.
    private let isLarge: Bool
    /// What `warm` read, so that it is read.
    private var warmth: UInt64 = 0
    var network: NetworkModel
    var latencies: LatencyTable
    var partition: Partition?
    /// These two don't reach each other, whoever else does.
    package var cutPath: (UInt32, UInt32)?
    var links: [[Link]]
    /// Empty until a fault needs them.
    var clocks: [LocalClock] = []
    var busyUntil: [UInt64] = []
    var lineFreeAt: [UInt64] = []
    var clogUntil: [UInt64] = []
    var stalls: [Stall] = []
    var churn: ChurnModel?
    var churnDraws: [DrawStream] = []
    let usesLinks: Bool
    var isAnyUnreachable = false
    /// Peers below this number never leave by churn.
    var permanentCount: UInt32 = 0

    /// - Parameter usesLinks: messages need a link that was dialled; they arrive in order, and losing one costs time.
    package init(count: Int, world: Core.World, network: NetworkModel, seed: UInt64, usesLinks: Bool) {
        self.world = world
        self.seed = seed
        self.network = network
        self.usesLinks = usesLinks
        latencies = LatencyTable(network.latency)
        isLarge = count > (4 << 20) / MemoryLayout<Core>.stride
        peers = []
        peers.reserveCapacity(count)
        cells = []
        cells.reserveCapacity(count)
        links = usesLinks ? Array(repeating: [], count: count) : []
        for place in 0..<count {
            let peer = PeerIndex(UInt32(place))
            cells.append(Cell(draws: DrawStream(seed: seed, peer: peer, .link)))
            peers.append(Core(peer, world: world, seed: Self.coreSeed(seed, peer, life: 0), at: .zero))
        }
    }

    static func coreSeed(_ seed: UInt64, _ peer: PeerIndex, life: UInt16) -> UInt64 {
        var draws = DrawStream(seed: seed &+ UInt64(life) &* 0x5851_F42D_4C95_7F2D, peer: peer, .core)
        return draws.next()
    }

    package var count: Int { peers.count }
    package var now: Instant { Instant(nanoseconds: Int64(time)) }
    package func isAlive(_ peer: PeerIndex) -> Bool { cells[Int(peer.value)].isAlive }
    package var aliveCount: Int { cells.reduce(0) { $0 + ($1.isAlive ? 1 : 0) } }

    /// Messages that each peer has sent, for a plot.
    package var sentPerPeer: Histogram {
        var histogram = Histogram()
        for cell in cells { histogram.add(UInt64(cell.sent)) }
        return histogram
    }

    /// Changes a peer directly, as for loading a table at the start.
    package mutating func update(_ peer: PeerIndex, _ body: (inout Core, Core.World, Instant) -> Void) {
        let place = Int(peer.value)
        body(&peers[place], world, localTime(place))
        settle(place)
    }

    package mutating func schedule(_ command: Core.Command, for peer: PeerIndex, at instant: Instant) {
        queue.push(at: UInt64(max(0, instant.nanoseconds)), peer: peer.value, .command(command))
    }

    package mutating func takeReports() -> [(at: Instant, peer: PeerIndex, report: Core.Report)] {
        var taken: [(at: Instant, peer: PeerIndex, report: Core.Report)] = []
        swap(&taken, &reports)
        return taken
    }

    /// All that happens until `end`.
    package mutating func run(until end: Instant) {
        let end = UInt64(max(0, end.nanoseconds))
        while true {
            if isLarge { warm() }
            guard let event = queue.pop(notAfter: end) else { break }
            if event.time > time { time = event.time }
            let place = Int(event.peer)
            if !busyUntil.isEmpty, busyUntil[place] > time, cells[place].isAlive {
                if case .timer = event.payload, cells[place].armed == event.time {
                    cells[place].armed = busyUntil[place]
                }
                queue.push(at: busyUntil[place], peer: event.peer, event.payload)
                continue
            }
            if !stalls.isEmpty, stalls[place].until > time, case .message = event.payload {
                wait(event.payload, place)
                continue
            }
            take(event.payload, place)
        }
        if end > time { time = end }
    }

    private mutating func wait(_ happening: Happening, _ place: Int) {
        guard stalls[place].waiting < network.socketMessagesMax else { return counts.overflowed &+= 1 }
        stalls[place].waiting += 1
        queue.push(at: stalls[place].until, peer: UInt32(place), happening)
    }

    /// Peers lie far apart in memory, and most of the time goes by in waiting for it. So all that the next events need is
    /// read together, before the first of them is due: processors wait for many reads as long as for one.
    @inline(__always)
    private mutating func warm() {
        let upcoming = queue.takeUpcoming()
        guard upcoming.count > 0 else { return }
        var sum: UInt64 = 0
        let stride = MemoryLayout<Core>.stride
        for event in upcoming.indices {
            let place = Int(upcoming[event].peer)
            sum &+= cells[place].armed
            peers.withUnsafeBytes { bytes in
                var offset = place &* stride
                let end = offset &+ stride
                while offset < end {
                    sum &+= UInt64(bytes[offset])
                    offset &+= 64
                }
            }
        }
        // Held once: counting a reference makes the processor wait for all reads before it.
        let world = world
        peers.withUnsafeMutableBufferPointer { peers in
            for event in upcoming.indices {
                let place = Int(upcoming[event].peer)
                if case .message(let from, _, _) = upcoming[event].payload {
                    sum &+= peers[place].warm(for: PeerIndex(from), world: world)
                } else {
                    sum &+= peers[place].warm(for: nil, world: world)
                }
            }
        }
        warmth &+= sum
    }

    private mutating func take(_ happening: Happening, _ place: Int) {
        switch happening {
        case .timer:
            guard cells[place].armed == time, cells[place].isAlive else {
                counts.staleTimers &+= 1
                return
            }
            cells[place].armed = .max
            let local = localTime(place)
            guard let due = Self.nextTimeout(&peers[place]) else { return }
            guard due <= local else { return arm(place) }
            record(0, place, 0)
            peers[place].handleTimeout(world: world, at: local)
        case .message(let from, let life, let message):
            guard cells[place].isAlive, !usesLinks || hasLink(place, with: from, life: life) else {
                counts.undeliverable &+= 1
                return refuse(place, from)
            }
            record(1, place, UInt64(from) ^ Core.fingerprint(message) << 32)
            cells[place].received &+= 1
            peers[place].receive(message, from: PeerIndex(from), world: world, at: localTime(place))
        case .command(let command):
            guard cells[place].isAlive else { return }
            record(2, place, 0)
            peers[place].handle(command, world: world, at: localTime(place))
        case .churn(let life):
            guard cells[place].life == life else { return }
            record(3, place, 0)
            return turnChurn(place)
        case .dialled, .accepted, .dialFailed, .linkDown, .released, .reset:
            record(4, place, 0)
            takeLink(happening, place)
        }
        settle(place)
    }

    @inline(__always)
    private mutating func record(_ kind: UInt64, _ place: Int, _ word: UInt64) {
        events &+= 1
        digest.mix(time)
        digest.mix(kind &+ UInt64(place) &* 8)
        digest.mix(word)
    }

    /// Does what a peer wants done and sets its timer.
    mutating func settle(_ place: Int) {
        guard cells[place].isAlive else { return }
        let local = localTime(place)
        while let step = peers[place].nextStep(world: world, at: local) {
            switch step {
            case .send(let to, let message): send(message, from: place, to: to.value)
            case .connect(let to): dial(from: place, to: to.value)
            case .release(let to): release(place, to.value)
            case .report(let report): reports.append((now, PeerIndex(UInt32(place)), report))
            }
        }
        arm(place)
    }

    /// In place: asking an element of an array by value copies the whole peer, and holds all that it has.
    @inline(__always)
    private static func nextTimeout(_ peer: inout Core) -> Instant? { peer.nextTimeout }

    /// One event in the queue is enough when it fires before the timer is due.
    @inline(__always)
    private mutating func arm(_ place: Int) {
        guard let due = Self.nextTimeout(&peers[place]), due < .distantFuture else { return }
        let at = max(globalTime(due, place), time)
        guard at < cells[place].armed else { return }
        cells[place].armed = at
        queue.push(at: at, peer: UInt32(place), .timer)
    }

    // MARK: Clocks

    @inline(__always)
    func localTime(_ place: Int) -> Instant {
        guard !clocks.isEmpty else { return Instant(nanoseconds: Int64(time)) }
        let clock = clocks[place]
        return Instant(nanoseconds: Int64(time) &+ Int64(time) / 1_000_000 &* clock.drift &+ clock.offset)
    }

    @inline(__always)
    private func globalTime(_ due: Instant, _ place: Int) -> UInt64 {
        guard !clocks.isEmpty else { return UInt64(max(0, due.nanoseconds)) }
        let clock = clocks[place]
        let run = due.nanoseconds &- clock.offset
        // A step of drift late rather than early: an early timer would fire again and again.
        let estimate = run &- run / (1_000_000 &+ clock.drift) &* clock.drift &+ abs(clock.drift) &* 2
        return UInt64(max(0, estimate))
    }

    // MARK: Lives

    /// Replaces the core; the caller schedules the rest.
    mutating func begin(_ place: Int, keepsDisk: Bool) {
        cells[place].life &+= 1
        cells[place].isAlive = true
        cells[place].isSilent = false
        cells[place].armed = .max
        let peer = PeerIndex(UInt32(place))
        peers[place].restart(
            keepsDisk: keepsDisk, world: world, seed: Self.coreSeed(seed, peer, life: cells[place].life),
            at: localTime(place))
        settle(place)
    }

    mutating func forEachLinked(_ place: Int, _ body: (inout Self, Link) -> Void) {
        guard usesLinks else { return }
        let ended = links[place]
        links[place] = []
        for link in ended { body(&self, link) }
    }

    mutating func tell(_ change: LinkChange, _ place: Int, with peer: UInt32) {
        peers[place].linkChanged(change, with: PeerIndex(peer), world: world, at: localTime(place))
    }
}

/// What happened in a fleet, beside what its cores count.
package struct FleetCounts: Hashable, Sendable {
    package var sent: UInt64 = 0
    package var bytes: UInt64 = 0
    package var lost: UInt64 = 0
    package var duplicated: UInt64 = 0
    package var overflowed: UInt64 = 0
    /// The receiver was dead, or the link was gone.
    package var undeliverable: UInt64 = 0
    package var blocked: UInt64 = 0
    package var dials: UInt64 = 0
    package var linksBroken: UInt64 = 0
    /// Timers in the queue that no longer counted: not events.
    package var staleTimers: UInt64 = 0
    package var crashes: UInt64 = 0
    package var restarts: UInt64 = 0

    package init() {}
}
