// SPDX-License-Identifier: Apache-2.0
import Metrics
import TuttiBase
import TuttiConnection

/// Every metric of a node. Labels are from short fixed lists: never a peer, never an address.
struct NodeMetrics: Sendable {
    private let peersConnected = Gauge(label: "tutti_peers_connected")
    private let dialsSucceeded = Counter(label: "tutti_dials_total", dimensions: [("result", "connected")])
    private let establishedInbound = Self.established("inbound")
    private let establishedOutbound = Self.established("outbound")
    private let inboundRefused = Counter(label: "tutti_inbound_refused_total")
    private let pings = Timer(label: "tutti_round_trip_nanoseconds")
    private let attemptsFailed = EndCounters(label: "tutti_attempts_failed_total")
    private let connectionsClosed = EndCounters(label: "tutti_connections_closed_total")

    private struct Established: Sendable {
        let noise: Counter
        let tls: Counter
    }

    /// One counter per way in which a connection ends.
    private struct EndCounters: Sendable {
        let local: Counter
        let remote: Counter
        let violation: Counter
        let timeout: Counter
        let transport: Counter

        init(label: String) {
            func counter(_ reason: String) -> Counter {
                Counter(label: label, dimensions: [("reason", reason)])
            }
            local = counter("local")
            remote = counter("remote")
            violation = counter("violation")
            timeout = counter("timeout")
            transport = counter("transport")
        }

        func increment(_ reason: CloseReason) {
            switch reason {
            case .local: local.increment()
            case .remote: remote.increment()
            case .violation: violation.increment()
            case .timeout: timeout.increment()
            case .transport: transport.increment()
            }
        }
    }

    private static func established(_ direction: String) -> Established {
        func counter(_ security: String) -> Counter {
            Counter(
                label: "tutti_connections_established_total",
                dimensions: [("direction", direction), ("security", security)])
        }
        return Established(noise: counter("noise"), tls: counter("tls"))
    }

    func established(_ direction: Direction, security: ProtocolID) {
        let counters = direction == .inbound ? establishedInbound : establishedOutbound
        (security == .tls ? counters.tls : counters.noise).increment()
    }

    func dialed() { dialsSucceeded.increment() }
    func refused() { inboundRefused.increment() }
    func peers(_ count: Int) { peersConnected.record(count) }
    func roundTrip(_ duration: Duration) { pings.recordNanoseconds(duration.saturatedNanoseconds) }
    func dialFailed(_ reason: CloseReason) { attemptsFailed.increment(reason) }
    func closed(_ reason: CloseReason) { connectionsClosed.increment(reason) }
}
