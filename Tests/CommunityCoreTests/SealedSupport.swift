// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal

/// Names and sources for tests of keys, sealed entries and chat.
enum Sample {
    static func bytes32(_ byte: UInt8) -> Bytes32 {
        let word = UInt64(byte) &* 0x0101_0101_0101_0101
        return Bytes32(words: (word, word, word, word))
    }

    static func source(_ seed: UInt64) -> KeySource { .seeded(SeededGenerator(seed: seed)) }
    static let community = CommunityID(bytes32(0xC0))
    static func device(_ byte: UInt8) -> DeviceID { DeviceID(bytes32(byte)) }
    static func member(_ byte: UInt8) -> MemberID { MemberID(bytes32(byte)) }
    static func entry(_ byte: UInt8) -> EntryID { EntryID(bytes32(byte)) }
    static func pair(_ byte: UInt8) -> SealingKeyPair { SealingKeyPair(privateBytes: bytes32(byte)) }

    static func place(_ device: UInt8 = 1, _ sequence: UInt64 = 7) -> SealedPlace {
        SealedPlace(community: community, device: self.device(device), sequence: EntrySequence(sequence))
    }

    static func hex(_ bytes: some Sequence<UInt8>) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }
}
