// SPDX-License-Identifier: Apache-2.0
import TuttiBase

/// What is said of a run: numbers, checks and plots. A value; whoever runs it writes the files.
package struct ScenarioResult: Sendable {
    package struct Metric: Sendable {
        package let name: String
        package let value: Double
        package let unit: String
    }

    /// A statement that a run confirms or refutes.
    package struct Check: Sendable {
        package let name: String
        package let expected: String
        package let got: Double
        package let tolerance: String
        package let holds: Bool
    }

    package struct Plot: Sendable {
        package let title: String
        package let horizontal: String
        package let vertical: String
        package let points: [(x: Double, y: Double)]
    }

    package internal(set) var scenario = ""
    package internal(set) var settings: [(name: String, value: Int)] = []
    /// Network, faults, configuration: what the numbers depend on.
    package var model: [String] = []
    package var metrics: [Metric] = []
    package var checks: [Check] = []
    package var plots: [Plot] = []
    package var digest: UInt64 = 0
    package var events: UInt64 = 0
    package var simulatedSeconds: Double = 0

    package init() {}

    package var holds: Bool { checks.allSatisfy(\.holds) }

    /// The command that repeats the run.
    package var command: String {
        (["tutti", "lab", "run", scenario] + settings.flatMap { ["--" + $0.name, String($0.value)] })
            .joined(separator: " ")
    }

    package mutating func add(_ name: String, _ value: Double, _ unit: String = "") {
        metrics.append(Metric(name: name, value: value, unit: unit))
    }

    package mutating func add<Core>(_ fleet: borrowing Fleet<Core>) {
        digest = fleet.digest.value
        events = fleet.events
        simulatedSeconds = (fleet.now - Instant.zero).secondsForDisplay
        model.append(fleet.network.summary)
        let counts = fleet.counts
        add("messages", Double(counts.sent))
        add("bytes", Double(counts.bytes), "B")
        if counts.lost > 0 { add("messages lost", Double(counts.lost)) }
        if counts.crashes > 0 { add("crashes", Double(counts.crashes)) }
        if counts.restarts > 0 { add("restarts", Double(counts.restarts)) }
        let sent = fleet.sentPerPeer
        add("messages per peer, median", Double(sent.percentile(partsPerThousand: 500)))
        add("messages per peer, 99th percentile", Double(sent.percentile(partsPerThousand: 990)))
        plots.append(
            Plot(
                title: "Messages per peer", horizontal: "messages sent", vertical: "share of peers",
                points: sent.distribution.map { (Double($0.value), $0.share) }))
    }

    /// Latencies in nanoseconds as percentiles in milliseconds, and a curve.
    package mutating func add(latency histogram: Histogram, of name: String) {
        for (label, part) in [("p50", 500), ("p90", 900), ("p99", 990)] as [(String, UInt64)] {
            add("\(name) \(label)", Double(histogram.percentile(partsPerThousand: part)) / 1e6, "ms")
        }
        plots.append(
            Plot(
                title: "Latency of \(name)", horizontal: "ms", vertical: "share",
                points: histogram.distribution.map { (Double($0.value) / 1e6, $0.share) }))
    }

    package mutating func check(_ name: String, _ got: Double, in range: ClosedRange<Double>) {
        let upper = range.upperBound == .infinity ? "" : NumberText.short(range.upperBound)
        let expected =
            upper.isEmpty
            ? ">= \(NumberText.short(range.lowerBound))"
            : range.lowerBound == -.infinity
                ? "<= \(upper)"
                : range.lowerBound == range.upperBound ? upper : "\(NumberText.short(range.lowerBound)) to \(upper)"
        checks.append(
            Check(name: name, expected: expected, got: got, tolerance: "bounds", holds: range.contains(got)))
    }

    package mutating func check(_ name: String, _ got: Double, expected: Double, tolerance: Double) {
        checks.append(
            Check(
                name: name, expected: NumberText.short(expected), got: got,
                tolerance: "+-" + NumberText.short(tolerance),
                holds: abs(got - expected) <= tolerance))
    }

    package mutating func check(_ name: String, _ got: Double, atLeast bound: Double) {
        check(name, got, in: bound...(.infinity))
    }

    package mutating func check(_ name: String, _ got: Double, atMost bound: Double) {
        check(name, got, in: (-.infinity)...bound)
    }
}
