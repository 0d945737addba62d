// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Synchronization

/// Large read buffers that are used again once nobody holds a slice of them.
///
/// Allocating 128 KiB for each read costs page faults, since the allocator gives such blocks back to the system. A buffer
/// is adopted after its read; when the last slice is gone, a later read takes it. Loops share the pool behind one lock.
final class ReadBuffers: Sendable {
    /// Smaller ones cost less to allocate than to look for.
    static let bytesMin = 64 * 1024
    /// Buffers remembered; at it, the earliest is forgotten and freed with its last slice.
    private static let countMax = 24

    private let buffers = Mutex<[ByteBuffer]>([])

    /// An empty buffer of at least this capacity, or nil when all are in use.
    func take(capacity: Int) -> ByteBuffer? {
        guard capacity >= Self.bytesMin else { return nil }
        return buffers.withLock { buffers in
            for index in buffers.indices where buffers[index].capacity >= capacity {
                let isFree: Void? = buffers[index].modifyIfUniquelyOwned { $0.clear() }
                if isFree != nil { return buffers.remove(at: index) }
            }
            return nil
        }
    }

    /// To be called when nothing will be written to the buffer any more.
    func adopt(_ buffer: ByteBuffer) {
        guard buffer.storageCapacity >= Self.bytesMin else { return }
        buffers.withLock { buffers in
            if buffers.count >= Self.countMax { buffers.removeFirst() }
            buffers.append(buffer)
        }
    }
}
