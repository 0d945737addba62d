// SPDX-License-Identifier: Apache-2.0

/// How long peers stay and stay away. All from integers.
package struct ChurnModel: Sendable {
    package enum Shape: Sendable {
        case exponential(mean: Duration)
        /// P(longer than x) = (scale / x)^shape; shape in thousandths.
        case pareto(scale: Duration, shape: Int)
        /// P(longer than x) = e^-((x / scale)^shape); shape in thousandths.
        case weibull(scale: Duration, shape: Int)
        /// Log-normal; spread is the deviation of the natural logarithm, in thousandths.
        case logNormal(median: Duration, spread: Int)

        /// BitTorrent's Mainline: half of all sessions end within 200 minutes, 3 % last over 9,000.
        package static let mainline = Shape.logNormal(median: .seconds(200 * 60), spread: 2_024)
    }

    package var session: Shape
    package var absence: Shape
    /// A peer that comes back has what it stored.
    package var keepsDisk = true
    /// A peer vanishes without a word; otherwise its connections end at once.
    package var isSilent: Bool

    package init(session: Shape, absence: Shape, isSilent: Bool = false) {
        self.session = session
        self.absence = absence
        self.isSilent = isSilent
    }

    /// Nanoseconds, at least a millisecond.
    static func draw(_ shape: Shape, _ draws: inout DrawStream) -> UInt64 {
        func ticks(_ duration: Duration) -> UInt64 { UInt64(max(1_000_000, duration.saturatedNanoseconds)) }
        let drawn: UInt64
        switch shape {
        case .exponential(let mean):
            drawn = FixedPoint.product(draws.exponential(), ticks(mean))
        case .pareto(let scale, let shape):
            // -log2(u) / shape, as the exponent of two.
            let log = -FixedPoint.log2((draws.next() >> 32) | 1)
            drawn = FixedPoint.product(FixedPoint.exp2(log / Int64(max(1, shape)) * 1_000), ticks(scale))
        case .weibull(let scale, let shape):
            let log = FixedPoint.log2(max(1, draws.exponential()))
            drawn = FixedPoint.product(FixedPoint.exp2(log / Int64(max(1, shape)) * 1_000), ticks(scale))
        case .logNormal(let median, let spread):
            let deviation = draws.normal() / 1_000 * Int64(spread)
            // 1 / ln 2 = 1.442695 as a fraction of integers.
            drawn = FixedPoint.product(FixedPoint.exp2(deviation / 1_000 * 1_443), ticks(median))
        }
        return min(max(1_000_000, drawn), 1 << 60)
    }
}
