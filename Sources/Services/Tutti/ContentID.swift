// SPDX-License-Identifier: Apache-2.0
public import NIOCore
import TuttiBase
import TuttiIdentity

/// Names content by its hash (CID), for provider records.
public struct ContentID: Hashable, Sendable, CustomStringConvertible {
    private let cid: CID

    /// The binary form; nil when the bytes are none.
    public init?(bytes: some Collection<UInt8>) {
        do throws(DecodeError) { cid = try CID(bytes: bytes) } catch { return nil }
    }

    /// `bafy…` or `Qm…`.
    public init?(_ text: String) {
        do throws(DecodeError) { cid = try CID(text: text) } catch { return nil }
    }

    /// SHA-256 of the content, as raw bytes.
    public init(of content: ByteBuffer) {
        cid = CID(codec: CID.raw, multihash: Multihash(sha256Of: Array(content.readableBytesView)))
    }

    public var description: String { cid.text() }

    /// What stands in provider records: codec and version don't matter there.
    var name: [UInt8] { cid.multihash.bytes }
}
