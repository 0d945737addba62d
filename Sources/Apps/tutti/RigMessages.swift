// SPDX-License-Identifier: Apache-2.0
import Foundation
import Synchronization

/// What the rig asks. Which fields stand depends on `op`.
struct RigRequest: Decodable, Sendable {
    let i: Int
    let op: String
    let addr: String?
    let peer: String?
    let proto: String?
    let data: String?
    let count: Int?
    let par: Int?
    let bytes: UInt64?
    let up: UInt64?
    let down: UInt64?
    let key: String?
    let value: String?
    let cid: String?
    let topic: String?

    var isOfOverlays: Bool {
        switch op {
        case "dht_put", "dht_get", "provide", "find_providers", "find_peer", "subscribe", "publish": true
        default: false
        }
    }
}

struct RigReady: Encodable, Sendable {
    let ready: Bool
    let id: String
    let addrs: [String]
    let pids: [Int32]
}

/// Nil fields are left out.
struct RigAnswer: Encodable, Sendable {
    var i = 0
    var ok: Bool?
    var err: String?
    var seconds: Double?
    var held: Int?
    var rtt_us: [Double]?
    var data: String?
    var protocols: [String]?
    var agent: String?
    var proto_version: String?
    var value: String?
    var peers: [String]?
    var addrs: [String]?
}

/// Writes whole lines.
final class RigOutput: Sendable {
    private let isWriting = Mutex(())

    func write(_ message: some Encodable & Sendable) {
        guard let line = try? Console.json(message) else { return }
        isWriting.withLock { _ in Console.print(line) }
    }

    func write(lines: [UInt8]) {
        isWriting.withLock { _ in
            var rest = lines[...]
            while !rest.isEmpty {
                let count = rest.withUnsafeBytes { Foundation.write(STDOUT_FILENO, $0.baseAddress, $0.count) }
                guard count > 0 || errno == EINTR else { return }
                rest = rest.dropFirst(max(0, count))
            }
        }
    }

    func write(_ answer: RigAnswer, to request: RigRequest) {
        var answer = answer
        answer.i = request.i
        answer.ok = true
        write(answer)
    }
}

enum RigInput {
    static func request(_ line: String) -> RigRequest? {
        guard let request = try? JSONDecoder().decode(RigRequest.self, from: Data(line.utf8)) else {
            Console.note("not a request: \(line.prefix(200))")
            return nil
        }
        return request
    }

    /// The lines of stdin. Reading blocks, so it has a thread of its own, which ends with the process.
    static func lines() -> AsyncStream<String> {
        let (stream, continuation) = AsyncStream.makeStream(of: String.self)
        Thread.detachNewThread {
            while let line = readLine() {
                continuation.yield(line)
            }
            continuation.finish()
        }
        return stream
    }
}
