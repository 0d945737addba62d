// SPDX-License-Identifier: Apache-2.0
import NIOCore

/// The one handler of a TCP socket's pipeline: the socket's link to its `ConnectionDriver`.
///
/// Reads are handed on at the end of a read cycle, when NIO has let go of the buffer: only then can the connection
/// decrypt in place without copying it. Confined to the socket's loop.
final class ConnectionHandler: ChannelInboundHandler, ByteLink {
    typealias InboundIn = ByteBuffer
    typealias OutboundOut = ByteBuffer

    private let driver: ConnectionDriver
    private var context: ChannelHandlerContext?
    private var arrived: ByteBuffer?
    /// Further buffers of the same read cycle; sockets of ours read one a cycle.
    private var arrivedLater: [ByteBuffer] = []
    private var failure: String?

    init(_ driver: ConnectionDriver) {
        self.driver = driver
    }

    // MARK: From the channel

    func handlerAdded(context: ChannelHandlerContext) {
        self.context = context
        if context.channel.isActive { driver.linkStarted(self) }
    }

    func handlerRemoved(context: ChannelHandlerContext) {
        self.context = nil
    }

    func channelActive(context: ChannelHandlerContext) {
        driver.linkStarted(self)
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let bytes = unwrapInboundIn(data)
        if arrived == nil { arrived = bytes } else { arrivedLater.append(bytes) }
    }

    func channelReadComplete(context: ChannelHandlerContext) {
        handOn()
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        driver.linkWritabilityChanged()
    }

    func channelInactive(context: ChannelHandlerContext) {
        handOn()
        driver.linkEnded(failure)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        if failure == nil { failure = failureText(error) }
        context.close(promise: nil)
    }

    private func handOn() {
        guard let first = arrived.take() else { return }
        driver.environment.readBuffers.adopt(first)
        driver.linkReceived(first)
        if !arrivedLater.isEmpty {
            for bytes in arrivedLater { driver.linkReceived(bytes) }
            arrivedLater = []
        }
        driver.linkReadCompleted()
    }

    // MARK: For the driver

    var isWritable: Bool { context?.channel.isWritable ?? false }

    func write(_ bytes: ByteBuffer) {
        context?.write(wrapOutboundOut(bytes), promise: nil)
    }

    func flush() {
        context?.flush()
    }

    func setReading(_ isOn: Bool) {
        // A channel without the option (in tests) reads always.
        try? context?.channel.syncOptions?.setOption(.autoRead, value: isOn)
    }

    func finishWriting() {
        guard let context else { return }
        context.flush()
        // The channel ends its output after what is queued.
        context.close(mode: .output, promise: nil)
    }

    func close() {
        context?.close(promise: nil)
    }
}
