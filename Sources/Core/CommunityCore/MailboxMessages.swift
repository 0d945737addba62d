// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity
package import TuttiJournal

import struct NIOCore.ByteBuffer

/// The body of an entry by which a device says where it and its member can be written to.
///
/// | bytes | what |
/// |---|---|
/// | 1 | version, 1 |
/// | 4 | epoch, 1 to 2^31 |
/// | 8 | hybrid time from which the key is in use |
/// | 32 | X25519 key of the member's mailbox: what is sealed to it all devices of the member can open |
/// | 32 | X25519 key of the device alone: mailbox keys are passed to it |
///
/// Each of a member's devices makes mailbox keys when it begins and when rotation is due. Of those that live devices
/// announced, the one with the highest epoch counts; of equals the greater key.
package struct MailboxAnnouncement: Hashable, Sendable {
    package static let bytesCount = 77
    private static let version: UInt8 = 1

    package let epoch: MailboxEpoch
    package let validFrom: HybridTime
    package let mailbox: SealingPublicKey
    package let device: SealingPublicKey

    package init(epoch: MailboxEpoch, validFrom: HybridTime, mailbox: SealingPublicKey, device: SealingPublicKey) {
        self.epoch = epoch
        self.validFrom = validFrom
        self.mailbox = mailbox
        self.device = device
    }

    package init(bytes: [UInt8]) throws(DecodeError) {
        guard bytes.count <= Self.bytesCount else { throw .tooLarge("mailbox keys", limit: Self.bytesCount) }
        var buffer = ByteBuffer(bytes: bytes)
        guard let version: UInt8 = buffer.readInteger() else { throw .truncated("mailbox keys") }
        guard version == Self.version else { throw .unsupported("mailbox keys version") }
        guard let epoch: UInt32 = buffer.readInteger(), let validFrom: UInt64 = buffer.readInteger(),
            let mailbox = buffer.readBytes32(), let device = buffer.readBytes32()
        else { throw .truncated("mailbox keys") }
        guard let epoch = MailboxEpoch(epoch) else { throw .malformed("mailbox keys epoch") }
        self.init(
            epoch: epoch, validFrom: HybridTime(validFrom), mailbox: SealingPublicKey(mailbox),
            device: SealingPublicKey(device))
    }

    package var bytes: [UInt8] {
        var buffer = ByteBuffer()
        buffer.writeInteger(Self.version)
        buffer.writeInteger(epoch.value)
        buffer.writeInteger(validFrom.value)
        buffer.writeBytes32(mailbox.bytes)
        buffer.writeBytes32(device.bytes)
        return Array(buffer.readableBytesView)
    }

    /// Which of two counts.
    func isBefore(_ other: MailboxAnnouncement) -> Bool {
        (epoch, mailbox, device) < (other.epoch, other.mailbox, other.device)
    }
}

/// The number of a member's mailbox key; the first is 1.
package struct MailboxEpoch: Hashable, Comparable, Sendable {
    package static let first = MailboxEpoch(unchecked: 1)
    package static let max = MailboxEpoch(unchecked: 1 << 31)

    package let value: UInt32

    private init(unchecked value: UInt32) { self.value = value }

    package init?(_ value: UInt32) {
        guard (Self.first.value...Self.max.value).contains(value) else { return nil }
        self.value = value
    }

    /// Stays at the last: then the greater key decides.
    var next: MailboxEpoch { value < Self.max.value ? MailboxEpoch(unchecked: value + 1) : self }
    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.value < rhs.value }
}

