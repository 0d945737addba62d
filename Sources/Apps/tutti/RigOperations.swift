// SPDX-License-Identifier: Apache-2.0
import Foundation
import Tutti

/// Does what a rig asks for.
struct RigOperations: Sendable {
    struct Refusal: Error, CustomStringConvertible {
        let description: String
    }

    private static let dialDeadline = Duration.seconds(15)
    private static let deadline = Duration.seconds(600)
    let node: Node

    func answer(_ request: RigRequest, to output: RigOutput) async {
        do {
            guard request.op != "hold" else {
                // Answered when all are up, and held until the program ends.
                return try await RigHolder.hold(try address(request), count: request.count ?? 1) { count in
                    output.write(RigAnswer(held: count), to: request)
                }
            }
            output.write(try await perform(request, output), to: request)
        } catch {
            output.write(RigAnswer(i: request.i, err: "\(error)"))
        }
    }

    private func perform(_ request: RigRequest, _ output: RigOutput) async throws -> RigAnswer {
        switch request.op {
        case "connect":
            try await connect(try address(request))
            return RigAnswer()
        case "disconnect":
            try await node.disconnect(try Self.peer(request), deadline: Self.dialDeadline)
            return RigAnswer()
        case "ping":
            let trips = try await node.ping(try Self.peer(request), count: request.count ?? 5, deadline: Self.deadline)
            return RigAnswer(rtt_us: trips.map { Console.seconds($0) * 1e6 })
        case "protocols":
            let profile = try await node.profile(of: try Self.peer(request), deadline: Self.dialDeadline)
            return RigAnswer(
                protocols: profile.protocols.map(\.name), agent: profile.agent, proto_version: profile.protocolVersion)
        case "echo": return try await echo(request)
        case "streams": return try await streams(request)
        case "cycle": return try await cycle(request)
        case "first_byte": return try await firstByte(request)
        case "bulk":
            let stream = try await node.open(
                ProtocolID(request.proto ?? "/bulk/1.0.0"), to: try Self.peer(request), deadline: Self.dialDeadline)
            return RigAnswer(seconds: try await RigServer.sendBulk(request.bytes ?? 0, on: stream))
        case "perf":
            let result = try await node.perf(
                try Self.peer(request), upload: request.up ?? 0, download: request.down ?? 0, deadline: Self.deadline)
            return RigAnswer(seconds: Console.seconds(result.upload + result.download))
        default: return try await RigOverlays(node: node).perform(request, output)
        }
    }

    private func address(_ request: RigRequest) throws -> Multiaddr {
        guard let text = request.addr, let address = Multiaddr(text) else {
            throw Refusal(description: "addr is missing or not a multiaddr")
        }
        return address
    }

    static func peer(_ request: RigRequest) throws -> PeerID {
        guard let text = request.peer, let peer = PeerID(text) else {
            throw Refusal(description: "peer is missing or not a peer id")
        }
        return peer
    }

    /// Dial, secure, multiplex, identify.
    @discardableResult
    private func connect(_ address: Multiaddr) async throws -> PeerID {
        let peer = try await node.dial(at: [address], deadline: Self.dialDeadline)
        _ = try await node.profile(of: peer, deadline: Self.dialDeadline)
        return peer
    }

    private func echo(_ request: RigRequest) async throws -> RigAnswer {
        guard let text = request.data, let data = Data(base64Encoded: text) else {
            throw Refusal(description: "data is missing or not base64")
        }
        let stream = try await node.open(
            ProtocolID(request.proto ?? "/echo/1.0.0"), to: try Self.peer(request), deadline: Self.dialDeadline)
        let sent = ByteBuffer(bytes: data)
        // Both ways at once: the peer's answers must be read while ours are on their way.
        async let written: Void = stream.write(sent)
        let answer = try await stream.read(exactly: sent.readableBytes)
        try await written
        stream.closeWriting()
        return RigAnswer(data: Data(answer.readableBytesView).base64EncodedString())
    }

    private func streams(_ request: RigRequest) async throws -> RigAnswer {
        let peer = try Self.peer(request)
        let name = ProtocolID(request.proto ?? "/ipfs/ping/1.0.0")
        let parallel = max(1, request.par ?? 1)
        let each = (request.count ?? 1) / parallel
        let began = ContinuousClock.now
        try await withThrowingDiscardingTaskGroup { group in
            for worker in 0..<parallel {
                group.addTask {
                    let payload = ByteBuffer(repeating: UInt8(truncatingIfNeeded: worker), count: 32)
                    for _ in 0..<each {
                        let stream = try await node.open(name, to: peer, deadline: Self.dialDeadline)
                        try await stream.write(payload)
                        guard try await stream.read(exactly: 32) == payload else {
                            throw Refusal(description: "the echo differs")
                        }
                        stream.closeWriting()
                    }
                }
            }
        }
        return RigAnswer(seconds: Console.seconds(began.duration(to: .now)))
    }

    private func cycle(_ request: RigRequest) async throws -> RigAnswer {
        let address = try address(request)
        let began = ContinuousClock.now
        for _ in 0..<(request.count ?? 1) {
            let peer = try await connect(address)
            try await node.disconnect(peer, deadline: Self.dialDeadline)
        }
        return RigAnswer(seconds: Console.seconds(began.duration(to: .now)))
    }

    /// From nothing to one byte back: what a user waits for. identify goes on beside it.
    private func firstByte(_ request: RigRequest) async throws -> RigAnswer {
        let address = try address(request)
        let began = ContinuousClock.now
        let peer = try await node.dial(at: [address], deadline: Self.dialDeadline)
        let stream = try await node.open(
            ProtocolID(request.proto ?? "/echo/1.0.0"), to: peer, deadline: Self.dialDeadline)
        try await stream.write(ByteBuffer(bytes: [1]))
        _ = try await stream.read(exactly: 1)
        let seconds = Console.seconds(began.duration(to: .now))
        stream.closeWriting()
        try await node.disconnect(peer, deadline: Self.dialDeadline)
        return RigAnswer(seconds: seconds)
    }
}
