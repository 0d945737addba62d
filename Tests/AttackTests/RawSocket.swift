// SPDX-License-Identifier: Apache-2.0
import Foundation
import NIOCore

/// An IPv4 address of this machine. All of 127/8 are, so one test can come from many networks.
struct Source: Hashable, Sendable {
    let address: UInt32

    static let own = Source(address: 0x7F00_0001)

    /// Another /24 for each number.
    static func network(_ number: Int) -> Source {
        Source(address: 0x7F0A_0001 + UInt32(truncatingIfNeeded: number) << 8)
    }
}

/// A TCP socket with nothing above it. Used on one thread.
final class RawSocket {
    enum Received: Equatable {
        case bytes(ByteBuffer)
        case ended
        /// Nothing came in time.
        case silent
    }

    let descriptor: Int32

    /// - Parameter receiveBytes: the kernel's buffer for us; small, and a sender notices soon that we don't read.
    init(to port: UInt16, from source: Source = .own, receiveBytes: Int32? = nil, isBlocking: Bool = true) throws {
        let kind = Int32(SOCK_STREAM.rawValue) | (isBlocking ? 0 : Int32(SOCK_NONBLOCK.rawValue))
        descriptor = socket(AF_INET, kind, 0)
        guard descriptor >= 0 else { throw Mishap("socket: \(String(cString: strerror(errno)))") }
        if var receiveBytes {
            setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &receiveBytes, socklen_t(MemoryLayout<Int32>.size))
        }
        var one: Int32 = 1
        setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<Int32>.size))
        // The port is chosen at connect, so that many sockets of one address don't run out of them.
        setsockopt(descriptor, Int32(IPPROTO_IP), 24, &one, socklen_t(MemoryLayout<Int32>.size))
        let isBound = Self.withName(source.address, 0) { bind(descriptor, $0, $1) }
        guard isBound == 0 else { throw Mishap("bind: \(String(cString: strerror(errno)))") }
        let isConnected = Self.withName(Source.own.address, port) { connect(descriptor, $0, $1) }
        guard isConnected == 0 || errno == EINPROGRESS else {
            throw Mishap("connect: \(String(cString: strerror(errno)))")
        }
    }

    init(adopting descriptor: Int32) {
        self.descriptor = descriptor
    }

    deinit {
        close(descriptor)
    }

    /// False: the other side is gone, or takes nothing for `timeout`.
    @discardableResult
    func send(_ bytes: ByteBuffer, timeoutMilliseconds: Int32 = 5000) -> Bool {
        var rest = bytes
        while rest.readableBytes > 0 {
            let count = rest.withUnsafeReadableBytes {
                Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL | MSG_DONTWAIT))
            }
            if count > 0 {
                rest.moveReaderIndex(forwardBy: count)
            } else if errno == EAGAIN {
                guard wait(for: Int16(POLLOUT), timeoutMilliseconds) else { return false }
            } else if errno != EINTR {
                return false
            }
        }
        return true
    }

    func receive(timeoutMilliseconds: Int32 = 5000) -> Received {
        guard wait(for: Int16(POLLIN), timeoutMilliseconds) else { return .silent }
        var bytes = ByteBuffer()
        let count = bytes.writeWithUnsafeMutableBytes(minimumWritableBytes: 64 * 1024) {
            max(0, recv(descriptor, $0.baseAddress, $0.count, Int32(MSG_DONTWAIT)))
        }
        return count > 0 ? .bytes(bytes) : .ended
    }

    /// Reads and forgets; true once the other side has closed.
    func isClosed(within milliseconds: Int32) -> Bool {
        let deadline = ContinuousClock.now + .milliseconds(Int(milliseconds))
        while ContinuousClock.now < deadline {
            if case .ended = receive(timeoutMilliseconds: 50) { return true }
        }
        return false
    }

    /// Lets go of those that the other side has closed, until at most `countMax` are left or the time is over.
    static func dropEnded(_ sockets: inout [RawSocket], downTo countMax: Int, within limit: Duration) {
        let deadline = ContinuousClock.now + limit
        while sockets.count > countMax {
            let left = ContinuousClock.now.duration(to: deadline) / .milliseconds(1)
            guard left > 0 else { return }
            var entries = sockets.map { pollfd(fd: $0.descriptor, events: Int16(POLLIN), revents: 0) }
            guard poll(&entries, nfds_t(entries.count), Int32(left.rounded(.up))) > 0 else { return }
            var kept: [RawSocket] = []
            for (socket, entry) in zip(sockets, entries) {
                if entry.revents != 0, case .ended = socket.receive(timeoutMilliseconds: 0) { continue }
                kept.append(socket)
            }
            sockets = kept
        }
    }

    func finishWriting() {
        shutdown(descriptor, Int32(SHUT_WR))
    }

    private func wait(for events: Int16, _ milliseconds: Int32) -> Bool {
        var entry = pollfd(fd: descriptor, events: events, revents: 0)
        return poll(&entry, 1, milliseconds) > 0
    }

    static func withName<R>(_ address: UInt32, _ port: UInt16, _ body: (UnsafePointer<sockaddr>, socklen_t) -> R) -> R {
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_addr.s_addr = address.bigEndian
        name.sin_port = port.bigEndian
        return withUnsafePointer(to: &name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
            }
        }
    }
}

