// SPDX-License-Identifier: Apache-2.0
import TuttiCommunityCore

extension CharterDocument {
    /// What a charter says of the market. Amounts are the community's units.
    public struct Market: Hashable, Sendable, Codable {
        public struct Currency: Hashable, Sendable, Codable {
            public var code: String
            public var unitsPerMillion: Int

            public init(code: String, unitsPerMillion: Int) {
                self.code = code
                self.unitsPerMillion = unitsPerMillion
            }
        }

        public var deadlineHours: [String: Int]
        public var offerHours: Int
        public var countersMax: Int
        public var listingDaysMax: Int
        public var transportDaysMax: Int
        public var arbitersMin: Int
        public var arbitersMax: Int
        public var cap: Int
        public var backersMin: Int
        public var backedMax: [Int]
        public var bands: [Int]
        public var currencies: [Currency]
    }
}

extension CharterDocument.Market {
    init(_ rules: MarketRules) {
        deadlineHours = [:]
        for deadline in MarketRules.Deadline.allCases { deadlineHours["\(deadline)"] = rules.hours(deadline) }
        offerHours = rules.offerHours
        countersMax = rules.countersMax
        listingDaysMax = rules.listingDaysMax
        transportDaysMax = rules.transportDaysMax
        arbitersMin = rules.arbitersMin
        arbitersMax = rules.arbitersMax
        cap = Int(rules.cap)
        backersMin = rules.backersMin
        backedMax = rules.backedMax
        bands = rules.bands.map { Int($0) }
        currencies = rules.currencies.map { Currency(code: $0.code, unitsPerMillion: $0.unitsPerMillion) }
    }

    func rules() throws -> MarketRules {
        func number(_ value: Int, _ range: ClosedRange<Int>, _ name: String) throws -> Int {
            try CharterDocument.number(value, in: range, "market.\(name)")
        }
        func refusal(_ text: String) -> CommunityError { CommunityError(.invalidInput, "market.\(text)") }

        let units = Int(MarketLimits.unitsMax)
        var rules = MarketRules.standard
        rules.deadlineHours = try MarketRules.Deadline.allCases.map { deadline in
            guard let hours = deadlineHours["\(deadline)"] else {
                throw refusal("deadlineHours.\(deadline) is missing")
            }
            return try number(hours, MarketLimits.deadlineHours, "deadlineHours.\(deadline)")
        }
        let known = Set(MarketRules.Deadline.allCases.map { "\($0)" })
        if let other = deadlineHours.keys.sorted().first(where: { !known.contains($0) }) {
            throw refusal("deadlineHours: there is no deadline '\(other)'")
        }
        rules.offerHours = try number(offerHours, MarketLimits.offerHours, "offerHours")
        rules.countersMax = try number(countersMax, MarketLimits.counters, "countersMax")
        rules.listingDaysMax = try number(listingDaysMax, MarketLimits.listingDays, "listingDaysMax")
        rules.transportDaysMax = try number(transportDaysMax, MarketLimits.transportDays, "transportDaysMax")
        rules.arbitersMin = try number(arbitersMin, MarketLimits.arbiters, "arbitersMin")
        rules.arbitersMax = try number(
            arbitersMax, rules.arbitersMin...MarketLimits.arbiters.upperBound, "arbitersMax")
        rules.cap = Int64(try number(cap, 0...units, "cap"))
        rules.backersMin = try number(backersMin, MarketLimits.backers, "backersMin")
        _ = try number(backedMax.count, 0...MarketLimits.backedLevelsMax, "backedMax (how many there are)")
        rules.backedMax = try backedMax.map { try number($0, MarketLimits.backed, "backedMax") }
        _ = try number(bands.count, 1...MarketLimits.bandsMax, "bands (how many there are)")
        rules.bands = try bands.map { Int64(try number($0, 1...units, "bands")) }
        guard zip(rules.bands, rules.bands.dropFirst()).allSatisfy({ $0 < $1 }) else {
            throw refusal("bands: each must be above the one before")
        }
        _ = try number(currencies.count, 0...MarketLimits.currenciesMax, "currencies (how many there are)")
        rules.currencies = try currencies.sorted { $0.code < $1.code }.map { currency in
            guard MarketRules.isCode(currency.code) else {
                throw refusal("currencies: '\(currency.code)' is no code such as EUR")
            }
            return MarketRules.Currency(
                currency.code,
                unitsPerMillion: try number(
                    currency.unitsPerMillion, MarketLimits.unitsPerMillion, "currencies.\(currency.code)"))
        }
        guard zip(rules.currencies, rules.currencies.dropFirst()).allSatisfy({ $0.code < $1.code }) else {
            throw refusal("currencies: one stands there twice")
        }
        return rules
    }

    /// For people: what a charter says of the market.
    static func lines(_ rules: MarketRules) -> [String] {
        let deadlines = MarketRules.Deadline.allCases.map { "\($0) \(rules.hours($0)) h" }.joined(separator: ", ")
        let currencies = rules.currencies.map { "\($0.code) at \($0.unitsPerMillion)" }.joined(separator: ", ")
        return [
            "market: deadlines: \(deadlines)",
            "market: offers stand \(rules.offerHours) h, \(rules.countersMax) counter-offers, listings"
                + " \(rules.listingDaysMax) days, transport \(rules.transportDaysMax) days at most",
            "market: \(rules.arbitersMin) to \(rules.arbitersMax) arbiters to a contract",
            "market: open exposure at most \(rules.cap) units, in bands of"
                + " \(rules.bands.map(String.init).joined(separator: ", "))",
            "market: an account of one's own by \(rules.backersMin) vouches; one brings about at most"
                + " \(rules.backedMax.map(String.init).joined(separator: ", ")), by the distance from the founder",
            "market: currencies: \(currencies.isEmpty ? "every national one" : currencies + " units to the million")",
        ]
    }
}
