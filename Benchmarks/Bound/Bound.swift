// SPDX-License-Identifier: Apache-2.0
import Foundation
import TuttiBase
import TuttiConnection
import TuttiTransport

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// The bound of the bulk figure: what is left when a stream has no multiplexer, no windows and no event loop.
///
/// One thread seals records into a buffer and writes it to a TCP socket on loopback; another reads and opens them in
/// place. Both use the node's own `RecordCipher` and the framing of Noise (two bytes of length before each record).
///
///     bound [--mib 1024] [--record 16384] [--batch 262144] [--runs 5]
///
/// prints one line of JSON a run: MB/s, and CPU seconds per GB (10^9 bytes) of either thread.
@main
struct Bound {
    static func main() throws {
        let mebibytes = option("--mib", 1024)
        let recordBytes = min(option("--record", 16 * 1024), 65_535 - RecordCipher.tagBytes)
        let batchBytes = option("--batch", 256 * 1024)
        for _ in 0..<option("--runs", 5) {
            let run = try Run(totalBytes: mebibytes << 20, recordBytes: recordBytes, batchBytes: batchBytes)
            print(try run.measure())
        }
    }

    static func option(_ name: String, _ value: Int) -> Int {
        let arguments = CommandLine.arguments
        guard let at = arguments.firstIndex(of: name), at + 1 < arguments.count, let given = Int(arguments[at + 1]),
            given > 0
        else { return value }
        return given
    }
}

struct BoundError: Error, CustomStringConvertible {
    let description: String
}

struct Run: Sendable {
    let totalBytes: Int
    let recordBytes: Int
    let batchBytes: Int
    private let sender: CInt
    private let receiver: CInt

    init(totalBytes: Int, recordBytes: Int, batchBytes: Int) throws {
        self.totalBytes = totalBytes
        self.recordBytes = recordBytes
        self.batchBytes = max(batchBytes, recordBytes + 2 + RecordCipher.tagBytes)
        (sender, receiver) = try Run.socketPair()
    }

    func measure() throws -> String {
        let start = ContinuousClock.now
        let opening = Worker { try self.receive() }
        let sealing = Worker { try self.send() }
        let sealSeconds = try sealing.join()
        let openSeconds = try opening.join()
        let elapsed = ContinuousClock.now - start
        let seconds = Double(elapsed.components.seconds) + Double(elapsed.components.attoseconds) / 1e18
        close(sender)
        close(receiver)
        let gigabytes = Double(totalBytes) / 1e9
        return String(
            format: "{\"MBps\":%.1f,\"cpu_seal_s_per_GB\":%.4f,\"cpu_open_s_per_GB\":%.4f,\"record\":%d,\"batch\":%d}",
            gigabytes * 1000 / seconds, sealSeconds / gigabytes, openSeconds / gigabytes, recordBytes, batchBytes)
    }

    private func send() throws {
        let cipher = RecordCipher(key: Bytes32(words: (1, 2, 3, 4)))
        cipher.accelerate(with: SystemCipher.library)
        let plain = UnsafeMutableRawBufferPointer.allocate(byteCount: recordBytes, alignment: 64)
        let batch = UnsafeMutableRawBufferPointer.allocate(byteCount: batchBytes, alignment: 64)
        plain.initializeMemory(as: UInt8.self, repeating: 7)
        defer {
            plain.deallocate()
            batch.deallocate()
        }
        var left = totalBytes
        while left > 0 {
            var filled = 0
            while left > 0 {
                let count = min(left, recordBytes)
                let sealed = count + RecordCipher.tagBytes
                guard filled + 2 + sealed <= batchBytes else { break }
                batch[filled] = UInt8(truncatingIfNeeded: sealed >> 8)
                batch[filled + 1] = UInt8(truncatingIfNeeded: sealed)
                cipher.seal(
                    UnsafeRawBufferPointer(rebasing: plain[0..<count]),
                    into: UnsafeMutableRawBufferPointer(rebasing: batch[(filled + 2)..<(filled + 2 + sealed)]))
                filled += 2 + sealed
                left -= count
            }
            var written = 0
            while written < filled {
                let rest = UnsafeRawBufferPointer(rebasing: batch[written..<filled])
                let count = write(sender, rest.baseAddress, rest.count)
                guard count > 0 else { throw BoundError(description: "write failed: errno \(errno)") }
                written += count
            }
        }
    }

    private func receive() throws {
        let cipher = RecordCipher(key: Bytes32(words: (1, 2, 3, 4)))
        cipher.accelerate(with: SystemCipher.library)
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: batchBytes * 2, alignment: 64)
        defer { buffer.deallocate() }
        var held = 0
        var opened = 0
        while opened < totalBytes {
            let room = UnsafeMutableRawBufferPointer(rebasing: buffer[held...])
            let count = read(receiver, room.baseAddress, room.count)
            guard count > 0 else { throw BoundError(description: "read failed: errno \(errno)") }
            held += count
            var at = 0
            while held - at >= 2 {
                let sealed = Int(buffer[at]) << 8 | Int(buffer[at + 1])
                guard held - at - 2 >= sealed else { break }
                let record = UnsafeMutableRawBufferPointer(rebasing: buffer[(at + 2)..<(at + 2 + sealed)])
                guard cipher.open(record) else { throw BoundError(description: "a record did not open") }
                opened += sealed - RecordCipher.tagBytes
                at += 2 + sealed
            }
            // What is left is less than one record.
            buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: buffer[at..<held]))
            held -= at
        }
    }

    /// Two ends of one TCP connection on loopback: the path that the node's bytes take.
    private static func socketPair() throws -> (CInt, CInt) {
        #if canImport(Darwin)
        let stream = SOCK_STREAM
        #else
        let stream = CInt(SOCK_STREAM.rawValue)
        #endif
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let listener = socket(AF_INET, stream, 0)
        let dialer = socket(AF_INET, stream, 0)
        defer { close(listener) }
        let connected = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { raw in
                bind(listener, raw, size) == 0 && listen(listener, 1) == 0 && getsockname(listener, raw, &size) == 0
                    && connect(dialer, raw, size) == 0
            }
        }
        let accepted = connected ? accept(listener, nil, nil) : -1
        guard accepted >= 0 else { throw BoundError(description: "no loopback connection: errno \(errno)") }
        return (dialer, accepted)
    }
}

/// A thread that runs once and knows what processor time it took.
final class Worker: Sendable {
    private let outcome = Outcome()

    /// Guarded by `done`: written before it is signalled, read after.
    private final class Outcome: @unchecked Sendable {
        let done = DispatchSemaphore(value: 0)
        var result: Result<Double, any Error> = .success(0)
    }

    init(_ body: @escaping @Sendable () throws -> Void) {
        let outcome = outcome
        Thread.detachNewThread {
            outcome.result = Result {
                let start = Worker.processorSeconds()
                try body()
                return Worker.processorSeconds() - start
            }
            outcome.done.signal()
        }
    }

    func join() throws -> Double {
        outcome.done.wait()
        return try outcome.result.get()
    }

    private static func processorSeconds() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}
