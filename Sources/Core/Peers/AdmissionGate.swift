// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity

/// Decides, before a byte is read, whether an accepted socket may go on. It counts inbound connections from the moment
/// they are accepted until they are closed: in all, unauthenticated, by address and by group of addresses.
///
/// Rates count only sources that made us work: those whose connections took more than `processorShareMax` of a core.
/// A source is an IPv4 address or an IPv6 /56. An honest peer that reconnects often is never slowed down.
package struct AdmissionGate: Sendable {
    /// Why a socket may not go on.
    package struct Refusal: Hashable, Sendable {
        package let reason: StaticText
        /// The source has what it may have; else the node has.
        package let isOfSource: Bool
    }

    private struct SourceKey: Hashable, Sendable {
        enum Kind: UInt8, Hashable, Sendable {
            case ip4, ip4Group, ip6Group
        }
        let kind: Kind
        let prefix: UInt64
    }

    private struct Inbound: Sendable {
        let keys: [SourceKey]
        var isAuthenticated = false
        var processorPercent = 0
    }

    private struct Begun: Sendable {
        var handshakes: TokenBucket
        /// Moved on by each connection that broke the rules.
        var pausedUntil: Instant

        init(handshakes: TokenBucket, at now: Instant) {
            self.handshakes = handshakes
            pausedUntil = now
        }
    }

    private struct Busy: Sendable {
        var handshakes: TokenBucket
    }

    private let limits: NodeLimits
    private var inbound: [ConnectionID: Inbound] = [:]
    private var counts: [SourceKey: Int] = [:]
    private var percents: [SourceKey: Int] = [:]
    private var busy: [SourceKey: Busy] = [:]
    /// What each source may still begin; forgotten a second after the last, when it would be full again.
    private var begun: [SourceKey: Begun] = [:]
    private var begunEnds = TimerQueue<SourceKey>()
    /// Until when a busy source is held to the rates.
    private var timers = TimerQueue<SourceKey>()
    package private(set) var unauthenticatedCount = 0

    package init(limits: NodeLimits) {
        self.limits = limits
    }

    package var inboundCount: Int { inbound.count }
    package var busyCount: Int { busy.count }
    package var nextTimeout: Instant? { timers.next }
    /// Sources that have a counter; zero when nothing is connected.
    package var sourceCount: Int { counts.count }

    /// Nil: admitted, and counted until `closed`. Else why not.
    package mutating func accept(
        _ id: ConnectionID, remote: Multiaddr, connectionRoom: Int, at now: Instant
    ) -> Refusal? {
        if let reason = refusalOfAll(id, connectionRoom: connectionRoom) {
            return Refusal(reason: reason, isOfSource: false)
        }
        let keys = AdmissionGate.keys(of: remote)
        if let reason = refusal(of: keys, at: now) { return Refusal(reason: reason, isOfSource: true) }
        for key in keys { counts[key, default: 0] += 1 }
        inbound[id] = Inbound(keys: keys)
        unauthenticatedCount += 1
        return nil
    }

    private func refusalOfAll(_ id: ConnectionID, connectionRoom: Int) -> StaticText? {
        guard inbound[id] == nil else { return "connection id in use" }
        guard inbound.count < limits.connectionsInboundMax else { return "inbound connections" }
        guard connectionRoom > 0 else { return "connections" }
        guard unauthenticatedCount < limits.unauthenticatedMax else { return "unauthenticated connections" }
        return nil
    }

    /// Takes from the source's rates when it may go on.
    private mutating func refusal(of keys: [SourceKey], at now: Instant) -> StaticText? {
        for key in keys where counts[key, default: 0] >= countMax(key.kind) {
            return key.kind == .ip4 ? "connections of one address" : "connections of one address group"
        }
        for key in keys {
            guard var source = busy[key] else { continue }
            let taken = source.handshakes.take(at: now)
            busy[key] = source
            guard taken else { return "handshake rate of a busy address" }
        }
        for key in keys where key.kind != .ip4Group {
            guard mayBegin(key, at: now) else { return "handshake rate of one address" }
        }
        return nil
    }

    package func isInbound(_ id: ConnectionID) -> Bool { inbound[id] != nil }

    package func isUnauthenticated(_ id: ConnectionID) -> Bool { inbound[id]?.isAuthenticated == false }

    package mutating func authenticated(_ id: ConnectionID) {
        guard inbound[id]?.isAuthenticated == false else { return }
        inbound[id]?.isAuthenticated = true
        unauthenticatedCount -= 1
    }

    /// It is about to be closed for breaking the rules: whoever dials again only to do the same gets few turns.
    package mutating func violated(_ id: ConnectionID, at now: Instant) {
        guard let connection = inbound[id] else { return }
        for key in connection.keys where key.kind != .ip4Group {
            guard let pausedUntil = begun[key]?.pausedUntil else { continue }
            begun[key]?.pausedUntil = max(pausedUntil, now) + limits.violationPause
            begunEnds.set(key, at: max(pausedUntil, now) + .seconds(1))
        }
    }

    /// False: the id is not an inbound one.
    @discardableResult
    package mutating func closed(_ id: ConnectionID) -> Bool {
        guard let gone = inbound.removeValue(forKey: id) else { return false }
        if !gone.isAuthenticated { unauthenticatedCount -= 1 }
        for key in gone.keys {
            AdmissionGate.lower(&counts, key, by: 1)
            AdmissionGate.lower(&percents, key, by: gone.processorPercent)
        }
        return true
    }

    package mutating func processorUsed(_ id: ConnectionID, percent: Int, at now: Instant) {
        guard let connection = inbound[id] else { return }
        let percent = min(max(percent, 0), 10_000)
        inbound[id]?.processorPercent = percent
        for key in connection.keys where key.kind != .ip4Group {
            AdmissionGate.lower(&percents, key, by: connection.processorPercent)
            if percent > 0 { percents[key, default: 0] += percent }
            guard percents[key, default: 0] > limits.processorShareMax else { continue }
            if busy[key] == nil {
                let interval = Duration.seconds(1) / limits.handshakesPerSecondMax
                busy[key] = Busy(
                    handshakes: TokenBucket(interval: interval, burst: limits.handshakesPerSecondMax, at: now))
            }
            timers.set(key, at: now + limits.processorShareMemory)
        }
        while busy.count > limits.busySourcesMax, let earliest = timers.popExpired(at: .distantFuture) {
            busy[earliest] = nil
        }
    }

    package mutating func handleTimeout(at now: Instant) {
        while let key = timers.popExpired(at: now) { busy[key] = nil }
    }

    // MARK: Private parts

    /// Looks at no timer of its own: what is over is forgotten when somebody else comes.
    private mutating func mayBegin(_ key: SourceKey, at now: Instant) -> Bool {
        guard limits.handshakesPerSourceMax < .max else { return true }
        while let over = begunEnds.popExpired(at: now) { begun[over] = nil }
        while begun[key] == nil, begun.count >= limits.sourcesCountedMax {
            guard let quietest = begunEnds.popExpired(at: .distantFuture) else { break }
            begun[quietest] = nil
        }
        let interval = Duration.seconds(1) / limits.handshakesPerSourceMax
        var source =
            begun[key]
            ?? Begun(
                handshakes: TokenBucket(interval: interval, burst: limits.handshakesPerSourceMax, at: now), at: now)
        // As many broken connections as fit into a second are forgiven.
        let isForgiven = source.pausedUntil + limits.violationPause <= now + .seconds(1)
        let mayBegin = isForgiven && source.handshakes.take(at: now)
        begun[key] = source
        begunEnds.set(key, at: max(source.pausedUntil, now) + .seconds(1))
        return mayBegin
    }

    private func countMax(_ kind: SourceKey.Kind) -> Int {
        switch kind {
        case .ip4: limits.inboundPerIP4Max
        case .ip4Group: limits.inboundPerIP4GroupMax
        case .ip6Group: limits.inboundPerIP6GroupMax
        }
    }

    private static func keys(of remote: Multiaddr) -> [SourceKey] {
        switch remote.kind {
        case .ip4(let address):
            [
                SourceKey(kind: .ip4, prefix: UInt64(address)),
                SourceKey(kind: .ip4Group, prefix: UInt64(address >> 8)),
            ]
        case .ip6(let high, _): [SourceKey(kind: .ip6Group, prefix: high >> 8)]
        case .name, .memory, .unusable: linkLocalKeys(of: remote)
        }
    }

    /// Addresses that can't be dialled can still dial us: link-local ones.
    private static func linkLocalKeys(of remote: Multiaddr) -> [SourceKey] {
        for component in remote.components {
            if case .ip6(let high, _) = component { return [SourceKey(kind: .ip6Group, prefix: high >> 8)] }
            if case .ip4(let address) = component { return [SourceKey(kind: .ip4, prefix: UInt64(address))] }
        }
        return []
    }

    private static func lower(_ table: inout [SourceKey: Int], _ key: SourceKey, by amount: Int) {
        guard let value = table[key] else { return }
        table[key] = value > amount ? value - amount : nil
    }
}
