// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Tutti
import TuttiBase
import TuttiConnection
import TuttiIdentity
import TuttiTransport

/// A peer that keeps to the rules until it is connected, and then sends whatever a test wants. Used on one thread.
///
/// It runs the package's own handshakes; above them there are only frames.
final class RawPeer {
    enum Security: String, CaseIterable, Sendable {
        case noise
        case tls
    }

    /// How the other side ended it.
    struct Ending {
        var goAway: UInt32?
        var isClosed = false
        var resetStreams: Set<UInt32> = []
        var frameCount = 0
    }

    private enum Layer {
        case noise(RecordLayer)
        case tls(TLSEngine)
    }

    let socket: RawSocket
    private var layer: Layer
    /// Opened and not yet looked at.
    private var plaintext = ByteBuffer()
    private(set) var ending = Ending()
    private var skipping = 0

    /// Dials.
    convenience init(
        to port: UInt16, from source: Source, _ security: Security = .noise, identity: KeyPair = KeyPair(),
        receiveBytes: Int32? = nil
    ) throws {
        let socket = try RawSocket(to: port, from: source, receiveBytes: receiveBytes)
        try self.init(socket, .outbound, security, identity: identity)
    }

    /// Goes through the handshake on a socket that is there.
    init(_ socket: RawSocket, _ direction: Direction, _ security: Security, identity: KeyPair) throws {
        self.socket = socket
        switch security {
        case .noise:
            var source = KeySource.system
            let (session, leftover) = try Self.shakeHands(
                socket, direction, NoiseIdentity(identity, keySource: &source))
            layer = .noise(RecordLayer(session))
            try open(leftover)
        case .tls:
            layer = .tls(
                try TLSEngine(context: TLSContext(identity: identity), direction: direction, expectedPeer: nil))
            try shakeHandsOverTLS(direction)
        }
    }

    // MARK: Handshakes

    static func multistream(_ names: String...) -> ByteBuffer {
        var bytes = ByteBuffer()
        for name in names {
            bytes.writeVarint(UInt64(name.utf8.count + 1))
            bytes.writeString(name + "\n")
        }
        return bytes
    }

    static func greeting(_ name: String) -> ByteBuffer {
        multistream("/multistream/1.0.0", name)
    }

    /// Reads exactly these bytes; what follows is returned.
    static func expect(_ wanted: ByteBuffer, on socket: RawSocket) throws -> ByteBuffer {
        var got = ByteBuffer()
        while got.readableBytes < wanted.readableBytes {
            guard case .bytes(let more) = socket.receive() else { throw Mishap("closed while negotiating") }
            got.writeImmutableBuffer(more)
        }
        guard got.readSlice(length: wanted.readableBytes) == wanted else { throw Mishap("another protocol was agreed") }
        return got
    }

    /// Noise to its end, under any proof of identity.
    static func shakeHands(
        _ socket: RawSocket, _ direction: Direction, _ identity: NoiseIdentity
    ) throws -> (NoiseSession, leftover: ByteBuffer) {
        var source = KeySource.system
        var machine = NoiseMachine(
            direction: direction, identity: identity, expectedPeer: nil, muxers: [.yamux], keySource: &source)
        let greeting = greeting("/noise")
        var output = ByteBuffer()
        var input = ByteBuffer()
        if direction == .outbound {
            output = greeting
            machine.start(into: &output)
            socket.send(output)
            input = try expect(greeting, on: socket)
        } else {
            input = try expect(greeting, on: socket)
            machine.start(into: &output)
            socket.send(greeting)
        }
        while true {
            output = ByteBuffer()
            let progress = try machine.receive(&input, into: &output)
            if output.readableBytes > 0 { socket.send(output) }
            if case .established(let session) = progress { return (session, input) }
            guard case .bytes(let more) = socket.receive() else { throw Mishap("closed in the handshake") }
            input.writeImmutableBuffer(more)
        }
    }

