// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

package import struct NIOCore.ByteBuffer

/// What a charter says of the market. A charter without this part means ``standard``, which never changes.
///
/// Amounts here are *units*, the community's own measure of risk: vouches, caps and open exposure are counted in them.
/// What one smallest coin of a currency counts says ``currencies``.
package struct MarketRules: Hashable, Sendable {
    /// The deadlines of a trade, by the names and in the order in which its contract holds them.
    package enum Deadline: UInt8, CaseIterable, Sendable {
        case bind = 0
        case pay = 1
        case confirm = 2
        case ship = 3
        /// After the days of transport that the contract adds.
        case deliver = 4
        case inspect = 5
        case refund = 6
        case dispute = 7
        case answer = 8
        case acknowledge = 9
        case rule = 10
        case open = 11
    }

    package struct Currency: Hashable, Sendable {
        /// ISO 4217.
        package var code: String
        /// Units that a million of its smallest coins count.
        package var unitsPerMillion: Int

        package init(_ code: String, unitsPerMillion: Int) {
            self.code = code
            self.unitsPerMillion = unitsPerMillion
        }
    }

    /// One for each deadline, in the order of `Deadline.allCases`. People act: none is under a day.
    package var deadlineHours: [Int]
    /// How long an offer or a counter-offer stands.
    package var offerHours: Int
    package var countersMax: Int
    package var listingDaysMax: Int
    /// That a contract may add to the deadline of delivery.
    package var transportDaysMax: Int
    /// Named by a contract.
    package var arbitersMin: Int
    package var arbitersMax: Int
    /// Open exposure of one account, in units.
    package var cap: Int64
    /// Members who must vouch before somebody has an account of its own; the founder's vouch alone is enough.
    package var backersMin: Int
    /// How many accounts one may bring about, by how far one stands from the founder, who comes first.
    package var backedMax: [Int]
    /// Amounts to which exposure is rounded up before it is published, ascending. None above the last is witnessed.
    package var bands: [Int64]
    /// Ascending by code. Empty: every national currency, one unit for each of its smallest coins.
    package var currencies: [Currency]

    package static let standard = MarketRules(
        deadlineHours: [24, 72, 96, 120, 336, 168, 120, 72, 72, 48, 120, 48],
        offerHours: 48, countersMax: 6, listingDaysMax: 30, transportDaysMax: 21, arbitersMin: 2, arbitersMax: 5,
        cap: 500_000, backersMin: 3, backedMax: [64, 16, 4],
        bands: [
            1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 2_000_000, 5_000_000,
        ],
        currencies: [])
}

// MARK: What it says

extension MarketRules {
    package func hours(_ deadline: Deadline) -> Int {
        let index = Int(deadline.rawValue)
        return deadlineHours.indices.contains(index) ? deadlineHours[index] : MarketLimits.deadlineHours.lowerBound
    }

    /// Of a contract that allows so many days of transport, in the order of `Deadline.allCases`; nil for more days than
    /// the rules allow.
    package func deadlineSeconds(transportDays: Int) -> [Int]? {
        guard (0...transportDaysMax).contains(transportDays) else { return nil }
        return Deadline.allCases.map { deadline in
            (hours(deadline) + (deadline == .deliver ? 24 * transportDays : 0)) * 3_600
        }
    }

    /// What a sum of money counts, rounded up; nil for a currency that the community doesn't trade in, and for more than
    /// anybody may risk.
    package func units(_ amount: Int64, _ code: String) -> Int64? {
        guard amount >= 0, let rate = unitsPerMillion(code) else { return nil }
        let (product, overflow) = amount.multipliedReportingOverflow(by: Int64(rate))
        guard !overflow else { return nil }
        let units = product / 1_000_000 + (product % 1_000_000 == 0 ? 0 : 1)
        return units <= MarketLimits.unitsMax ? units : nil
    }

    /// The least band that holds so many units.
    package func band(_ units: Int64) -> Int64? { bands.first { units <= $0 } }

    /// The banded units of a sum of money: what a trade's exposure is registered and published with.
    package func exposure(_ amount: Int64, _ code: String) -> Int64? { units(amount, code).flatMap(band) }

    /// A national currency's smallest coin is worth little everywhere. Other codes that begin with X are metals, funds
    /// and tests: an ounce of gold must not count one unit.
    private func unitsPerMillion(_ code: String) -> Int? {
        guard Self.isCode(code) else { return nil }
        guard currencies.isEmpty else { return currencies.first { $0.code == code }?.unitsPerMillion }
        return code.utf8.first == UInt8(ascii: "X") && !Self.sharedCurrencies.contains(code) ? nil : 1_000_000
    }

