// SPDX-License-Identifier: Apache-2.0

/// What lies between peers. Shares are parts per million.
package struct NetworkModel: Sendable {
    /// One way.
    package enum Latency: Sendable {
        case fixed(Duration)
        case uniform(Duration, Duration)
        /// Log-normal: half of all below `median`; `spread` is the deviation of the natural logarithm, in thousandths.
        case longTail(median: Duration, spread: Int)
        /// Milliseconds between regions, row by row; peers are dealt out to regions by their number.
        case regions([[UInt32]])
    }

    package var latency = Latency.uniform(.milliseconds(10), .milliseconds(100))
    /// Each pair of peers has its own latency; off: each message draws anew, which reorders them.
    package var isLatencyOfPair = true
    /// Up to this share of the latency is added to each message, drawn anew.
    package var jitter: UInt32 = 100_000

    package var loss: UInt32 = 0
    /// Gilbert and Elliott: a sender's line turns bad, loses more, and turns good again; per message.
    package var turnsBad: UInt32 = 0
    package var turnsGood: UInt32 = 100_000
    package var lossWhenBad: UInt32 = 500_000
    package var duplicate: UInt32 = 0
    /// A message that is overtaken: it takes up to four times as long.
    package var reorder: UInt32 = 0

    /// Bytes per second that a peer can send; zero: any number. What does not fit into the queue is dropped.
    package var uplinkBytesPerSecond: UInt64 = 0
    package var uplinkQueueBytesMax: UInt64 = 256 * 1_024

    /// Messages that wait for a stalled peer; further ones are dropped.
    package var socketMessagesMax: UInt32 = 2_048

    /// A link that carries nothing for so long, although something was sent, is given up by both ends.
    package var breakTimeout = Duration.seconds(15)
    package var dialTimeout = Duration.seconds(5)
    /// A message lost on a link is sent again after this, then twice as long.
    package var resendTimeout = Duration.milliseconds(200)

    package init() {}

    /// The model in words, for reports: results depend on it.
    package var summary: String {
        let delay =
            switch latency {
            case .fixed(let value): "latency \(milliseconds(value)) ms"
            case .uniform(let low, let high): "latency \(milliseconds(low))-\(milliseconds(high)) ms"
            case .longTail(let median, let spread):
                "latency log-normal, median \(milliseconds(median)) ms, sigma 0.\(spread)"
            case .regions(let rows): "latency by \(rows.count) regions"
            }
        return
            "\(delay) \(isLatencyOfPair ? "per pair" : "per message"), jitter \(jitter / 10_000) %, loss \(loss / 10_000) %"
    }

    private func milliseconds(_ duration: Duration) -> Int64 { duration.saturatedNanoseconds / 1_000_000 }
}

/// Latencies ready to be drawn: nanoseconds out of a random word.
struct LatencyTable: Sendable {
    private enum Form: Sendable {
        case range(low: UInt64, span: UInt64)
        /// 1,024 quantiles.
        case quantiles([UInt64])
        case regions([UInt64], count: UInt64)
    }

    private let form: Form

    init(_ latency: NetworkModel.Latency) {
        func ticks(_ duration: Duration) -> UInt64 { UInt64(max(1, duration.saturatedNanoseconds)) }
        switch latency {
        case .fixed(let value): form = .range(low: ticks(value), span: 1)
        case .uniform(let low, let high):
            form = .range(low: ticks(low), span: max(ticks(high), ticks(low)) - ticks(low) + 1)
        case .longTail(let median, let spread):
            form = .quantiles(LatencyTable.logNormal(median: ticks(median), spread: spread))
        case .regions(let rows):
            let count = rows.count
            let flat = rows.flatMap { row in (0..<count).map { UInt64($0 < row.count ? row[$0] : 0) * 1_000_000 } }
            form =
                count == 0 ? .range(low: 1_000_000, span: 1) : .regions(flat.map { max(1, $0) }, count: UInt64(count))
        }
    }

    @inline(__always)
    func latency(_ word: UInt64, from: UInt32, to: UInt32) -> UInt64 {
        switch form {
        case .range(let low, let span): low &+ word.multipliedFullWidth(by: span).high
        case .quantiles(let table): table[Int(truncatingIfNeeded: word >> 54)]
        case .regions(let table, let count):
            table[Int(truncatingIfNeeded: UInt64(from) % count &* count &+ UInt64(to) % count)]
        }
    }

    /// Quantiles of median * e^(spread * z), from 16 sorted draws each.
    private static func logNormal(median: UInt64, spread: Int) -> [UInt64] {
        var draws = DrawStream(seed: 0x51AB)
        var normals = (0..<16_384).map { _ in draws.normal() }
        normals.sort()
        return (0..<1_024).map { quantile in
            let deviation = Int64(spread) * (normals[quantile * 16 + 8] / 1_000)
            // e^x = 2^(1.443 x)
            return max(1, FixedPoint.product(FixedPoint.exp2(deviation / 1_000 * 1_443), median))
        }
    }
}