    private func shakeHandsOverTLS(_ direction: Direction) throws {
        guard case .tls(let engine) = layer else { return }
        let greeting = Self.greeting("/tls/1.0.0")
        var output = ByteBuffer()
        if direction == .outbound { socket.send(greeting) }
        var input = try Self.expect(greeting, on: socket)
        if direction == .outbound { try engine.start(into: &output) } else { output = greeting }
        socket.send(output)
        while true {
            output = ByteBuffer()
            let progress = try engine.receive(&input, plaintext: &plaintext, output: &output)
            if output.readableBytes > 0 { socket.send(output) }
            if case .established = progress { return }
            guard case .bytes(let more) = socket.receive() else { throw Mishap("closed in the handshake") }
            input = more
        }
    }

    // MARK: Frames

    /// Encrypts what stands in `frames`.
    func seal(_ frames: ByteBuffer) throws -> ByteBuffer {
        var sealed = ByteBuffer()
        switch layer {
        case .noise(var records):
            records.write(frames, into: &sealed)
            records.endRecord(in: &sealed)
            layer = .noise(records)
        case .tls(let engine):
            var frames = frames
            try engine.seal(&frames, into: &sealed)
        }
        return sealed
    }

    @discardableResult
    func send(_ frames: ByteBuffer, timeoutMilliseconds: Int32 = 5000) throws -> Bool {
        socket.send(try seal(frames), timeoutMilliseconds: timeoutMilliseconds)
    }

    @discardableResult
    func send(_ headers: YamuxHeader..., followedBy payload: ByteBuffer = ByteBuffer()) throws -> Bool {
        var frames = ByteBuffer()
        for header in headers { header.write(into: &frames) }
        frames.writeImmutableBuffer(payload)
        return try send(frames)
    }

    /// Opens a stream, proposes a protocol and sends `bytes` behind it, all at once.
    func openStream(_ id: UInt32, _ name: String, _ bytes: ByteBuffer = ByteBuffer(), isEnded: Bool = false) throws {
        var payload = Self.greeting(name)
        payload.writeImmutableBuffer(bytes)
        let flags: YamuxHeader.Flags = isEnded ? [.syn, .fin] : [.syn]
        try send(
            YamuxHeader(.data, flags, stream: id, length: UInt32(payload.readableBytes)), followedBy: payload)
    }

    /// Reads what is there, for at most so long. False once the other side has closed.
    @discardableResult
    func read(timeoutMilliseconds: Int32) throws -> Bool {
        switch socket.receive(timeoutMilliseconds: timeoutMilliseconds) {
        case .silent: return true
        case .ended:
            ending.isClosed = true
            return false
        case .bytes(let bytes):
            try open(bytes)
            return true
        }
    }

    /// Reads until `isDone`, the end, or for so long.
    @discardableResult
    func read(
        within limit: Duration = .seconds(5), until isDone: (Ending) -> Bool = { _ in false }
    ) throws -> Ending {
        let deadline = ContinuousClock.now + limit
        while !isDone(ending) {
            let left = ContinuousClock.now.duration(to: deadline) / .milliseconds(1)
            guard left > 0, try read(timeoutMilliseconds: Int32(min(50, left.rounded(.up)))) else { break }
        }
        return ending
    }

    private func open(_ bytes: ByteBuffer) throws {
        switch layer {
        case .noise(var records):
            var chunks: [ByteBuffer] = []
            try records.open(ByteBuffer(bytes: bytes.readableBytesView), into: &chunks)
            layer = .noise(records)
            for chunk in chunks { plaintext.writeImmutableBuffer(chunk) }
        case .tls(let engine):
            var input = bytes
            var output = ByteBuffer()
            while input.readableBytes > 0 {
                let before = input.readableBytes
                _ = try engine.receive(&input, plaintext: &plaintext, output: &output)
                if input.readableBytes == before { break }
            }
        }
        while true {
            let skipped = min(skipping, plaintext.readableBytes)
            plaintext.moveReaderIndex(forwardBy: skipped)
            skipping -= skipped
            guard skipping == 0, let header = try YamuxHeader(from: &plaintext) else { break }
            ending.frameCount += 1
            if header.kind == .data { skipping = Int(header.length) }
            if header.kind == .goAway { ending.goAway = header.length }
            if header.flags.contains(.rst) { ending.resetStreams.insert(header.stream) }
        }
        plaintext.discardReadBytes()
    }
}
