// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiJournal

import struct NIOCore.ByteBuffer

/// Reads a governance body: protobuf whose fields stand in ascending order, each as often as its kind says. What is read
/// is written again and compared, so that padding and other freedoms of protobuf are refused.
struct BodyReader {
    private var reader: ProtobufReader
    private var next: ProtobufReader.Field?

    init(_ bytes: ByteBuffer) throws(DecodeError) {
        reader = ProtobufReader(bytes)
        next = try reader.next()
    }

    init(_ bytes: [UInt8]) throws(DecodeError) { try self.init(ByteBuffer(bytes: bytes)) }

    private mutating func take(_ number: Int) throws(DecodeError) -> ProtobufReader.Field? {
        guard let field = next, field.number == number else { return nil }
        next = try reader.next()
        return field
    }

    private mutating func need(_ number: Int, _ what: StaticText) throws(DecodeError) -> ProtobufReader.Field {
        guard let field = try take(number) else { throw next == nil ? .truncated(what) : .malformed(what) }
        return field
    }

    mutating func number(_ number: Int, in range: ClosedRange<Int>, _ what: StaticText) throws(DecodeError) -> Int {
        let value = try need(number, what).varint(what)
        guard value <= UInt64(range.upperBound) else { throw .tooLarge(what, limit: range.upperBound) }
        guard Int(value) >= range.lowerBound else { throw .malformed(what) }
        return Int(value)
    }

    mutating func flag(_ number: Int, _ what: StaticText) throws(DecodeError) -> Bool {
        try self.number(number, in: 0...1, what) == 1
    }

    mutating func bytes32(_ number: Int, _ what: StaticText) throws(DecodeError) -> Bytes32 {
        try Self.bytes32(try need(number, what), what)
    }

    mutating func bytes32IfThere(_ number: Int, _ what: StaticText) throws(DecodeError) -> Bytes32? {
        guard let field = try take(number) else { return nil }
        return try Self.bytes32(field, what)
    }

    private static func bytes32(_ field: ProtobufReader.Field, _ what: StaticText) throws(DecodeError) -> Bytes32 {
        let bytes = try field.bytes(what)
        guard let value = Bytes32(bytes.readableBytesView) else { throw .malformed(what) }
        return value
    }

    /// Ascending, none twice.
    mutating func set(_ number: Int, countMax: Int, _ what: StaticText) throws(DecodeError) -> [Bytes32] {
        var values: [Bytes32] = []
        while let field = try take(number) {
            guard values.count < countMax else { throw .tooLarge(what, limit: countMax) }
            let value = try Self.bytes32(field, what)
            if let last = values.last, last >= value { throw .malformed(what) }
            values.append(value)
        }
        return values
    }

    mutating func bytes(_ number: Int, countMax: Int, _ what: StaticText) throws(DecodeError) -> [UInt8] {
        let bytes = try need(number, what).bytes(what)
        guard bytes.readableBytes <= countMax else { throw .tooLarge(what, limit: countMax) }
        return Array(bytes.readableBytesView)
    }

    mutating func signature(_ number: Int, _ what: StaticText) throws(DecodeError) -> [UInt8] {
        let bytes = try bytes(number, countMax: Entry.signatureBytesCount, what)
        guard bytes.count == Entry.signatureBytesCount else { throw .malformed(what) }
        return bytes
    }

    mutating func text(
        _ number: Int, bytesMax: Int, lines: Bool = false, _ what: StaticText
    ) throws(DecodeError) -> String {
        let text = try need(number, what).string(what, bytesMax: bytesMax)
        guard text.isPlain(lines: lines) else { throw .malformed(what) }
        return text
    }

    mutating func message(_ number: Int, _ what: StaticText) throws(DecodeError) -> BodyReader {
        try BodyReader(try need(number, what).bytes(what))
    }

    mutating func messageIfThere(_ number: Int, _ what: StaticText) throws(DecodeError) -> BodyReader? {
        guard let field = try take(number) else { return nil }
        return try BodyReader(try field.bytes(what))
    }

    func end(_ what: StaticText) throws(DecodeError) {
        guard next == nil else { throw .malformed(what) }
    }

    // MARK: What several kinds hold

    mutating func cuts(_ number: Int) throws(DecodeError) -> [FeedCut] {
        var cuts: [FeedCut] = []
        while var message = try messageIfThere(number, "cut") {
            guard cuts.count < CommunityLimits.cutsMax else { throw .tooLarge("cuts", limit: CommunityLimits.cutsMax) }
            let cut = try message.cut()
            if let last = cuts.last, last.device >= cut.device { throw .malformed("cuts") }
            cuts.append(cut)
        }
        return cuts
    }

