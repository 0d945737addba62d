// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiIdentity
package import TuttiJournal

/// Says when this device should end invites by which nobody can join any more.
///
/// Ends of one invite that differ let in only whom none leaves out, so one end is better than two. The device that wrote an
/// invite ends it: at once when it is used up, an hour after it has expired, because joins that were made in time may still
/// be under way. Should it be gone, those who may end the invites of others stand in for one that is used up: one
/// after the other, in an order that differs from invite to invite, ten minutes apart since each saw that it should be
/// ended. So of ten that see it together one writes, and its end takes the turn from the others.
package struct InviteClosing: Sendable {
    package static let graceMilliseconds: UInt64 = 3_600_000
    package static let turnMilliseconds: UInt64 = 600_000
    /// Ended at a time.
    package static let endsMax = 16

    /// Since when invites of others are seen to be used up.
    private var seen: [EntryID: UInt64] = [:]

    package init() {}

    /// Invites to end now, ascending.
    /// - Parameter milliseconds: since 1970.
    package mutating func due(
        in core: borrowing CommunityCore, by device: DeviceID, milliseconds: UInt64
    ) -> [EntryID] {
        let state = core.state
        guard let own = state.devices[device], own.standing == .good, state.isMember(own.member) else { return [] }
        var due: [EntryID] = []
        var waiting: [EntryID: UInt64] = [:]
        for invite in state.invites.values where !invite.isClosed {
            let isUsedUp = invite.usesLeft == 0
            if invite.device == device {
                let (end, isOver) = invite.body.expiry.addingReportingOverflow(Self.graceMilliseconds)
                if isUsedUp || (!isOver && milliseconds > end) { due.append(invite.id) }
            } else if isUsedUp, state.mayCloseInvites(own) {
                let since = min(seen[invite.id] ?? milliseconds, milliseconds)
                waiting[invite.id] = since
                let turn = UInt64(state.turn(of: device, at: invite)) + 1
                if milliseconds - since >= turn * Self.turnMilliseconds { due.append(invite.id) }
            }
        }
        seen = waiting
        return Array(due.sorted().prefix(Self.endsMax))
    }
}

extension CommunityState {
    fileprivate func mayCloseInvites(_ device: Device) -> Bool {
        guard device.standing == .good, let roles = members[device.member]?.roles else { return false }
        return roles.contains { $0.rank <= .moderator && charter?.allows($0, .admit) ?? false }
    }

    /// How many devices stand in before this one.
    fileprivate func turn(of device: DeviceID, at invite: Invite) -> Int {
        func place(_ device: DeviceID) -> Bytes32 { KeyDerivation.sha256(invite.id.bytes.bytes + device.bytes.bytes) }
        let own = place(device)
        return devices.values.count { $0.id != invite.device && mayCloseInvites($0) && place($0.id) < own }
    }
}
