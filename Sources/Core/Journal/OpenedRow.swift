// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

/// What a sealed entry holds for whoever reads its kind, also long after it came: a view, made again from the entries and
/// the mailbox's keys.
package struct OpenedRow: Hashable, Sendable {
    package var id: EntryID
    /// Of what is inside the seal.
    package var kind: UInt16
    /// What it is about, by which all of one thing is found.
    package var subject: Bytes32
    package var author: MemberID
    package var device: DeviceID
    package var sequence: EntrySequence
    package var time: HybridTime
    /// Empty where it must not lie in the clear: then the entry is opened anew each time.
    package var payload: [UInt8]

    package init(
        id: EntryID, kind: UInt16, subject: Bytes32, author: MemberID, device: DeviceID, sequence: EntrySequence,
        time: HybridTime, payload: [UInt8]
    ) {
        self.id = id
        self.kind = kind
        self.subject = subject
        self.author = author
        self.device = device
        self.sequence = sequence
        self.time = time
        self.payload = payload
    }
}
