// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiChecker

/// Two jugs and a tap: the states are known by hand.
private struct Jugs: ExploredSystem {
    enum Action { case fill(Int), empty(Int), pour(Int) }

    let sizes: [Int]
    var litres: [Int]
    let wanted: Int?

    init(_ first: Int, _ second: Int, wanted: Int? = nil) {
        sizes = [first, second]
        litres = [0, 0]
        self.wanted = wanted
    }

    var actions: [Action] { [0, 1].flatMap { [.fill($0), .empty($0), .pour($0)] } }

    func after(_ action: Action) -> Jugs {
        var next = self
        switch action {
        case .fill(let jug): next.litres[jug] = sizes[jug]
        case .empty(let jug): next.litres[jug] = 0
        case .pour(let jug):
            let moved = min(litres[jug], sizes[1 - jug] - litres[1 - jug])
            next.litres[jug] -= moved
            next.litres[1 - jug] += moved
        }
        return next
    }

    var fault: String? { wanted.flatMap { litres.contains($0) ? "there are \($0) litres" : nil } }

    func mix(into fingerprint: inout Fingerprint) {
        for amount in sizes[0] == sizes[1] ? litres.sorted() : litres { fingerprint.mix(amount) }
    }

    func sentence(of action: Action) -> String {
        switch action {
        case .fill(let jug): "Jug \(sizes[jug]) is filled."
        case .empty(let jug): "Jug \(sizes[jug]) is emptied."
        case .pour(let jug): "Jug \(sizes[jug]), with \(litres[jug]), is poured into the other."
        }
    }

    static var landmarkNames: [String] { ["both full", "sea"] }
    var landmarks: UInt64 { litres == sizes ? 1 : 0 }
}

@Suite("Explorer")
struct ExplorerTests {
    @Test("visits each state that can be reached, once")
    func visitsAll() {
        let seen = Explorer.explore(from: Jugs(3, 5))
        // Those with a jug empty or full: all of the border of a 4 by 6 grid.
        #expect(seen.states == 16)
        #expect(seen.steps == 16 * 6)
        #expect(seen.stop == .complete && seen.holds)
        #expect(seen.count(of: "both full") == 1 && seen.count(of: "sea") == 0)
    }

    @Test("tells a shortest course into a fault, in sentences")
    func shortestCourse() throws {
        let seen = Explorer.explore(from: Jugs(3, 5, wanted: 4))
        let found = try #require(seen.counterexample)
        #expect(
            found.steps == [
                "Jug 5 is filled.", "Jug 5, with 5, is poured into the other.", "Jug 3 is emptied.",
                "Jug 5, with 2, is poured into the other.", "Jug 5 is filled.",
                "Jug 5, with 5, is poured into the other.",
            ])
        #expect(found.fault == "there are 4 litres")
        #expect(found.description.hasSuffix("6. Jug 5, with 5, is poured into the other.\n=> there are 4 litres"))
    }

    @Test("sees a fault in the first state")
    func faultAtStart() {
        #expect(Explorer.explore(from: Jugs(3, 5, wanted: 0)).counterexample?.steps == [])
    }

    @Test("takes states that differ by a renaming for one")
    func symmetry() {
        // Empty, one full, both full; with names there would be four.
        #expect(Explorer.explore(from: Jugs(5, 5)).states == 3)
    }

    @Test("says which bound it stopped at")
    func bounds() {
        let shallow = Explorer.explore(from: Jugs(3, 5, wanted: 4), to: ExplorationBound(depthMax: 5))
        #expect(shallow.holds && shallow.stop == .depth && shallow.depth == 5)
        #expect(shallow.description.contains("depth 5, stopped at this depth"))
        let few = Explorer.explore(from: Jugs(3, 5), to: ExplorationBound(statesMax: 7))
        #expect(few.states == 7 && few.stop == .states)
    }

    @Test("gives the same fingerprint in every process")
    func fingerprintIsFixed() {
        var fingerprint = Fingerprint()
        fingerprint.mix(1)
        fingerprint.mix(bytes: Array("twelve bytes".utf8))
        var other = Fingerprint()
        other.mix(1)
        other.mix(bytes: Array("twelve byte".utf8))
        #expect(fingerprint != other)
        #expect(
            Explorer.explore(from: Jugs(70_001, 50_021)).states == Explorer.explore(from: Jugs(50_021, 70_001)).states)
    }

    @Test("keeps more states than its table first has room for")
    func manyStates() {
        // Of two jugs without a common divisor each amount can be measured: the border of the grid.
        #expect(Explorer.explore(from: Jugs(4_999, 7_001)).states == 2 * (4_999 + 7_001))
    }
}
