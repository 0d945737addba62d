// SPDX-License-Identifier: Apache-2.0

/// Bytes of each member in a day, as a relay counts them: of all the member's devices together. Quotas hold back, they
/// never make an entry invalid.
///
/// A replica that catches up takes years in an hour, so what counts is the day that an entry claims, not before the
/// admission of its device nor after today; as a feed grows upwards days go one way only. So a member gets at most its
/// quota for each day since it was let in, as an honest one would. What is over that may use what is left of today's.
///
/// The days of long ago are counted together, with as many days' quota. After a restart the disk says what came today,
/// and below which day each feed doesn't go any more: who has used up the day of a feed's head before today has that
/// one day again, no more.
struct QuotaTable: Sendable {
    fileprivate struct Span: Sendable {
        var days: ClosedRange<UInt64>
        var bytes: Int

        func capacity(_ limit: Int) -> Int {
            let count = Int(clamping: days.upperBound - days.lowerBound) + 1
            let (capacity, overflow) = limit.multipliedReportingOverflow(by: count)
            return overflow ? .max : capacity
        }
    }

    fileprivate struct Account: Sendable {
        /// Ascending, without common days.
        var spans: [Span] = []
        /// What was let in today beyond.
        var extra: (day: UInt64, bytes: Int) = (0, 0)
    }

    /// Days, or stretches of days, of one member; the lowest become one.
    private static let spansMax = 64

    private var accounts: [MemberID: Account] = [:]
    /// The day of each feed's head.
    private var floors: [DeviceID: UInt64] = [:]
    /// What the disk says of devices that the roster hasn't named yet.
    private var remembered: [DeviceID: FeedUsage] = [:]

    static func day(milliseconds: UInt64) -> UInt64 { milliseconds / 86_400_000 }
    /// Since 1970.
    static func start(ofDay day: UInt64) -> UInt64 { day * 86_400_000 }

    /// Whether the entry is within the quota; if so it is counted.
    /// - Parameter isCounted: false only asks.
    mutating func admits(
        _ header: EntryHeader, bytes: Int, isDescending: Bool, device: Roster.Device, today: UInt64, isCounted: Bool
    ) -> Bool {
        // Governance has as much again for itself: a full feed must not keep its author's revocation away.
        let factor = header.kind.isGovernance ? 2 : 1
        let (limit, overflow) = max(0, device.quotaBytesPerDay).multipliedReportingOverflow(by: factor)
        guard !overflow else { return true }
        var account = accounts[device.member] ?? Account()
        var claimed = max(Self.day(milliseconds: header.time.milliseconds), Self.day(milliseconds: device.since))
        if !isDescending { claimed = max(claimed, floors[header.device] ?? 0) }
        claimed = min(claimed, today)
        if !Self.add(bytes, to: &account, day: claimed, limit) {
            let used = account.extra.day == today ? account.extra.bytes : 0
            let (sum, overflow) = used.addingReportingOverflow(bytes)
            guard !overflow, sum <= limit else { return false }
            account.extra = (today, sum)
        }
        guard isCounted else { return true }
        accounts[device.member] = account
        if !isDescending { floors[header.device] = claimed }
        return true
    }

    private static func add(_ bytes: Int, to account: inout Account, day: UInt64, _ limit: Int) -> Bool {
        let place = account.spans.lastIndex { $0.days.lowerBound <= day }
        if let place, account.spans[place].days.contains(day) {
            let (sum, overflow) = account.spans[place].bytes.addingReportingOverflow(bytes)
            guard !overflow, sum <= account.spans[place].capacity(limit) else { return false }
            account.spans[place].bytes = sum
            return true
        }
        guard bytes <= limit else { return false }
        account.spans.insert(Span(days: day...day, bytes: bytes), at: place.map { $0 + 1 } ?? 0)
        guard account.spans.count > spansMax else { return true }
        let (first, second) = (account.spans[0], account.spans[1])
        account.spans[1] = Span(
            days: first.days.lowerBound...second.days.upperBound, bytes: first.bytes + second.bytes)
        account.spans.removeFirst()
        return true
    }

    /// What has been counted for a device and its member, to be taken back with all that follows.
    struct Mark {
        fileprivate let device: DeviceID
        fileprivate let member: MemberID
        fileprivate let account: Account?
        fileprivate let floor: UInt64?
    }

    func mark(of device: DeviceID, _ member: MemberID) -> Mark {
        Mark(device: device, member: member, account: accounts[member], floor: floors[device])
    }

    mutating func restore(_ mark: Mark) {
        accounts[mark.member] = mark.account
        floors[mark.device] = mark.floor
    }

    // MARK: After a restart

    mutating func remember(_ usages: [FeedUsage], _ roster: Roster, today: UInt64) {
        for usage in usages { remembered[usage.device] = usage }
        rosterChanged(roster, today: today)
    }

    mutating func rosterChanged(_ roster: Roster, today: UInt64) {
        guard !remembered.isEmpty else { return }
        for device in remembered.keys.sorted() {
            guard let standing = roster.devices[device], let usage = remembered.removeValue(forKey: device) else {
                continue
            }
            let since = Self.day(milliseconds: standing.since)
            let head = min(max(Self.day(milliseconds: usage.headTime.milliseconds), since), today)
            floors[device] = max(floors[device] ?? 0, head)
            var account = accounts[standing.member] ?? Account()
            for arrived in usage.arrived {
                let limit = max(0, standing.quotaBytesPerDay)
                let kept = min(arrived.bytes, limit)
                let isKept = Self.add(kept, to: &account, day: min(max(arrived.day, since), today), limit)
                // The rest had been let in as today's.
                let used = account.extra.day == today ? account.extra.bytes : 0
                account.extra = (today, min(.max / 2, used + arrived.bytes - (isKept ? kept : 0)))
            }
            accounts[standing.member] = account
        }
    }
}
