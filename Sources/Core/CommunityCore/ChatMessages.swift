// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
import TuttiIdentity
package import TuttiJournal

import struct NIOCore.ByteBuffer

/// Where something is said.
package enum ChatPlace: Hashable, Comparable, Sendable {
    /// A channel by its id (``ChannelBody/id(in:)``): open to every member, in plain entries.
    case channel(Bytes32)
    /// With one other member, sealed: the other's name, as the author sees it.
    case direct(MemberID)

    static let bytesCount = 1 + Bytes32.count

    /// Channels and conversations have names of one kind, the same for all who take part.
    package func id(author: MemberID, in community: CommunityID) -> Bytes32 {
        switch self {
        case .channel(let id): id
        case .direct(let other):
            KeyDerivation.sha256(
                Array("tutti-conversation".utf8) + community.bytes.bytes + min(author, other).bytes.bytes
                    + max(author, other).bytes.bytes)
        }
    }

    init(from buffer: inout ByteBuffer) throws(DecodeError) {
        guard let form: UInt8 = buffer.readInteger(), let bytes = buffer.readBytes32() else {
            throw .truncated("chat place")
        }
        switch form {
        case 0: self = .channel(bytes)
        case 1: self = .direct(MemberID(bytes))
        default: throw .malformed("chat place")
        }
    }

    func encode(into buffer: inout ByteBuffer) {
        switch self {
        case .channel(let id):
            buffer.writeInteger(UInt8(0))
            buffer.writeBytes32(id)
        case .direct(let other):
            buffer.writeInteger(UInt8(1))
            buffer.writeBytes32(other.bytes)
        }
    }
}

/// Something said, changed, taken back or read: the body of an entry of kind `.chat` (channels) or the payload of a sealed
/// one (conversations, and what was read of channels, which concerns nobody but the reader's own devices).
///
/// | bytes | what |
/// |---|---|
/// | 1 | version, 1 |
/// | 1 | 1 post, 2 edit, 3 deletion, 4 read |
/// | 33 | place: 0 and a channel's id, or 1 and the other member |
/// | post: | text to the end: UTF-8, 1 to 8,192 bytes, no control characters but tab and newline |
/// | edit: 32 | the post's entry; then the new text to the end |
/// | deletion: 32 | the post's entry |
/// | read: 40 each | ascending, 1 to 64: a device, and the sequence up to which its entries were read |
package struct ChatBody: Hashable, Sendable {
    package enum Act: Hashable, Sendable {
        case post(String)
        case edit(EntryID, String)
        case deletion(EntryID)
        case read([ChatReadPoint])

        /// What is said, in bytes.
        package var textBytesCount: Int {
            switch self {
            case .post(let text), .edit(_, let text): text.utf8.count
            case .deletion, .read: 0
            }
        }
    }

    private static let version: UInt8 = 1

    package let place: ChatPlace
    package let act: Act

    /// Nil for what no body can hold: a text that is empty, too long or has control characters, too many points.
    package init?(place: ChatPlace, act: Act) {
        switch act {
        case .post(let text), .edit(_, let text):
            guard Self.isText(text), text.utf8.count <= ChatLimits.textBytesMax else { return nil }
            self.act = act
        case .deletion: self.act = act
        case .read(let points):
            let sorted = Set(points).sorted()
            guard (1...ChatLimits.readPointsMax).contains(sorted.count),
                Set(sorted.map(\.device)).count == sorted.count
            else { return nil }
            self.act = .read(sorted)
        }
        self.place = place
    }

    package init(bytes: [UInt8]) throws(DecodeError) {
        guard bytes.count <= ChatLimits.bodyBytesMax else { throw .tooLarge("chat", limit: ChatLimits.bodyBytesMax) }
        var buffer = ByteBuffer(bytes: bytes)
        guard let version: UInt8 = buffer.readInteger() else { throw .truncated("chat") }
        guard version == Self.version else { throw .unsupported("chat version") }
        guard let form: UInt8 = buffer.readInteger() else { throw .truncated("chat") }
        place = try ChatPlace(from: &buffer)
        switch form {
        case 1: act = .post(try Self.text(from: &buffer))
        case 2:
            guard let target = buffer.readBytes32() else { throw .truncated("chat edit") }
            act = .edit(EntryID(target), try Self.text(from: &buffer))
        case 3:
            guard let target = buffer.readBytes32() else { throw .truncated("chat deletion") }
            act = .deletion(EntryID(target))
        case 4: act = .read(try Self.points(from: &buffer))
        default: throw .unsupported("chat act")
        }
        guard buffer.readableBytes == 0 else { throw .malformed("chat (more follows)") }
    }

    package var bytes: [UInt8] {
        var buffer = ByteBuffer()
        buffer.writeInteger(Self.version)
        switch act {
        case .post(let text):
            buffer.writeInteger(UInt8(1))
            place.encode(into: &buffer)
            buffer.writeString(text)
        case .edit(let target, let text):
            buffer.writeInteger(UInt8(2))
            place.encode(into: &buffer)
            buffer.writeBytes32(target.bytes)
            buffer.writeString(text)
        case .deletion(let target):
            buffer.writeInteger(UInt8(3))
            place.encode(into: &buffer)
            buffer.writeBytes32(target.bytes)
        case .read(let points):
            buffer.writeInteger(UInt8(4))
            place.encode(into: &buffer)
            for point in points {
                buffer.writeBytes32(point.device.bytes)
                buffer.writeInteger(point.sequence.value)
            }
        }
        return Array(buffer.readableBytesView)
    }

    package var content: SealedContent { SealedContent(kind: .chat, payload: bytes) }

    private static func text(from buffer: inout ByteBuffer) throws(DecodeError) -> String {
        guard buffer.readableBytes > 0 else { throw .truncated("chat text") }
        guard buffer.readableBytes <= ChatLimits.textBytesMax else {
            throw .tooLarge("chat text", limit: ChatLimits.textBytesMax)
        }
        let bytes = buffer.readBytes(length: buffer.readableBytes) ?? []
        guard let text = String(validating: bytes, as: UTF8.self), isText(text) else { throw .malformed("chat text") }
        return text
    }

    private static func points(from buffer: inout ByteBuffer) throws(DecodeError) -> [ChatReadPoint] {
        var points: [ChatReadPoint] = []
        while buffer.readableBytes > 0 {
            guard let device = buffer.readBytes32(), let sequence: UInt64 = buffer.readInteger() else {
                throw .truncated("chat read point")
            }
            let point = ChatReadPoint(device: DeviceID(device), sequence: EntrySequence(sequence))
            guard point.sequence >= .first, point.sequence <= .max else { throw .malformed("chat read point") }
            if let last = points.last, last.device >= point.device { throw .malformed("chat read points (order)") }
            guard points.count < ChatLimits.readPointsMax else {
                throw .tooLarge("chat read points", limit: ChatLimits.readPointsMax)
            }
            points.append(point)
        }
        guard !points.isEmpty else { throw .truncated("chat read points") }
        return points
    }

    /// Escape sequences and the like would reach a terminal.
    static func isText(_ text: String) -> Bool {
        !text.isEmpty
            && text.unicodeScalars.allSatisfy {
                $0.value >= 0x20 && !(0x7F...0x9F).contains($0.value) || $0 == "\n" || $0 == "\t"
            }
    }
}

