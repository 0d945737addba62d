// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import TuttiBase
import TuttiIdentity
import TuttiQRCode

@Suite("QR codes")
struct QRCodeTests {
    static func text(_ bytesCount: Int) -> String {
        String(decoding: (0..<bytesCount).map { UInt8(33 + $0 * 7 % 90) }, as: UTF8.self)
    }
    @Test("golden") func golden() throws {
        let capacities = (1...2_331).reduce(into: [Int: Int]()) { $0[QRCode(Self.text($1))!.version] = $1 }
        for version in 1...40 {
            let code = try #require(QRCode(Self.text(capacities[version]!)))
            try Data(code.png(scale: 4)).write(to: URL(fileURLWithPath: "/tmp/gv/q\(version).png"))
            try Self.text(capacities[version]!).write(toFile: "/tmp/gv/q\(version).txt", atomically: true, encoding: .utf8)
            let modules = (0..<code.size * code.size).map { code.isDark(row: $0 / code.size, column: $0 % code.size) ? UInt8(1) : 0 }
            print("GOLD (\(version), \(capacities[version]!), \"\(BitText.base16.encode(KeyDerivation.sha256(modules).bytes.prefix(8)))\"),")
        }
        for text in ["tutti", "HELLO WORLD"] {
        let small = QRCode(text)!
        for row in 0..<21 { print("GOLD", (0..<21).map { small.isDark(row: row, column: $0) ? "#" : "." }.joined()) }
        }
    }
}
