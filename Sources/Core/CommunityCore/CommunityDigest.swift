// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
import TuttiIdentity
import TuttiJournal

import struct NIOCore.ByteBuffer

/// Two nodes that hold the same governance entries and forks have the same digest, in whatever order all of it came.
extension CommunityState {
    package var digest: Bytes32 {
        var buffer = ByteBuffer()
        buffer.write(1, community.bytes)
        buffer.write(2, charterDigest ?? .zero)
        buffer.write(3, charterEdition)
        for member in members.values.sorted(by: { $0.id < $1.id }) { buffer.write(4) { $0.write(member) } }
        for device in devices.values.sorted(by: { $0.id < $1.id }) { buffer.write(5) { $0.write(device) } }
        for invite in invites.values.sorted(by: { $0.id < $1.id }) {
            buffer.write(6) {
                $0.write(1, invite.id.bytes)
                $0.write(2, invite.joins)
                $0.write(3, invite.isClosed ? 1 : 0)
                $0.write(4, invite.usesLeft)
            }
        }
        for join in pendingJoins.values.sorted(by: { $0.id < $1.id }) {
            buffer.write(7) {
                $0.write(1, join.id.bytes)
                $0.writeProtobuf(2, string: "\(join.reason)")
            }
        }
        for proposal in proposals.values.sorted(by: { $0.id < $1.id }) { buffer.write(8) { $0.write(proposal) } }
        for id in vouches.keys.sorted() { buffer.write(9, id.bytes) }
        for label in labels.values.sorted(by: { $0.id < $1.id }) {
            buffer.write(10) {
                $0.write(1, label.id.bytes)
                $0.writeProtobuf(2, string: label.withdrawn ?? "")
                $0.write(3, label.withdrawn == nil ? 0 : 1)
            }
        }
        for object in updatesNeeded.map({ $0 ?? .zero }).sorted() { buffer.write(11, object) }
        return KeyDerivation.sha256(Array(buffer.readableBytesView))
    }
}

extension ByteBuffer {
    fileprivate mutating func write(_ member: CommunityState.Member) {
        write(1, member.id.bytes)
        writeProtobuf(2, string: member.nickname)
        for role in member.roles.sorted() { write(3, Int(role.rawValue)) }
        write(4, member.sponsor?.bytes ?? .zero)
        write(5, member.since.bytes)
        for device in member.devices { write(6, device.bytes) }
        switch member.ended {
        case nil: break
        case .left(let id): write(7, id.bytes)
        case .removed(let id, let reason):
            write(8, id.bytes)
            writeProtobuf(9, string: reason)
        }
    }

    fileprivate mutating func write(_ device: CommunityState.Device) {
        write(1, device.id.bytes)
        write(2, device.member.bytes)
        switch device.standing {
        case .good: write(3, 0)
        case .ended: write(3, 1)
        case .frozen(let sequence): write(3, 2 + Int(sequence.value))
        }
        if let cut = device.cut { write(4, FeedCut(device: device.id, point: cut)) }
        write(5, device.certificate.bytes)
    }

    fileprivate mutating func write(_ proposal: CommunityState.Proposal) {
        write(1, proposal.id.bytes)
        switch proposal.outcome {
        case .open: write(2, 0)
        case .lapsed: write(2, 1)
        case .passed(let id): write(3, id.bytes)
        case .rejected(let id): write(4, id.bytes)
        }
        for vote in proposal.votes { write(5, vote.id.bytes) }
        for signer in proposal.signers { write(6, signer.bytes) }
    }
}
