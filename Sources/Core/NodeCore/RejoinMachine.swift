// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity

/// Whom a node asks to take it into the mesh, and when: while it wants neighbours, has none, and is connected to peers
/// that speak the mesh's protocol.
///
/// One at a time: those that had no turn yet by lot, then whoever waits longest; first after `delayMin`, then after twice as
/// long each time, up to `delayMax`. A neighbour ends that. It doesn't join, nor know whether a join is answered: what
/// leads to no neighbour has failed.
///
///     idle -> waiting -> (asked) waiting … -> (a neighbour, a farewell, nobody to ask) idle
package struct RejoinMachine: Sendable {
    package static let delayMin = Duration.seconds(1)
    package static let delayMax = Duration.seconds(30)

    private enum State: Sendable {
        case idle
        case waiting(until: Instant)
    }

    private var state = State.idle
    private var delay = delayMin
    /// Connected peers that have had a turn, and which one was theirs last.
    private var turns: [PeerID: UInt64] = [:]
    private var lastTurn: UInt64 = 0
    private var generator: SeededGenerator

    package init(seed: UInt64) {
        generator = SeededGenerator(seed: seed)
    }

    /// Nil unless it has somebody to ask.
    package var nextTimeout: Instant? {
        switch state {
        case .idle: nil
        case .waiting(let until): until
        }
    }

    package func wasAsked(_ peer: PeerID) -> Bool { turns[peer] != nil }

    // MARK: Inputs

    /// What may have changed since the last call.
    /// - Parameters:
    ///   - isAlone: It wants neighbours and has none.
    ///   - canAsk: Somebody who speaks the mesh's protocol is connected.
    package mutating func update(isAlone: Bool, canAsk: Bool, at now: Instant) {
        switch state {
        case .idle:
            if isAlone, canAsk { state = .waiting(until: now + delay) }
        case .waiting:
            if !isAlone || !canAsk { state = .idle }
        }
        if !isAlone {
            delay = Self.delayMin
            if !turns.isEmpty { turns = [:] }
        }
    }

    /// This peer's turn, of its own accord.
    package mutating func didAsk(_ peer: PeerID) {
        lastTurn &+= 1
        turns[peer] = lastTurn
    }

    package mutating func peerDisconnected(_ peer: PeerID) {
        turns[peer] = nil
    }

    // MARK: Timeouts

    /// Whose turn it is, if time is up.
    /// - Parameter connected: Who speaks the mesh's protocol, sorted.
    package mutating func handleTimeout(at now: Instant, connected: [PeerID]) -> PeerID? {
        switch state {
        case .idle:
            return nil
        case .waiting(let until):
            guard until <= now else { return nil }
            let others = connected.filter { turns[$0] == nil }
            let next =
                others.randomElement(using: &generator)
                ?? connected.min { turns[$0, default: 0] < turns[$1, default: 0] }
            guard let next else {
                state = .idle
                return nil
            }
            didAsk(next)
            delay = min(delay * 2, Self.delayMax)
            state = .waiting(until: now + delay)
            return next
        }
    }
}
