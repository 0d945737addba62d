// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Synchronization
import Testing
import TuttiBase
import TuttiConnection
import TuttiIdentity
import TuttiTransport

@Suite(.timeLimit(.minutes(1)))
struct DriverTests {
    @Test("Both ends of a connection learn who the other is", arguments: [ProtocolID.noise, .tls])
    func establishes(security: ProtocolID) async throws {
        let network = MemoryNetwork()
        let near = try TestEnd(1, memory: network)
        let far = try TestEnd(2, memory: network)
        let address = try await far.transport.listen(on: Multiaddr(components: [.memory(7)]))
        #expect(address == [Multiaddr(components: [.memory(7)])])
        near.transport.dial(
            ConnectionID(1), to: address[0], expected: far.key.peerID, security: security, timeout: .seconds(20))
        let seenNear = await near.owner.first { event in
            if case .established(let handle, let who, let direction) = event { (handle, who, direction) } else { nil }
        }
        let seenFar = await far.owner.first { event in
            if case .established(let handle, let who, let direction) = event { (handle, who, direction) } else { nil }
        }
        #expect(seenNear.0.id == ConnectionID(1))
        #expect(seenNear.0.remote == address[0])
        #expect(seenNear.1.peer == far.key.peerID)
        #expect(seenNear.1.security == security)
        #expect(seenNear.1.hadEarlyMuxer)
        #expect(seenNear.2 == .outbound)
        #expect(seenFar.0.id.value.isMultiple(of: 2))
        #expect(seenFar.1.peer == near.key.peerID)
        #expect(seenFar.2 == .inbound)
    }

