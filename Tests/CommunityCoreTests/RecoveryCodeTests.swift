// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal

@Suite struct RecoveryCodeTests {
    private static let zeros =
        "abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon abandon"
        + " abandon abandon abandon"

    private static func code(_ seed: UInt64) -> RecoveryCode {
        var source = Sample.source(seed)
        return RecoveryCode(from: &source)
    }

    private static func error(_ text: String) -> RecoveryCodeError? {
        do throws(RecoveryCodeError) {
            _ = try RecoveryCode(parsing: text)
            return nil
        } catch { return error }
    }

    @Test("A code has the words that its secret and the document give it")
    func goldenWords() throws {
        let zero = try #require(RecoveryCode(secret: [UInt8](repeating: 0, count: 16)))
        #expect(zero.words.joined(separator: " ") == Self.zeros)
        let counted = try #require(RecoveryCode(secret: Array(0..<16)))
        #expect(
            counted.words.joined(separator: " ")
                == "abandon above amount gauge agree coral search bamboo pass maid crouch sea ivory print list")
        let ones = try #require(RecoveryCode(secret: [UInt8](repeating: 0xFF, count: 16)))
        #expect(
            ones.words.joined(separator: " ")
                == "avocado zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo zoo level panther urge")
        #expect(RecoveryCode(secret: [1]) == nil)
    }

    @Test("A printed code reads back", arguments: 0..<200)
    func roundTrip(seed: UInt64) throws {
        let code = Self.code(seed)
        #expect(code.words.count == 15)
        #expect(try RecoveryCode(parsing: code.words.joined(separator: " ")) == code)
        #expect(try RecoveryCode(parsing: code.page) == code)
    }

    @Test("Capitals, spaces, punctuation and letters beyond the fourth don't matter")
    func typing() throws {
        let code = Self.code(5)
        #expect(try RecoveryCode(parsing: code.words.joined(separator: ",\n\t ").uppercased()) == code)
        #expect(try RecoveryCode(parsing: "  " + code.words.map { $0.prefix(4) }.joined(separator: "-") + ".") == code)
        #expect(try RecoveryCode(parsing: code.page.replacing(". ", with: ") ")) == code)
    }

    @Test("The same source prints the same code, another one another")
    func randomness() {
        #expect(Self.code(1) == Self.code(1))
        #expect(Set((0..<100).map { Self.code($0) }).count == 100)
    }

    @Test("A word that isn't of the list is named with its place and the nearest one")
    func unknownWord() {
        var words = Self.code(2).words
        words[3] = "wisdmo"
        #expect(
            Self.error(words.joined(separator: " "))
                == .unknownWord(place: 4, typed: "wisdmo", nearest: "wisdom"))
        words[3] = "abuot"
        #expect(Self.error(words.joined(separator: " ")) == .unknownWord(place: 4, typed: "abuot", nearest: "about"))
        words[3] = "zebra\u{301}\u{301}"
        #expect(Self.error(words.joined(separator: " "))?.description.contains("\"zebra\"") == true)
    }

    @Test("Too few letters are named with what they may mean")
    func ambiguousWord() {
        var words = Self.code(2).words
        words[14] = "ab"
        #expect(
            Self.error(words.joined(separator: " "))
                == .ambiguousWord(place: 15, typed: "ab", among: ["abandon", "ability", "able", "about"]))
    }

    @Test("A whole word counts as itself, though others begin with it")
    func wordsThatBeginOthers() throws {
        // "act" begins "action", "actor", "actress" and "actual".
        var words = Self.zeros.split(separator: " ").map(String.init)
        words[1] = "act"
        #expect(Self.error(words.joined(separator: " ")) == .wrongWord(place: 2, likely: "abandon"))
    }

    @Test("Any one wrong word is found, and what it should be", arguments: 0..<15)
    func wrongWord(index: Int) {
        let code = Self.code(UInt64(index))
        let others = Self.code(99).words
        for word in others where word != code.words[index] {
            var words = code.words
            words[index] = word
            #expect(
                Self.error(words.joined(separator: " "))
                    == .wrongWord(place: index + 1, likely: code.words[index]))
        }
    }

    @Test("Any two words that changed places are found", arguments: 0..<10)
    func swapped(seed: UInt64) {
        let words = Self.code(seed).words
        for first in 0..<15 {
            for second in (first + 1)..<15 where words[first] != words[second] {
                var changed = words
                changed.swapAt(first, second)
                #expect(Self.error(changed.joined(separator: " ")) == .swappedWords(first + 1, second + 1))
            }
        }
    }

    @Test("No code with two or three wrong words is accepted")
    func wrongWords() {
        let words = Self.code(8).words
        let others = Self.code(9).words
        for first in 0..<15 {
            for second in 0..<15 where second != first {
                for third in 0..<15 where others[third] != words[third] {
                    var changed = words
                    changed[first] = others[first]
                    changed[second] = others[second]
                    changed[third] = others[third]
                    #expect(Self.error(changed.joined(separator: " ")) != nil)
                }
            }
        }
    }

    @Test("Words left out or added are counted, endless text is refused, an empty one too")
    func counts() {
        let words = Self.code(8).words
        #expect(Self.error("") == .wordsCount(0))
        #expect(Self.error("1 2 3 …") == .wordsCount(0))
        #expect(Self.error(words.dropLast().joined(separator: " ")) == .wordsCount(14))
        #expect(Self.error((words + ["zoo"]).joined(separator: " ")) == .wordsCount(16))
        #expect(Self.error(String(repeating: "a ", count: 600)) == .tooLong)
    }

    @Test("A code of a later version is named so, not called wrong")
    func version() {
        #expect(
            Self.error("avoid" + String(repeating: " abandon", count: 11) + " middle tool jump")
                == .unsupportedVersion(1))
    }

    @Test("The tag follows from the code alone, keys from code and community; neither changes between versions")
    func derivations() throws {
        let code = try #require(RecoveryCode(secret: Array(0..<16)))
        let other = CommunityID(Sample.bytes32(2))
        #expect(
            Sample.hex(code.lookupTag.bytes)
                == "8ecf0dd9465c2f13dd63ea8b541cfca6c7570ed25c180cb01e0f3ee54801d504")
        #expect(
            Sample.hex(code.sealingKeys(in: Sample.community).privateBytes.bytes)
                == "a7da23c030524826556d26600248622decb641c74ef1cc4e8a8222d03af6c1ce")
        #expect(code.lookupTag != Self.code(1).lookupTag)
        #expect(code.sealingKeys(in: other).publicKey != code.sealingKeys(in: Sample.community).publicKey)
    }
}

