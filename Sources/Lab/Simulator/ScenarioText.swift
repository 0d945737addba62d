// SPDX-License-Identifier: Apache-2.0

/// A result for people and for programs.
extension ScenarioResult {
    package var text: String {
        var lines = ["\(scenario)  \(settings.map { "\($0.name)=\($0.value)" }.joined(separator: " "))"]
        lines += model.map { "  model: " + $0 }
        lines.append(
            "  \(NumberText.grouped(events)) events in \(NumberText.short(simulatedSeconds)) simulated s, digest "
                + EventDigest.text(digest))
        let width = metrics.map(\.name.count).max() ?? 0
        for metric in metrics {
            lines.append("  " + padded(metric.name, width) + "  " + NumberText.short(metric.value) + " " + metric.unit)
        }
        for check in checks {
            lines.append(
                "  \(check.holds ? "ok  " : "FAIL") \(check.name): \(NumberText.short(check.got)), expected "
                    + check.expected + (check.tolerance == "bounds" ? "" : " " + check.tolerance))
        }
        if !holds { lines.append("  repeat: " + command) }
        return lines.joined(separator: "\n")
    }

    /// One object.
    package var json: String {
        var fields = [
            "\"scenario\":" + JSONText.string(scenario), "\"digest\":" + JSONText.string(EventDigest.text(digest)),
            "\"events\":\(events)", "\"simulatedSeconds\":" + JSONText.number(simulatedSeconds),
            "\"holds\":\(holds)", "\"command\":" + JSONText.string(command),
        ]
        fields.append(
            "\"settings\":{" + settings.map { JSONText.string($0.name) + ":\($0.value)" }.joined(separator: ",") + "}")
        fields.append("\"model\":[" + model.map(JSONText.string).joined(separator: ",") + "]")
        fields.append(
            "\"metrics\":["
                + metrics.map {
                    "{\"name\":\(JSONText.string($0.name)),\"value\":\(JSONText.number($0.value)),\"unit\":\(JSONText.string($0.unit))}"
                }.joined(separator: ",") + "]")
        fields.append(
            "\"checks\":["
                + checks.map {
                    "{\"name\":\(JSONText.string($0.name)),\"expected\":\(JSONText.string($0.expected)),\"got\":"
                        + "\(JSONText.number($0.got)),\"tolerance\":\(JSONText.string($0.tolerance)),\"holds\":\($0.holds)}"
                }.joined(separator: ",") + "]")
        return "{" + fields.joined(separator: ",") + "}"
    }

    private func padded(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.count))
    }
}

package enum JSONText {
    package static func string(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            default:
                if scalar.value < 0x20 {
                    let digits = String(scalar.value, radix: 16)
                    result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
                } else {
                    result.unicodeScalars.append(scalar)
                }
            }
        }
        return result + "\""
    }

    package static func number(_ value: Double) -> String {
        guard value.isFinite else { return "null" }
        return value == value.rounded() && abs(value) < 1e15 ? String(Int64(value)) : "\(value)"
    }
}
