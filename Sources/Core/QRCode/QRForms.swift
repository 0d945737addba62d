// SPDX-License-Identifier: Apache-2.0

/// A symbol as it is shown, with the light zone around it.
extension QRCode {
    /// Columns that ``lines`` are wide.
    public var columnsCount: Int { size + 2 * Self.quietZone }

    /// For a terminal: two modules above one another are one character. Dark on light whatever the terminal's colours are.
    public var lines: [String] {
        let range = -Self.quietZone..<size + Self.quietZone
        return stride(from: range.lowerBound, to: range.upperBound, by: 2).map { row in
            let modules = range.map { column in
                switch (isDark(row: row, column: column), isDark(row: row + 1, column: column)) {
                case (false, false): " "
                case (true, false): "▀"
                case (false, true): "▄"
                case (true, true): "█"
                }
            }
            // Black on white.
            return "\u{1B}[38;5;16;48;5;231m" + modules.joined() + "\u{1B}[0m"
        }
    }

    public var svg: String {
        var path = ""
        for row in 0..<size {
            for column in 0..<size where isDark(row: row, column: column) {
                path += "M\(column + Self.quietZone) \(row + Self.quietZone)h1v1h-1z"
            }
        }
        return """
            <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 \(columnsCount) \(columnsCount)" \
            width="\(columnsCount * 4)" height="\(columnsCount * 4)" shape-rendering="crispEdges">
            <rect width="100%" height="100%" fill="#fff"/>
            <path d="\(path)" fill="#000"/>
            </svg>

            """
    }

    /// One bit a pixel, so many pixels a module.
    public func png(scale: Int = 8) -> [UInt8] {
        let scale = max(1, min(scale, 64))
        let side = columnsCount * scale
        var pixels: [UInt8] = []
        for row in -Self.quietZone..<size + Self.quietZone {
            var bits = QRBits()
            // Each line begins with the number of its filter: none.
            bits.append(0, count: 8)
            for column in -Self.quietZone..<size + Self.quietZone {
                for _ in 0..<scale { bits.append(isDark(row: row, column: column) ? 0 : 1, count: 1) }
            }
            for _ in 0..<scale { pixels += bits.bytes }
        }
        var file: [UInt8] = [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]
        // Depth 1, grey; compression, filter and interlace as there is but one of.
        PNGFile.append("IHDR", PNGFile.number(side) + PNGFile.number(side) + [1, 0, 0, 0, 0], to: &file)
        PNGFile.append("IDAT", PNGFile.stored(pixels), to: &file)
        PNGFile.append("IEND", [], to: &file)
        return file
    }
}

/// As much of PNG (ISO/IEC 15948) and zlib (RFC 1950) as a picture without compression needs.
private enum PNGFile {
    static func number(_ value: Int) -> [UInt8] {
        (0..<4).reversed().map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }

    static func append(_ name: String, _ content: [UInt8], to file: inout [UInt8]) {
        let named = Array(name.utf8) + content
        file += number(content.count) + named + number(Int(checksum(named)))
    }

    static func stored(_ bytes: [UInt8]) -> [UInt8] {
        var stream: [UInt8] = [0x78, 0x01]
        var start = 0
        repeat {
            let end = min(start + Int(UInt16.max), bytes.count)
            let count = UInt16(truncatingIfNeeded: end - start)
            stream.append(end == bytes.count ? 1 : 0)
            for value in [count, ~count] {
                stream += [UInt8(truncatingIfNeeded: value), UInt8(truncatingIfNeeded: value >> 8)]
            }
            stream += bytes[start..<end]
            start = end
        } while start < bytes.count
        return stream + number(adler(bytes))
    }

    private static func adler(_ bytes: [UInt8]) -> Int {
        var (one, two) = (1, 0)
        for byte in bytes {
            one = (one + Int(byte)) % 65_521
            two = (two + one) % 65_521
        }
        return two << 16 | one
    }

    private static func checksum(_ bytes: [UInt8]) -> UInt32 {
        var sum = UInt32.max
        for byte in bytes {
            sum ^= UInt32(byte)
            for _ in 0..<8 { sum = sum >> 1 ^ (sum & 1 == 1 ? 0xEDB8_8320 : 0) }
        }
        return ~sum
    }
}
