// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import Tutti

struct Mishap: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) {
        self.description = description
    }
}

/// The built `tutti`, beside this test program; `TUTTI_BINARY` names another.
enum Binary {
    static func path() throws -> String {
        if let path = ProcessInfo.processInfo.environment["TUTTI_BINARY"] { return path }
        let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        let path = URL(fileURLWithPath: own).deletingLastPathComponent().appendingPathComponent("tutti").path
        guard FileManager.default.isExecutableFile(atPath: path) else {
            throw Mishap("no tutti at \(path): build it first, or name it in TUTTI_BINARY")
        }
        return path
    }

    struct Outcome: Sendable {
        let status: Int32
        let errors: String
    }

    /// Runs a command that ends by itself.
    static func run(_ arguments: [String]) async throws -> Outcome {
        let path = try path()
        return try await onThread {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: path)
            process.arguments = arguments
            let errors = Pipe()
            process.standardInput = FileHandle.nullDevice
            process.standardOutput = FileHandle.nullDevice
            process.standardError = errors
            try process.run()
            let text = String(decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
            process.waitUntilExit()
            return Outcome(status: process.terminationStatus, errors: text)
        }
    }
}

/// Blocking work of a test, off the threads that tasks share.
func onThread<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
        Thread.detachNewThread { continuation.resume(with: Result { try body() }) }
    }
}

/// For a stream's handler that does nothing.
func untilCancelled() async {
    let (never, end) = AsyncStream<Never>.makeStream()
    for await _ in never {}
    end.finish()
}

/// A folder that is gone with its owner.
final class TemporaryFolder: Sendable {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "tutti-attack-\(UInt64.random(in: .min ... .max))"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit {
        try? FileManager.default.removeItem(atPath: path)
    }
}

/// A `tutti up` of its own process, under the limits for strangers: what it uses is its own and nobody else's.
///
/// `@unchecked Sendable`: everything is fixed after `init`; `Process` is only asked whether it runs, and ended.
final class Victim: @unchecked Sendable {
    let peerID: PeerID
    let address: Multiaddr
    let port: UInt16
    private let process: Process
    private let folder: TemporaryFolder
    private let log: VictimLog

    /// - Parameter isTold: whether it logs why connections end, which costs time of its own.
    static func start(isTold: Bool) async throws -> Victim {
        let path = try Binary.path()
        return try await onThread { try Victim(path, logLevel: isTold ? "debug" : "notice") }
    }

    private init(_ path: String, logLevel: String) throws {
        raiseFileLimit()
        folder = try TemporaryFolder()
        let errors = Pipe()
        process = Process()
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = [
            "up", "--data", folder.path + "/data", "--listen", "/ip4/127.0.0.1/tcp/0", "--log-level", logLevel,
        ]
        let output = Pipe()
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = output
        process.standardError = errors
        try process.run()
        log = VictimLog(reading: errors.fileHandleForReading)
        var text = ""
        while !text.contains("/p2p/") || !text.hasSuffix("\n") {
            let more = output.fileHandleForReading.availableData
            guard !more.isEmpty else { throw Mishap("tutti up ended at once: \(text)") }
            text += String(decoding: more, as: UTF8.self)
        }
        let line = text.split(separator: "\n").first { $0.hasPrefix("listening ") }
        address = try #require(line.flatMap { Multiaddr(String($0.dropFirst("listening ".count))) })
        peerID = try #require(address.peerID)
        let parts = address.description.split(separator: "/")
        port = try #require(parts.count > 3 ? UInt16(parts[3]) : nil)
    }

    deinit {
        if process.isRunning { kill(process.processIdentifier, SIGKILL) }
    }

    var isAlive: Bool { process.isRunning }

    /// What it has written to since its start and nobody shares, bytes.
    var memory: Int {
        let text =
            (try? String(contentsOfFile: "/proc/\(process.processIdentifier)/smaps_rollup", encoding: .utf8)) ?? ""
        let line = text.split(separator: "\n").first { $0.hasPrefix("Private_Dirty:") }
        return (line?.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0) * 1024
    }

    /// Processor time used so far.
    var processorTime: Duration {
        let text = (try? String(contentsOfFile: "/proc/\(process.processIdentifier)/stat", encoding: .utf8)) ?? ""
        // The name in brackets may hold spaces; the fields behind it begin with the state, number 3.
        let fields = text.drop { $0 != ")" }.split(separator: " ")
        guard fields.count > 13, let user = Int(fields[12]), let system = Int(fields[13]) else { return .zero }
        return .milliseconds((user + system) * 1000 / max(1, sysconf(Int32(_SC_CLK_TCK))))
    }

    /// Waits until connections have ended for a reason whose words hold `words`.
    func hasClosed(for words: String, count: Int = 1, within seconds: Double = 10) async throws -> Bool {
        try await onThread { [log] in
            log.wait(until: Date(timeIntervalSinceNow: seconds)) { reasons in
                reasons.count(where: { $0.contains(words) }) >= count
            }
        }
    }
}

/// Why the victim's connections have ended so far, as it logs it.
///
/// `@unchecked Sendable`: `reasons` is guarded by `changed`.
private final class VictimLog: @unchecked Sendable {
    private let changed = NSCondition()
    private var reasons: [String] = []

    init(reading pipe: FileHandle) {
        Thread.detachNewThread { [weak self] in
            var rest = Data()
            // Read to its end also when nobody asks any more: a full pipe would stop the victim.
            while case let more = pipe.availableData, !more.isEmpty {
                rest.append(more)
                guard let end = rest.lastIndex(of: UInt8(ascii: "\n")) else { continue }
                let lines = String(decoding: rest[..<end], as: UTF8.self).split(separator: "\n")
                rest = Data(rest[rest.index(after: end)...])
                self?.append(lines.filter { $0.contains("connection closed") }.map(String.init))
            }
        }
    }

    private func append(_ more: [String]) {
        changed.withLock {
            reasons += more
            changed.broadcast()
        }
    }

    func wait(until deadline: Date, _ isEnough: ([String]) -> Bool) -> Bool {
        changed.lock()
        defer { changed.unlock() }
        while !isEnough(reasons) {
            guard changed.wait(until: deadline) else {
                print("not among: \(reasons.suffix(8).joined(separator: "\n"))")
                return false
            }
        }
        return true
    }
}

/// A thousand attackers need a thousand descriptors.
func raiseFileLimit() {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
    limit.rlim_cur = min(limit.rlim_max, 16_384)
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
}
