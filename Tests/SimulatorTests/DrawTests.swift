// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiSimulator

@Suite("Draws")
struct DrawTests {
    @Test(
        "Logarithms and powers of two are right to eight digits",
        arguments: [(1.0, 0.0), (2.0, 1.0), (0.5, -1.0), (10.0, 3.321928094887362), (0.001, -9.965784284662087)])
    func logarithms(number: Double, log: Double) {
        let one = Double(FixedPoint.one)
        let got = Double(FixedPoint.log2(UInt64(number * one))) / one
        #expect(abs(got - log) < 1e-6)
        let power = Double(FixedPoint.exp2(Int64(log * one))) / one
        #expect(abs(power - number) / number < 1e-6)
    }

    @Test("Exponential lots have mean 1 and deviation 1, normal ones 0 and 1")
    func moments() {
        var draws = DrawStream(seed: 3)
        let one = Double(FixedPoint.one)
        let exponential = (0..<100_000).map { _ in Double(draws.exponential()) / one }
        let normal = (0..<100_000).map { _ in Double(draws.normal()) / one }
        func mean(_ values: [Double]) -> Double { values.reduce(0, +) / Double(values.count) }
        func variance(_ values: [Double]) -> Double {
            let middle = mean(values)
            return values.reduce(0) { $0 + ($1 - middle) * ($1 - middle) } / Double(values.count)
        }
        #expect(abs(mean(exponential) - 1) < 0.02)
        #expect(abs(variance(exponential) - 1) < 0.05)
        #expect(abs(mean(normal)) < 0.02)
        #expect(abs(variance(normal) - 1) < 0.03)
    }

    @Test("Streams of peers and purposes are their own")
    func streams() {
        var words: Set<UInt64> = []
        for peer in 0..<200 as Range<UInt32> {
            for purpose in [DrawStream.Purpose.link, .churn, .core] {
                var stream = DrawStream(seed: 1, peer: PeerIndex(peer), purpose)
                words.insert(stream.next())
            }
        }
        #expect(words.count == 600)
    }

    @Test("Percentiles are within one part in sixty-four, and merging adds up")
    func percentiles() {
        var (one, two) = (Histogram(), Histogram())
        for value in 1...100_000 as ClosedRange<UInt64> {
            if value % 2 == 0 { one.add(value) } else { two.add(value) }
        }
        one.merge(two)
        #expect(one.count == 100_000)
        #expect(one.mean == 50_000.5)
        for part in [1, 10, 500, 900, 990, 1_000] as [UInt64] {
            let exact = Double(part * 100)
            #expect(abs(Double(one.percentile(partsPerThousand: part)) - exact) / exact < 1.0 / 64)
        }
        #expect(one.smallest == 1)
        #expect(one.largest == 100_000)
        #expect(Histogram().percentile(partsPerThousand: 500) == 0)
    }

    @Test(
        "The menu of faults stays within its ranges, and its schedule ends with everybody back",
        arguments: 0..<50 as Range<UInt64>)
    func menu(seed: UInt64) {
        let menu = FaultMenu(seed: seed)
        #expect(menu.loss <= 300_000)
        #expect(menu.duplicate <= 500_000)
        #expect(menu.partition <= 30_000)
        let schedule = menu.schedule(nodes: 30, from: .zero, seconds: 120, seed: seed)
        var away: Set<PeerIndex> = []
        var healed = false
        for (at, action) in schedule {
            switch action {
            case .crash(let peer, _): #expect(away.insert(peer).inserted)
            case .restart(let peer, _): #expect(away.remove(peer) != nil)
            case .healAll:
                healed = true
                #expect(at >= .zero + .seconds(120))
            default: break
            }
            #expect(away.count <= 11)
        }
        #expect(healed)
        #expect(away.isEmpty)
    }
}