    @Test("Bytes come back in order, and each direction ends for itself", arguments: [ProtocolID.noise, .tls])
    func echoesAndHalfCloses(security: ProtocolID) async throws {
        let pair = try await TestPair(security: security)
        let (near, far) = try await pair.stream()
        #expect(near.peer == pair.far.key.peerID)
        #expect(far.protocolID == TestEnd.echo)
        let sent = ByteBuffer(bytes: (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) })
        async let echo: Void = {
            while let parts = try await far.read() {
                for part in parts { try await far.write(part) }
            }
            far.closeWriting()
        }()
        async let upload: Void = {
            var rest = sent
            while let part = rest.readSlice(length: min(70_000, rest.readableBytes)), part.readableBytes > 0 {
                try await near.write(part)
            }
            near.closeWriting()
        }()
        let received = try await near.readWhole(sent.readableBytes)
        try await upload
        try await echo
        #expect(received == sent)
        #expect(try await near.read() == nil)
        #expect(try await near.read() == nil)
        #expect(await faultOf { try await near.write(ByteBuffer(string: "late")) } == .reset)
    }

    @Test(
        "Bytes that wait for those of a further read come even when there is none", arguments: [ProtocolID.noise, .tls])
    func heldReads(security: ProtocolID) async throws {
        var limits = TransportLimits()
        // Every read counts as full, and only time hands its bytes over.
        limits.readBytesMax = 1
        limits.heldReadsMax = .max
        let pair = try await TestPair(limits: limits, security: security)
        let (near, far) = try await pair.stream()
        for round in 0..<20 {
            try await near.write(ByteBuffer(string: "there \(round)"))
            #expect(try await far.readWhole("there \(round)".count) == ByteBuffer(string: "there \(round)"))
        }
        try await far.write(ByteBuffer(string: "and back"))
        far.closeWriting()
        near.closeWriting()
        #expect(try await near.readWhole(.max) == ByteBuffer(string: "and back"))
        #expect(try await far.read() == nil)
    }

    @Test("A writer waits when nobody reads, and goes on when somebody does")
    func writerWaits() async throws {
        var configuration = ConnectionConfiguration()
        configuration.limits.sendQueueHighWater = 128 * 1024
        configuration.limits.sendQueueLowWater = 32 * 1024
        let pair = try await TestPair(configuration: configuration)
        let (near, far) = try await pair.stream()
        let written = Atomic<Int>(0)
        let chunk = ByteBuffer(repeating: 7, count: 16 * 1024)
        let chunks = 256
        async let writer: Void = {
            for _ in 0..<chunks {
                try await near.write(chunk)
                written.wrappingAdd(chunk.readableBytes, ordering: .relaxed)
            }
            near.closeWriting()
        }()
        // Another stream of the same connection is served meanwhile; it runs many rounds, each longer than a chunk takes.
        let (otherNear, otherFar) = try await pair.stream()
        for _ in 0..<200 {
            try await otherNear.write(ByteBuffer(string: "ping"))
            #expect(try await otherFar.readWhole(4).readableBytes == 4)
        }
        // The window, what may be queued, and the chunk that found the queue full.
        let limits = configuration.limits
        let most = limits.streamWindowInitial + limits.sendQueueHighWater + 2 * chunk.readableBytes
        #expect(written.load(ordering: .relaxed) <= most)
        #expect(written.load(ordering: .relaxed) >= limits.streamWindowInitial / 2)
        #expect(try await far.readWhole(.max).readableBytes == chunks * chunk.readableBytes)
        try await writer
        #expect(written.load(ordering: .relaxed) == chunks * chunk.readableBytes)
    }

    @Test("Cancelling a reader resets the stream at both ends and disturbs no other")
    func cancelledReader() async throws {
        let pair = try await TestPair()
        let (near, far) = try await pair.stream()
        let (otherNear, otherFar) = try await pair.stream()
        let reader = Task { try await near.read() }
        reader.cancel()
        await #expect(throws: CancellationError.self) { _ = try await reader.value }
        #expect(await faultOf { _ = try await far.read() } == .reset)
        #expect(await faultOf { try await far.write(ByteBuffer(string: "x")) } == .reset)
        #expect(await faultOf { try await near.write(ByteBuffer(string: "x")) } == .reset)
        try await otherNear.write(ByteBuffer(string: "still here"))
        #expect(try await otherFar.readWhole(10) == ByteBuffer(string: "still here"))
    }

    @Test("Cancelling a writer that waits resets the stream")
    func cancelledWriter() async throws {
        let pair = try await TestPair()
        let (near, far) = try await pair.stream()
        let isBlocked = Atomic<Bool>(false)
        let writer = Task {
            while true {
                try await near.write(ByteBuffer(repeating: 1, count: 512 * 1024))
                isBlocked.store(true, ordering: .relaxed)
            }
        }
        while !isBlocked.load(ordering: .relaxed) { await Task.yield() }
        writer.cancel()
        await #expect(throws: (any Error).self) { try await writer.value }
        var fault: StreamFault?
        while fault == nil { fault = await faultOf { _ = try await far.read() } }
        #expect(fault == .reset)
    }

    @Test("Letting go of a mailbox resets its stream")
    func lettingGo() async throws {
        var limits = TransportLimits()
        limits.streamsFreeDelay = .zero
        let pair = try await TestPair(limits: limits)
        let far: StreamMailbox
        do {
            let mailbox = try await pair.nearConnection.openStream([TestEnd.echo])
            try await mailbox.write(ByteBuffer(string: "x"))
            far = await pair.far.owner.arrived()
            _ = try await far.readWhole(1)
        }
        #expect(await faultOf { _ = try await far.read() } == .reset)
        let ended = await pair.near.owner.first { event in
            if case .streamsInUse(_, let count) = event, count == 0 { count } else { nil }
        }
        #expect(ended == 0)
    }

    @Test("A stream that was written, closed and let go of arrives whole")
    func lettingGoAfterClosing() async throws {
        let pair = try await TestPair()
        do {
            let mailbox = try await pair.nearConnection.openStream([TestEnd.echo])
            try await mailbox.write(ByteBuffer(repeating: 9, count: 100_000))
            mailbox.closeWriting()
        }
        let far = await pair.far.owner.arrived()
        #expect(try await far.readWhole(.max).readableBytes == 100_000)
    }

    @Test("A protocol that the peer doesn't speak is refused")
    func refusal() async throws {
        let pair = try await TestPair()
        let mailbox = try await pair.nearConnection.openStream(["/test/unknown"])
        // The refusal may be there before the write.
        let fault = await faultOf {
            try await mailbox.write(ByteBuffer(string: "hello"))
            _ = try await mailbox.read()
        }
        #expect(fault == .refused)
    }

    @Test("Of several protocols the first that the peer speaks is agreed")
    func choice() async throws {
        let pair = try await TestPair()
        let mailbox = try await pair.nearConnection.openStream(["/test/unknown", TestEnd.echo])
        #expect(mailbox.protocolID == TestEnd.echo)
        let failure = await faultOf { _ = try await pair.nearConnection.openStream(["/test/a", "/test/b"]) }
        #expect(failure == .refused)
    }

    @Test("Pings are answered on the loop, and a third ping stream is reset")
    func pings() async throws {
        let pair = try await TestPair()
        var streams: [StreamMailbox] = []
        for _ in 0..<2 {
            let mailbox = try await pair.nearConnection.openStream([TestEnd.ping])
            for round in 0..<3 {
                let block = ByteBuffer(repeating: UInt8(round), count: 32)
                var front = block
                try await mailbox.write(front.readSlice(length: 5) ?? ByteBuffer())
                try await mailbox.write(front)
                #expect(try await mailbox.readWhole(32) == block)
            }
            streams.append(mailbox)
        }
        let third = try await pair.nearConnection.openStream([TestEnd.ping])
        let fault = await faultOf {
            try await third.write(ByteBuffer(repeating: 0, count: 32))
            _ = try await third.readWhole(32)
        }
        #expect(fault == .reset)
        streams[0].closeWriting()
        #expect(try await streams[0].read() == nil)
    }

    @Test("Closing a connection fails its streams and tells both ends once")
    func closing() async throws {
        let pair = try await TestPair()
        let (near, far) = try await pair.stream()
        try await near.write(ByteBuffer(string: "last"))
        #expect(try await far.readWhole(4) == ByteBuffer(string: "last"))
        pair.nearConnection.perform([.close])
        #expect(await pair.near.owner.closed() == .local)
        #expect(await pair.far.owner.closed() == .remote)
        #expect(await faultOf { _ = try await near.read() } == .connectionClosed(.local))
        #expect(await faultOf { _ = try await far.read() } == .connectionClosed(.remote))
        #expect(
            await faultOf { _ = try await pair.nearConnection.openStream([TestEnd.echo]) } == .connectionClosed(.local))
        #expect(pair.near.owner.count { if case .closed = $0 { true } else { false } } == 0)
    }

    @Test("Windows that grew go back to the pool when the connection ends")
    func windowsReturn() async throws {
        let pair = try await TestPair()
        let whole = TransportLimits().windowPoolBytes
        let (near, far) = try await pair.stream()
        async let writer: Void = {
            for _ in 0..<200 { try await near.write(ByteBuffer(repeating: 1, count: 64 * 1024)) }
            near.closeWriting()
        }()
        #expect(try await far.readWhole(.max).readableBytes == 200 * 64 * 1024)
        try await writer
        pair.nearConnection.perform([.close])
        _ = await pair.far.owner.closed()
        _ = await pair.near.owner.closed()
        #expect(pair.far.transport.freeWindowBytes == whole)
        #expect(pair.near.transport.freeWindowBytes == whole)
    }

    @Test("The wrong peer at the right address ends the dial", arguments: [ProtocolID.noise, .tls])
    func wrongPeer(security: ProtocolID) async throws {
        let network = MemoryNetwork()
        let near = try TestEnd(1, memory: network)
        let far = try TestEnd(2, memory: network)
        let stranger = try TestEnd(3)
        let address = try await far.transport.listen(on: Multiaddr(components: [.memory(0)]))
        near.transport.dial(
            near.nextDial(), to: address[0], expected: stranger.key.peerID, security: security, timeout: .seconds(20))
        let reason = await near.owner.dialFailed()
        guard case .violation(.wrongPeer(let expected, let actual), .secure) = reason else {
            Issue.record("\(reason)")
            return
        }
        #expect(expected == stranger.key.peerID)
        #expect(actual == far.key.peerID)
        #expect(near.owner.count { if case .established = $0 { true } else { false } } == 0)
    }

    @Test("An accepted connection that the node refuses never begins")
    func refusedConnection() async throws {
        let network = MemoryNetwork()
        let near = try TestEnd(1, memory: network)
        let far = try TestEnd(2, memory: network, owner: TestOwner(admits: false))
        let address = try await far.transport.listen(on: Multiaddr(components: [.memory(0)]))
        near.transport.dial(
            near.nextDial(), to: address[0], expected: far.key.peerID, security: .noise, timeout: .seconds(20))
        let handle = await far.owner.first { if case .accepted(let handle) = $0 { handle } else { nil } }
        handle.perform([.close])
        #expect(await far.owner.closed() == .local)
        guard case .transport(_, .negotiate) = await near.owner.dialFailed() else {
            Issue.record("the dial should fail with its transport")
            return
        }
    }

    @Test("An accepted connection that the node forgets is closed at its deadline")
    func forgottenConnection() async throws {
        var limits = TransportLimits()
        limits.admissionTimeout = .milliseconds(20)
        let network = MemoryNetwork()
        let near = try TestEnd(1, memory: network)
        let far = try TestEnd(2, memory: network, owner: TestOwner(admits: false), limits: limits)
        let address = try await far.transport.listen(on: Multiaddr(components: [.memory(0)]))
        near.transport.dial(
            near.nextDial(), to: address[0], expected: far.key.peerID, security: .noise, timeout: .seconds(20))
        #expect(await far.owner.closed() == .timeout(.negotiate))
    }

    @Test("A dial that nobody answers ends at its deadline, and a cancelled one at once")
    func unansweredDials() async throws {
        let network = MemoryNetwork()
        let near = try TestEnd(1, memory: network)
        let far = try TestEnd(2, memory: network, owner: TestOwner(admits: false))
        let address = try await far.transport.listen(on: Multiaddr(components: [.memory(0)]))
        near.transport.dial(
            near.nextDial(), to: address[0], expected: nil, security: .noise, timeout: .milliseconds(30))
        guard case .timeout = await near.owner.dialFailed() else {
            Issue.record("the dial should time out")
            return
        }
        let second = near.nextDial()
        near.transport.dial(second, to: address[0], expected: nil, security: .noise, timeout: .seconds(60))
        near.transport.cancelDial(second)
        #expect(await near.owner.dialFailed() == .local)
        near.transport.dial(
            near.nextDial(), to: Multiaddr(components: [.memory(999)]), expected: nil, security: .noise,
            timeout: .seconds(60))
        #expect(await near.owner.dialFailed() == .transport("nobody listens there", .dial))
    }
}
