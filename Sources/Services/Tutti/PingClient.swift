// SPDX-License-Identifier: Apache-2.0
import NIOCore
import TuttiBase

/// The asking side of `/ipfs/ping/1.0.0`; connections answer by themselves.
enum PingClient {
    static let protocolID: ProtocolID = "/ipfs/ping/1.0.0"
    private static let payloadBytes = 32

    static func measure(on stream: NodeStream, count: Int) async throws(NodeError) -> [Duration] {
        var source = KeySource.system
        var roundTrips: [Duration] = []
        roundTrips.reserveCapacity(min(count, 1 << 16))
        for _ in 0..<max(0, count) {
            let payload = ByteBuffer(bytes: source.nextBytes32().bytes)
            let sent = ContinuousClock.now
            try await stream.write(payload)
            let answer = try await stream.read(exactly: payloadBytes)
            roundTrips.append(sent.duration(to: .now))
            guard answer == payload else {
                stream.reset()
                throw NodeError(
                    code: .protocolViolation, peer: stream.peer, stage: .stream,
                    message: "the peer answered a ping with other bytes: its ping is broken")
            }
        }
        stream.finish()
        return roundTrips
    }
}
