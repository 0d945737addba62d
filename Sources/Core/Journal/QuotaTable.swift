// SPDX-License-Identifier: Apache-2.0

/// Bytes of each device in a day, as a relay counts them. Quotas hold back, they never make an entry invalid.
///
/// A replica that catches up takes years in an hour, so what counts is the day that an entry claims, and a liar can't
/// choose it freely: along a feed days only go one way, none is older than the device's admission, and none is later
/// than today. So a device gets at most its quota for each day since it was let in, as an honest one would. What is
/// over the quota of its day may still use what is left of today's.
///
/// Nothing of this is kept on disk: a restart forgets, which no author can cause.
struct QuotaTable: Sendable {
    private struct Day: Sendable {
        var day: UInt64
        var bytes: Int
    }

    private struct Usage: Sendable {
        /// Where the feed grows upwards, downwards, and what was let in today beside.
        var up: Day?
        var down: Day?
        var extra: Day?
    }

    private var usages: [DeviceID: Usage] = [:]

    static func day(milliseconds: UInt64) -> UInt64 { milliseconds / 86_400_000 }

    /// Whether the entry is within the quota; if so it is counted.
    /// - Parameter isCounted: false only asks.
    mutating func admits(
        _ header: EntryHeader, bytes: Int, isDescending: Bool, device: Roster.Device, today: UInt64, isCounted: Bool
    ) -> Bool {
        // Governance has as much again for itself: a full feed must not keep its author's revocation away.
        let factor = header.kind.isGovernance ? 2 : 1
        let (limit, overflow) = max(0, device.quotaBytesPerDay).multipliedReportingOverflow(by: factor)
        guard !overflow else { return true }
        var usage = usages[header.device] ?? Usage()
        let claimed = min(
            max(Self.day(milliseconds: header.time.milliseconds), Self.day(milliseconds: device.since)), today)
        var isAdmitted: Bool
        if isDescending {
            isAdmitted = Self.add(bytes, to: &usage.down, day: min(claimed, usage.down?.day ?? claimed), limit)
        } else {
            isAdmitted = Self.add(bytes, to: &usage.up, day: max(claimed, usage.up?.day ?? claimed), limit)
        }
        if !isAdmitted { isAdmitted = Self.add(bytes, to: &usage.extra, day: today, limit) }
        if isAdmitted, isCounted { usages[header.device] = usage }
        return isAdmitted
    }

    private static func add(_ bytes: Int, to slot: inout Day?, day: UInt64, _ limit: Int) -> Bool {
        let used = slot?.day == day ? slot?.bytes ?? 0 : 0
        let (sum, overflow) = used.addingReportingOverflow(bytes)
        guard !overflow, sum <= limit else { return false }
        slot = Day(day: day, bytes: sum)
        return true
    }
}
