// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiWitness

@Suite("A witness's clock")
struct WitnessClockTests {
    private static let set = RegisterTown(clients: 0).set
    private static let wall: UInt64 = 1_800_000_000_000

    private func clock() -> WitnessClockMachine {
        WitnessClockMachine(Self.set, own: Self.set.keys[0], at: .zero, wall: Self.wall)
    }

    private func at(_ seconds: Int64) -> Instant { .zero + .seconds(seconds) }

    @Test("is steady from the start until it is stepped")
    func steps() {
        var machine = clock()
        #expect(machine.clock(at: at(100), wall: Self.wall + 100_000).steadySince == Self.wall)
        // Nine seconds are drift.
        #expect(machine.clock(at: at(200), wall: Self.wall + 209_000).steadySince == Self.wall)
        let stepped = Self.wall + 1_000_000
        #expect(machine.clock(at: at(300), wall: stepped).steadySince == stepped)
        let back = Self.wall - 5_000_000
        #expect(machine.clock(at: at(400), wall: back).steadySince == back)
    }

    @Test("is off when the median of a quorum is more than ten minutes away, whatever one liar says")
    func median() {
        for (offsets, isOff): ([Int64], Bool) in [
            ([0, 0, 0], false), ([700_000, 700_000, 0], true), ([700_000, -700_000, 0], false), ([700_000, 0], false),
            ([700_000, 700_000, 700_000], true),
            ([-700_000, -700_000, -700_000], true), ([.max / 2, 0, 1_000], false),
            ([599_000, 599_000, 599_000], false),
            ([700_000], false), ([700_000, 700_000], true),
        ] {
            var machine = clock()
            for (index, offset) in offsets.enumerated() {
                machine.told(
                    Self.set.keys[index + 1], UInt64(Int64(Self.wall) + offset), asked: .zero, at: .zero,
                    wall: Self.wall)
            }
            #expect(machine.clock(at: .zero, wall: Self.wall).isOff == isOff, "\(offsets)")
        }
    }

    @Test("forgets what it was told long ago, and hears only witnesses")
    func age() {
        var machine = clock()
        for key in Self.set.keys.dropFirst() {
            machine.told(key, Self.wall + 700_000, asked: .zero, at: .zero, wall: Self.wall)
        }
        #expect(machine.clock(at: .zero, wall: Self.wall).isOff)
        let later = 4 * 3_600
        #expect(!machine.clock(at: at(Int64(later)), wall: Self.wall + UInt64(later) * 1_000).isOff)
        var other = clock()
        for number in 0..<5 as Range<UInt64> {
            other.told(RegisterTown.cheap(number).key, Self.wall + 700_000, asked: .zero, at: .zero, wall: Self.wall)
        }
        #expect(!other.clock(at: .zero, wall: Self.wall).isOff)
    }
}
