// SPDX-License-Identifier: Apache-2.0

/// A result as one HTML file that needs no other.
extension ScenarioResult {
    package var html: String {
        let rows = metrics.map {
            "<tr><td>\(escaped($0.name))</td><td class=n>\(NumberText.short($0.value)) \(escaped($0.unit))</td></tr>"
        }
        let verdicts = checks.map {
            "<tr><td>\(escaped($0.name))</td><td>\(escaped($0.expected))</td><td class=n>\(NumberText.short($0.got))</td>"
                + "<td>\(escaped($0.tolerance))</td><td class=\($0.holds ? "ok" : "bad")>\($0.holds ? "holds" : "fails")</td></tr>"
        }
        return """
            <!doctype html><html lang=en><meta charset=utf-8><title>\(escaped(scenario))</title><style>
            body{font:15px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem;color:#222}
            table{border-collapse:collapse;margin:1rem 0}td,th{padding:.2rem .8rem .2rem 0;text-align:left;
            border-bottom:1px solid #ddd}.n{text-align:right}.ok{color:#176b3a}.bad{color:#b00020;font-weight:600}
            code{background:#f4f4f4;padding:.1rem .3rem}svg{width:100%;height:auto;margin:1rem 0}
            @media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}code{background:#2a2a2a}}
            </style><h1>\(escaped(scenario))</h1>
            <p>\(NumberText.grouped(events)) events in \(NumberText.short(simulatedSeconds)) simulated seconds, digest
            <code>\(EventDigest.text(digest))</code>.</p><p>Repeat: <code>\(escaped(command))</code></p>
            <ul>\(model.map { "<li>\(escaped($0))</li>" }.joined())</ul>
            <table><tr><th>check<th>expected<th>got<th>tolerance<th>verdict</tr>\(verdicts.joined())</table>
            \(plots.map(svg).joined(separator: "\n"))
            <table>\(rows.joined())</table></html>
            """
    }

    private func escaped(_ text: String) -> String {
        text.reduce(into: "") { result, character in
            switch character {
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "&": result += "&amp;"
            case "\"": result += "&quot;"
            default: result.append(character)
            }
        }
    }

    private func svg(_ plot: Plot) -> String {
        let (width, height, left, bottom) = (640.0, 260.0, 56.0, 40.0)
        let (xs, ys) = (plot.points.map(\.x), plot.points.map(\.y))
        let (xMin, xMax) = (xs.min() ?? 0, xs.max() ?? 1)
        let (yMin, yMax) = (min(0, ys.min() ?? 0), max(ys.max() ?? 1, 1e-9))
        func place(_ x: Double, _ y: Double) -> String {
            let px = left + (xMax > xMin ? (x - xMin) / (xMax - xMin) : 0.5) * (width - left - 16)
            let py = height - bottom - (y - yMin) / (yMax - yMin) * (height - bottom - 24)
            return NumberText.fixed(px, 1) + "," + NumberText.fixed(py, 1)
        }
        // Enough for the eye.
        let step = max(1, plot.points.count / 400)
        var shown = stride(from: 0, to: plot.points.count, by: step).map { plot.points[$0] }
        if let last = plot.points.last { shown.append(last) }
        let line = shown.map { place($0.x, $0.y) }.joined(separator: " ")
        let base = NumberText.fixed(height - bottom, 0)
        let right = NumberText.fixed(width - 16, 0)
        return """
            <svg viewBox="0 0 640 260" role="img" aria-label="\(escaped(plot.title))" font-size="12" fill="currentColor">
            <text x="56" y="14" font-weight="600">\(escaped(plot.title))</text>
            <path d="M56 24V\(base)H\(right)" fill="none" stroke="currentColor" stroke-opacity=".4" />
            <text x="50" y="30" text-anchor="end">\(NumberText.short(yMax))</text>
            <text x="50" y="\(base)" text-anchor="end">\(NumberText.short(yMin))</text>
            <text x="56" y="238">\(NumberText.short(xMin))</text>
            <text x="\(right)" y="238" text-anchor="end">\(NumberText.short(xMax))</text>
            <text x="340" y="254" text-anchor="middle">\(escaped(plot.horizontal))</text>
            <text x="340" y="14">\(escaped(plot.vertical))</text>
            <polyline points="\(line)" fill="none" stroke="#2f6fde" stroke-width="2" /></svg>
            """
    }
}
