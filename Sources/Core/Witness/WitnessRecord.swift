// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

package import struct NIOCore.ByteBuffer

/// What a witness keeps on its disk of a chain. All records of a chain begin with the same 32 bytes, by which they are loaded.
package struct WitnessRecord: Hashable, Sendable {
    package let key: [UInt8]
    package let value: ByteBuffer

    package enum Part: UInt8, Sendable {
        /// Where the chain stands.
        case standing = 0
        /// What was signed for the open slot.
        case open = 1
        /// A decided slot of a trade, with what it holds.
        case decided = 2
    }

    package static func key(_ chain: Bytes32, _ part: Part, number: UInt32 = 0) -> [UInt8] {
        var buffer = ByteBuffer()
        buffer.writeBytes32(chain)
        buffer.writeInteger(part.rawValue)
        buffer.writeInteger(number)
        return Array(buffer.readableBytesView)
    }

    package init(key: [UInt8], value: ByteBuffer) {
        self.key = key
        self.value = value
    }
}
