// SPDX-License-Identifier: Apache-2.0
package import NIOCore

/// Sizes the buffer of each read: small for a connection that says little, doubling while reads fill it.
///
/// NIO keeps the buffers of an allocator that announces its next size, per channel and for good. This one announces
/// nothing and says that the next may grow, so that each read has a buffer of its own: the connection decrypts in place
/// without a copy, and an idle connection keeps only the first, smallest buffer.
package struct ReceiveAllocator: RecvByteBufferAllocator {
    private static let first = 256
    private static let second = 1024
    private let bytesMax: Int32
    private var next: Int32
    private var wasShort = false
    private let buffers: ReadBuffers?

    package init(bytesMax: Int) {
        self.init(bytesMax: bytesMax, buffers: nil)
    }

    init(bytesMax: Int, buffers: ReadBuffers?) {
        self.buffers = buffers
        self.bytesMax = Int32(clamping: bytesMax)
        next = Int32(Self.first)
    }

    package func buffer(allocator: ByteBufferAllocator) -> ByteBuffer {
        buffers?.take(capacity: Int(next)) ?? allocator.buffer(capacity: Int(next))
    }

    package mutating func record(actualReadBytes: Int) -> Bool {
        if actualReadBytes >= Int(next) {
            wasShort = false
            next = min(bytesMax, max(Int32(Self.second), next * 4))
        } else if actualReadBytes <= Int(next) / 4, next > Int32(Self.second) {
            // Two short reads in a row, so that the end of one burst doesn't shrink the next.
            if wasShort { next = max(Int32(Self.second), next / 2) }
            wasShort.toggle()
        } else {
            wasShort = false
        }
        return true
    }
}
