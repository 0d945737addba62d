// SPDX-License-Identifier: Apache-2.0

/// Modules of a symbol while it is made: patterns first, then codewords, then a mask.
package struct QRDrawing {
    private(set) var modules: [Bool]
    /// What is no place for codewords.
    private var isTaken: [Bool]
    private let version: QRVersion
    private var size: Int { version.size }

    /// Patterns, and places kept for information on the format (6.3).
    init(_ version: QRVersion) {
        self.version = version
        modules = [Bool](repeating: false, count: version.size * version.size)
        isTaken = modules
        for place in 0..<size {
            take(6, place, place % 2 == 0)
            take(place, 6, place % 2 == 0)
        }
        for (row, column) in [(3, 3), (3, size - 4), (size - 4, 3)] { drawFinder(row, column) }
        let centres = version.alignmentCentres
        for row in centres {
            for column in centres where !isCorner(row, column, centres) { drawAlignment(row, column) }
        }
        drawFormat(0)
        drawVersion()
    }

    private subscript(row: Int, column: Int) -> Bool { modules[row * size + column] }

    private mutating func take(_ row: Int, _ column: Int, _ isDark: Bool) {
        guard (0..<size).contains(row), (0..<size).contains(column) else { return }
        modules[row * size + column] = isDark
        isTaken[row * size + column] = true
    }

    // MARK: Patterns

    /// With the light line around it.
    private mutating func drawFinder(_ row: Int, _ column: Int) {
        for down in -4...4 {
            for right in -4...4 {
                let distance = max(abs(down), abs(right))
                take(row + down, column + right, distance != 2 && distance != 4)
            }
        }
    }

    private mutating func drawAlignment(_ row: Int, _ column: Int) {
        for down in -2...2 {
            for right in -2...2 { take(row + down, column + right, max(abs(down), abs(right)) != 1) }
        }
    }

    /// Where a finder pattern is.
    private func isCorner(_ row: Int, _ column: Int, _ centres: [Int]) -> Bool {
        let (first, last) = (centres.first, centres.last)
        return (row == first && (column == first || column == last)) || (row == last && column == first)
    }

    /// Level M and the mask, twice (7.9).
    private mutating func drawFormat(_ mask: Int) {
        let bits = Self.format(mask)
        for place in 0..<15 {
            let isDark = bits >> place & 1 == 1
            switch place {
            case 0...5: take(place, 8, isDark)
            case 6, 7: take(place + 1, 8, isDark)
            case 8: take(8, 7, isDark)
            default: take(8, 14 - place, isDark)
            }
            if place < 8 { take(8, size - 1 - place, isDark) } else { take(size - 15 + place, 8, isDark) }
        }
        take(size - 8, 8, true)
    }

    /// Twice (7.10).
    private mutating func drawVersion() {
        guard let bits = Self.version(version.number) else { return }
        for place in 0..<18 {
            let isDark = bits >> place & 1 == 1
            take(place / 3, size - 11 + place % 3, isDark)
            take(size - 11 + place % 3, place / 3, isDark)
        }
    }

    package static func format(_ mask: Int) -> Int {
        // Level M is 00.
        (mask << 10 | remainder(mask, degree: 10, by: 0b101_0011_0111)) ^ 0b101_0100_0001_0010
    }

    /// Nil where the symbol says nothing of it.
    package static func version(_ number: Int) -> Int? {
        number < 7 ? nil : number << 12 | remainder(number, degree: 12, by: 0b1_1111_0010_0101)
    }

    private static func remainder(_ value: Int, degree: Int, by polynomial: Int) -> Int {
        var rest = value
        for _ in 0..<degree { rest = rest << 1 ^ (rest >> (degree - 1) & 1 == 1 ? polynomial : 0) }
        return rest & (1 << degree - 1)
    }

    // MARK: Codewords and masks

    /// In columns of two from the right, up and down in turn (7.7.3).
    mutating func place(_ codewords: [UInt8]) {
        var bit = 0
        var isUpwards = true
        for right in stride(from: size - 1, through: 1, by: -2) {
            // The timing pattern's column is passed over.
            let right = right <= 6 ? right - 1 : right
            for step in 0..<size {
                let row = isUpwards ? size - 1 - step : step
                for column in [right, right - 1] where !isTaken[row * size + column] {
                    if bit / 8 < codewords.count {
                        modules[row * size + column] = codewords[bit / 8] >> (7 - UInt8(bit % 8)) & 1 == 1
                    }
                    bit += 1
                }
            }
            isUpwards.toggle()
        }
    }

    func masked(_ mask: Int) -> QRDrawing {
        var drawing = self
        for row in 0..<size {
            for column in 0..<size where !isTaken[row * size + column] && Self.inverts(mask, row, column) {
                drawing.modules[row * size + column].toggle()
            }
        }
        drawing.drawFormat(mask)
        return drawing
    }

    /// Table 10.
    private static func inverts(_ mask: Int, _ row: Int, _ column: Int) -> Bool {
        switch mask {
        case 0: (row + column) % 2 == 0
        case 1: row % 2 == 0
        case 2: column % 3 == 0
        case 3: (row + column) % 3 == 0
        case 4: (row / 2 + column / 3) % 2 == 0
        case 5: row * column % 2 + row * column % 3 == 0
        case 6: (row * column % 2 + row * column % 3) % 2 == 0
        default: ((row + column) % 2 + row * column % 3) % 2 == 0
        }
    }

    // MARK: Penalties

    /// How hard the symbol is to read (7.8.3).
    var penalty: Int {
        var sum = 0
        for line in 0..<size {
            sum += Self.penalty((0..<size).map { self[line, $0] })
            sum += Self.penalty((0..<size).map { self[$0, line] })
        }
        for row in 1..<size {
            for column in 1..<size {
                let colour = self[row, column]
                if self[row - 1, column] == colour, self[row, column - 1] == colour,
                    self[row - 1, column - 1] == colour
                {
                    sum += 3
                }
            }
        }
        let dark = modules.count { $0 }
        // Each whole 5 % away from a half.
        return sum + abs(dark * 20 - modules.count * 10) / modules.count * 10
    }

    /// Of one row or column: five or more alike, and what looks like a finder pattern beside four light ones.
    private static func penalty(_ line: [Bool]) -> Int {
        var (sum, run) = (0, 1)
        // A light one at the end ends the last run without a place of its own.
        for place in 1...line.count {
            if place < line.count, line[place] == line[place - 1] {
                run += 1
            } else {
                if run >= 5 { sum += run - 2 }
                run = 1
            }
        }
        let finder = [true, false, true, true, true, false, true]
        for start in 0...line.count - finder.count where Array(line[start..<start + finder.count]) == finder {
            func isLight(_ places: Range<Int>) -> Bool {
                places.allSatisfy { !line.indices.contains($0) || !line[$0] }
            }
            if isLight(start - 4..<start) || isLight(start + 7..<start + 11) { sum += 40 }
        }
        return sum
    }
}
