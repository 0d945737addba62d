// SPDX-License-Identifier: Apache-2.0
import Metrics
import TuttiBase
import TuttiConnection
import TuttiJournal
import TuttiPeers

/// Every metric of a node, made of its cores' counts. Labels are from short fixed lists: never a peer or an address.
struct NodeMetrics {
    /// A count of PeersCore and the counter that follows it.
    private struct Followed {
        let count: KeyPath<PeersStats, UInt64>
        let counter: Counter
    }

    private let followed: [Followed]
    private let attemptsFailed: EndCounters
    private let connectionsClosed: EndCounters
    private let turnedAway: Counter
    private let peersConnected: Gauge
    private let connectionsOpen: Gauge
    private let roundTrips: Timer
    private var exported = PeersStats()
    private var turnedAwayExported: UInt64 = 0
    private let factory: any MetricsFactory
    /// Of the journal, made when a replica first has counts.
    private var journal: [(counter: Counter, exported: UInt64)] = []

    init(factory: any MetricsFactory) {
        self.factory = factory
        attemptsFailed = EndCounters(label: "tutti_attempts_failed_total", factory: factory)
        connectionsClosed = EndCounters(label: "tutti_connections_closed_total", factory: factory)
        turnedAway = Counter(
            label: "tutti_inbound_total", dimensions: [("result", "turned_away")], factory: factory)
        peersConnected = Gauge(label: "tutti_peers_connected", factory: factory)
        connectionsOpen = Gauge(label: "tutti_connections_open", factory: factory)
        roundTrips = Timer(label: "tutti_round_trip_nanoseconds", factory: factory)
        let labels: [(KeyPath<PeersStats, UInt64>, String, [(String, String)])] = [
            (\.dialsRequested, "tutti_dials_total", [("result", "requested")]),
            (\.dialsSucceeded, "tutti_dials_total", [("result", "connected")]),
            (\.dialsRejected, "tutti_dials_total", [("result", "rejected")]),
            (\.attempts, "tutti_dial_attempts_total", [("result", "begun")]),
            (\.attemptsFailed, "tutti_dial_attempts_total", [("result", "failed")]),
            (\.attemptsCancelled, "tutti_dial_attempts_total", [("result", "cancelled")]),
            (\.securityFallbacks, "tutti_security_fallbacks_total", []),
            (\.resolutions, "tutti_resolutions_total", []),
            (\.inboundAdmitted, "tutti_inbound_total", [("result", "admitted")]),
            (\.inboundRefused, "tutti_inbound_total", [("result", "refused")]),
            (\.connectionsEstablished, "tutti_connections_established_total", []),
            (\.connectionsSurplus, "tutti_connections_retired_total", [("why", "surplus")]),
            (\.connectionsTrimmed, "tutti_connections_retired_total", [("why", "high_water")]),
            (\.identifyReceived, "tutti_identify_total", [("what", "received")]),
            (\.identifyFailed, "tutti_identify_total", [("what", "failed")]),
            (\.identifyViolations, "tutti_identify_total", [("what", "violation")]),
            (\.pushesSent, "tutti_identify_pushes_total", [("direction", "out")]),
            (\.pushesReceived, "tutti_identify_pushes_total", [("direction", "in")]),
            (\.lateInputs, "tutti_late_inputs_total", []),
        ]
        followed = labels.map { count, label, dimensions in
            Followed(count: count, counter: Counter(label: label, dimensions: dimensions, factory: factory))
        }
    }

    mutating func export(_ stats: PeersStats, turnedAway count: UInt64, peers: Int, connections: Int) {
        for item in followed {
            let new = stats[keyPath: item.count] &- exported[keyPath: item.count]
            if new > 0 { item.counter.increment(by: Int64(clamping: new)) }
        }
        exported = stats
        if count > turnedAwayExported { turnedAway.increment(by: Int64(clamping: count - turnedAwayExported)) }
        turnedAwayExported = count
        peersConnected.record(peers)
        connectionsOpen.record(connections)
    }

    /// - Parameter counts: the same ones each time, in the same order.
    mutating func export(_ counts: [JournalCount]) {
        if journal.isEmpty {
            journal = counts.map { count in
                let label = "tutti_\(Self.name(of: count.group))_total"
                return (Counter(label: label, dimensions: [("what", count.name)], factory: factory), 0)
            }
        }
        for (place, count) in counts.enumerated() where place < journal.count {
            // A replica that began anew counts from zero.
            let new = count.count &- (count.count < journal[place].exported ? 0 : journal[place].exported)
            if new > 0 { journal[place].counter.increment(by: Int64(clamping: new)) }
            journal[place].exported = count.count
        }
    }

    private static func name(of group: JournalCount.Group) -> String {
        switch group {
        case .journal: "journal"
        case .sync: "sync"
        case .violations: "sync_violations"
        case .refusals: "sync_refusals"
        case .witness: "witness"
        }
    }

    func roundTrip(_ duration: Duration) { roundTrips.recordNanoseconds(duration.saturatedNanoseconds) }
    func attemptFailed(_ reason: CloseReason) { attemptsFailed.increment(reason) }
    func closed(_ reason: CloseReason) { connectionsClosed.increment(reason) }
}

/// One counter per way in which a connection ends.
private struct EndCounters {
    private let local: Counter
    private let remote: Counter
    private let violation: Counter
    private let timeout: Counter
    private let transport: Counter

    init(label: String, factory: any MetricsFactory) {
        func counter(_ reason: String) -> Counter {
            Counter(label: label, dimensions: [("reason", reason)], factory: factory)
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
