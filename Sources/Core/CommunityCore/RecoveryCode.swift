// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity
package import TuttiJournal

/// What a person prints and keeps: 128 random bits as fifteen words. Who has it is the member.
///
/// Twelve words hold four bits of version (0) and the secret, eleven bits a word. Three words check them: together they
/// are a Reed-Solomon code over GF(2^11), generator (x + 1)(x + α)(x + α²), x^11 + x^2 + 1. Any three wrong words, any
/// two that changed places, are noticed for certain; one wrong word is not only noticed but found.
///
/// The secret is random, not chosen by people, so nothing slows a guess down: HKDF makes of it the key whose public half
/// is the tag under which the member key's seal is found, whatever the community; and, per community, the key of that
/// seal and a key to which mailbox keys are passed.
package struct RecoveryCode: Hashable, Sendable {
    package static let wordsCount = 15
    package static let textBytesMax = 1_024

    private static let dataWordsCount = 12
    private static let secretBytesCount = 16
    private static let version = 0

    private let secret: [UInt8]

    package init(from source: inout KeySource) {
        secret = Array(source.nextBytes32().bytes.prefix(Self.secretBytesCount))
    }

    package init?(secret: [UInt8]) {
        guard secret.count == Self.secretBytesCount else { return nil }
        self.secret = secret
    }

    // MARK: Words

    package var words: [String] {
        let data = Self.symbols(of: secret)
        return (data + RecoveryChecksum.checks(of: data)).map { RecoveryWords.all[$0] }
    }

    /// Five lines of three words, each with its place.
    package var page: String {
        let words = words.enumerated().map { "\($0.offset + 1). \($0.element)" }
        return stride(from: 0, to: words.count, by: 3).map {
            words[$0..<min($0 + 3, words.count)].joined(separator: "  ")
        }
        .joined(separator: "\n")
    }

    /// Reads what somebody typed: capitals, spaces, numbers and punctuation don't matter, and of each word as much as
    /// tells it apart is enough (four letters always are).
    package init(parsing text: String) throws(RecoveryCodeError) {
        guard text.utf8.count <= Self.textBytesMax else { throw .tooLong }
        let typed = text.lowercased().split { !$0.isLetter }.map(String.init)
        var symbols: [Int] = []
        for (index, word) in typed.prefix(Self.wordsCount).enumerated() {
            let matches = RecoveryWords.matches(word)
            guard let first = matches.first else {
                throw .unknownWord(place: index + 1, typed: word, nearest: RecoveryWords.nearest(to: word))
            }
            guard matches.count == 1 else {
                throw .ambiguousWord(
                    place: index + 1, typed: word, among: RecoveryWords.all[matches].prefix(4).map { $0 })
            }
            symbols.append(first)
        }
        guard typed.count == Self.wordsCount else { throw .wordsCount(typed.count) }
        switch RecoveryChecksum.verdict(on: symbols) {
        case .right: break
        case .wrong(let index, let symbol):
            throw .wrongWord(place: index + 1, likely: RecoveryWords.all[symbol])
        case .swapped(let first, let second): throw .swappedWords(first + 1, second + 1)
        case .unclear: throw .wrongWords
        }
        guard symbols[0] >> 7 == Self.version else { throw .unsupportedVersion(symbols[0] >> 7) }
        secret = Self.secret(in: symbols)
    }

    private static func symbols(of secret: [UInt8]) -> [Int] {
        var (held, bits) = (version, 4)
        var symbols: [Int] = []
        for byte in secret {
            held = held << 8 | Int(byte)
            bits += 8
            if bits >= 11 {
                bits -= 11
                symbols.append(held >> bits)
                held &= 1 << bits - 1
            }
        }
        return symbols
    }

    private static func secret(in symbols: [Int]) -> [UInt8] {
        var (held, bits) = (symbols[0] & 0x7F, 7)
        var secret: [UInt8] = []
        for symbol in symbols[1..<dataWordsCount] {
            held = held << 11 | symbol
            bits += 11
            while bits >= 8 {
                bits -= 8
                secret.append(UInt8(truncatingIfNeeded: held >> bits))
            }
            held &= 1 << bits - 1
        }
        return secret
    }

    // MARK: Keys

    /// Under its public half the sealed member key is found, and nobody else can put anything there: it signs the seal.
    ///
    /// The tag follows from the code alone, so that a fresh machine needs nothing else. Whoever used one code in two
    /// communities would show by it that two members are one person: each membership has a code of its own.
    package var lookupKey: KeyPair { KeyPair(seed: derived("tag", nil)) }

    /// Tells nothing of the code.
    package var lookupTag: Bytes32 { lookupKey.device.bytes }

    /// Mailbox keys are passed to its public half, so that a fresh machine can read old mail.
    package func sealingKeys(in community: CommunityID) -> SealingKeyPair {
        SealingKeyPair(privateBytes: derived("mailbox", community))
    }

    func sealKey(in community: CommunityID, salt: Bytes32) -> Bytes32 {
        derived("seal", community, salt: salt.bytes)
    }

    private func derived(_ purpose: String, _ community: CommunityID?, salt: [UInt8] = []) -> Bytes32 {
        let info = Array("tutti-recovery-1 ".utf8) + Array(purpose.utf8) + [0] + (community?.bytes.bytes ?? [])
        return KeyDerivation.hkdf(secret, salt: salt, info: info)
    }
}

