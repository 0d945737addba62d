// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

import struct NIOCore.ByteBuffer

/// A digest that says which hash made it (multiformats/multihash).
///
/// Any code with a digest of 1 to 64 bytes is carried; only identity and sha2-256 can be made or checked here.
package struct Multihash: Hashable, Sendable {
    package static let identity: UInt64 = 0x00
    package static let sha256: UInt64 = 0x12

    package let code: UInt64
    package let digest: [UInt8]

    /// Nil for a digest of no bytes or over the limit.
    package init?(code: UInt64, digest: [UInt8]) {
        guard code < 1 << 63, (1...IdentityLimits.multihashDigestBytesMax).contains(digest.count) else { return nil }
        self.code = code
        self.digest = digest
    }

    package init(sha256Of bytes: [UInt8]) {
        code = Self.sha256
        digest = KeyDerivation.sha256(bytes).bytes
    }

    /// All of `bytes` is one multihash.
    package init(bytes: some Collection<UInt8>) throws(DecodeError) {
        let bytesMax = IdentityLimits.multihashDigestBytesMax + 2 * Varint.bytesMax
        guard bytes.count <= bytesMax else { throw .tooLarge("multihash", limit: bytesMax) }
        var buffer = ByteBuffer(bytes: bytes)
        guard let code = try buffer.readVarint(), let length = try buffer.readVarint() else {
            throw .truncated("multihash")
        }
        guard length > 0 else { throw .malformed("multihash") }
        guard length <= UInt64(IdentityLimits.multihashDigestBytesMax) else {
            throw .tooLarge("multihash digest", limit: IdentityLimits.multihashDigestBytesMax)
        }
        guard buffer.readableBytes >= Int(length) else { throw .truncated("multihash") }
        guard buffer.readableBytes == Int(length) else { throw .malformed("multihash") }
        guard code != Self.sha256 || length == 32 else { throw .malformed("multihash") }
        self.code = code
        digest = Array(buffer.readableBytesView)
    }

    package var bytes: [UInt8] {
        var buffer = ByteBuffer()
        buffer.writeVarint(code)
        buffer.writeVarint(UInt64(digest.count))
        buffer.writeBytes(digest)
        return Array(buffer.readableBytesView)
    }
}
