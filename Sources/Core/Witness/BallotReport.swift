// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

package import struct NIOCore.ByteBuffer

/// For what a report is a promise.
package enum ReportPurpose: Hashable, Sendable {
    /// Never again to vote or commit below this ballot.
    case ballot(Ballot)
    /// Never again to vote, report or commit in this set for this slot or a later one of its chain: the named set may decide
    /// it. Signed once.
    case close(to: WitnessSetID)
}

/// What was voted, committed or locked in a ballot.
package struct BallotValue: Hashable, Sendable, CanonicalBody {
    package let ballot: Ballot
    package let value: SlotValue

    package init(ballot: Ballot, value: SlotValue) {
        self.ballot = ballot
        self.value = value
    }

    package init(from reader: inout BodyReader) throws(DecodeError) {
        ballot = try reader.ballot(1)
        value = try reader.body(2, "value of a lock")
    }

    package func write(into buffer: inout ByteBuffer) {
        buffer.write(1, Int(ballot.value))
        buffer.write(2, value)
    }
}

/// What one witness knows of a slot, signed (docs/decisions/0013-what-a-report-says-and-whose-ballot-it-is.md).
package struct BallotReport: Hashable, Sendable, CanonicalBody {
    package let purpose: ReportPurpose
    /// The highest lock that it was shown: ballot and value. The votes travel beside.
    package let lock: BallotValue?
    /// The first event in time of each author, ascending.
    package let views: [Bytes32]
    /// The deadline has passed on its clock, and the clock isn't known to be wrong.
    package let hasPassed: Bool

    package init(purpose: ReportPurpose, lock: BallotValue?, views: [Bytes32], hasPassed: Bool) {
        self.purpose = purpose
        self.lock = lock
        self.views = views.sorted()
        self.hasPassed = hasPassed
    }

    package init(from reader: inout BodyReader) throws(DecodeError) {
        let ballot = try reader.number(1, in: 0...Int(WitnessLimits.ballotMax), "ballot")
        let close = try reader.bytes32IfThere(2, "set that takes over")
        // Ballot 0 needs no reports, so its number stands for a close.
        guard (ballot == 0) == (close != nil) else { throw .malformed("purpose of a report") }
        purpose = close.map { .close(to: WitnessSetID($0)) } ?? .ballot(Ballot(UInt32(ballot)))
        lock = try reader.bodyIfThere(3, "lock of a report")
        views = try reader.set(4, countMax: WitnessLimits.viewsMax, "views")
        hasPassed = try reader.flag(5, "whether the deadline has passed")
    }

    package func write(into buffer: inout ByteBuffer) {
        switch purpose {
        case .ballot(let ballot): buffer.write(1, Int(ballot.value))
        case .close(let set):
            buffer.write(1, 0)
            buffer.write(2, set.bytes)
        }
        if let lock { buffer.write(3, lock) }
        for view in views { buffer.write(4, view) }
        buffer.write(5, hasPassed ? 1 : 0)
    }

    package func signedBytes(_ slot: SlotID) -> [UInt8] {
        var buffer = ByteBuffer()
        buffer.write(domain: "tutti-witness-report")
        buffer.write(1, slot.bytes)
        buffer.write(2, self)
        return Array(buffer.readableBytesView)
    }
}

package struct SignedReport: Hashable, Sendable, CanonicalBody {
    package let report: BallotReport
    package let signature: WitnessSignature

    package init(report: BallotReport, signature: WitnessSignature) {
        self.report = report
        self.signature = signature
    }

    package init(from reader: inout BodyReader) throws(DecodeError) {
        report = try reader.body(1, "report")
        signature = try reader.body(2, "signature of a report")
    }

    package func write(into buffer: inout ByteBuffer) {
        buffer.write(1, report)
        buffer.write(2, signature)
    }

    package func check(_ slot: SlotID, in set: WitnessSet) -> SignatureCheck? {
        guard set.keys.indices.contains(signature.witness) else { return nil }
        return SignatureCheck(
            key: set.keys[signature.witness], message: report.signedBytes(slot), signature: signature.signature)
    }
}

