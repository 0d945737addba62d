// SPDX-License-Identifier: Apache-2.0
import Foundation

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

/// A published message, as it arrived.
struct RigMessage: Encodable, Sendable {
    let event = "msg"
    let topic: String
    let from: String
    let data: String
    /// Unix seconds.
    let t: Double
}

/// Writes whole lines, one at a time.
actor RigOutput {
    func write(_ message: some Encodable & Sendable) {
        guard let line = try? Console.json(message) else { return }
        Console.print(line)
    }

    func write(_ answer: RigAnswer, to request: RigRequest) {
        var answer = answer
        answer.i = request.i
        answer.ok = true
        write(answer)
    }
}

enum RigInput {
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
