// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiWitness

@Suite("The course of a trade")
struct TradeCourseTests {
    @Test("goes from contract to acceptance when everybody acts")
    func theHappyPath() throws {
        let course = try Self.course(
            (.contract, .buyer), (.paid, .buyer), (.received, .seller), (.shipped, .seller), (.receipt, .buyer),
            (.accepted, .buyer))
        #expect(course.state == .completed && course.stage == .delivered && course.number == 7)
        #expect(course.isTerminal && !course.freesUnit && course.afterSilence() == nil)
    }

    /// DESIGN section 6, row by row: from where, by what, signed by whom, where to, within which deadline.
    static let table: [(from: TradeCourse.State, act: StepAct, by: Set<TradeRole>, to: TradeCourse.State)] = [
        (.reserved, .init(.contract), [.buyer], .bound),
        (.reserved, .init(.handover), [.buyer, .seller], .completed),
        (.bound, .init(.paid), [.buyer], .paidClaimed),
        (.bound, .init(.cancel), [.buyer, .seller], .cancelled),
        (.bound, .init(.challenge), [.seller], .challenged(author: .buyer)),
        (.unpaid, .init(.paid), [.buyer], .paidClaimed),
        (.unpaid, .init(.cancel), [.seller], .cancelled),
        (.unpaid, .init(.cancel), [.buyer], .cancelled),
        (.paidClaimed, .init(.received), [.seller], .paid),
        (.paidClaimed, .init(.cancel), [.buyer, .seller], .cancelled),
        (.paidClaimed, .init(.dispute), [.buyer], .disputed(by: .buyer)),
        (.paidClaimed, .init(.dispute), [.seller], .disputed(by: .seller)),
        (.paidClaimed, .init(.challenge), [.seller], .challenged(author: .buyer)),
        (.unconfirmed, .init(.received), [.seller], .paid),
        (.unconfirmed, .init(.cancel), [.buyer, .seller], .cancelled),
        (.unconfirmed, .init(.dispute), [.buyer], .disputed(by: .buyer)),
        (.unconfirmed, .init(.dispute), [.seller], .disputed(by: .seller)),
        (.paid, .init(.shipped), [.seller], .shipped),
        (.paid, .init(.cancel), [.buyer, .seller], .cancelled),
        (.paid, .init(.refund), [.seller], .refundClaimed),
        (.unshipped, .init(.refund), [.seller], .refundClaimed),
        (.unshipped, .init(.dispute), [.buyer], .disputed(by: .buyer)),
        (.unrefunded, .init(.refund), [.seller], .refundClaimed),
        (.unrefunded, .init(.dispute), [.buyer], .disputed(by: .buyer)),
        (.refundClaimed, .init(.accepted), [.buyer], .refunded),
        (.refundClaimed, .init(.dispute), [.buyer], .disputed(by: .buyer)),
        (.refundClaimed, .init(.challenge), [.buyer], .challenged(author: .seller)),
        (.shipped, .init(.receipt), [.buyer], .delivered),
        (.shipped, .init(.carrierProof), [.seller], .delivered),
        (.shipped, .init(.dispute), [.buyer], .disputed(by: .buyer)),
        (.shipped, .init(.challenge), [.buyer], .challenged(author: .seller)),
        (.undelivered, .init(.receipt), [.buyer], .delivered),
        (.undelivered, .init(.carrierProof), [.seller], .delivered),
        (.undelivered, .init(.dispute), [.buyer], .disputed(by: .buyer)),
        (.undelivered, .init(.dispute), [.seller], .disputed(by: .seller)),
        (.delivered, .init(.accepted), [.buyer], .completed),
        (.delivered, .init(.dispute), [.buyer], .disputed(by: .buyer)),
        (.delivered, .init(.challenge), [.buyer], .challenged(author: .seller)),
        (.disputed(by: .buyer), .init(.answer), [.seller], .called(arbiter: 0)),
        (.disputed(by: .seller), .init(.answer), [.buyer], .called(arbiter: 0)),
        (.disputed(by: .buyer), .init(.settlement), [.buyer, .seller], .settled(.release)),
        (.disputed(by: .seller), .init(.settlement), [.buyer, .seller], .settled(.release)),
        (.called(arbiter: 0), .init(.settlement), [.buyer, .seller], .settled(.release)),
        (.called(arbiter: 1), .init(.settlement), [.buyer, .seller], .settled(.release)),
        (.judged(arbiter: 0), .init(.settlement), [.buyer, .seller], .settled(.release)),
        (.judged(arbiter: 1), .init(.settlement), [.buyer, .seller], .settled(.release)),
        (.called(arbiter: 0), .init(.acknowledgement), [.arbiter(0)], .judged(arbiter: 0)),
        (.called(arbiter: 1), .init(.acknowledgement), [.arbiter(1)], .judged(arbiter: 1)),
        (.judged(arbiter: 0), .init(.ruling), [.arbiter(0)], .ruled(.release, arbiter: 0)),
        (.judged(arbiter: 1), .init(.ruling), [.arbiter(1)], .ruled(.release, arbiter: 1)),
        (.challenged(author: .buyer), .init(.opening), [.buyer], .bound),
        (.challenged(author: .buyer), .init(.opening), [.buyer], .called(arbiter: 0)),
        (.challenged(author: .seller), .init(.opening), [.seller], .called(arbiter: 0)),
    ]