/// Why a ballot above 0 may propose its value: exactly 2f + 1 reports, and the votes of the highest lock that they name.
package struct Justification: Hashable, Sendable, CanonicalBody {
    /// Ascending by witness, none twice, all for one purpose.
    package let reports: [SignedReport]
    package let lock: Lock?

    /// What may be proposed.
    package enum Choice: Hashable, Sendable {
        case only(SlotValue)
        /// Any of these events.
        case events([Bytes32])
        /// Any event whose request is valid: the slot has no deadline and nobody saw enough of one event.
        case anyEvent
        case nothingYet

        package func admits(_ value: SlotValue) -> Bool {
            switch (self, value) {
            case (.only(let choice), _): choice == value
            case (.events(let digests), .event(let digest)): digests.contains(digest)
            case (.anyEvent, .event): true
            case (.events, .noEvent), (.anyEvent, .noEvent), (.nothingYet, _): false
            }
        }
    }

    /// Takes the first 2f + 1 by witness. Nil when there are fewer, or the votes of the highest lock are missing.
    package init?(_ reports: [SignedReport], locks: [Lock], quorum: Int) {
        let ordered = reports.sorted { $0.signature.witness < $1.signature.witness }
        guard ordered.count >= quorum else { return nil }
        self.reports = Array(ordered.prefix(quorum))
        let highest = Self.highest(self.reports)
        lock = highest.flatMap { name in locks.first { $0.ballot == name.ballot && $0.value == name.value } }
        guard (highest == nil) == (lock == nil), isWellFormed else { return nil }
    }

    package init(from reader: inout BodyReader) throws(DecodeError) {
        reports = try reader.bodies(1, countMax: WitnessSet.countMax, "reports")
        lock = try reader.bodyIfThere(2, "lock of the reports")
        guard isWellFormed else { throw .malformed("reports") }
    }

    package func write(into buffer: inout ByteBuffer) {
        for report in reports { buffer.write(1, report) }
        if let lock { buffer.write(2, lock) }
    }

    private var isWellFormed: Bool {
        guard let purpose = reports.first?.report.purpose else { return false }
        let isAscending = zip(reports, reports.dropFirst())
            .allSatisfy { $0.signature.witness < $1.signature.witness }
        let highest = Self.highest(reports)
        return isAscending && reports.allSatisfy { $0.report.purpose == purpose }
            && highest == lock.map { BallotValue(ballot: $0.ballot, value: $0.value) }
    }

    private static func highest(_ reports: [SignedReport]) -> BallotValue? {
        reports.compactMap(\.report.lock).max { $0.ballot < $1.ballot }
    }

    package var purpose: ReportPurpose? { reports.first?.report.purpose }

    /// Nil when no signature could make it good: the wrong number of reports, or witnesses that aren't of the set.
    package func checks(_ slot: SlotID, in set: WitnessSet) -> [SignatureCheck]? {
        guard reports.count == set.quorum else { return nil }
        var checks: [SignatureCheck] = []
        for report in reports {
            guard let check = report.check(slot, in: set) else { return nil }
            checks.append(check)
        }
        if let lock {
            guard lock.votes.isComplete(in: set) else { return nil }
            checks += lock.checks(slot, in: set)
        }
        return checks
    }

    package func choice(in set: WitnessSet, hasDeadline: Bool) -> Choice {
        if let lock { return .only(lock.value) }
        let views = reports.flatMap(\.report.views).sorted()
        var known: [Bytes32] = []
        var index = 0
        while index < views.count {
            let count = views[index...].prefix { $0 == views[index] }.count
            if count > set.faultsMax { known.append(views[index]) }
            index += count
        }
        if !known.isEmpty { return .events(known) }
        guard hasDeadline else { return .anyEvent }
        return reports.count { $0.report.hasPassed } > set.faultsMax ? .only(.noEvent) : .nothingYet
    }
}
