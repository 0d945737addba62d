// SPDX-License-Identifier: Apache-2.0
package import NIOCore
package import TuttiBase
import TuttiConnection

/// Who has one stream, and what that owner needs to remember.
struct StreamEntry {
    enum Owner {
        /// A core asked for it and the peer has not agreed yet.
        case opening(request: UInt64, messageBytesMax: Int)
        case core(MessageReader)
        case ping(PingEcho)
        /// It has our statement, and its other direction is the peer's to end.
        case answered
        /// An application asked for it with several protocols; nobody knows yet which one it is.
        case choosing(StreamRequest)
        case application(StreamPipe)
        /// The application let go of a stream whose writing it had closed: it may end in order, but what the peer still
        /// sends resets it.
        case abandoned
    }

    var owner: Owner
    var protocolID: ProtocolID
    let direction: Direction

    var isApplication: Bool {
        switch owner {
        case .application, .abandoned, .choosing: true
        case .opening, .core, .ping, .answered: false
        }
    }
}

/// Cuts a stream into whole messages behind varint lengths. Holds at most one message that has not arrived whole.
package final class MessageReader {
    private var partial = ByteBuffer()
    private let bytesMax: Int

    package init(bytesMax: Int) {
        self.bytesMax = bytesMax
    }

    /// The stream may end here.
    package var isBetweenMessages: Bool { partial.readableBytes == 0 }

    /// Calls `body` with each whole message, copied out of the read buffer.
    package func receive(_ bytes: consuming ByteBuffer, _ body: (ByteBuffer) -> Void) throws(DecodeError) {
        let wasEmpty = partial.readableBytes == 0
        if wasEmpty { partial = bytes } else { partial.writeImmutableBuffer(bytes) }
        while let message = try partial.readDelimited("message", bytesMax: bytesMax) {
            body(ByteBuffer(copying: message))
        }
        if partial.readableBytes == 0 {
            partial = ByteBuffer()
        } else if wasEmpty {
            partial = ByteBuffer(copying: partial)
        }
    }
}

/// `/ipfs/ping/1.0.0`: whole blocks of 32 bytes come back.
final class PingEcho {
    static let blockBytes = 32
    private var partial = ByteBuffer()

    init() {}

    /// The blocks that are whole now; empty when none is.
    func receive(_ bytes: ByteBuffer) -> ByteBuffer {
        partial.writeImmutableBuffer(bytes)
        let whole = partial.readableBytes / Self.blockBytes * Self.blockBytes
        guard whole > 0, let blocks = partial.readSlice(length: whole) else { return ByteBuffer() }
        partial = partial.readableBytes == 0 ? ByteBuffer() : ByteBuffer(copying: partial)
        return blocks
    }
}

extension ByteBuffer {
    /// The same readable bytes in storage of their own size.
    init(copying bytes: ByteBuffer) {
        self = ByteBufferAllocator().buffer(capacity: bytes.readableBytes)
        writeImmutableBuffer(bytes)
    }
}
