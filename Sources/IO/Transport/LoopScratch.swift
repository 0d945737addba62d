// SPDX-License-Identifier: Apache-2.0
import NIOCore

/// One output buffer per event loop, lent to the connection whose turn it is. Bulk output is made in it again and
/// again, so that it costs no allocation and stays in the cache; idle connections hold no buffer at all.
///
/// `@unchecked Sendable`: used on its loop only.
final class LoopScratch: @unchecked Sendable {
    private var buffer = ByteBuffer()

    init() {}

    /// An empty buffer. The scratch is empty until `putBack`.
    func take() -> ByteBuffer {
        var taken = ByteBuffer()
        swap(&taken, &buffer)
        return taken
    }

    /// Takes the buffer back if nobody else holds its storage; otherwise the next user gets a new one.
    func putBack(_ lent: consuming ByteBuffer) {
        var returned = lent
        let isOurs: Bool? = returned.modifyIfUniquelyOwned { bytes in
            bytes.clear()
            return true
        }
        if isOurs == true { buffer = returned }
    }
}
