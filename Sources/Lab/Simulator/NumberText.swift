// SPDX-License-Identifier: Apache-2.0

/// Numbers as text, the same on every machine.
package enum NumberText {
    /// With so many digits behind the point, rounded half away from zero.
    package static func fixed(_ value: Double, _ digits: Int) -> String {
        guard value.isFinite, abs(value) < 1e15 else { return value.isFinite ? "\(value)" : "-" }
        var scale = 1.0
        for _ in 0..<digits { scale *= 10 }
        let scaled = Int64((abs(value) * scale).rounded())
        let sign = value < 0 && scaled != 0 ? "-" : ""
        let whole = scaled / Int64(scale)
        guard digits > 0 else { return sign + String(whole) }
        let fraction = String(scaled % Int64(scale))
        return sign + String(whole) + "." + String(repeating: "0", count: digits - fraction.count) + fraction
    }

    /// About four digits that matter.
    package static func short(_ value: Double) -> String {
        let size = abs(value)
        if size == size.rounded(), size < 1e6 { return fixed(value, 0) }
        return fixed(value, size >= 1_000 ? 0 : size >= 100 ? 1 : size >= 1 ? 2 : 4)
    }

    /// "12,345,678"
    package static func grouped(_ value: UInt64) -> String {
        var text = ""
        for (place, digit) in String(value).reversed().enumerated() {
            if place > 0, place % 3 == 0 { text.append(",") }
            text.append(digit)
        }
        return String(text.reversed())
    }
}
