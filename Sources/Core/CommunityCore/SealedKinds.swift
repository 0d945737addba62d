// SPDX-License-Identifier: Apache-2.0
package import TuttiJournal

extension EntryKind {
    /// A ``SealedBody``: what is inside, and for whom, only its recipients learn. The one kind for everything sealed.
    package static let sealed = EntryKind(0x0200)
    /// A ``MailboxAnnouncement``: under which keys a device and its member can be written to.
    package static let mailbox = EntryKind(0x0201)
    /// A ``ChannelBody``: opens a channel.
    package static let channel = EntryKind(0x0210)
    /// A ``ChatBody`` in a channel, for every member to read.
    package static let chat = EntryKind(0x0211)
}

/// What a sealed entry holds, as it stands inside the seal.
package struct SealedKind: Hashable, Sendable {
    package let rawValue: UInt16

    package init(_ rawValue: UInt16) { self.rawValue = rawValue }

    /// A ``ChatBody`` of a conversation of two, or a read marker.
    package static let chat = SealedKind(1)
    /// A ``MailboxKeyPass``: a member's mailbox keys for its other devices and its recovery code.
    package static let mailboxKeys = SealedKind(2)
    // From 0x0100 on: what other parts of a node read, handed on as ``OpenedRow``.

    /// From which a member's trade keys come, for the member's own devices alone.
    package static let marketSecret = SealedKind(0x0101)

    var isHandedOn: Bool { rawValue >= 0x0100 }
    /// Lies nowhere but under its seal: a backup of the journal tells nobody.
    var isSecret: Bool { self == .marketSecret }
}
