// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity

@Suite("Bases, multihashes and CIDs")
struct MultibaseTests {
    @Test(
        "Known bytes have their known base58 and base36 text",
        arguments: [
            ("", "", ""),
            ("00", "1", "0"),
            ("000001", "112", "001"),
            ("68656c6c6f20776f726c64", "StV1DL6CwTryKyV", "fuvrsivvnfrbjwajo"),
            (
                "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021222324252627",
                "1fAhYWqs6ctsWHNZtpYJNB9BxxQPq4Pa5LkbLC3wpAHLipXE7tXVY",
                "0htm7c3uybkjaqyxn9et5p3sxcjb34r877v3x0b9yfc6i0dmhgfayi4irl7r"
            ),
        ])
    func radixGolden(hex: String, base58: String, base36: String) throws {
        let value = KeyVectors.hex(hex)
        #expect(RadixText.base58btc.encode(value) == base58)
        #expect(RadixText.base36.encode(value) == base36)
        #expect(try RadixText.base58btc.decode(base58.utf8, textBytesMax: 100, "text") == value)
        #expect(try RadixText.base36.decode(base36.utf8, textBytesMax: 100, "text") == value)
    }

    @Test("The vectors of RFC 4648 hold, without padding")
    func bitGolden() throws {
        let rows: [(String, String, String, String)] = [
            ("", "", "", ""), ("f", "my", "Zg", "66"), ("fo", "mzxq", "Zm8", "666f"),
            ("foo", "mzxw6", "Zm9v", "666f6f"),
            ("foob", "mzxw6yq", "Zm9vYg", "666f6f62"), ("fooba", "mzxw6ytb", "Zm9vYmE", "666f6f6261"),
            ("foobar", "mzxw6ytboi", "Zm9vYmFy", "666f6f626172"),
        ]
        for (plain, base32, base64, base16) in rows {
            #expect(BitText.base32.encode(plain.utf8) == base32)
            #expect(BitText.base64.encode(plain.utf8) == base64)
            #expect(BitText.base16.encode(plain.utf8) == base16)
            #expect(try BitText.base32.decode(base32.utf8, textBytesMax: 64, "text") == Array(plain.utf8))
            #expect(try BitText.base64.decode(base64.utf8, textBytesMax: 64, "text") == Array(plain.utf8))
        }
        #expect(BitText.base64.encode([0xFB, 0xFF]) == "+/8")
        #expect(BitText.base64url.encode([0xFB, 0xFF]) == "-_8")
    }

    @Test("Every base reads what it writes", arguments: Multibase.allCases, [1, 2, 3, 4, 5] as [UInt64])
    func roundTrip(base: Multibase, seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        for count in 0..<70 {
            var value = (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) }
            for index in 0..<min(count, count % 4) { value[index] = 0 }
            let text = base.encode(value)
            #expect(try Multibase.decode(text, textBytesMax: 1_000, "text") == value)
        }
    }

    @Test(
        "Text that no encoder writes is refused",
        arguments: [
            "zO", "z0", "zl", "z é", "b1", "bA", "bmz=", "bm", "bmzz", "k-", "kA", "fF0", "f0", "m!", "mZh", "uZ+", "Q",
            "é",
        ])
    func refused(text: String) {
        #expect(throws: DecodeError.self) { try Multibase.decode(text, textBytesMax: 100, "text") }
    }

    @Test("Length is checked before the work that grows with its square")
    func bounded() {
        let long = String(repeating: "z", count: 10_000_000)
        #expect(throws: DecodeError.tooLarge("text", limit: 128)) {
            try Multibase.decode(long, textBytesMax: 128, "text")
        }
        #expect(throws: DecodeError.tooLarge("text", limit: 128)) {
            try RadixText.base58btc.decode(long.utf8, textBytesMax: 128, "text")
        }
        #expect(throws: DecodeError.tooLarge("peer id text", limit: 128)) { try PeerID(text: "1" + long) }
    }

    @Test("A multihash of sha2-256 has its known bytes, and damaged ones are refused or kept exactly")
    func multihash() throws {
        let hash = Multihash(sha256Of: Array("x".utf8))
        let golden = KeyVectors.hex("12202d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881")
        #expect(hash.bytes == golden)
        #expect(try Multihash(bytes: golden) == hash)
        expectEveryCutRefused(golden) { try Multihash(bytes: $0) }
        expectDamageRefusedOrKept(golden, seed: 1, { try Multihash(bytes: $0) }, { $0.bytes })
        #expect(throws: DecodeError.malformed("multihash")) { try Multihash(bytes: golden + [0]) }
        #expect(throws: DecodeError.tooLarge("multihash digest", limit: 64)) {
            try Multihash(bytes: [0x13, 0x41] + [UInt8](repeating: 0, count: 65))
        }
        #expect(throws: DecodeError.self) {
            try Multihash(bytes: [0x12, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F])
        }
    }

    @Test("CIDs of both versions are read and written in their text")
    func cid() throws {
        let v0 = try CID(text: "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N")
        #expect(v0.version == 0 && v0.codec == CID.dagPB)
        #expect(v0.text() == "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N")
        let v1 = try CID(text: "bafzbeie5745rpv2m6tjyuugywy4d5ewrqgqqhfnf445he3omzpjbx5xqxe")
        #expect(v1.codec == CID.libp2pKey && v1.multihash == v0.multihash)
        for base in Multibase.allCases { #expect(try CID(text: v1.text(in: base)) == v1) }
        expectEveryCutRefused(v1.bytes) { try CID(bytes: $0) }
        expectDamageRefusedOrKept(v1.bytes, seed: 2, { try CID(bytes: $0) }, { $0.bytes })
        #expect(throws: DecodeError.malformed("CID text")) { try CID(text: "z" + v0.text()) }
    }
}
