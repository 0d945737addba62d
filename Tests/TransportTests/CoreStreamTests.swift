// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Testing
import TuttiBase
import TuttiConnection
import TuttiTransport

/// Streams whose owner is a core of the node: whole messages.
@Suite(.timeLimit(.minutes(1)))
struct CoreStreamTests {
    private func opened(_ owner: TestOwner) async -> (StreamID, UInt64?) {
        await owner.first { event in
            if case .streamOpened(_, let stream, _, _, let request) = event { (stream, request) } else { nil }
        }
    }

    private func message(_ owner: TestOwner) async -> ByteBuffer {
        await owner.first { if case .message(_, _, let bytes) = $0 { bytes } else { nil } }
    }

    @Test("Messages arrive whole, both ways, and the half-close after them")
    func messages() async throws {
        let pair = try await TestPair()
        pair.nearConnection.perform([.openStream(TestEnd.messages, request: 5)])
        let (near, request) = await opened(pair.near.owner)
        #expect(request == 5)
        let (far, none) = await opened(pair.far.owner)
        #expect(none == nil)
        pair.nearConnection.perform([
            .send(near, ByteBuffer(string: "one")), .send(near, ByteBuffer()), .send(near, ByteBuffer(string: "three")),
            .closeWriting(near),
        ])
        #expect(await message(pair.far.owner) == ByteBuffer(string: "one"))
        #expect(await message(pair.far.owner) == ByteBuffer())
        #expect(await message(pair.far.owner) == ByteBuffer(string: "three"))
        let ended = await pair.far.owner.first { if case .streamEnded(_, let stream) = $0 { stream } else { nil } }
        #expect(ended == far)
        pair.farConnection.perform([.send(far, ByteBuffer(string: "answer")), .closeWriting(far)])
        #expect(await message(pair.near.owner) == ByteBuffer(string: "answer"))
        let endedNear = await pair.near.owner.first { if case .streamEnded(_, let stream) = $0 { stream } else { nil } }
        #expect(endedNear == near)
    }

    @Test("A message over the protocol's limit resets its stream, and the connection goes on")
    func oversized() async throws {
        let pair = try await TestPair()
        pair.nearConnection.perform([.openStream(TestEnd.messages, request: 1)])
        let (near, _) = await opened(pair.near.owner)
        pair.nearConnection.perform([.send(near, ByteBuffer(repeating: 0, count: 1025))])
        let fault = await pair.far.owner.first { if case .streamFailed(_, _, let fault) = $0 { fault } else { nil } }
        #expect(fault == .negotiation(.tooLarge("message", limit: 1024)))
        let nearFault = await pair.near.owner.first { event in
            if case .streamFailed(_, _, let fault) = event { fault } else { nil }
        }
        #expect(nearFault == .reset)
        _ = try await pair.stream()
    }

    @Test("A stream that ends inside a message has failed")
    func truncated() async throws {
        let pair = try await TestPair()
        let mailbox = try await pair.nearConnection.openStream([TestEnd.messages])
        try await mailbox.write(ByteBuffer(bytes: [5, 1, 2]))
        mailbox.closeWriting()
        let fault = await pair.far.owner.first { if case .streamFailed(_, _, let fault) = $0 { fault } else { nil } }
        #expect(fault == .negotiation(.truncated("message")))
    }

    @Test("A protocol that the peer doesn't speak is told with the request's number")
    func refused() async throws {
        let pair = try await TestPair()
        pair.nearConnection.perform([.openStream("/test/unknown", request: 42)])
        let request = await pair.near.owner.first { if case .openFailed(_, let request) = $0 { request } else { nil } }
        #expect(request == 42)
        pair.nearConnection.perform([.close])
        _ = await pair.near.owner.closed()
        pair.nearConnection.perform([.openStream(TestEnd.messages, request: 43)])
        let late = await pair.near.owner.first { if case .openFailed(_, let request) = $0 { request } else { nil } }
        #expect(late == 43)
    }

    @Test("A node that handles no messages makes the connection stop reading, and go on when it does")
    func inboxBudget() async throws {
        var limits = TransportLimits()
        limits.inboxBytesMax = 4096
        let owner = TestOwner(holdsReceipts: true)
        let pair = try await TestPair(limits: limits, farOwner: owner)
        let mailbox = try await pair.nearConnection.openStream([TestEnd.messages])
        let count = 2000
        var all = ByteBuffer()
        for _ in 0..<count { all.writeDelimited(ByteBuffer(repeating: 1, count: 1000)) }
        async let writer: Void = mailbox.write(all)
        // Its application streams wait with everything else, until the receipts are let go of.
        var seen = 0
        while seen < 5 {
            _ = await message(owner)
            seen += 1
        }
        owner.letGoOfReceipts()
        while seen < count {
            _ = await message(owner)
            seen += 1
        }
        try await writer
        #expect(seen == count)
    }

    @Test("A connection that the node leaves stopped is closed at its deadline")
    func inboxDeadline() async throws {
        var limits = TransportLimits()
        limits.inboxBytesMax = 4096
        limits.pausedTimeout = .milliseconds(20)
        let owner = TestOwner(holdsReceipts: true)
        let pair = try await TestPair(limits: limits, farOwner: owner)
        let mailbox = try await pair.nearConnection.openStream([TestEnd.messages])
        for _ in 0..<10 {
            var one = ByteBuffer()
            one.writeDelimited(ByteBuffer(repeating: 1, count: 1000))
            try? await mailbox.write(one)
        }
        #expect(await owner.closed() == .local)
    }

    @Test("Messages are cut out of any splitting of the bytes")
    func reader() throws {
        var all = ByteBuffer()
        let sizes = [0, 1, 127, 128, 300]
        for size in sizes { all.writeDelimited(ByteBuffer(repeating: UInt8(size & 0xFF), count: size)) }
        for step in 1...all.readableBytes {
            let reader = MessageReader(bytesMax: 300)
            var rest = all
            var found: [Int] = []
            while rest.readableBytes > 0 {
                guard let part = rest.readSlice(length: min(step, rest.readableBytes)) else { break }
                try reader.receive(part) { found.append($0.readableBytes) }
            }
            #expect(found == sizes)
            #expect(reader.isBetweenMessages)
        }
        let reader = MessageReader(bytesMax: 300)
        #expect(throws: DecodeError.tooLarge("message", limit: 300)) {
            try reader.receive(ByteBuffer(bytes: [0xAD, 0x02])) { _ in }
        }
    }
}
