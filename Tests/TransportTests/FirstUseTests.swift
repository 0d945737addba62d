// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOPosix
import Testing
import TuttiConnection
import TuttiIdentity
import TuttiTransport

@Suite("Streams that their first use opens", .timeLimit(.minutes(1)))
struct FirstUseTests {
    private func pair(
        streamsOutboundMax: Int = 256, limits: TransportLimits = TransportLimits()
    ) async throws -> TestPair {
        var configuration = ConnectionConfiguration()
        configuration.limits.streamsOutboundMax = streamsOutboundMax
        return try await TestPair(configuration: configuration, limits: limits)
    }

    private func arrivals(_ end: TestEnd) -> Int {
        end.owner.count { if case .streamArrived = $0 { true } else { false } }
    }

    @Test("Streams that are not used take nothing, held or let go of")
    func unused() async throws {
        let pair = try await pair(streamsOutboundMax: 1)
        var held: [StreamMailbox] = []
        for _ in 0..<10 {
            held.append(try await pair.nearConnection.openStream([TestEnd.echo]))
            _ = try await pair.nearConnection.openStream([TestEnd.echo])
        }
        let used = try await pair.nearConnection.openStream([TestEnd.echo])
        try await used.write(ByteBuffer(string: "x"))
        let far = await pair.far.owner.arrived()
        #expect(try await far.readWhole(1) == ByteBuffer(string: "x"))
        #expect(arrivals(pair.far) == 0)
        #expect(held.count == 10)
        used.reset()
    }

    @Test("A read opens the stream, for peers that speak first")
    func reading() async throws {
        let pair = try await pair()
        let near = try await pair.nearConnection.openStream([TestEnd.echo])
        async let greeting = near.readWhole(5)
        let far = await pair.far.owner.arrived()
        try await far.write(ByteBuffer(string: "hello"))
        #expect(try await greeting == ByteBuffer(string: "hello"))
        near.closeWriting()
        #expect(try await far.read() == nil)
    }

    @Test("A half-close opens the stream, and the peer reads to its end")
    func halfClosing() async throws {
        let pair = try await pair()
        let near = try await pair.nearConnection.openStream([TestEnd.echo])
        near.closeWriting()
        let far = await pair.far.owner.arrived()
        #expect(try await far.read() == nil)
        try await far.write(ByteBuffer(string: "answer"))
        #expect(try await near.readWhole(6) == ByteBuffer(string: "answer"))
    }

    @Test("One stream too many fails at its first read, and the others go on")
    func limit() async throws {
        let pair = try await pair(streamsOutboundMax: 1)
        let (near, far) = try await pair.stream()
        let second = try await pair.nearConnection.openStream([TestEnd.echo])
        let failure = await #expect(throws: TransportError.self) {
            try await second.write(ByteBuffer(string: "x"))
            _ = try await second.read()
        }
        #expect(failure?.code == .streamLimit)
        await #expect(throws: TransportError.self) { try await second.write(ByteBuffer(string: "x")) }
        try await near.write(ByteBuffer(string: "still here"))
        #expect(try await far.readWhole(10) == ByteBuffer(string: "still here"))
    }

    @Test("A connection that ended before the first use fails the use, and the next opening")
    func connectionClosed() async throws {
        let pair = try await pair()
        let readLater = try await pair.nearConnection.openStream([TestEnd.echo])
        let writtenLater = try await pair.nearConnection.openStream([TestEnd.echo])
        pair.nearConnection.perform([.close])
        _ = await pair.near.owner.closed()
        #expect(await faultOf { _ = try await readLater.read() } == .connectionClosed(.local))
        let fault = await faultOf {
            try await writtenLater.write(ByteBuffer(string: "x"))
            _ = try await writtenLater.read()
        }
        #expect(fault == .connectionClosed(.local))
        let opening = await faultOf { _ = try await pair.nearConnection.openStream([TestEnd.echo]) }
        #expect(opening == .connectionClosed(.local))
    }

    @Test("A first use after the loop itself has ended fails too")
    func loopEnded() async throws {
        let group = MultiThreadedEventLoopGroup(numberOfThreads: 1)
        let near = try TestEnd(1, group: group)
        let far = try TestEnd(2)
        let any = try #require(Multiaddr("/ip4/127.0.0.1/tcp/0"))
        let address = try #require(try await far.transport.listen(on: any).first)
        let (connection, _) = await near.connect(to: far, at: address)
        let stream = try await connection.openStream([TestEnd.echo])
        connection.perform([.close])
        _ = await near.owner.closed()
        await near.transport.close()
        try await group.shutdownGracefully()
        #expect(await faultOf { _ = try await stream.read() } == .connectionClosed(.local))
        await far.transport.close()
    }

    @Test("Cancelling the first read gives the stream up")
    func cancelled() async throws {
        let pair = try await pair(streamsOutboundMax: 1)
        let stream = try await pair.nearConnection.openStream([TestEnd.echo])
        let reader = Task { try await stream.read() }
        reader.cancel()
        await #expect(throws: CancellationError.self) { _ = try await reader.value }
        #expect(await faultOf { try await stream.write(ByteBuffer(string: "x")) } == .reset)
        // Its place is free again. The far end may have seen the first one begin, and then hears of it first.
        let next = try await pair.nearConnection.openStream([TestEnd.echo])
        try await next.write(ByteBuffer(string: "next"))
        var arrived = await pair.far.owner.arrived()
        if await faultOf({ _ = try await arrived.read() }) == .reset { arrived = await pair.far.owner.arrived() }
        try await next.write(ByteBuffer(string: "more"))
        // Both words at once when the first stream was seen.
        #expect(try await arrived.readWhole(4).readableBytes >= 4)
    }

    @Test("A reset before the first use ends the stream here, and the peer hears nothing")
    func resetBefore() async throws {
        let pair = try await pair()
        let stream = try await pair.nearConnection.openStream([TestEnd.echo])
        stream.reset()
        #expect(await faultOf { _ = try await stream.read() } == .reset)
        #expect(await faultOf { try await stream.write(ByteBuffer(string: "x")) } == .reset)
        stream.closeWriting()
        _ = try await pair.stream()
        #expect(arrivals(pair.far) == 0)
    }

    @Test("Streams one after another tell the node once that the connection is in use")
    func inUse() async throws {
        var limits = TransportLimits()
        limits.streamsFreeDelay = .seconds(3600)
        let pair = try await pair(limits: limits)
        for _ in 0..<5 {
            let (near, far) = try await pair.stream()
            near.closeWriting()
            far.closeWriting()
            #expect(try await near.read() == nil)
        }
        #expect(pair.near.owner.count { if case .streamsInUse = $0 { true } else { false } } == 1)
    }
}
