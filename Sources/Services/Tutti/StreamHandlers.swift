// SPDX-License-Identifier: Apache-2.0
import Synchronization
import TuttiBase
import TuttiPeers
import TuttiTransport

/// What an embedder does with one inbound stream.
typealias StreamHandler = @Sendable (NodeStream) async throws -> Void

/// The protocols that this node answers to, and who answers.
final class StreamHandlers: Sendable {
    private struct Entry: Sendable {
        let inboundMax: Int
        let body: StreamHandler
    }

    /// Streams of one core protocol that one connection may hold open; each is one message.
    private static let coreInboundMax = 4

    private let pingInboundMax: Int
    private let entries = Mutex<[ProtocolID: Entry]>([:])

    init(limits: NodeConfiguration.Limits) {
        pingInboundMax =
            switch limits {
            case .internet: 2
            case .lab: 64
            }
    }

    func set(_ name: ProtocolID, inboundMax: Int, _ body: @escaping StreamHandler) {
        entries.withLock { $0[name] = Entry(inboundMax: inboundMax, body: body) }
    }

    func remove(_ name: ProtocolID) {
        entries.withLock { $0[name] = nil }
    }

    func body(for name: ProtocolID) -> StreamHandler? {
        entries.withLock { $0[name]?.body }
    }

    /// The node's own protocols and the embedder's; an embedder can't take over the node's.
    var table: ProtocolTable {
        var all: [ProtocolID: ProtocolTable.Entry] = [:]
        entries.withLock { entries in
            for (name, entry) in entries {
                all[name] = .init(owner: .application, inboundMax: entry.inboundMax)
            }
        }
        for name in PeersCore.protocols {
            all[name] = .init(owner: .core(messageBytesMax: PeersCore.messageBytesMax), inboundMax: Self.coreInboundMax)
        }
        all[PingClient.protocolID] = .init(owner: .ping, inboundMax: pingInboundMax)
        return ProtocolTable(entries: all)
    }
}
