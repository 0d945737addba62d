// SPDX-License-Identifier: Apache-2.0
import Synchronization
import Testing
import Tutti

@Suite("Streams between two nodes", .timeLimit(.minutes(2)))
struct StreamTests {
    @Test("What is written comes back from an echo, whole and in order", arguments: Medium.allCases)
    func echo(_ medium: Medium) async throws {
        try await withPair(medium, serve: { $0.echo() }) { pair in
            try await pair.dialler.dial(at: pair.addresses)
            let stream = try await pair.dialler.open("/echo/1.0.0", to: pair.listener.peerID)
            #expect(stream.peer == pair.listener.peerID)
            #expect(stream.protocolID == "/echo/1.0.0")
            let sent = pattern(4 << 20)
            // Far more than a window: both ways must move at once.
            async let written: Void = stream.write(sent)
            let received = try await stream.read(exactly: sent.readableBytes)
            try await written
            #expect(received == sent)
            stream.closeWriting()
            #expect(try await stream.read() == nil)
        }
    }

    @Test("The dialler ends its direction and still reads the answer", arguments: Medium.allCases)
    func halfCloseByDialler(_ medium: Medium) async throws {
        try await withPair(
            medium,
            serve: { node in
                node.handle("/count/1.0.0") { stream in
                    var count = 0
                    while let batch = try await stream.readBatch() {
                        for part in batch { count += part.readableBytes }
                    }
                    try await stream.write(ByteBuffer(string: "\(count)"))
                }
            }
        ) { pair in
            let stream = try await pair.dialler.open("/count/1.0.0", to: pair.listener.peerID, at: pair.addresses)
            for _ in 0..<10 { try await stream.write(pattern(100_000)) }
            stream.closeWriting()
            var answer = ""
            while let part = try await stream.read() { answer += String(buffer: part) }
            #expect(answer == "1000000")
        }
    }

    @Test("The listener ends its direction and still reads what the dialler sends", arguments: Medium.allCases)
    func halfCloseByListener(_ medium: Medium) async throws {
        let count = Mutex(0)
        let done = Signal()
        try await withPair(
            medium,
            serve: { node in
                node.handle("/greet/1.0.0") { stream in
                    try await stream.write(ByteBuffer(string: "hello"))
                    stream.closeWriting()
                    while let part = try await stream.read() { count.withLock { $0 += part.readableBytes } }
                    done.raise()
                }
            }
        ) { pair in
            let stream = try await pair.dialler.open("/greet/1.0.0", to: pair.listener.peerID, at: pair.addresses)
            var greeting = ""
            while let part = try await stream.read() { greeting += String(buffer: part) }
            #expect(greeting == "hello")
            for _ in 0..<10 { try await stream.write(pattern(100_000)) }
            stream.closeWriting()
            await done.wait()
            #expect(count.withLock { $0 } == 1_000_000)
        }
    }

    @Test("A writer waits for a peer that does not read, and other streams go on", arguments: Medium.allCases)
    func backpressure(_ medium: Medium) async throws {
        let release = Signal()
        try await withPair(
            medium,
            serve: { node in
                node.echo()
                node.handle("/unread/1.0.0") { _ in await release.wait() }
            }
        ) { pair in
            defer { release.raise() }
            let stuck = try await pair.dialler.open("/unread/1.0.0", to: pair.listener.peerID, at: pair.addresses)
            var written = 0
            let error = await nodeError {
                while written < 64 << 20 {
                    try await stuck.write(ByteBuffer(repeating: 0, count: 64 << 10), deadline: .milliseconds(300))
                    written += 64 << 10
                }
            }
            #expect(error?.code == .deadline)
            #expect(written > 0)
            // A window, what is queued on our side, and one write.
            #expect(written <= 4 << 20)
            let other = try await pair.dialler.open("/echo/1.0.0", to: pair.listener.peerID)
            try await other.write(pattern(100_000))
            #expect(try await other.read(exactly: 100_000) == pattern(100_000))
        }
    }

    @Test("A protocol that the peer does not speak is refused at the first read", arguments: Medium.allCases)
    func unknownProtocol(_ medium: Medium) async throws {
        try await withPair(medium) { pair in
            let stream = try await pair.dialler.open("/nobody/1.0.0", to: pair.listener.peerID, at: pair.addresses)
            let error = await nodeError { _ = try await stream.read() }
            #expect(error?.code == .protocolRefused)
            #expect(error?.peer == pair.listener.peerID)
            #expect(error?.stage == .stream)
            #expect(error?.message.contains("/nobody/1.0.0") == true)
        }
    }

