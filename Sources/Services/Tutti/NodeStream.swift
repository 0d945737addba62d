// SPDX-License-Identifier: Apache-2.0
public import NIOCore
import Synchronization
public import TuttiBase
public import TuttiIdentity
package import TuttiTransport

/// Bytes in order, both ways, to one peer under one protocol.
///
/// Each direction ends for itself (half-close). `write` waits while the peer doesn't read; unread bytes hold up nobody but
/// this stream's own sender. One task reads at a time; another may write. Cancelling a task that reads or writes resets
/// the stream.
public final class NodeStream: Sendable {
    package let mailbox: StreamMailbox
    /// Bytes that have arrived and that `read` has not given out yet, first ones last.
    private let leftover = Mutex<[ByteBuffer]>([])

    package init(_ mailbox: StreamMailbox) {
        self.mailbox = mailbox
    }

    public var peer: PeerID { mailbox.peer }
    public var protocolID: ProtocolID { mailbox.protocolID }

    /// The next bytes; nil once the peer has ended its direction.
    /// - Parameter deadline: how long to wait; nil: as long as it takes.
    public func read(deadline: Duration? = nil) async throws(NodeError) -> ByteBuffer? {
        if let next = leftover.withLock({ $0.popLast() }) { return next }
        guard var batch = try await arrived(deadline) else { return nil }
        guard batch.count > 1 else { return batch.first ?? ByteBuffer() }
        batch.reverse()
        let next = batch.popLast()
        leftover.withLock { $0 = batch }
        return next
    }

    /// Everything that has arrived, in order: the fastest way to read. Nil once the peer has ended its direction.
    public func readBatch(deadline: Duration? = nil) async throws(NodeError) -> [ByteBuffer]? {
        let kept = leftover.withLock { kept in
            defer { kept = [] }
            return kept
        }
        guard kept.isEmpty else { return kept.reversed() }
        return try await arrived(deadline)
    }

    /// Exactly `count` bytes.
    /// - Throws: `.streamReset` when the peer ends its direction before.
    public func read(exactly count: Int, deadline: Duration? = nil) async throws(NodeError) -> ByteBuffer {
        var whole = ByteBuffer()
        while whole.readableBytes < count {
            guard var part = try await read(deadline: deadline) else {
                throw NodeError(
                    code: .streamReset, peer: peer, stage: .stream,
                    message: "the peer ended the stream after \(whole.readableBytes) of \(count) bytes")
            }
            let missing = count - whole.readableBytes
            if part.readableBytes > missing, let wanted = part.readSlice(length: missing) {
                leftover.withLock { $0.append(part) }
                part = wanted
            }
            if whole.readableBytes == 0 { whole = part } else { whole.writeBuffer(&part) }
        }
        return whole
    }

    /// Queues the bytes; waits while about 1 MiB is queued and the peer doesn't read.
    public func write(_ bytes: ByteBuffer, deadline: Duration? = nil) async throws(NodeError) {
        do {
            guard let deadline else { return try await mailbox.write(bytes) }
            try await withDeadline(deadline) { [mailbox] in try await mailbox.write(bytes) }
        } catch {
            throw failure(error, deadline)
        }
    }

    /// Ends our direction: the peer reads to the end; we may go on reading.
    public func closeWriting() {
        mailbox.closeWriting()
    }

    /// Gives the stream up, both ways; what is queued may be lost.
    public func reset() {
        mailbox.reset()
    }

    /// The end of a stream that is done with: nothing more is written, and nothing more will be read.
    package func finish() {
        mailbox.closeWriting()
    }

    private func arrived(_ deadline: Duration?) async throws(NodeError) -> [ByteBuffer]? {
        do {
            guard let deadline else { return try await mailbox.read() }
            return try await withDeadline(deadline) { [mailbox] in try await mailbox.read() }
        } catch {
            throw failure(error, deadline)
        }
    }

    private func failure(_ error: any Error, _ deadline: Duration?) -> NodeError {
        .stream(error, peer: peer, protocols: [protocolID], deadline: deadline)
    }
}
