// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

import struct NIOCore.ByteBuffer

/// A content identifier (multiformats/cid), version 1; version 0 is read and written as what it stands for.
package struct CID: Hashable, Sendable {
    package static let raw: UInt64 = 0x55
    package static let dagPB: UInt64 = 0x70
    package static let libp2pKey: UInt64 = 0x72

    /// 0 is sha2-256 of dag-pb, written in base58 without a prefix.
    package let version: UInt8
    package let codec: UInt64
    package let multihash: Multihash

    /// Version 1.
    package init(codec: UInt64, multihash: Multihash) {
        version = 1
        self.codec = codec
        self.multihash = multihash
    }

    /// All of `bytes` is one CID.
    package init(bytes: some Collection<UInt8>) throws(DecodeError) {
        let bytesMax = IdentityLimits.cidTextBytesMax
        guard bytes.count <= bytesMax else { throw .tooLarge("CID", limit: bytesMax) }
        if bytes.count == 34, bytes.starts(with: [0x12, 0x20]) {
            version = 0
            codec = Self.dagPB
            multihash = try Multihash(bytes: bytes)
            return
        }
        var buffer = ByteBuffer(bytes: bytes)
        guard let version = try buffer.readVarint() else { throw .truncated("CID") }
        guard version == 1 else { throw .unsupported("CID version") }
        guard let codec = try buffer.readVarint() else { throw .truncated("CID") }
        self.version = 1
        self.codec = codec
        multihash = try Multihash(bytes: buffer.readableBytesView)
    }

    /// `Qm…` (version 0) or multibase (version 1).
    package init(text: String) throws(DecodeError) {
        let textMax = IdentityLimits.cidTextBytesMax
        if text.utf8.count == 46, text.hasPrefix("Qm") {
            let bytes = try RadixText.base58btc.decode(text.utf8, textBytesMax: textMax, "CID text")
            try self.init(bytes: bytes)
            guard version == 0 else { throw .malformed("CID text") }
        } else {
            let bytes = try Multibase.decode(text, textBytesMax: textMax, "CID text")
            try self.init(bytes: bytes)
            guard version == 1 else { throw .malformed("CID text") }
        }
    }

    package var bytes: [UInt8] {
        guard version > 0 else { return multihash.bytes }
        var buffer = ByteBuffer()
        buffer.writeVarint(1)
        buffer.writeVarint(codec)
        buffer.writeBytes(multihash.bytes)
        return Array(buffer.readableBytesView)
    }

    package func text(in base: Multibase = .base32) -> String {
        version == 0 ? RadixText.base58btc.encode(bytes) : base.encode(bytes)
    }
}
