// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import Tutti

extension AttackTests {
    @Suite("Unread streams")
    struct UnreadStreams {
        @Test(
            "One stream that nobody reads leaves ping and a second stream at their normal times",
            arguments: NodeConfiguration.Security.allCases)
        func unread(_ security: NodeConfiguration.Security) async throws {
            var configuration = NodeConfiguration()
            configuration.securities = [security]
            let listener = try Node(configuration: configuration)
            listener.handle("/echo") { stream in
                while let batch = try await stream.readBatch() {
                    for part in batch { try await stream.write(part) }
                }
            }
            listener.handle("/stuck") { _ in await untilCancelled() }
            configuration.listen = []
            let dialler = try Node(configuration: configuration)
            try await withNode(listener) { listener in
                let addresses = try await listener.listenAddresses
                try await withNode(dialler) { dialler in
                    let peer = try await dialler.dial(at: addresses)
                    let second = try await dialler.open("/echo", to: peer)
                    var ratios = (ping: Double.infinity, echo: Double.infinity)
                    for attempt in 1...3 {
                        _ = try await dialler.ping(peer, count: 100)
                        _ = try await Self.echoes(second, 50)
                        let pingBefore = try await dialler.ping(peer, count: 400)
                        let echoBefore = try await Self.echoes(second, 200)
                        let stuck = try await dialler.open("/stuck", to: peer)
                        await #expect(throws: NodeError.self) {
                            while true {
                                try await stuck.write(
                                    ByteBuffer(repeating: 0, count: 65_536), deadline: .milliseconds(100))
                            }
                        }
                        let waiting = try await dialler.open("/stuck", to: peer)
                        try await waiting.write(ByteBuffer(repeating: 0, count: 1 << 20))
                        let pingAfter = try await dialler.ping(peer, count: 400)
                        let echoAfter = try await Self.echoes(second, 200)
                        stuck.reset()
                        waiting.reset()
                        ratios = (median(pingAfter) / median(pingBefore), median(echoAfter) / median(echoBefore))
                        print(
                            String(
                                format:
                                    "unread stream, %@, attempt %d: ping %.0f -> %.0f us (%.2f), "
                                    + "echo %.0f -> %.0f us (%.2f)",
                                security.rawValue, attempt, median(pingBefore), median(pingAfter), ratios.ping,
                                median(echoBefore), median(echoAfter), ratios.echo))
                        if ratios.ping <= 1.5, ratios.echo <= 1.5 { break }
                    }
                    #expect(ratios.ping <= 1.5)
                    #expect(ratios.echo <= 1.5)
                }
            }
        }

        private static func echoes(_ stream: NodeStream, _ count: Int) async throws -> [Duration] {
            let payload = ByteBuffer(repeating: 7, count: 16 * 1024)
            let clock = ContinuousClock()
            var trips: [Duration] = []
            for _ in 0..<count {
                trips.append(
                    try await clock.measure {
                        try await stream.write(payload)
                        _ = try await stream.read(exactly: payload.readableBytes)
                    })
            }
            return trips
        }
    }
}
