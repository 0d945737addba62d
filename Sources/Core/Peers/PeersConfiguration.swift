// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiConnection
package import TuttiIdentity

/// What this node allows, everywhere. Two named profiles: `internet` and `lab`.
package struct NodeLimits: Hashable, Sendable {
    package var connection = ConnectionLimits()
    package var connectionsInboundMax = 128
    package var connectionsMax = 192
    package static let internet = NodeLimits()
    package static let lab = NodeLimits()
    package init() {}
}

/// STUB: grows on branch `h/peers`.
package struct PeersConfiguration: Sendable {
    package var identity: KeyPair
    package var limits: NodeLimits
    package var agent: String
    /// In the order in which they are proposed.
    package var securities: [ProtocolID]
    package init(identity: KeyPair, limits: NodeLimits, agent: String, securities: [ProtocolID] = [.noise, .tls]) {
        self.identity = identity
        self.limits = limits
        self.agent = agent
        self.securities = securities
    }
}