/// A mailbox key with its secret.
package struct MailboxKey: Sendable {
    package let epoch: MailboxEpoch
    package let validFrom: HybridTime
    package let pair: SealingKeyPair

    package init(epoch: MailboxEpoch, validFrom: HybridTime, pair: SealingKeyPair) {
        self.epoch = epoch
        self.validFrom = validFrom
        self.pair = pair
    }

    static let bytesCount = 4 + 8 + Bytes32.count

    init(from buffer: inout ByteBuffer) throws(DecodeError) {
        guard let epoch: UInt32 = buffer.readInteger(), let validFrom: UInt64 = buffer.readInteger(),
            let secret = buffer.readBytes32()
        else { throw .truncated("mailbox key") }
        guard let epoch = MailboxEpoch(epoch) else { throw .malformed("mailbox key epoch") }
        self.init(epoch: epoch, validFrom: HybridTime(validFrom), pair: SealingKeyPair(privateBytes: secret))
    }

    func encode(into buffer: inout ByteBuffer) {
        buffer.writeInteger(epoch.value)
        buffer.writeInteger(validFrom.value)
        buffer.writeBytes32(pair.privateBytes)
    }

    func isBefore(_ other: MailboxKey) -> Bool {
        (epoch, pair.publicKey) < (other.epoch, other.pair.publicKey)
    }
}

/// Who is given mailbox keys: a device of the member, or the holder of a recovery code.
package enum MailboxHolder: Hashable, Comparable, Sendable {
    case device(DeviceID)
    case recovery(SealingPublicKey)

    static let bytesCount = 1 + Bytes32.count

    init(from buffer: inout ByteBuffer) throws(DecodeError) {
        guard let form: UInt8 = buffer.readInteger(), let bytes = buffer.readBytes32() else {
            throw .truncated("holder of mailbox keys")
        }
        switch form {
        case 0: self = .device(DeviceID(bytes))
        case 1: self = .recovery(SealingPublicKey(bytes))
        default: throw .malformed("holder of mailbox keys")
        }
    }

    func encode(into buffer: inout ByteBuffer) {
        switch self {
        case .device(let device):
            buffer.writeInteger(UInt8(0))
            buffer.writeBytes32(device.bytes)
        case .recovery(let key):
            buffer.writeInteger(UInt8(1))
            buffer.writeBytes32(key.bytes)
        }
    }
}

/// The sealed content by which a device gives its member's mailbox keys to the member's other devices.
///
/// | bytes | what |
/// |---|---|
/// | 1 | version, 1 |
/// | 1 | holders, 1 to 33 |
/// | 33 each | to whom this is sealed, ascending: 0 and a device, or 1 and the X25519 key of a recovery code |
/// | 1 | keys, 1 to 64 |
/// | 44 each | epoch, hybrid time from which, X25519 private key; ascending by epoch and public key |
package struct MailboxKeyPass: Sendable {
    package static let bytesMax =
        3 + (MailboxLimits.devicesMax + 1) * MailboxHolder.bytesCount + MailboxLimits.keysMax * MailboxKey.bytesCount
    private static let version: UInt8 = 1

    package let holders: [MailboxHolder]
    package let keys: [MailboxKey]

    /// Sorts both; each at most once, at most as many as the limits say.
    init(holders: some Sequence<MailboxHolder>, keys: some Sequence<MailboxKey>) {
        self.holders = Array(Set(holders).sorted().prefix(MailboxLimits.devicesMax + 1))
        self.keys = keys.sorted { $0.isBefore($1) }.suffix(MailboxLimits.keysMax)
    }

    package init(bytes: [UInt8]) throws(DecodeError) {
        guard bytes.count <= Self.bytesMax else { throw .tooLarge("passed mailbox keys", limit: Self.bytesMax) }
        var buffer = ByteBuffer(bytes: bytes)
        guard let version: UInt8 = buffer.readInteger() else { throw .truncated("passed mailbox keys") }
        guard version == Self.version else { throw .unsupported("passed mailbox keys version") }
        guard let count: UInt8 = buffer.readInteger() else { throw .truncated("passed mailbox keys") }
        guard (1...MailboxLimits.devicesMax + 1).contains(Int(count)) else {
            throw .malformed("passed mailbox keys holders")
        }
        var holders: [MailboxHolder] = []
        for _ in 0..<count {
            let holder = try MailboxHolder(from: &buffer)
            if let last = holders.last, last >= holder { throw .malformed("passed mailbox keys holders (order)") }
            holders.append(holder)
        }
        self.holders = holders
        keys = try Self.keys(from: &buffer, countMin: 1)
        guard buffer.readableBytes == 0 else { throw .malformed("passed mailbox keys (more follows)") }
    }

    package var bytes: [UInt8] {
        var buffer = ByteBuffer()
        buffer.writeInteger(Self.version)
        buffer.writeInteger(UInt8(clamping: holders.count))
        for holder in holders { holder.encode(into: &buffer) }
        Self.encode(keys, into: &buffer)
        return Array(buffer.readableBytesView)
    }

    package var content: SealedContent { SealedContent(kind: .mailboxKeys, payload: bytes) }

    static func keys(from buffer: inout ByteBuffer, countMin: Int) throws(DecodeError) -> [MailboxKey] {
        guard let count: UInt8 = buffer.readInteger() else { throw .truncated("mailbox keys") }
        guard (countMin...MailboxLimits.keysMax).contains(Int(count)) else { throw .malformed("mailbox keys count") }
        guard buffer.readableBytes >= Int(count) * MailboxKey.bytesCount else { throw .truncated("mailbox keys") }
        var keys: [MailboxKey] = []
        for _ in 0..<count {
            let key = try MailboxKey(from: &buffer)
            if let last = keys.last, !last.isBefore(key) { throw .malformed("mailbox keys (order)") }
            keys.append(key)
        }
        return keys
    }

    static func encode(_ keys: [MailboxKey], into buffer: inout ByteBuffer) {
        buffer.writeInteger(UInt8(clamping: keys.count))
        for key in keys { key.encode(into: &buffer) }
    }
}

