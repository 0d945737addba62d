// SPDX-License-Identifier: Apache-2.0

/// What an honest witness knows of the slot, and all that it ever signed for it. Sixteen bytes, as there are millions.
///
/// Sets of values are four bits, bit v for value v. A report is nine bits: whether there is one, the lock, what is listed,
/// whether the deadline passed.
struct AgreementWitness: Hashable, Sendable {
    static let ballotsMax = 4
    static let valuesMax = 3

    /// Four bits a ballot.
    private(set) var votes: UInt16 = 0
    private(set) var commits: UInt16 = 0
    /// Sixteen bits a ballot; in ballot 0, which has no reports, the CLOSE.
    private(set) var reports: UInt64 = 0
    /// No lower ballot any more. ``closed`` is above all.
    var promise: UInt8 = 0
    /// Of the highest lock, plus 1; 0 without one.
    private(set) var lockBallot: UInt8 = 0
    private(set) var lockValue: UInt8 = 0
    /// The events that it held in time.
    private(set) var held: UInt8 = 0
    /// Of these the first alone.
    private(set) var first: UInt8 = 0
    var passed = false
    /// The new sets towards which it closed.
    var closedTo: UInt8 = 0

    static let closed: UInt8 = 7

    func votes(in ballot: Int) -> UInt16 { votes >> (4 * UInt16(ballot)) & 15 }
    func commits(in ballot: Int) -> UInt16 { commits >> (4 * UInt16(ballot)) & 15 }
    /// Nil: none so far.
    func report(for ballot: Int) -> AgreementReport? {
        AgreementReport(bits: UInt16(truncatingIfNeeded: reports >> (16 * UInt64(ballot))))
    }
    var closing: AgreementReport? { report(for: 0) }

    mutating func hold(_ value: Int) {
        if held == 0 { first = 1 << UInt8(value) }
        held |= 1 << UInt8(value)
    }

    mutating func vote(_ value: Int, in ballot: Int) { votes |= 1 << UInt16(4 * ballot + value) }

    mutating func commit(_ value: Int, in ballot: Int) {
        commits |= 1 << UInt16(4 * ballot + value)
        if ballot + 1 > lockBallot { (lockBallot, lockValue) = (UInt8(ballot + 1), UInt8(value)) }
    }

    mutating func report(_ report: AgreementReport, for ballot: Int) {
        reports |= UInt64(report.bits) << (16 * UInt64(ballot))
    }

    /// The same with other names for the values.
    func renamed(_ names: [UInt8]) -> AgreementWitness {
        var renamed = self
        renamed.votes = Self.renamed(votes, names)
        renamed.commits = Self.renamed(commits, names)
        renamed.held = UInt8(Self.renamed(UInt16(held), names))
        renamed.first = UInt8(Self.renamed(UInt16(first), names))
        if lockBallot > 0 { renamed.lockValue = names[Int(lockValue)] }
        renamed.reports = 0
        for ballot in 0..<Self.ballotsMax {
            guard var report = report(for: ballot) else { continue }
            report.listed = UInt8(Self.renamed(UInt16(report.listed), names))
            if report.lockBallot > 0 { report.lockValue = names[Int(report.lockValue)] }
            renamed.report(report, for: ballot)
        }
        return renamed
    }

    private static func renamed(_ sets: UInt16, _ names: [UInt8]) -> UInt16 {
        var renamed: UInt16 = 0
        var rest = sets
        while rest != 0 {
            let bit = rest.trailingZeroBitCount
            renamed |= 1 << UInt16(bit & ~3 | Int(names[bit & 3]))
            rest &= rest - 1
        }
        return renamed
    }

    var words: (UInt64, UInt64) {
        let signed = UInt64(votes) | UInt64(commits) << 16
        let promised = UInt64(promise) << 32 | UInt64(lockBallot) << 36 | UInt64(lockValue) << 40
        let seen = UInt64(held) << 44 | UInt64(first) << 48 | (passed ? 1 : 0) << 52 | UInt64(closedTo) << 56
        return (signed | promised | seen, reports)
    }
}

/// What a REPORT says, and a CLOSE.
struct AgreementReport: Hashable, Sendable {
    /// Plus 1; 0 without a lock.
    var lockBallot: UInt8
    var lockValue: UInt8
    var listed: UInt8
    var passed: Bool

    init(lockBallot: UInt8, lockValue: UInt8, listed: UInt8, passed: Bool) {
        self.lockBallot = lockBallot
        self.lockValue = lockValue
        self.listed = listed
        self.passed = passed
    }

    init?(bits: UInt16) {
        guard bits & 1 == 1 else { return nil }
        lockBallot = UInt8(bits >> 1 & 7)
        lockValue = UInt8(bits >> 4 & 3)
        listed = UInt8(bits >> 6 & 7)
        passed = bits >> 9 & 1 == 1
    }

    var bits: UInt16 {
        1 | UInt16(lockBallot) << 1 | UInt16(lockValue) << 4 | UInt16(listed) << 6 | (passed ? 1 << 9 : 0)
    }

    func lists(_ value: Int) -> Bool { listed >> UInt8(value) & 1 == 1 }
}
