// SPDX-License-Identifier: Apache-2.0
package import struct NIOCore.ByteBuffer

/// The byte stream beneath one connection: a socket (`ConnectionHandler`) or a pair in memory (`MemoryLink`).
/// Used on the connection's loop only. What happens to it comes back through `ConnectionDriver`'s `link…` methods.
package protocol ByteLink: AnyObject {
    /// False while more is waiting to be sent than is worth queueing.
    var isWritable: Bool { get }
    /// Queues bytes until `flush`.
    func write(_ bytes: ByteBuffer)
    func flush()
    func setReading(_ isOn: Bool)
    /// Sends what is queued, then tells the peer that nothing more follows. Reading goes on.
    func finishWriting()
    /// Ends both directions at once.
    func close()
}
