// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity
import TuttiQRCode

@Suite("QR codes")
struct QRCodeTests {
    /// Version, the bytes that it holds at level M (table 7 of the standard), the first bytes of SHA-256 of its modules. A
    /// foreign reader (zbar 0.23) has read each of these symbols.
    static let versions: [(number: Int, bytesMax: Int, digest: String)] = [
        (1, 14, "3dd1c7edc5324b8d"), (2, 26, "538549ead4b26b13"), (3, 42, "7cf3cc12c068727f"),
        (4, 62, "7f4a73153a146ee1"), (5, 84, "728e1935a82f5d3e"), (6, 106, "2d61c4b097e69614"),
        (7, 122, "cb3686480b4ddcf0"), (8, 152, "e203e8a27c11fde3"), (9, 180, "e88b35be15ea27a6"),
        (10, 213, "f92107448bb931d8"), (11, 251, "245013585cbba9fb"), (12, 287, "f5fab34374ab89c3"),
        (13, 331, "04b147f791a8767b"), (14, 362, "c77d7e73cd2a32ea"), (15, 412, "602197e2df993e9f"),
        (16, 450, "cdbd77de0c254f88"), (17, 504, "379d8c10cf878cbf"), (18, 560, "89237da244983689"),
        (19, 624, "946f6e0ee72d8c2c"), (20, 666, "ffdca6e77f4291b4"), (21, 711, "ab3d24909aa014f0"),
        (22, 779, "8efd44d07690a503"), (23, 857, "5300fd83c91b39b1"), (24, 911, "7037489cd77714b6"),
        (25, 997, "6f8613cda773e8bf"), (26, 1059, "f0ee08fa38d146bd"), (27, 1125, "bf3b9c77dc70bb49"),
        (28, 1190, "fedd01edcdbd5d25"), (29, 1264, "48a1bb1eba6746bf"), (30, 1370, "89a7a6ad7f55047e"),
        (31, 1452, "07c96a9ec66cb04a"), (32, 1538, "660310a9e7f08e47"), (33, 1628, "2f461e2f951ecd01"),
        (34, 1722, "a0a276bc7dc9d7e8"), (35, 1809, "ab081725e80929cb"), (36, 1911, "95f239c0d28bfb0a"),
        (37, 1989, "0511e39fdd29df0f"), (38, 2099, "ee0739f6f214e317"), (39, 2213, "82e8c7dd01319b5c"),
        (40, 2331, "86106b7ea0694404"),
    ]

    private static func text(_ bytesCount: Int) -> String {
        String(decoding: (0..<bytesCount).map { UInt8(33 + $0 * 7 % 90) }, as: UTF8.self)
    }

    private static func rows(_ code: QRCode) -> [String] {
        (0..<code.size).map { row in
            String((0..<code.size).map { code.isDark(row: row, column: $0) ? "#" : "." })
        }
    }

    @Test("each version, full to the last byte, is the symbol that a foreign reader has read", arguments: versions)
    func everyVersion(number: Int, bytesMax: Int, digest: String) throws {
        let code = try #require(QRCode(Self.text(bytesMax)))
        #expect(code.version == number)
        #expect(code.size == 17 + 4 * number)
        let modules = Self.rows(code).joined().utf8.map { $0 == UInt8(ascii: "#") ? UInt8(1) : 0 }
        #expect(BitText.base16.encode(KeyDerivation.sha256(modules).bytes.prefix(8)) == digest)
        // One byte more needs the next.
        #expect(QRCode(Self.text(bytesMax + 1))?.version == (number == 40 ? nil : number + 1))
    }

    @Test("a small symbol, module by module")
    func small() throws {
        let drawn = """
            #######....#..#######
            #.....#.#####.#.....#
            #.###.#..#.##.#.###.#
            #.###.#..#.#..#.###.#
            #.###.#.###.#.#.###.#
            #.....#.....#.#.....#
            #######.#.#.#.#######
            .........####........
            #.#.#.#...##....#..#.
            ##..##.##.....#.....#
            #####.#####.#...#####
            .###......#...#....#.
            .#.##.###.#.#.#.##.##
            ........#.##.#.#....#
            #######..###.###..###
            #.....#....###.##....
            #.###.#.#.##.###.#.##
            #.###.#..##...##...#.
            #.###.#.##..#...#.#.#
            #.....#..##...#....#.
            #######.#...#.#....##
            """
        #expect(Self.rows(try #require(QRCode("tutti"))).joined(separator: "\n") == drawn)
    }

    @Test("correction is the one of the standard's example (annex I)")
    func correction() {
        let data: [UInt8] = [
            0x10, 0x20, 0x0C, 0x56, 0x61, 0x80, 0xEC, 0x11, 0xEC, 0x11, 0xEC, 0x11, 0xEC, 0x11, 0xEC, 0x11,
        ]
        #expect(
            QRCodewords.correction(of: data, count: 10)
                == [0xA5, 0x24, 0xD4, 0xC1, 0xED, 0x36, 0xC7, 0x87, 0x2C, 0x55])
    }

    @Test("information on format and version is the one of the standard (annexes C and D)")
    func information() {
        #expect(QRDrawing.format(0) == 0b101_0100_0001_0010)
        #expect(QRDrawing.format(5) == 0b100_0000_1100_1110)
        #expect(QRDrawing.version(6) == nil)
        #expect(QRDrawing.version(7) == 0b00_0111_1100_1001_0100)
        #expect(QRDrawing.version(40) == 0b10_1000_1100_0110_1001)
    }

    @Test("what is longer than the largest symbol is refused, nothing is a symbol too")
    func limits() {
        #expect(QRCode(Self.text(QRCode.bytesMax + 1)) == nil)
        #expect(QRCode("")?.version == 1)
    }

    @Test("in a terminal two modules are one character, with light around")
    func terminal() throws {
        let code = try #require(QRCode("tutti"))
        #expect(code.lines.count == (code.columnsCount + 1) / 2)
        let shown = code.lines.map { line in line.filter { " ▀▄█".contains($0) } }
        #expect(shown.allSatisfy { $0.count == code.columnsCount && $0.hasPrefix("    ") && $0.hasSuffix("    ") })
        #expect(shown[2].hasPrefix("    █▀▀▀▀▀█ "))
    }

    @Test("pictures have the size that they say")
    func pictures() throws {
        let code = try #require(QRCode("tutti"))
        let picture = code.png(scale: 2)
        #expect(picture.prefix(8) == [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A])
        #expect(picture[16..<24] == [0, 0, 0, 58, 0, 0, 0, 58])
        // Checksum of the empty last piece, as every PNG ends.
        #expect(picture.suffix(8) == [0x49, 0x45, 0x4E, 0x44, 0xAE, 0x42, 0x60, 0x82])
        let dark = Self.rows(code).joined().count { $0 == "#" }
        #expect(code.svg.split(separator: "h1v1h-1z").count == dark + 1)
        #expect(code.svg.contains("viewBox=\"0 0 29 29\""))
    }
}