/// What the kernel alone takes of one thread to accept a connection, ask where it is from, and close it.
func kernelTimePerAccept() throws -> Duration {
    let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(listener) }
    let isBound = RawSocket.withName(Source.own.address, 0) { bind(listener, $0, $1) }
    guard isBound == 0, listen(listener, 1024) == 0 else { throw Mishap("no port to listen on") }
    var name = sockaddr_in()
    var length = socklen_t(MemoryLayout<sockaddr_in>.size)
    func ask(
        _ descriptor: Int32,
        _ question: (Int32, UnsafeMutablePointer<sockaddr>, UnsafeMutablePointer<socklen_t>) -> Int32
    ) {
        _ = withUnsafeMutablePointer(to: &name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { question(descriptor, $0, &length) }
        }
    }
    ask(listener) { getsockname($0, $1, $2) }
    let port = UInt16(bigEndian: name.sin_port)
    func used() -> Duration {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
    }
    var spent = Duration.zero
    let (rounds, each) = (20, 100)
    for _ in 0..<rounds {
        let callers = try (0..<each).map { _ in try RawSocket(to: port, from: .network(0)) }
        let began = used()
        for _ in callers {
            let accepted = accept(listener, nil, nil)
            ask(accepted) { getsockname($0, $1, $2) }
            ask(accepted) { getpeername($0, $1, $2) }
            close(accepted)
        }
        spent += used() - began
    }
    return spent / (rounds * each)
}

/// A port on loopback; each connection is handed to `serve` on a thread of its own.
final class RawListener: Sendable {
    let port: UInt16
    private let descriptor: Int32

    init(_ serve: @escaping @Sendable (RawSocket) throws -> Void) throws {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        self.descriptor = descriptor
        let isBound = RawSocket.withName(Source.own.address, 0) { bind(descriptor, $0, $1) }
        guard isBound == 0, listen(descriptor, 64) == 0 else { throw Mishap("no port to listen on") }
        var name = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        _ = withUnsafeMutablePointer(to: &name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &length) }
        }
        port = UInt16(bigEndian: name.sin_port)
        Thread.detachNewThread {
            while true {
                let accepted = accept(descriptor, nil, nil)
                guard accepted >= 0 else { return }
                Thread.detachNewThread { try? serve(RawSocket(adopting: accepted)) }
            }
        }
    }

    deinit {
        // Wakes the thread that accepts.
        shutdown(descriptor, Int32(SHUT_RDWR))
        close(descriptor)
    }
}
