// SPDX-License-Identifier: Apache-2.0

/// What is asked of a real witness, by numbers: values are those of ``AgreementSystem``, witnesses 0, 1, 2 and the liar 3.
enum RegisterQuestion: Hashable, Sendable {
    /// In ballot 0.
    case propose(value: Int)
    /// In a later ballot, with exactly 2f + 1 reports; the one that a witness didn't give is nil.
    case proposeAfter(ballot: Int, value: Int, reports: [AgreementReport?])
    /// Commit to this; if forged, one of the votes isn't its witness's.
    case lock(ballot: Int, value: Int, isForged: Bool)
    /// With an event to hold, or without.
    case report(ballot: Int, event: Int?)

    /// The event that comes with it.
    var event: Int? {
        switch self {
        case .propose(let value), .proposeAfter(_, let value, _): value
        case .lock: nil
        case .report(_, let event): event
        }
    }

    var ballot: Int {
        switch self {
        case .propose: 0
        case .proposeAfter(let ballot, _, _), .lock(let ballot, _, _), .report(let ballot, _): ballot
        }
    }
}

/// What a real witness did when asked.
struct RegisterReply: Hashable, Sendable {
    /// Its state now.
    var state: Int
    var signed: Signed?

    enum Signed: Hashable, Sendable {
        case vote(ballot: Int, value: Int)
        case commit(ballot: Int, value: Int)
        case report(ballot: Int, AgreementReport)
    }
}

/// Mistakes of who owns a witness's machine, planted to see that they are found.
package enum RegisterFlaw: CaseIterable, Hashable, Sendable {
    /// Signatures aren't verified before the machine is asked.
    case unverified
    /// An answer leaves before its state is on the disk, and the machine crashes in between.
    case answersBeforeDisk
    /// A lost disk, and the witness goes on under its old key.
    case keepsKeyWithoutDisk
}
