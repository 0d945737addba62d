// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiJournal

import struct NIOCore.ByteBuffer

extension BodyReader {
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

extension ByteBuffer {
    mutating func write(_ field: Int, _ ids: [EntryID]) {
        for id in ids { write(field, id.bytes) }
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
