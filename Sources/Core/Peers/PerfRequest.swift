// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

package import struct NIOCore.ByteBuffer

/// The head of a perf 1.0 stream (`/perf/1.0.0`): how many bytes the dialler wants back once it has finished sending.
/// Eight bytes, big-endian; what it uploads follows at once.
package struct PerfRequest: Hashable, Sendable {
    package static let protocolID: ProtocolID = "/perf/1.0.0"
    package static let bytesCount = 8

    package let downloadBytes: UInt64

    package init(downloadBytes: UInt64) {
        self.downloadBytes = downloadBytes
    }

    /// Nil when more bytes are needed; then nothing was consumed.
    package init?(from buffer: inout ByteBuffer) {
        guard let value = buffer.readInteger(endianness: .big, as: UInt64.self) else { return nil }
        downloadBytes = value
    }

    package func write(into buffer: inout ByteBuffer) {
        buffer.writeInteger(downloadBytes, endianness: .big)
    }
}
