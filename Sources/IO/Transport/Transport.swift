// SPDX-License-Identifier: Apache-2.0
package import NIOCore
package import TuttiBase
package import TuttiConnection
package import TuttiIdentity

/// STUB: bodies follow on branch `h/transport`; the signatures hold.
/// Sockets: listeners, dials, names. One instance per node.
package final class Transport: Sendable {
    package init(
        identity: KeyPair, configuration: ConnectionConfiguration, protocols: ProtocolTable,
        group: any EventLoopGroup, owner: any ConnectionOwner
    ) throws {}
    /// Binds `/ip4|ip6/…/tcp/…` (port 0: the system chooses). Returns the bound addresses, interfaces expanded.
    package func listen(on address: Multiaddr) async throws -> [Multiaddr] { [] }
    package func dial(_ id: ConnectionID, to address: Multiaddr, expected: PeerID?, security: ProtocolID, timeout: Duration) {}
    package func cancelDial(_ id: ConnectionID) {}
    /// `/dns`, `/dns4`, `/dns6`, `/dnsaddr` -> addresses, at most 16; empty when there are none.
    package func resolve(_ address: Multiaddr) async -> [Multiaddr] { [] }
    /// For connections made from now on; living ones get `.setProtocols`.
    package func setProtocols(_ protocols: ProtocolTable) {}
    /// Stops listening; living connections are the owner's to close.
    package func close() async {}
}
