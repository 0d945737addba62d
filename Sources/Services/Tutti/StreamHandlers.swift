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

    private let entries = Mutex<[ProtocolID: Entry]>([:])

    func set(_ name: ProtocolID, inboundMax: Int, _ body: @escaping StreamHandler) {
        entries.withLock { $0[name] = Entry(inboundMax: inboundMax, body: body) }
    }

    func remove(_ name: ProtocolID) {
        entries.withLock { $0[name] = nil }
    }

    func body(for name: ProtocolID) -> StreamHandler? {
        entries.withLock { $0[name]?.body }
    }

    /// Those of the node's own cores come first; an embedder can't take them over.
    var table: ProtocolTable {
        var table = ProtocolTable()
        entries.withLock { entries in
            for (name, entry) in entries {
                table.entries[name] = .init(owner: .application, inboundMax: entry.inboundMax)
            }
        }
        table.entries["/ipfs/ping/1.0.0"] = .init(owner: .ping, inboundMax: 2)
        return table
    }
}
