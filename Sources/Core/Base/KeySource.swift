// SPDX-License-Identifier: Apache-2.0

/// The source of secrets: keys, nonces, challenges.
///
/// A live node uses `.system`, the operating system's generator. The lab uses `.seeded`, so that a run can be repeated;
/// its "secrets" protect nothing.
package enum KeySource: Sendable {
    case system
    case seeded(SeededGenerator)

    package mutating func nextWord() -> UInt64 {
        switch self {
        case .system:
            var generator = SystemRandomNumberGenerator()
            return generator.next()
        case .seeded(var generator):
            let word = generator.next()
            self = .seeded(generator)
            return word
        }
    }

    package mutating func nextBytes32() -> Bytes32 {
        Bytes32(words: (nextWord(), nextWord(), nextWord(), nextWord()))
    }
}