    @Test("Of several protocols the first that the peer speaks is chosen", arguments: Medium.allCases)
    func severalProtocols(_ medium: Medium) async throws {
        try await withPair(medium, serve: { $0.echo("/echo/1.0.0") }) { pair in
            let stream = try await pair.dialler.open(
                "/echo/2.0.0", "/echo/1.0.0", to: pair.listener.peerID, at: pair.addresses)
            #expect(stream.protocolID == "/echo/1.0.0")
            try await stream.write(pattern(10))
            #expect(try await stream.read(exactly: 10) == pattern(10))
            let error = await nodeError {
                _ = try await pair.dialler.open("/echo/3.0.0", "/echo/2.0.0", to: pair.listener.peerID)
            }
            #expect(error?.code == .protocolRefused)
        }
    }

    @Test("A handler that throws resets its stream", arguments: Medium.allCases)
    func throwingHandler(_ medium: Medium) async throws {
        struct Broken: Error {}
        try await withPair(medium, serve: { $0.handle("/broken/1.0.0") { _ in throw Broken() } }) { pair in
            let stream = try await pair.dialler.open("/broken/1.0.0", to: pair.listener.peerID, at: pair.addresses)
            let error = await nodeError { while try await stream.read() != nil {} }
            #expect(error?.code == .streamReset)
        }
    }

    @Test("Cancelling a reader throws and resets the stream for the peer", arguments: Medium.allCases)
    func cancelledReader(_ medium: Medium) async throws {
        let began = Signal()
        let ended = Signal()
        let atPeer = Mutex<NodeError.Code?>(nil)
        try await withPair(
            medium,
            serve: { node in
                node.handle("/wait/1.0.0") { stream in
                    began.raise()
                    let error = await nodeError { _ = try await stream.read() }
                    atPeer.withLock { $0 = error?.code }
                    ended.raise()
                }
            }
        ) { pair in
            let stream = try await pair.dialler.open("/wait/1.0.0", to: pair.listener.peerID, at: pair.addresses)
            let error = await withTaskGroup(of: NodeError?.self) { group in
                group.addTask { await nodeError { _ = try await stream.read() } }
                await began.wait()
                group.cancelAll()
                return await group.next() ?? nil
            }
            #expect(error?.code == .cancelled)
            await ended.wait()
            #expect(atPeer.withLock { $0 } == .streamReset)
        }
    }

    @Test("A deadline ends a read that waits too long", arguments: Medium.allCases)
    func readDeadline(_ medium: Medium) async throws {
        try await withPair(medium, serve: { $0.echo() }) { pair in
            let stream = try await pair.dialler.open("/echo/1.0.0", to: pair.listener.peerID, at: pair.addresses)
            let error = await nodeError { _ = try await stream.read(deadline: .milliseconds(50)) }
            #expect(error?.code == .deadline)
            #expect(error?.peer == pair.listener.peerID)
        }
    }

    @Test("Reading an exact number of bytes keeps the rest for the next read", arguments: Medium.allCases)
    func readExactly(_ medium: Medium) async throws {
        try await withPair(medium, serve: { $0.echo() }) { pair in
            let stream = try await pair.dialler.open("/echo/1.0.0", to: pair.listener.peerID, at: pair.addresses)
            try await stream.write(ByteBuffer(string: "abcdefgh"))
            stream.closeWriting()
            #expect(String(buffer: try await stream.read(exactly: 3)) == "abc")
            #expect(String(buffer: try await stream.read(exactly: 1)) == "d")
            let error = await nodeError { _ = try await stream.read(exactly: 5) }
            #expect(error?.code == .streamReset)
            #expect(error?.message.contains("4 of 5") == true)
        }
    }

    @Test("Two hundred streams at once each get their own bytes back", arguments: Medium.allCases)
    func manyStreams(_ medium: Medium) async throws {
        try await withPair(medium, serve: { $0.echo() }) { pair in
            try await pair.dialler.dial(at: pair.addresses)
            try await withThrowingDiscardingTaskGroup { group in
                for worker in 0..<8 {
                    group.addTask {
                        for turn in 0..<25 {
                            let stream = try await pair.dialler.open("/echo/1.0.0", to: pair.listener.peerID)
                            let text = "worker \(worker), turn \(turn)"
                            try await stream.write(ByteBuffer(string: text))
                            #expect(String(buffer: try await stream.read(exactly: text.utf8.count)) == text)
                            stream.closeWriting()
                        }
                    }
                }
            }
        }
    }
}
