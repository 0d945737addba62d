// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase

@Suite("Instants and durations")
struct InstantTests {
    @Test("Adding saturates at both ends")
    func adding() {
        let last = Instant(nanoseconds: .max)
        let first = Instant(nanoseconds: .min)
        #expect(last + .nanoseconds(1) == last)
        #expect(first + .nanoseconds(-1) == first)
        #expect(Instant.zero + .seconds(Int64.max) == last)
        #expect(Instant.zero + .seconds(Int64.min) == first)
        #expect(last + .seconds(Int64.min) == Instant(nanoseconds: -1))
        #expect(first + .seconds(Int64.max) == Instant(nanoseconds: -1))
        #expect(Instant.zero + .milliseconds(1_500) == Instant(nanoseconds: 1_500_000_000))
        #expect(Instant.zero + .milliseconds(-1_500) == Instant(nanoseconds: -1_500_000_000))
    }

    @Test("Subtracting saturates at both ends")
    func subtracting() {
        let last = Instant(nanoseconds: .max)
        let first = Instant(nanoseconds: .min)
        #expect(last - first == .nanoseconds(Int64.max))
        #expect(first - last == .nanoseconds(Int64.min))
        #expect(Instant.zero - first == .nanoseconds(Int64.max))
        #expect(Instant(nanoseconds: 5) - Instant(nanoseconds: 7) == .nanoseconds(-2))
    }

    @Test("Durations are clamped to whole nanoseconds that fit")
    func clamping() {
        #expect(Duration.seconds(9_223_372_036).saturatedNanoseconds == 9_223_372_036_000_000_000)
        #expect(Duration.seconds(9_223_372_037).saturatedNanoseconds == .max)
        #expect(Duration.seconds(-9_223_372_037).saturatedNanoseconds == .min)
        #expect(Duration.nanoseconds(Int64.max).saturatedNanoseconds == .max)
        #expect(Duration.nanoseconds(Int64.min).saturatedNanoseconds == .min)
        #expect((Duration.nanoseconds(Int64.max) + .nanoseconds(1)).saturatedNanoseconds == .max)
        #expect((Duration.nanoseconds(Int64.min) - .nanoseconds(1)).saturatedNanoseconds == .min)
        #expect(Duration(secondsComponent: 0, attosecondsComponent: 1_999_999_999).saturatedNanoseconds == 1)
        #expect(Duration(secondsComponent: 0, attosecondsComponent: -1_999_999_999).saturatedNanoseconds == -1)
    }

    @Test("Order and text")
    func order() {
        #expect(Instant(nanoseconds: -1) < .zero && Instant.zero < .distantFuture)
        #expect(Instant(nanoseconds: 1_500_000_000).description == "+1.5s")
        #expect(Duration.milliseconds(250).secondsForDisplay == 0.25)
    }
}