package enum MailboxLimits {
    /// Devices of one member to which keys are passed; those with the greatest ids are left out beyond it.
    package static let devicesMax = 32
    /// Keys that a member keeps: 13 a year, and more when devices come and go. At it no passed key is taken; for one of
    /// our own the oldest is deleted.
    package static let keysMax = 64
    package static let rotationMilliseconds: UInt64 = 30 * 86_400_000
    /// How long after a rotation somebody who hasn't heard of it may still seal to the old key.
    package static let graceMilliseconds: UInt64 = 31 * 86_400_000
    /// Beyond the grace: as long as the longest class of sealed entries.
    package static let keptMilliseconds: UInt64 = graceMilliseconds + 366 * 86_400_000
    /// The devices of a member take their turns, so that mostly one alone does what is due.
    package static let turnMilliseconds: UInt64 = 60_000
    /// A pass or an announcement that doesn't show in the feed by then is made again.
    package static let retryMilliseconds: UInt64 = 3_600_000
    /// Whom a key is remembered to have been passed to. At it only live devices and today's code are.
    package static let holdersMax = 128
    /// Devices of a community whose keys are known.
    package static let announcementsMax = JournalLimits.feedsMax

    /// How long a device that began by the recovery code keeps the code's key at least.
    package static let codeKeptMilliseconds: UInt64 = 86_400_000
    /// Admitted entries that wait to be read; further ones are read from the disk.
    package static let pendingMax = 256
    package static let pendingBytesMax = 4 << 20
    /// So many entries are read in one turn: of authors not met before each costs a multiplication for every key held.
    package static let pageCountMax = 64
    package static let pageBytesMax = 1 << 20
    /// Pages of which nothing was for us, until the disk is told how far the scan is.
    package static let pagesUnsavedMax = 64
    /// Devices of unknown members whose sealed entries lie here.
    package static let authorlessMax = 256
    package static let pauseMilliseconds: UInt64 = 5_000
    /// Sets a mailbox's requests apart from the journal's, which count from 1.
    static let requestBase: UInt64 = 0x5A << 56
    static let requestMask: UInt64 = 0xFF << 56
}
