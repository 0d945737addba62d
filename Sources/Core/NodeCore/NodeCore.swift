// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiPeers

/// The whole node as one value: routes inputs to its cores and effects out of them. No logic of its own beyond wiring.
///
/// The same code runs under `NodeDriver` on sockets and under virtual time. The caller drains `nextEffect()` until nil
/// after every call, then sets one timer for `nextTimeout`. Time never goes back.
package struct NodeCore: Sendable {
    /// One case per core.
    package enum Input: Sendable {
        indirect case peers(PeersInput)
    }

    /// One case per core.
    package enum Effect: Sendable {
        indirect case peers(PeersEffect)
    }

    package private(set) var peers: PeersCore

    /// - Parameter seed: for the choices of cores that draw lots. PeersCore draws none.
    package init(configuration: PeersConfiguration, seed: UInt64, at now: Instant) {
        peers = PeersCore(configuration: configuration, at: now)
    }

    package mutating func handle(_ input: Input, at now: Instant) {
        switch input {
        case .peers(let input): peers.handle(input, at: now)
        }
    }

    package mutating func handleTimeout(at now: Instant) {
        peers.handleTimeout(at: now)
    }

    package var nextTimeout: Instant? {
        peers.nextTimeout
    }

    package mutating func nextEffect() -> Effect? {
        peers.nextEffect().map { .peers($0) }
    }
}
