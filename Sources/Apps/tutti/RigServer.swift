// SPDX-License-Identifier: Apache-2.0
import Tutti

/// The two protocols that rigs measure with.
enum RigServer {
    private static let streamsMax = 1024
    private static let sliceBytes = 256 * 1024

    struct CountMismatch: Error, CustomStringConvertible {
        let description = "the peer counted another number of bytes"
    }

    static func serve(on node: Node) {
        node.handle("/echo/1.0.0", inboundMax: streamsMax) { stream in
            while let batch = try await stream.readBatch() {
                for part in batch { try await stream.write(part) }
            }
        }
        // u64be size, that many bytes; answer: u64be of bytes counted.
        node.handle("/bulk/1.0.0", inboundMax: streamsMax) { stream in
            var header = try await stream.read(exactly: 8)
            let expected = header.readInteger(as: UInt64.self) ?? 0
            var counted: UInt64 = 0
            while counted < expected, let batch = try await stream.readBatch() {
                for part in batch { counted += UInt64(part.readableBytes) }
            }
            try await stream.write(ByteBuffer(integer: counted))
        }
    }

    /// Sends zeros as the bulk protocol has it; returns the seconds until the peer has counted them.
    static func sendBulk(_ count: UInt64, on stream: NodeStream) async throws -> Double {
        let zeros = ByteBuffer(repeating: 0, count: sliceBytes)
        let began = ContinuousClock.now
        try await stream.write(ByteBuffer(integer: count))
        var left = count
        while left > 0 {
            let size = Int(min(left, UInt64(sliceBytes)))
            try await stream.write(zeros.getSlice(at: 0, length: size) ?? zeros)
            left -= UInt64(size)
        }
        var answer = try await stream.read(exactly: 8)
        let seconds = Console.seconds(began.duration(to: .now))
        guard answer.readInteger(as: UInt64.self) == count else { throw CountMismatch() }
        stream.closeWriting()
        return seconds
    }
}
