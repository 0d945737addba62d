// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

/// A peer as a `Fleet` drives it: one core, the calls that a node makes to it, and what stands around it in a node
/// (streams for requests, verdicts of an application) done at once.
package protocol SimulatedCore: Sendable {
    /// What travels from peer to peer, inline in an event.
    associatedtype Message: Sendable
    /// What a scenario wants of a peer.
    associatedtype Command: Sendable
    /// What a scenario is told.
    associatedtype Report: Sendable
    /// What all peers of a fleet share and none changes.
    associatedtype World: Sendable

    init(_ own: PeerIndex, world: World, seed: UInt64, at now: Instant)

    /// The process ended and begins anew; `keepsDisk`: with what a node would have stored.
    mutating func restart(keepsDisk: Bool, world: World, seed: UInt64, at now: Instant)
    mutating func handle(_ command: Command, world: World, at now: Instant)
    mutating func receive(_ message: consuming Message, from peer: PeerIndex, world: World, at now: Instant)
    mutating func linkChanged(_ change: LinkChange, with peer: PeerIndex, world: World, at now: Instant)
    mutating func handleTimeout(world: World, at now: Instant)
    var nextTimeout: Instant? { get }
    mutating func nextStep(world: World, at now: Instant) -> FleetStep<Self>?

    /// Reads what the next event will need beyond the peer itself, a message of `peer` or a timer, and changes nothing.
    /// The number says nothing; it keeps the reads from being left out.
    mutating func warm(for peer: PeerIndex?, world: World) -> UInt64

    /// About what the message takes on the wire.
    static func byteCount(_ message: borrowing Message) -> Int
    /// A word that tells this message from others, for the digest.
    static func fingerprint(_ message: borrowing Message) -> UInt64
    /// Passes into a peer that nobody can dial: it answers what that peer asked.
    static func isAnswer(_ message: borrowing Message) -> Bool
}

extension SimulatedCore {
    package mutating func warm(for peer: PeerIndex?, world: World) -> UInt64 { 0 }
}

package enum LinkChange: Hashable, Sendable {
    case up(Direction)
    case down
    /// A dial came to nothing.
    case failed
}

/// What a peer does next.
package enum FleetStep<Core: SimulatedCore>: Sendable {
    case send(PeerIndex, Core.Message)
    case connect(PeerIndex)
    case release(PeerIndex)
    case report(Core.Report)
}
