// SPDX-License-Identifier: Apache-2.0
package import TuttiIdentity
package import TuttiJournal

/// Where members can be written to: what their live devices announced.
///
/// A function of the set of announcements and of closed devices: the order in which they arrive doesn't matter. Of a
/// device that was revoked, removed or frozen nothing counts any more, whenever it was announced: its holder may be
/// somebody else. Until another device of the member announces a key, nothing can be sealed to that member.
package struct MailboxDirectory: Sendable {
    private struct Record {
        var member: MemberID
        var newest: MailboxAnnouncement
    }

    private var records: [DeviceID: Record] = [:]
    /// Ascending.
    private var devicesByMember: [MemberID: [DeviceID]] = [:]
    private var closed: Set<DeviceID> = []
    /// Announcements and closings refused because of a limit.
    package private(set) var refusedCount = 0

    package init() {}

    /// An announcement in an entry of a device that the roster has as the member's.
    package mutating func announced(_ announcement: MailboxAnnouncement, by device: DeviceID, of member: MemberID) {
        guard !closed.contains(device) else { return }
        if let record = records[device] {
            guard record.member == member, record.newest.isBefore(announcement) else { return }
            records[device]?.newest = announcement
            return
        }
        guard records.count < MailboxLimits.announcementsMax else { return refusedCount += 1 }
        records[device] = Record(member: member, newest: announcement)
        var devices = devicesByMember[member, default: []]
        devices.insert(device, at: devices.firstIndex { device < $0 } ?? devices.count)
        devicesByMember[member] = devices
    }

    package mutating func closed(_ device: DeviceID) {
        if let record = records.removeValue(forKey: device) {
            devicesByMember[record.member]?.removeAll { $0 == device }
            if devicesByMember[record.member]?.isEmpty == true { devicesByMember[record.member] = nil }
        }
        guard closed.count < MailboxLimits.announcementsMax else { return refusedCount += 1 }
        closed.insert(device)
    }

    /// The key to seal to; nil when the member has announced none that counts.
    package func mailbox(of member: MemberID) -> SealingPublicKey? {
        newest(of: member)?.mailbox
    }

    package func epoch(of member: MemberID) -> MailboxEpoch? {
        newest(of: member)?.epoch
    }

    /// The live devices of a member, ascending, with the keys to which mailbox keys are passed.
    package func devices(of member: MemberID) -> [MailboxFellow] {
        devicesByMember[member, default: []].compactMap { device in
            records[device].map { MailboxFellow(device: device, key: $0.newest.device, epoch: $0.newest.epoch) }
        }
    }

    private func newest(of member: MemberID) -> MailboxAnnouncement? {
        devicesByMember[member, default: []].compactMap { records[$0]?.newest }.max { $0.isBefore($1) }
    }
}

/// A live device of our own member, as it announced itself.
package struct MailboxFellow: Hashable, Sendable {
    package let device: DeviceID
    package let key: SealingPublicKey
    package let epoch: MailboxEpoch

    package init(device: DeviceID, key: SealingPublicKey, epoch: MailboxEpoch) {
        self.device = device
        self.key = key
        self.epoch = epoch
    }
}
