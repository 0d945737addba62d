// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Testing
import TuttiBase
import TuttiNodeCore
import TuttiPeers

@Suite("Answers on one stream")
struct AnswerOrderTests {
    private let one = StreamKey(ConnectionID(1), StreamID(1))
    private let other = StreamKey(ConnectionID(2), StreamID(1))

    private static func bytes(_ number: UInt8) -> ByteBuffer { ByteBuffer(bytes: [number]) }

    @Test("An answer that is ready early leaves behind those that were asked for before it")
    func order() {
        var order = AnswerOrder()
        for number in 1...3 { order.asked(RequestID(UInt64(number)), on: one) }
        #expect(order.answered(RequestID(2), Self.bytes(2)) == nil)
        #expect(order.answered(RequestID(1), Self.bytes(1))?.1 == [Self.bytes(1), Self.bytes(2)])
        #expect(order.answered(RequestID(3), Self.bytes(3))?.1 == [Self.bytes(3)])
        #expect(order.count == 0)
    }

    @Test("Streams don't wait for each other, and what a stream's end leaves is forgotten")
    func streams() {
        var order = AnswerOrder()
        order.asked(RequestID(1), on: one)
        order.asked(RequestID(2), on: other)
        #expect(order.answered(RequestID(2), Self.bytes(2))?.stream == other)
        order.connectionClosed(ConnectionID(1))
        #expect(order.answered(RequestID(1), Self.bytes(1)) == nil)
        #expect(order.count == 0)
    }
}