    @Test("takes every step of the design's table and no other, whoever signs it, in every state")
    func theTable() {
        let everybody: [Set<TradeRole>] = [
            [], [.buyer], [.seller], [.buyer, .seller], [.arbiter(0)], [.arbiter(1)], [.arbiter(2)], [.arbiter(-1)],
            [.buyer, .arbiter(0)], [.buyer, .seller, .arbiter(0)],
        ]
        var used: Set<Int> = []
        for course in Self.all(from: TradeCourse(arbiterCount: 2)) {
            for kind in StepKind.allCases {
                for roles in everybody {
                    guard let next = course.after(StepAct(kind), by: roles) else { continue }
                    let row = Self.table.firstIndex {
                        $0 == course.state && $1.kind == kind && $2 == roles && $3 == next.state
                    }
                    #expect(row != nil, "\(course.state) took \(kind) of \(roles) to \(next.state)")
                    if let row { used.insert(row) }
                    #expect(next.number == course.number + 1)
                }
            }
        }
        #expect(Self.table.indices.filter { !used.contains($0) } == [])
    }

    @Test(
        "goes on by itself where nobody acts",
        arguments: [
            (TradeCourse.State.reserved, TradeCourse.State.lapsed, DeadlineName.bind), (.bound, .unpaid, .pay),
            (.unpaid, .lapsed, .dispute), (.paidClaimed, .unconfirmed, .confirm), (.unconfirmed, .abandoned, .dispute),
            (.paid, .unshipped, .ship), (.unshipped, .unrefunded, .refund), (.unrefunded, .abandoned, .dispute),
            (.refundClaimed, .refunded, .dispute), (.shipped, .undelivered, .deliver),
            (.undelivered, .abandoned, .dispute), (.delivered, .completed, .inspect),
            (.disputed(by: .buyer), .called(arbiter: 0), .answer),
            (.called(arbiter: 0), .called(arbiter: 1), .acknowledge),
            (.judged(arbiter: 0), .called(arbiter: 1), .rule), (.called(arbiter: 1), .ruledByTable, .acknowledge),
            (.judged(arbiter: 1), .ruledByTable, .rule),
        ])
    func silence(from state: TradeCourse.State, to next: TradeCourse.State, deadline: DeadlineName) {
        let courses = Self.all(from: TradeCourse(arbiterCount: 2)).filter { $0.state == state }
        #expect(!courses.isEmpty)
        for course in courses { #expect(course.deadline == deadline && course.afterSilence()?.state == next) }
    }

    @Test(
        "treats what its author doesn't open as if it had not come, and gives no second turn",
        arguments: [
            ([(.contract, .buyer)], .lapsed, .agreed),
            ([(.contract, .buyer), (.paid, .buyer)], .unpaid, .agreed),
            (
                [(.contract, .buyer), (.paid, .buyer), (.received, .seller), (.shipped, .seller)], .unshipped,
                .confirmed
            ),
            (
                [
                    (.contract, .buyer), (.paid, .buyer), (.received, .seller), (.shipped, .seller),
                    (.carrierProof, .seller),
                ], .called(arbiter: 0), .shipped
            ),
            (
                [(.contract, .buyer), (.paid, .buyer), (.received, .seller), (.refund, .seller)], .called(arbiter: 0),
                .confirmed
            ),
        ] as [([(StepKind, TradeRole)], TradeCourse.State, TradeStage)])
    func challenges(steps: [(StepKind, TradeRole)], silent: TradeCourse.State, stage: TradeStage) throws {
        var course = TradeCourse(arbiterCount: 2)
        for (kind, role) in steps { course = try #require(course.after(StepAct(kind), by: [role])) }
        let author = try #require(steps.last?.1)
        let before = course
        course = try #require(course.after(StepAct(.challenge), by: [author == .buyer ? .seller : .buyer]))
        #expect(course.deadline == .open && course.choices.map(\.kind) == [.opening])
        let unopened = try #require(course.afterSilence())
        #expect(unopened.state == silent && unopened.stage == stage)
        let opened = try #require(course.after(StepAct(.opening), by: [author]))
        #expect(opened.stage == before.stage && opened.signers(of: .challenge) == nil)
    }

    @Test("lets nobody challenge what the slot before the last held")
    func lateChallenge() throws {
        let course = try Self.course((.contract, .buyer), (.paid, .buyer), (.received, .seller))
        #expect(course.signers(of: .challenge) == nil)
        let silent = try #require(try Self.course((.contract, .buyer)).afterSilence())
        #expect(silent.signers(of: .challenge) == nil)
    }

    @Test("refuses outcomes without a meaning, and a detail where none belongs")
    func details() throws {
        var course = try Self.course((.contract, .buyer), (.paid, .buyer), (.dispute, .seller), (.answer, .buyer))
        #expect(course.after(StepAct(.acknowledgement, detail: 1), by: [.arbiter(0)]) == nil)
        course = try #require(course.after(StepAct(.acknowledgement), by: [.arbiter(0)]))
        for detail: UInt16 in [4, 999, 2_001, .max] {
            #expect(course.after(StepAct(.ruling, detail: detail), by: [.arbiter(0)]) == nil)
        }
        for detail: UInt16 in [0, 1, 2, 3, 1_000, 1_500, 2_000] {
            let outcome = try #require(TradeOutcome(detail: detail))
            #expect(outcome.detail == detail)
            let ruled = course.after(StepAct(.ruling, detail: detail), by: [.arbiter(0)])
            #expect(ruled?.state == .ruled(outcome, arbiter: 0))
        }
    }

    @Test("frees the unit only where the goods never left the seller")
    func freedUnits() {
        for course in Self.all(from: TradeCourse(arbiterCount: 2)) where course.freesUnit {
            #expect(course.isTerminal && course.stage.rawValue <= TradeStage.confirmed.rawValue)
        }
    }

    @Test("never runs in a circle, and ends wherever everybody falls silent", arguments: 2...5)
    func ends(arbiterCount: Int) {
        let all = Self.all(from: TradeCourse(arbiterCount: arbiterCount))
        #expect(all.allSatisfy { $0.number <= Self.slotsMax })
        #expect(all.allSatisfy { Self.successors(of: $0).isEmpty == $0.isTerminal })
        for course in all {
            var silent = course
            while let next = silent.afterSilence() { silent = next }
            #expect(silent.isTerminal && silent.number <= course.number + 6 + 2 * UInt32(arbiterCount))
        }
    }

    /// The charter's standard: hours of each deadline, and 21 days of transport.
    static let standard = [24, 72, 96, 120, 14 * 24 + 21 * 24, 168, 120, 72, 72, 48, 120, 48].map { $0 * 3_600 }

    @Test("ends within 90 days of payment with the standard's deadlines, a pause included, over every path")
    func bound() {
        #expect(TradeCourse.secondsFromPayment(arbiterCount: 2, deadlines: Self.standard) == 80 * 86_400)
        #expect(TradeCourse.secondsFromPayment(arbiterCount: 3, deadlines: Self.standard) == 87 * 86_400)
        let four = TradeCourse.secondsFromPayment(arbiterCount: 4, deadlines: Self.standard)
        #expect(four > WitnessLimits.secondsFromPaymentMax)
    }

    @Test("knows its longest path", arguments: 0..<40)
    func longest(seed: Int) throws {
        // Deadlines in every order of size: each of the parts decides somewhere.
        var state = UInt64(seed) &* 0x9E37_79B9_7F4A_7C15 | 1
        let deadlines =
            seed == 0
            ? Self.standard
            : DeadlineName.allCases.map { _ in
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return Int(state >> 33) % 1_000
            }
        let arbiterCount = 2 + seed % 4
        var known: [TradeCourse: Int] = [:]
        func longest(_ course: TradeCourse) -> Int {
            if let found = known[course] { return found }
            // Another PAID starts the count again.
            let next = Self.successors(of: course).filter { $0.state != .paidClaimed }
            let own = course.deadline.map { deadlines[Int($0.rawValue)] } ?? 0
            let found = own + (next.map(longest).max() ?? 0)
            known[course] = found
            return found
        }
        var course = try #require(TradeCourse(arbiterCount: arbiterCount).after(StepAct(.contract), by: [.buyer]))
        course = try #require(course.after(StepAct(.paid), by: [.buyer]))
        #expect(
            longest(course) + TradeCourse.pauseSeconds
                == TradeCourse.secondsFromPayment(arbiterCount: arbiterCount, deadlines: deadlines))
    }

    @Test("keeps a dispute open to the buyer wherever the money is confirmed and the trade isn't over")
    func wayOut() {
        // Alone, against a silent seller: some way of waiting and acting leads to an arbiter, a refund or the goods.
        for course in Self.all(from: TradeCourse(arbiterCount: 2)) where !course.isTerminal {
            guard course.stage == .confirmed || course.stage == .shipped else { continue }
            var next: [TradeCourse] = [course]
            var isOpen = false
            while let current = next.popLast(), !isOpen {
                switch current.state {
                case .disputed, .called, .judged, .refunded, .ruledByTable, .ruled: isOpen = true
                default:
                    let own = current.choices.filter { $0.signers.admit([.buyer]) }
                    next += own.compactMap { current.after(StepAct($0.kind), by: [.buyer]) }
                    if let silent = current.afterSilence() { next.append(silent) }
                }
            }
            #expect(isOpen, "\(course.state)")
        }
    }

    // MARK: Every course

    private static func course(_ steps: (StepKind, TradeRole)...) throws -> TradeCourse {
        var course = TradeCourse(arbiterCount: 2)
        for (kind, role) in steps { course = try #require(course.after(StepAct(kind), by: [role])) }
        return course
    }

    private static func successors(of course: TradeCourse) -> [TradeCourse] {
        var successors = course.choices.flatMap { choice in
            choice.signers.sets.compactMap { course.after(StepAct(choice.kind), by: $0) }
        }
        if let silent = course.afterSilence() { successors.append(silent) }
        return successors
    }

    /// More than any course takes: with a circle there would be courses beyond.
    private static let slotsMax: UInt32 = 40

    private static func all(from start: TradeCourse) -> [TradeCourse] {
        var seen: Set<TradeCourse> = [start]
        var found: [TradeCourse] = [start]
        var next = 0
        while next < found.count {
            for successor in successors(of: found[next])
            where successor.number <= slotsMax + 1 && seen.insert(successor).inserted {
                found.append(successor)
            }
            next += 1
        }
        return found
    }
}
