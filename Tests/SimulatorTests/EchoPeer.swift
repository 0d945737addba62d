// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiSimulator

/// Sends what it is told to, tells what it gets, and has a timer that it can put off.
struct EchoPeer: SimulatedCore {
    typealias Message = Int
    typealias World = Int

    enum Command: Sendable {
        case send(PeerIndex, Int)
        case connect(PeerIndex)
        case setTimer(Instant)
    }

    enum Report: Hashable, Sendable {
        case got(Int, from: PeerIndex)
        case link(LinkChange, PeerIndex)
        case fired(Instant)
    }

    private var steps: [FleetStep<EchoPeer>] = []
    private(set) var nextTimeout: Instant?

    init(_ own: PeerIndex, world: Int, seed: UInt64, at now: Instant) {}

    mutating func restart(keepsDisk: Bool, world: Int, seed: UInt64, at now: Instant) {
        steps = []
        nextTimeout = nil
    }

    mutating func handle(_ command: Command, world: Int, at now: Instant) {
        switch command {
        case .send(let peer, let message): steps.append(.send(peer, message))
        case .connect(let peer): steps.append(.connect(peer))
        case .setTimer(let at): nextTimeout = at
        }
    }

    mutating func receive(_ message: consuming Int, from peer: PeerIndex, world: Int, at now: Instant) {
        steps.append(.report(.got(message, from: peer)))
    }

    mutating func linkChanged(_ change: LinkChange, with peer: PeerIndex, world: Int, at now: Instant) {
        steps.append(.report(.link(change, peer)))
    }

    mutating func handleTimeout(world: Int, at now: Instant) {
        nextTimeout = nil
        steps.append(.report(.fired(now)))
    }

    mutating func nextStep(world: Int, at now: Instant) -> FleetStep<EchoPeer>? {
        steps.isEmpty ? nil : steps.removeFirst()
    }

    static func byteCount(_ message: borrowing Int) -> Int { 100 }
    static func fingerprint(_ message: borrowing Int) -> UInt64 { UInt64(copy message) }
    static func isAnswer(_ message: borrowing Int) -> Bool { (copy message) >= 1_000_000 }
}
