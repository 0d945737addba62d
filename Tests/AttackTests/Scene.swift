// SPDX-License-Identifier: Apache-2.0
import Foundation
import Synchronization
import Testing
import Tutti

/// All attack tests, one after the other: they measure.
@Suite("Attacks", .serialized, .timeLimit(.minutes(5)))
enum AttackTests {
    /// Attacks at the size that they are described with; takes minutes.
    static let isFull = ProcessInfo.processInfo.environment["TUTTI_FULL"] != nil

    /// The size of an attack, said aloud when it is reduced.
    static func size(_ name: String, full: Int, reduced: Int) -> Int {
        guard !isFull, reduced < full else { return full }
        print("\(name): REDUCED to \(reduced) of \(full); TUTTI_FULL=1 runs all")
        return reduced
    }
}

/// A victim, and an honest peer that is connected to it and pings it all the while.
struct Scene: Sendable {
    /// What an attack cost others.
    struct Figures: Sendable {
        var idlePing: [Duration] = []
        var attackedPing: [Duration] = []
        /// From the attack's first moment until a newcomer was connected, retries included.
        var newcomerConnected: Duration = .zero
        /// The highest seen, over idle.
        var memoryGrowth = 0
        /// Percent of one core, the honest peers' own use taken off.
        var processorPercent = 0
        var seconds: Double = 0

        var isPingHeld: Bool { median(attackedPing) <= 2 * median(idlePing) + 4000 }

        var line: String {
            String(
                format: "ping median %.0f -> %.0f us, p99 %.0f -> %.0f us; newcomer after %.2f s; memory +%.1f MiB; "
                    + "processor %d %% of a core over %.1f s",
                median(idlePing), median(attackedPing), quantile(idlePing, 0.99), quantile(attackedPing, 0.99),
                newcomerConnected / .seconds(1), Double(memoryGrowth) / 1_048_576, processorPercent, seconds)
        }
    }

    let victim: Victim
    let honest: Node

    static func run<Value: Sendable>(
        isTold: Bool = true, _ body: @escaping @Sendable (Scene) async throws -> Value
    ) async throws -> Value {
        let victim = try await Victim.start(isTold: isTold)
        return try await withNode(configuration) { honest in
            try await honest.dial(at: [victim.address])
            _ = try await honest.profile(of: victim.peerID)
            let value = try await body(Scene(victim: victim, honest: honest))
            #expect(victim.isAlive, "the victim crashed")
            #expect(honest.peers == [victim.peerID], "the honest peer lost its connection")
            return value
        }
    }

    /// A dialler; it tries an address again at once after a failure.
    static var configuration: NodeConfiguration {
        var configuration = NodeConfiguration()
        configuration.listen = []
        configuration.limits = .lab
        return configuration
    }

    /// Runs `attack` on a thread of its own and watches the victim meanwhile.
    func measure<Value: Sendable>(
        _ attack: @escaping @Sendable (Victim) throws -> Value
    ) async throws -> (Figures, Value) {
        var figures = Figures()
        _ = try await paced(10) { _ in true }
        let idleTime = victim.processorTime
        let idleBegan = ContinuousClock.now
        figures.idlePing = try await paced(30) { _ in true }
        let idleShare = (victim.processorTime - idleTime) / idleBegan.duration(to: .now)
        let memory = victim.memory
        let highest = Atomic<Int>(memory)
        let isOver = Atomic<Bool>(false)
        let began = ContinuousClock.now
        let time = victim.processorTime
        let victim = victim
        async let attacked = onThread {
            defer { isOver.store(true, ordering: .relaxed) }
            return try attack(victim)
        }
        async let newcomer = connectNewcomer(since: began)
        figures.attackedPing = try await paced(.max) { _ in
            highest.max(victim.memory, ordering: .relaxed)
            return !isOver.load(ordering: .relaxed)
        }
        let value = try await attacked
        let wall = began.duration(to: .now)
        figures.processorPercent = Int(100 * max(0, (victim.processorTime - time) / wall - idleShare))
        figures.newcomerConnected = try await newcomer
        figures.memoryGrowth = highest.load(ordering: .relaxed) - memory
        figures.seconds = wall / .seconds(1)
        return (figures, value)
    }

    /// Rounds of ten pings every 20 ms, so that the honest peer's own load is the same with and without an attack.
    private func paced(_ rounds: Int, while mustGoOn: (Int) -> Bool) async throws -> [Duration] {
        var trips: [Duration] = []
        var round = 0
        while round < rounds, mustGoOn(round) {
            trips += try await honest.ping(victim.peerID, count: 10)
            round += 1
            try await rest()
        }
        return trips
    }

    /// The pace of the honest: part of their load, nothing is waited for.
    private func rest() async throws {
        try await Task.sleep(for: .milliseconds(20))
    }

    private func connectNewcomer(since began: ContinuousClock.Instant) async throws -> Duration {
        try await withNode(Self.configuration) { [victim] node in
            while true {
                do {
                    try await node.dial(at: [victim.address], deadline: .seconds(6))
                    return began.duration(to: .now)
                } catch {
                    guard began.duration(to: .now) < .seconds(30) else { throw error }
                    try await rest()
                }
            }
        }
    }

    /// The bound of every row. Times are compared by their medians, with a scheduler's slice of slack.
    static func expectHolds(
        _ name: String, _ figures: Figures, _ more: String = "", sourceLocation: SourceLocation = #_sourceLocation
    ) {
        print("\(name): \(figures.line)\(more.isEmpty ? "" : "; " + more)")
        #expect(figures.memoryGrowth <= 64 << 20, "memory", sourceLocation: sourceLocation)
        #expect(figures.newcomerConnected <= .seconds(6), "newcomer", sourceLocation: sourceLocation)
        #expect(figures.isPingHeld, "ping", sourceLocation: sourceLocation)
    }
}

/// Microseconds.
func median(_ durations: [Duration]) -> Double {
    quantile(durations, 0.5)
}

/// Microseconds.
func quantile(_ durations: [Duration], _ share: Double) -> Double {
    guard !durations.isEmpty else { return 0 }
    let sorted = durations.sorted()
    return sorted[min(sorted.count - 1, Int(Double(sorted.count) * share))] / .microseconds(1)
}
