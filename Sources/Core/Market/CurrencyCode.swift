// SPDX-License-Identifier: Apache-2.0

/// The three capital letters by which ISO 4217 names a currency. Any such letters are taken from others; only codes that
/// are in use (``isInUse``) are offered to people.
package struct CurrencyCode: Hashable, Comparable, Sendable {
    package static let lettersCount = 3

    /// ISO 4217's code for no currency at all.
    package static let noCurrency = CurrencyCode(letters: "XXX")

    package let text: String

    private init(letters: String) { text = letters }

    package init?(_ text: String) {
        guard text.utf8.count == Self.lettersCount, text.utf8.allSatisfy({ (0x41...0x5A).contains($0) }) else {
            return nil
        }
        self.text = text
    }

    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.text < rhs.text }

    package var isInUse: Bool { Self.inUse.contains(text) }

    /// How many decimal places its minor unit has: 2 unless the standard says otherwise.
    package var decimals: Int {
        if Self.withoutDecimals.contains(text) { return 0 }
        return Self.withThreeDecimals.contains(text) ? 3 : 2
    }

    /// `125000` minor units of EUR are "1250.00".
    package func amount(_ minorUnits: Int64) -> String {
        guard decimals > 0 else { return "\(minorUnits)" }
        var digits = String(minorUnits.magnitude)
        digits = String(repeating: "0", count: max(0, decimals + 1 - digits.count)) + digits
        return (minorUnits < 0 ? "-" : "") + digits.dropLast(decimals) + "." + digits.suffix(decimals)
    }

    private static let withoutDecimals: Set = [
        "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF",
    ]
    private static let withThreeDecimals: Set = ["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"]
    private static let withTwoDecimals: Set = [
        "AED", "AFN", "ALL", "AMD", "AOA", "ARS", "AUD", "AWG", "AZN", "BAM", "BBD", "BDT", "BMD", "BND", "BOB", "BRL",
        "BSD", "BTN", "BWP", "BYN", "BZD", "CAD", "CDF", "CHF", "CNY", "COP", "CRC", "CUP", "CVE", "CZK", "DKK", "DOP",
        "DZD", "EGP", "ERN", "ETB", "EUR", "FJD", "FKP", "GBP", "GEL", "GHS", "GIP", "GMD", "GTQ", "GYD", "HKD", "HNL",
        "HTG", "HUF", "IDR", "ILS", "INR", "IRR", "JMD", "KES", "KGS", "KHR", "KPW", "KYD", "KZT", "LAK", "LBP", "LKR",
        "LRD", "LSL", "MAD", "MDL", "MGA", "MKD", "MMK", "MNT", "MOP", "MRU", "MUR", "MVR", "MWK", "MXN", "MYR", "MZN",
        "NAD", "NGN", "NIO", "NOK", "NPR", "NZD", "PAB", "PEN", "PGK", "PHP", "PKR", "PLN", "QAR", "RON", "RSD", "RUB",
        "SAR", "SBD", "SCR", "SDG", "SEK", "SGD", "SHP", "SLE", "SOS", "SRD", "SSP", "STN", "SVC", "SYP", "SZL", "THB",
        "TJS", "TMT", "TOP", "TRY", "TTD", "TWD", "TZS", "UAH", "USD", "UYU", "UZS", "VED", "VES", "WST", "XCD", "YER",
        "ZAR", "ZMW", "ZWG",
    ]
    private static let inUse = withTwoDecimals.union(withoutDecimals).union(withThreeDecimals)
}