/// What is wrong with a typed code. Places count from 1.
package enum RecoveryCodeError: Error, Hashable, Sendable, CustomStringConvertible {
    case tooLong
    case wordsCount(Int)
    case unknownWord(place: Int, typed: String, nearest: String)
    /// Too few letters.
    case ambiguousWord(place: Int, typed: String, among: [String])
    /// All words are of the list, but this one doesn't fit the others; `likely` would.
    case wrongWord(place: Int, likely: String)
    case swappedWords(Int, Int)
    /// Two words or more are wrong.
    case wrongWords
    case unsupportedVersion(Int)

    package var description: String {
        switch self {
        case .tooLong: "that is too long for a recovery code"
        case .wordsCount(let count): "a recovery code has \(RecoveryCode.wordsCount) words, these are \(count)"
        case .unknownWord(let place, let typed, let nearest):
            "word \(place), \"\(typed)\", is not of the list; \"\(nearest)\" is"
        case .ambiguousWord(let place, let typed, let among):
            "word \(place), \"\(typed)\", may be \(among.joined(separator: ", "))"
        case .wrongWord(let place, let likely): "word \(place) doesn't fit the others; is it \"\(likely)\"?"
        case .swappedWords(let first, let second): "words \(first) and \(second) seem to have changed places"
        case .wrongWords: "at least two of the words are wrong"
        case .unsupportedVersion(let version): "a recovery code of version \(version) needs a newer program"
        }
    }
}

/// The three checking words of a ``RecoveryCode``. A word is a number of eleven bits, an element of GF(2^11).
enum RecoveryChecksum {
    enum Verdict: Hashable {
        case right
        /// The word at this index should be this one.
        case wrong(index: Int, symbol: Int)
        case swapped(Int, Int)
        case unclear
    }

    /// (x + 1)(x + 2)(x + 4) = x³ + 7x² + 14x + 8.
    private static let generator = [7, 14, 8]
    private static let roots = [1, 2, 4]

    /// The remainder of the data, shifted by three words, by the generator.
    static func checks(of data: [Int]) -> [Int] {
        var rest = [0, 0, 0]
        for symbol in data {
            let lead = symbol ^ rest[0]
            rest = [
                rest[1] ^ product(lead, generator[0]), rest[2] ^ product(lead, generator[1]),
                product(lead, generator[2]),
            ]
        }
        return rest
    }

    static func verdict(on symbols: [Int]) -> Verdict {
        let s = syndromes(of: symbols)
        if s == [0, 0, 0] { return .right }
        // One error e at the power d: the syndromes are e, e·2^d, e·4^d.
        var power = 1
        for index in symbols.indices.reversed() {
            if s[0] != 0, s[1] == product(s[0], power), s[2] == product(s[1], power) {
                return .wrong(index: index, symbol: symbols[index] ^ s[0])
            }
            power = product(power, 2)
        }
        for first in symbols.indices {
            for second in symbols.indices where second > first && symbols[first] != symbols[second] {
                var swapped = symbols
                swapped.swapAt(first, second)
                if syndromes(of: swapped) == [0, 0, 0] { return .swapped(first, second) }
            }
        }
        return .unclear
    }

    /// The values of the polynomial, first word the highest power, at the generator's roots: all 0 for a right code.
    private static func syndromes(of symbols: [Int]) -> [Int] {
        roots.map { root in symbols.reduce(0) { product($0, root) ^ $1 } }
    }

    private static func product(_ a: Int, _ b: Int) -> Int {
        var (a, b, result) = (a, b, 0)
        while b > 0 {
            if b & 1 == 1 { result ^= a }
            a <<= 1
            if a & 0x800 != 0 { a ^= 0x805 }
            b >>= 1
        }
        return result
    }
}
