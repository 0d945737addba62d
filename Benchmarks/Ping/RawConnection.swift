// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiConnection
import TuttiIdentity

import struct NIOCore.ByteBuffer

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// A connection with one ping stream, driven by whoever calls. It serves no protocol.
struct RawConnection: ~Copyable {
    private static let pingBytes = 32
    private static let readBytes = 4096
    private static let patience = 10
    private let socket: CInt
    private var core: ConnectionCore
    private var output = ByteBuffer()
    private var source = KeySource.system
    private var isEstablished = false
    private var stream: StreamID?
    private var echo = ByteBuffer()

    /// Dials, secures, multiplexes.
    static func dial(_ address: Multiaddr) throws -> RawConnection {
        guard let target = address.socketTarget, !target.isName else {
            throw PingError(description: "\(address) is not /ip4/…/tcp/… or /ip6/…/tcp/…")
        }
        var connection = RawConnection(socket: try connect(target), expectedPeer: address.peerID)
        while !connection.isEstablished {
            try connection.send()
            try connection.receive()
        }
        connection.stream = connection.core.openStream(["/ipfs/ping/1.0.0"], at: connection.now())
        return connection
    }

    private init(socket: CInt, expectedPeer: PeerID?) {
        self.socket = socket
        core = ConnectionCore(
            direction: .outbound, door: .plain, configuration: ConnectionConfiguration(),
            identity: NoiseIdentity(KeyPair(), keySource: &source), expectedPeer: expectedPeer, protocols: [],
            keySource: source, at: Self.instant())
    }

    deinit { close(socket) }

    func now() -> Instant { Self.instant() }

    /// One round trip, nanoseconds.
    mutating func ping() throws -> Int64 {
        guard let stream else { throw PingError(description: "the stream could not be opened") }
        let payload = ByteBuffer(bytes: source.nextBytes32().bytes)
        let began = now()
        core.send(payload, on: stream, at: began)
        try send()
        while echo.readableBytes < Self.pingBytes {
            try receive()
            // Acknowledgements, answers to the peer's own streams.
            try send()
        }
        let nanoseconds = now().nanoseconds - began.nanoseconds
        guard echo == payload else { throw PingError(description: "the echo differs") }
        echo.clear()
        return nanoseconds
    }

    private mutating func send() throws {
        while core.produce(into: &output, bytesMax: 64 * 1024, at: now()) {}
        while output.readableBytes > 0 {
            let count = output.withUnsafeReadableBytes { write(socket, $0.baseAddress, $0.count) }
            guard count > 0 else { throw PingError(description: "write failed: errno \(errno)") }
            output.moveReaderIndex(forwardBy: count)
        }
        output.clear()
    }

    private mutating func receive() throws {
        var input = ByteBuffer()
        let count = input.writeWithUnsafeMutableBytes(minimumWritableBytes: Self.readBytes) {
            max(0, read(socket, $0.baseAddress, $0.count))
        }
        guard count > 0 else { throw PingError(description: "the peer ended the connection or is silent") }
        let time = now()
        core.receive(input, at: time)
        while let effect = core.nextEffect() {
            switch effect {
            case .established: isEstablished = true
            case .streamData(let from, var bytes):
                core.consumed(bytes.readableBytes, on: from, at: time)
                if from == stream { echo.writeBuffer(&bytes) }
            case .requestWindow(let from, _): core.grantWindow(0, on: from, at: time)
            case .streamFailed(let failed, let fault) where failed == stream:
                throw PingError(description: "the ping stream failed: \(fault)")
            case .closed(let reason): throw PingError(description: "the connection closed: \(reason)")
            case .startTLS, .streamOpened, .streamEnded, .streamFailed, .streamDrained, .streamClosed, .releaseWindow,
                .roundTripMeasured, .external:
                break
            }
        }
    }

    private static func instant() -> Instant {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Instant(nanoseconds: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
    }

    private static func connect(_ target: Multiaddr.SocketTarget) throws -> CInt {
        var hints = addrinfo()
        hints.ai_flags = AI_NUMERICHOST
        #if canImport(Darwin)
        hints.ai_socktype = SOCK_STREAM
        #else
        hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
        #endif
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(target.host, "\(target.port)", &hints, &found) == 0, let first = found?.pointee else {
            throw PingError(description: "\(target.host) is not an address")
        }
        defer { freeaddrinfo(found) }
        #if canImport(Glibc)
        let descriptor = Glibc.socket(first.ai_family, first.ai_socktype, first.ai_protocol)
        let isConnected = Glibc.connect(descriptor, first.ai_addr, first.ai_addrlen) == 0
        #elseif canImport(Musl)
        let descriptor = Musl.socket(first.ai_family, first.ai_socktype, first.ai_protocol)
        let isConnected = Musl.connect(descriptor, first.ai_addr, first.ai_addrlen) == 0
        #else
        let descriptor = Darwin.socket(first.ai_family, first.ai_socktype, first.ai_protocol)
        let isConnected = Darwin.connect(descriptor, first.ai_addr, first.ai_addrlen) == 0
        #endif
        guard isConnected else { throw PingError(description: "no connection to \(target.host): errno \(errno)") }
        var isOn: CInt = 1
        setsockopt(descriptor, CInt(IPPROTO_TCP), TCP_NODELAY, &isOn, socklen_t(MemoryLayout<CInt>.size))
        var limit = timeval(tv_sec: patience, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        return descriptor
    }
}
