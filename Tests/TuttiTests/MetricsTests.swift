// SPDX-License-Identifier: Apache-2.0
import CoreMetrics
import Synchronization
import Testing
import Tutti

/// Keeps what is counted, by label and dimensions.
private final class TestMetrics: MetricsFactory {
    fileprivate final class Handler: CounterHandler, RecorderHandler, TimerHandler {
        private let key: String
        private let values: TestMetrics

        init(_ key: String, _ values: TestMetrics) {
            self.key = key
            self.values = values
        }

        func increment(by amount: Int64) { values.change(key) { $0 += amount } }
        func reset() { values.change(key) { $0 = 0 } }
        func record(_ value: Int64) { values.change(key) { $0 = value } }
        func record(_ value: Double) { values.change(key) { $0 = Int64(value) } }
        func recordNanoseconds(_ duration: Int64) { values.change(key) { $0 = duration } }
    }

    private let counts = Mutex<[String: Int64]>([:])

    subscript(_ key: String) -> Int64? { counts.withLock { $0[key] } }
    var keys: [String] { counts.withLock { $0.keys.sorted() } }

    fileprivate func change(_ key: String, _ body: (inout Int64) -> Void) {
        counts.withLock { body(&$0[key, default: 0]) }
    }

    private func handler(_ label: String, _ dimensions: [(String, String)]) -> Handler {
        Handler(([label] + dimensions.map { "\($0.0)=\($0.1)" }).joined(separator: " "), self)
    }

    func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
        handler(label, dimensions)
    }
    func makeRecorder(label: String, dimensions: [(String, String)], aggregate: Bool) -> any RecorderHandler {
        handler(label, dimensions)
    }
    func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
        handler(label, dimensions)
    }
    func destroyCounter(_ handler: any CounterHandler) {}
    func destroyRecorder(_ handler: any RecorderHandler) {}
    func destroyTimer(_ handler: any TimerHandler) {}
}

@Suite("Metrics", .timeLimit(.minutes(1)))
struct MetricsTests {
    @Test("A dial, a stream and a refused connection are counted, each once and without a peer in any label")
    func counts() async throws {
        let network = InMemoryNetwork()
        let (dialling, listening, refusing) = (TestMetrics(), TestMetrics(), TestMetrics())
        let dialler = try makeNode(.memory, network) { $0.metricsFactory = dialling }
        let listener = try makeNode(.memory, network) { $0.metricsFactory = listening }
        let closed = try makeNode(.memory, network) {
            $0.metricsFactory = refusing
            $0.gate = { _, _, direction in direction == .outbound }
        }
        listener.echo()
        // Counts go out when a node has stopped, at the latest.
        try await withNode(closed) { closed in
            try await withNode(listener) { listener in
                try await withNode(dialler) { dialler in
                    let stream = try await dialler.open(
                        "/echo/1.0.0", to: listener.peerID, at: try await listener.listenAddresses)
                    try await stream.write(ByteBuffer(string: "hello"))
                    #expect(try await stream.read(exactly: 5) == ByteBuffer(string: "hello"))
                    stream.closeWriting()
                    _ = try await dialler.profile(of: listener.peerID)
                    await #expect(throws: NodeError.self) {
                        try await dialler.dial(closed.peerID, at: try await closed.listenAddresses)
                    }
                }
            }
        }
        #expect(dialling["tutti_dials_total result=requested"] == 2)
        #expect(dialling["tutti_dials_total result=connected"] == 1)
        #expect(dialling["tutti_dials_total result=rejected"] == 1)
        #expect(dialling["tutti_attempts_failed_total reason=transport"] == 1)
        #expect(dialling["tutti_connections_established_total"] == 1)
        #expect(dialling["tutti_identify_total what=received"] == 1)
        #expect(dialling["tutti_connections_closed_total reason=local"] == 1)
        #expect(dialling["tutti_peers_connected"] == 0)
        #expect(listening["tutti_inbound_total result=admitted"] == 1)
        #expect(listening["tutti_inbound_total result=refused"] == nil)
        #expect(listening["tutti_connections_established_total"] == 1)
        #expect(refusing["tutti_inbound_total result=refused"] == 1)
        #expect(refusing["tutti_connections_established_total"] == nil)
        for node in [dialler, listener, closed] {
            #expect(!(dialling.keys + listening.keys).contains { $0.contains("\(node.peerID)") })
        }
    }
}
