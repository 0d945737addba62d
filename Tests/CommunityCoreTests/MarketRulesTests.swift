// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal

import struct NIOCore.ByteBuffer

@Suite("A charter's rules of the market")
struct MarketRulesTests {
    private static let founder = MemberID(Bytes32(words: (2, 2, 2, 2)))

    private static func charter(_ change: (inout MarketRules) -> Void) -> Charter {
        var charter = Charter.standard(name: "Gear", founder: founder)
        change(&charter.market)
        return charter
    }

    private static let rules: MarketRules = {
        var rules = MarketRules.standard
        rules.cap = 300
        rules.backedMax = [2, 1]
        rules.bands = [100, 200]
        rules.currencies = [MarketRules.Currency("EUR", unitsPerMillion: 1_000_000)]
        return rules
    }()

    @Test("The standard is what a charter without them means, and it isn't written")
    func standard() throws {
        let bytes = Charter.standard(name: "Gear", founder: Self.founder).encoded
        #expect(try Charter(bytes).market == .standard)
        var buffer = ByteBuffer()
        MarketRules.standard.encode(into: &buffer)
        var message = ByteBuffer()
        message.write(14) { $0.writeImmutableBuffer(buffer) }
        #expect(throws: DecodeError.malformed("charter (not canonical)")) {
            try Charter(bytes + Array(message.readableBytesView))
        }
    }

    @Test("The standard never changes")
    func standardBytes() {
        var buffer = ByteBuffer()
        MarketRules.standard.encode(into: &buffer)
        #expect(
            BitText.base16.encode(Array(buffer.readableBytesView))
                == "0a1a081810481860207828d00230a80138784048484850305878603010301806201e28153002380540a0c21e4803"
                + "5202084052020810520208045a0308e8075a0308d00f5a030888275a0308904e5a0408a09c015a0408d086035a04"
                + "08a08d065a0408c09a0c5a0408a0c21e5a0408c0843d5a040880897a5a0508c096b102")
    }

    @Test("Others have their golden bytes, and one encoding only")
    func golden() throws {
        let charter = Self.charter { $0 = Self.rules }
        let standard = Charter.standard(name: "Gear", founder: Self.founder).encoded
        let bytes = charter.encoded
        #expect(Array(bytes.prefix(standard.count)) == standard)
        #expect(
            BitText.base16.encode(Array(bytes.dropFirst(standard.count)))
                == "72490a1a081810481860207828d00230a80138784048484850305878603010301806201e28153002380540ac02480352"
                + "020802520208015a0208645a0308c80162090a0345555210c0843d")
        #expect(try Charter(bytes) == charter)
        for count in standard.count + 1..<bytes.count {
            #expect(throws: DecodeError.self) { try Charter(Array(bytes.prefix(count))) }
        }
        #expect(throws: DecodeError.self) { try Charter(bytes + bytes.dropFirst(standard.count)) }
    }

    static let refused: [@Sendable (inout MarketRules) -> Void] = [
        { $0.deadlineHours[1] = 23 }, { $0.deadlineHours[11] = 721 }, { $0.deadlineHours.removeLast() },
        { $0.deadlineHours.append(24) }, { $0.offerHours = 23 }, { $0.countersMax = 21 }, { $0.listingDaysMax = 0 },
        { $0.transportDaysMax = 61 }, { $0.arbitersMin = 1 }, { $0.arbitersMax = 6 },
        { ($0.arbitersMin, $0.arbitersMax) = (4, 3) }, { $0.cap = MarketLimits.unitsMax + 1 },
        { $0.backersMin = 0 }, { $0.backedMax = [Int](repeating: 1, count: 9) }, { $0.backedMax = [1_001] },
        { $0.bands = [] }, { $0.bands = [0] }, { $0.bands = [2, 2] }, { $0.bands = [3, 2] },
        { $0.bands = Array(1...33) }, { $0.currencies = [.init("euro", unitsPerMillion: 1)] },
        { $0.currencies = [.init("eur", unitsPerMillion: 1)] }, { $0.currencies = [.init("EUR", unitsPerMillion: 0)] },
        { $0.currencies = [.init("USD", unitsPerMillion: 1), .init("EUR", unitsPerMillion: 1)] },
        { $0.currencies = [.init("EUR", unitsPerMillion: 1), .init("EUR", unitsPerMillion: 2)] },
    ]

    @Test("What is out of bounds is refused", arguments: refused.indices)
    func refusals(index: Int) {
        let bytes = Self.charter(Self.refused[index]).encoded
        #expect(throws: DecodeError.self) { try Charter(bytes) }
    }

    @Test("Sums of money count rounded up, in currencies that are known")
    func units() {
        let standard = MarketRules.standard
        #expect(standard.units(12_345, "EUR") == 12_345)
        #expect(standard.units(0, "JPY") == 0)
        #expect(standard.units(-1, "EUR") == nil)
        // An ounce of gold must not count like a cent.
        #expect(standard.units(1, "XAU") == nil)
        #expect(standard.units(1, "XOF") == 1)
        #expect(standard.units(1, "eur") == nil && standard.units(1, "EURO") == nil && standard.units(1, "") == nil)
        #expect(standard.units(.max, "EUR") == nil)
        #expect(standard.units(MarketLimits.unitsMax, "EUR") == MarketLimits.unitsMax)
        #expect(standard.units(MarketLimits.unitsMax + 1, "EUR") == nil)

        var rules = standard
        rules.currencies = [.init("JPY", unitsPerMillion: 620_000), .init("XAU", unitsPerMillion: 400_000_000_000)]
        #expect(rules.units(1_000, "JPY") == 620)
        #expect(rules.units(1, "JPY") == 1)
        #expect(rules.units(1, "XAU") == 400_000)
        #expect(rules.units(.max / 2, "XAU") == nil)
        #expect(rules.units(1_000, "EUR") == nil)
    }

    @Test("Exposure is rounded up to a band, and refused above the last")
    func bands() {
        let standard = MarketRules.standard
        #expect(standard.exposure(1, "EUR") == 1_000)
        #expect(standard.exposure(1_000, "EUR") == 1_000)
        #expect(standard.exposure(1_001, "EUR") == 2_000)
        #expect(standard.exposure(5_000_000, "EUR") == 5_000_000)
        #expect(standard.exposure(5_000_001, "EUR") == nil)
    }

    @Test("A contract's days of transport lengthen the deadline of delivery, and no other")
    func deadlines() throws {
        let standard = MarketRules.standard
        let short = try #require(standard.deadlineSeconds(transportDays: 0))
        let long = try #require(standard.deadlineSeconds(transportDays: 21))
        #expect(short.count == MarketRules.Deadline.allCases.count)
        #expect(short[0] == 24 * 3_600 && short[4] == 14 * 86_400 && long[4] == 35 * 86_400)
        #expect(short.indices.filter { short[$0] != long[$0] } == [4])
        #expect(
            standard.deadlineSeconds(transportDays: 22) == nil && standard.deadlineSeconds(transportDays: -1) == nil)
    }
}

@Suite("Vouches taken back")
struct VouchMemoryTests {
    @Test("stand apart, with their place")
    func withdrawn() throws {
        var town = try Town()
        let rosa = try town.resident("Rosa")
        let member = town.people[rosa].member
        let first = try town.act(0) { core, device throws(CommunityRefusal) in
            try core.vouch(for: member, amount: 100, note: "", by: device)
        }
        let depth = try #require(town.state.vouches[first]).depth
        try town.act(0) { core, device throws(CommunityRefusal) in try core.vouchWithdrawal(first, by: device) }
        #expect(town.state.vouches[first] == nil)
        #expect(town.state.vouchesWithdrawn[first]?.depth == depth)
        let second = try town.act(0) { core, device throws(CommunityRefusal) in
            try core.vouch(for: member, amount: 100, note: "", by: device)
        }
        #expect(try #require(town.state.vouches[second]).depth > depth)
        var random = SeededGenerator(seed: 3)
        let other = town.replica(town.entries.shuffled(using: &random), pieces: 2, using: &random)
        #expect(
            other.state.vouchesWithdrawn == town.state.vouchesWithdrawn && other.state.vouches == town.state.vouches)
    }
}
