// SPDX-License-Identifier: Apache-2.0
import TuttiBase
package import TuttiJournal

import struct NIOCore.ByteBuffer

extension EntryKind {
    /// A ``SealedMemberKey``: the member's key under the recovery code. Governance, so that every replica has it first and
    /// keeps it for ever; it changes nothing in the community, and only its holder can say whose it is.
    package static let memberKey = EntryKind(0x0080)
}

/// Body of a `.memberKey` entry: like all governance it says what it builds on; then the lookup tag as its object, then the
/// seal.
package enum MemberKeyEntry {
    /// Optional: replicas that don't know the kind keep it all the same.
    package static func draft(
        _ sealed: SealedMemberKey, parents: [EntryID], head: EntryID
    ) -> EntryDraft {
        EntryDraft(kind: .memberKey, body: body(sealed, parents: parents.map(\.bytes)), governance: head)
    }

    private static func body(_ sealed: SealedMemberKey, parents: [Bytes32]) -> [UInt8] {
        var buffer = ByteBuffer()
        buffer.write(1, parents.map { EntryID($0) })
        buffer.write(2, sealed.lookupTag)
        buffer.writeProtobuf(3, bytes: sealed.bytes)
        return Array(buffer.readableBytesView)
    }

    /// Nil for other kinds, and for a body that isn't in the one encoding. The signature is checked apart.
    package static func sealed(in entry: Entry) -> SealedMemberKey? {
        guard entry.header.kind == .memberKey, let body = entry.content?.body else { return nil }
        do throws(DecodeError) {
            var reader = try BodyReader(body)
            let parents = try reader.set(1, countMax: CommunityLimits.parentsMax, "parents")
            _ = try reader.bytes32(2, "lookup tag")
            let bytes = try reader.bytes(3, countMax: SealedMemberKey.bytesCount, "sealed member key")
            try reader.end("sealed member key")
            let sealed = try SealedMemberKey(bytes: bytes)
            return Self.body(sealed, parents: parents) == body ? sealed : nil
        } catch { return nil }
    }

    /// Whether the seal was put into this feed by who holds its code.
    static func isAuthentic(_ entry: Entry) -> Bool {
        sealed(in: entry)?.isSignatureValid(in: entry.header.community, by: entry.header.device) ?? false
    }
}