    /// Of several nations.
    private static let sharedCurrencies: Set = ["XAF", "XCD", "XCG", "XOF", "XPF"]

    package static func isCode(_ code: String) -> Bool {
        code.utf8.count == MarketLimits.currencyBytesCount
            && code.utf8.allSatisfy { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) }
    }
}

/// What every charter's rules of the market keep to.
package enum MarketLimits {
    package static let deadlineHours = 24...24 * 30
    package static let offerHours = 24...24 * 14
    package static let counters = 0...20
    package static let listingDays = 1...90
    package static let transportDays = 0...60
    package static let arbiters = 2...5
    package static let backers = 1...16
    /// Generations of accounts behind the founder's.
    package static let backedLevelsMax = 8
    package static let backed = 0...1_000
    package static let bandsMax = 32
    package static let currenciesMax = 32
    package static let currencyBytesCount = 3
    package static let unitsPerMillion = 1...1_000_000_000_000
    /// So that a million of them add up without overflow.
    package static let unitsMax: Int64 = 1_000_000_000_000
}

// MARK: Encoding

extension MarketRules {
    package init(from reader: inout BodyReader) throws(DecodeError) {
        var deadlines = try reader.message(1, "deadlines")
        deadlineHours = []
        for deadline in Deadline.allCases {
            deadlineHours.append(
                try deadlines.number(Int(deadline.rawValue) + 1, in: MarketLimits.deadlineHours, "deadline"))
        }
        try deadlines.end("deadlines")
        offerHours = try reader.number(2, in: MarketLimits.offerHours, "hours of an offer")
        countersMax = try reader.number(3, in: MarketLimits.counters, "counter-offers")
        listingDaysMax = try reader.number(4, in: MarketLimits.listingDays, "days of a listing")
        transportDaysMax = try reader.number(5, in: MarketLimits.transportDays, "days of transport")
        arbitersMin = try reader.number(6, in: MarketLimits.arbiters, "arbiters")
        arbitersMax = try reader.number(7, in: MarketLimits.arbiters, "arbiters")
        cap = Int64(try reader.number(8, in: 0...Int(MarketLimits.unitsMax), "cap"))
        backersMin = try reader.number(9, in: MarketLimits.backers, "backers")
        backedMax = []
        while var message = try reader.messageIfThere(10, "backed") {
            guard backedMax.count < MarketLimits.backedLevelsMax else {
                throw .tooLarge("backed", limit: MarketLimits.backedLevelsMax)
            }
            backedMax.append(try message.number(1, in: MarketLimits.backed, "backed"))
            try message.end("backed")
        }
        bands = []
        while var message = try reader.messageIfThere(11, "band") {
            guard bands.count < MarketLimits.bandsMax else { throw .tooLarge("bands", limit: MarketLimits.bandsMax) }
            bands.append(Int64(try message.number(1, in: 1...Int(MarketLimits.unitsMax), "band")))
            try message.end("band")
        }
        currencies = []
        while var message = try reader.messageIfThere(12, "currency") {
            guard currencies.count < MarketLimits.currenciesMax else {
                throw .tooLarge("currencies", limit: MarketLimits.currenciesMax)
            }
            let code = try message.text(1, bytesMax: MarketLimits.currencyBytesCount, "currency")
            let rate = try message.number(2, in: MarketLimits.unitsPerMillion, "rate of a currency")
            currencies.append(Currency(code, unitsPerMillion: rate))
            try message.end("currency")
        }
        try reader.end("market")
        guard arbitersMin <= arbitersMax else { throw .malformed("arbiters") }
        guard !bands.isEmpty, zip(bands, bands.dropFirst()).allSatisfy({ $0 < $1 }) else { throw .malformed("bands") }
        guard currencies.allSatisfy({ Self.isCode($0.code) }),
            zip(currencies, currencies.dropFirst()).allSatisfy({ $0.code < $1.code })
        else { throw .malformed("currencies") }
    }

    package func encode(into buffer: inout ByteBuffer) {
        buffer.write(1) {
            for (index, hours) in deadlineHours.enumerated() { $0.write(index + 1, hours) }
        }
        buffer.write(2, offerHours)
        buffer.write(3, countersMax)
        buffer.write(4, listingDaysMax)
        buffer.write(5, transportDaysMax)
        buffer.write(6, arbitersMin)
        buffer.write(7, arbitersMax)
        buffer.write(8, Int(cap))
        buffer.write(9, backersMin)
        for count in backedMax { buffer.write(10) { $0.write(1, count) } }
        for band in bands { buffer.write(11) { $0.write(1, Int(band)) } }
        for currency in currencies {
            buffer.write(12) {
                $0.writeProtobuf(1, string: currency.code)
                $0.write(2, currency.unitsPerMillion)
            }
        }
    }
}