/// All that one device wrote up to here was read.
package struct ChatReadPoint: Hashable, Comparable, Sendable {
    package let device: DeviceID
    package let sequence: EntrySequence

    package init(device: DeviceID, sequence: EntrySequence) {
        self.device = device
        self.sequence = sequence
    }

    package static func < (lhs: Self, rhs: Self) -> Bool { (lhs.device, lhs.sequence) < (rhs.device, rhs.sequence) }
}

/// The body of an entry that opens a channel.
///
/// | bytes | what |
/// |---|---|
/// | 1 | version, 1 |
/// | 1 | bytes of the name, 1 to 64 |
/// | … | name: UTF-8, lower case without surrounding spaces, no control characters |
/// | … | purpose to the end: UTF-8, at most 512 bytes |
///
/// A channel *is* its name: two members who open one of the same name open the same, and what is said in it before its
/// opening arrived belongs to it all the same.
package struct ChannelBody: Hashable, Sendable {
    private static let version: UInt8 = 1

    package let name: String
    package let purpose: String

    /// Nil for a name or purpose that no body can hold.
    package init?(name: String, purpose: String) {
        guard Self.isName(name), Self.isPurpose(purpose) else { return nil }
        self.name = name
        self.purpose = purpose
    }

    package init(bytes: [UInt8]) throws(DecodeError) {
        guard bytes.count <= ChatLimits.channelBytesMax else {
            throw .tooLarge("channel", limit: ChatLimits.channelBytesMax)
        }
        var buffer = ByteBuffer(bytes: bytes)
        guard let version: UInt8 = buffer.readInteger() else { throw .truncated("channel") }
        guard version == Self.version else { throw .unsupported("channel version") }
        guard let count: UInt8 = buffer.readInteger(), let name = buffer.readBytes(length: Int(count)) else {
            throw .truncated("channel")
        }
        let purpose = buffer.readBytes(length: buffer.readableBytes) ?? []
        guard let name = String(validating: name, as: UTF8.self), Self.isName(name) else {
            throw .malformed("channel name")
        }
        guard let purpose = String(validating: purpose, as: UTF8.self), Self.isPurpose(purpose) else {
            throw .malformed("channel purpose")
        }
        self.name = name
        self.purpose = purpose
    }

    package var bytes: [UInt8] {
        var buffer = ByteBuffer()
        buffer.writeInteger(Self.version)
        buffer.writeInteger(UInt8(clamping: name.utf8.count))
        buffer.writeString(name)
        buffer.writeString(purpose)
        return Array(buffer.readableBytesView)
    }

    package func id(in community: CommunityID) -> Bytes32 {
        Self.id(of: name, in: community)
    }

    package static func id(of name: String, in community: CommunityID) -> Bytes32 {
        KeyDerivation.sha256(Array("tutti-channel".utf8) + community.bytes.bytes + Array(name.utf8))
    }

    private static func isName(_ name: String) -> Bool {
        name.utf8.count <= ChatLimits.channelNameBytesMax && ChatBody.isText(name) && name == name.lowercased()
            && !name.contains { $0 == "\n" || $0 == "\t" } && name.first?.isWhitespace == false
            && name.last?.isWhitespace == false
    }

    private static func isPurpose(_ purpose: String) -> Bool {
        purpose.utf8.count <= ChatLimits.channelPurposeBytesMax && (purpose.isEmpty || ChatBody.isText(purpose))
    }
}

package enum ChatLimits {
    package static let textBytesMax = 8_192
    package static let readPointsMax = 64
    package static let bodyBytesMax = 2 + ChatPlace.bytesCount + Bytes32.count + textBytesMax
    package static let channelNameBytesMax = 64
    package static let channelPurposeBytesMax = 512
    package static let channelBytesMax = 2 + channelNameBytesMax + channelPurposeBytesMax
    /// Openings that are looked at, the newest.
    package static let openingsMax = 4_096
    /// Channels of a community. At it further ones stay unopened.
    package static let channelsMax = 1_024
    /// Pairs of a reader and a device whose entries it read. At it those of further pairs are not kept.
    package static let readPairsMax = 65_536
}
