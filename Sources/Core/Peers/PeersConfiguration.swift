// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
import TuttiConnection
package import TuttiIdentity

package struct PeersConfiguration: Sendable {
    package var identity: KeyPair
    package var limits: NodeLimits
    /// `agentVersion` of identify: name/version.
    package var agent: String
    /// `protocolVersion` of identify.
    package var protocolVersion = "tutti/1"
    /// In the order in which they are proposed. Each attempt proposes one.
    package var securities: [ProtocolID]
    /// The first sequence number of our signed record. It must be higher than in earlier runs under the same key, so a
    /// live node passes the time of its start.
    package var recordSequence: UInt64 = 1
    /// Lets `/memory/N` be dialled, for nodes of one process.
    package var dialsMemory = false
    /// Asked before a socket is admitted (no peer yet), before an address is dialled, and when the peer is proven.
    package var gate: @Sendable (Direction, Multiaddr, PeerID?) -> Bool = { _, _, _ in true }

    package init(identity: KeyPair, limits: NodeLimits, agent: String, securities: [ProtocolID] = [.noise, .tls]) {
        self.identity = identity
        self.limits = limits
        self.agent = agent
        self.securities = securities
    }
}