    mutating func cut() throws(DecodeError) -> FeedCut {
        let device = DeviceID(try bytes32(1, "device of a cut"))
        let sequence = try number(2, in: 0...Int(EntrySequence.max.value), "sequence of a cut")
        let id = EntryID(try bytes32(3, "entry of a cut"))
        guard (sequence == 0) == (id == .none) else { throw .malformed("cut") }
        try end("cut")
        return FeedCut(device: device, point: FeedPoint(sequence: EntrySequence(UInt64(sequence)), id: id))
    }

    mutating func certificate(_ number: Int) throws(DecodeError) -> DeviceCertificate {
        var message = try message(number, "device certificate")
        let certificate = DeviceCertificate(
            member: MemberID(try message.bytes32(1, "member")), device: DeviceID(try message.bytes32(2, "device")),
            signature: try message.signature(3, "signature of a device certificate"))
        try message.end("device certificate")
        return certificate
    }

    mutating func role(_ number: Int) throws(DecodeError) -> Role {
        let value = try self.number(number, in: 1...Role.allCases.count, "role")
        guard let role = Role(rawValue: UInt8(value)) else { throw .malformed("role") }
        return role
    }

    mutating func roleGrant() throws(DecodeError) -> RoleGrantBody {
        RoleGrantBody(member: MemberID(try bytes32(2, "member")), role: try role(3))
    }

    mutating func roleRemoval() throws(DecodeError) -> RoleRemovalBody {
        RoleRemovalBody(
            member: MemberID(try bytes32(2, "member")), role: try role(3), cuts: try cuts(4),
            reason: try text(5, bytesMax: CommunityLimits.reasonBytesMax, "reason"))
    }

    mutating func memberRemoval() throws(DecodeError) -> MemberRemovalBody {
        MemberRemovalBody(
            member: MemberID(try bytes32(2, "member")), cuts: try cuts(4),
            reason: try text(5, bytesMax: CommunityLimits.reasonBytesMax, "reason"))
    }
}

extension String {
    /// Nothing that moves a terminal's cursor or turns the direction of what follows.
    func isPlain(lines: Bool) -> Bool {
        unicodeScalars.allSatisfy { scalar in
            switch scalar.value {
            case 0x0A: lines
            case 0..<0x20, 0x7F..<0xA0, 0x2028...0x202E, 0x2066...0x2069: false
            default: true
            }
        }
    }
}

extension ByteBuffer {
    mutating func write(_ field: Int, _ value: Bytes32) {
        value.withUnsafeBytes { writeProtobuf(field, bytes: $0) }
    }

    mutating func write(_ field: Int, _ value: Int) { writeProtobuf(field, varint: UInt64(clamping: value)) }

    mutating func write(_ field: Int, _ ids: [EntryID]) {
        for id in ids { write(field, id.bytes) }
    }

    mutating func write(_ field: Int, message write: (inout ByteBuffer) -> Void) {
        var message = ByteBuffer()
        write(&message)
        writeProtobuf(field, message: message)
    }

    mutating func write(_ field: Int, _ cuts: [FeedCut]) {
        for cut in cuts { write(field, cut) }
    }

    mutating func write(_ field: Int, _ cut: FeedCut) {
        write(field) {
            $0.write(1, cut.device.bytes)
            $0.write(2, Int(cut.point.sequence.value))
            $0.write(3, cut.point.id.bytes)
        }
    }

    mutating func write(_ field: Int, _ certificate: DeviceCertificate) {
        write(field) {
            $0.write(1, certificate.member.bytes)
            $0.write(2, certificate.device.bytes)
            $0.writeProtobuf(3, bytes: certificate.signature)
        }
    }

    mutating func write(_ body: RoleGrantBody) {
        write(2, body.member.bytes)
        write(3, Int(body.role.rawValue))
    }

    mutating func write(_ body: RoleRemovalBody) {
        write(2, body.member.bytes)
        write(3, Int(body.role.rawValue))
        write(4, body.cuts)
        writeProtobuf(5, string: body.reason)
    }

    mutating func write(_ body: MemberRemovalBody) {
        write(2, body.member.bytes)
        write(4, body.cuts)
        writeProtobuf(5, string: body.reason)
    }
}