@Suite struct SealedMemberKeyTests {
    private static func sealed(_ code: RecoveryCode) -> SealedMemberKey {
        var source = Sample.source(4)
        return SealedMemberKey(
            sealing: KeyPair(seed: Sample.bytes32(7)), under: code, in: Sample.community, by: Sample.device(5),
            from: &source)
    }

    private static let code = RecoveryCode(secret: Array(0..<16))

    @Test("The code alone finds and opens the member's key")
    func recovery() throws {
        let code = try #require(Self.code)
        let bytes = Self.sealed(code).bytes
        let typed = try RecoveryCode(parsing: code.words.joined(separator: " "))
        let found = try SealedMemberKey(bytes: bytes)
        #expect(found.lookupTag == typed.lookupTag)
        #expect(found.recoveryKey == typed.sealingKeys(in: Sample.community).publicKey)
        #expect(try found.open(with: typed, in: Sample.community).seed == Sample.bytes32(7))
        #expect(bytes.count == SealedMemberKey.bytesCount)
        #expect(found.isSignatureValid(in: Sample.community, by: Sample.device(5)))
        #expect(!found.isSignatureValid(in: Sample.community, by: Sample.device(6)))
        #expect(!found.isSignatureValid(in: CommunityID(Sample.bytes32(1)), by: Sample.device(5)))
        #expect(
            Sample.hex(bytes)
                == "018ecf0dd9465c2f13dd63ea8b541cfca6c7570ed25c180cb01e0f3ee54801d504fe208b3978b3de32493b5685515efc"
                + "ff294861fab9ff526569368a29ce769460437057a4eb7c3a13e95a0d7fd8c1832c71807ff81a0c627efa40f34634632c"
                + "d260259ebabe6e101d9ab9956128b4669332a9bad42153fad2b797c2eb5f0ceeb0e2cd822a17dcdfdc4f654c2efa36bf"
                + "a9fed4d19ab8daed000509f2108c6231e3fcd9f05981821dae2e5c75249ad1e6ec8ccbc8bb4578b40ef3bbfcdf441d25"
                + "bb66f1c4a2ff7b1c11894326886b4c7b00")
    }

    @Test("Another code and another community don't open it")
    func refusals() throws {
        let sealed = Self.sealed(try #require(Self.code))
        let other = try #require(RecoveryCode(secret: Array(1..<17)))
        #expect(throws: DecodeError.self) { try sealed.open(with: other, in: Sample.community) }
        #expect(throws: DecodeError.self) {
            try sealed.open(with: #require(Self.code), in: CommunityID(Sample.bytes32(1)))
        }
    }

    @Test("Cut, lengthened or changed anywhere it doesn't open, or its signature is false")
    func damage() throws {
        let code = try #require(Self.code)
        let bytes = Self.sealed(code).bytes
        for index in bytes.indices {
            #expect(throws: DecodeError.self) { try SealedMemberKey(bytes: Array(bytes.prefix(index))) }
            var changed = bytes
            changed[index] ^= 1 << UInt8(index & 7)
            let read = try? SealedMemberKey(bytes: changed)
            #expect(!(read?.isSignatureValid(in: Sample.community, by: Sample.device(5)) ?? false))
            guard index < bytes.count - Entry.signatureBytesCount else { continue }
            for bit in 0..<8 {
                var changed = bytes
                changed[index] ^= 1 << bit
                #expect(throws: DecodeError.self) {
                    try SealedMemberKey(bytes: changed).open(with: code, in: Sample.community)
                }
            }
        }
        #expect(throws: DecodeError.tooLarge("sealed member key", limit: 209)) {
            try SealedMemberKey(bytes: bytes + [0])
        }
    }
}
