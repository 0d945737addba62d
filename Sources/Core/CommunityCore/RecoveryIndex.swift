// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity
package import TuttiJournal

/// The seals that a replica holds, for who comes with a recovery code.
package struct RecoveryIndex: Sendable {
    private var entries: [Bytes32: Entry] = [:]
    private var tagsByPrefix: [UInt16: [Bytes32]] = [:]
    private var counts: [DeviceID: Int] = [:]

    package init() {}

    /// An entry whose signatures were checked. Of one code the first stays: all open to what the member has put there.
    package mutating func insert(_ entry: Entry) {
        guard let sealed = MemberKeyEntry.sealed(in: entry), entries[sealed.lookupTag] == nil,
            counts[entry.header.device, default: 0] < CommunityLimits.codesPerDeviceMax
        else { return }
        counts[entry.header.device, default: 0] += 1
        entries[sealed.lookupTag] = entry
        tagsByPrefix[RecoveryQuestion.prefix(of: sealed.lookupTag), default: []].append(sealed.lookupTag)
    }

    package func seal(_ tag: Bytes32) -> SealedMemberKey? { entries[tag].flatMap(MemberKeyEntry.sealed) }

    /// One digest for each tag that begins alike: of 65,536 beginnings hardly ever more than one.
    package func entry(for question: RecoveryQuestion, from asker: PeerID, to own: PeerID) -> Entry? {
        tagsByPrefix[question.prefix]?.first { question.asks(for: $0, from: asker, to: own) }.flatMap { entries[$0] }
    }

    package var tags: [Bytes32] { entries.keys.sorted() }

    /// Which of the tags `own` tells the DHT of: those to which fewer than `codeProvidersMax` other devices are nearer (by
    /// XOR), nearest first, and at most `codesToldMax`. So each is told by a few, whoever is gone, and nobody tells many.
    package static func provided(_ tags: [Bytes32], by own: DeviceID, among devices: [DeviceID]) -> [Bytes32] {
        let near = tags.filter { tag in
            let distance = own.bytes.distance(to: tag)
            var nearer = 0
            for device in devices where device != own && device.bytes.distance(to: tag) < distance {
                nearer += 1
                if nearer == CommunityLimits.codeProvidersMax { return false }
            }
            return true
        }
        let ordered = near.sorted { own.bytes.distance(to: $0) < own.bytes.distance(to: $1) }
        return Array(ordered.prefix(CommunityLimits.codesToldMax))
    }

    /// What the DHT names a seal by: its SHA-256 is known to all who keep provider records, the tag to none of them.
    package static func content(of tag: Bytes32) -> [UInt8] { Array("tutti-recover-content".utf8) + tag.bytes }
}

extension Bytes32 {
    fileprivate func distance(to other: Bytes32) -> Bytes32 {
        Bytes32(
            words: (
                words.0 ^ other.words.0, words.1 ^ other.words.1, words.2 ^ other.words.2, words.3 ^ other.words.3
            ))
    }
}

/// How often each peer may ask for a seal.
package struct RecoveryRates: Sendable {
    private struct Asker: Sendable {
        var bucket: TokenBucket
        var last: Instant
    }

    private var askers: [PeerID: Asker] = [:]

    package init() {}

    package var count: Int { askers.count }

    package mutating func admits(_ peer: PeerID, at now: Instant) -> Bool {
        var asker =
            askers[peer]
            ?? Asker(
                bucket: TokenBucket(
                    interval: CommunityLimits.recoveryQuestionInterval, burst: CommunityLimits.recoveryQuestionBurst,
                    at: now),
                last: now)
        if askers[peer] == nil, askers.count >= CommunityLimits.recoveryAskersMax {
            let oldest = askers.min { ($0.value.last, $0.key) < ($1.value.last, $1.key) }
            if let oldest { askers[oldest.key] = nil }
        }
        let isAdmitted = asker.bucket.take(at: now)
        asker.last = now
        askers[peer] = asker
        return isAdmitted
    }
}
