// SPDX-License-Identifier: Apache-2.0
import Synchronization
import TuttiBase
import TuttiIdentity
import TuttiTransport

/// Who is connected, and which connection takes new streams: written by NodeDriver, read on any thread.
///
/// Opening a stream to a connected peer thereby needs no visit to NodeDriver's loop. Bounded by the limit of connections.
final class PeerDirectory: Sendable {
    private struct Entry: Sendable {
        var preferred: ConnectionHandle
        var description: PeerDescription?
    }

    private let entries = Mutex<[PeerID: Entry]>([:])

    var peers: [PeerID] {
        entries.withLock { Array($0.keys) }.sorted()
    }

    var count: Int {
        entries.withLock { $0.count }
    }

    func preferred(_ peer: PeerID) -> ConnectionHandle? {
        entries.withLock { $0[peer]?.preferred }
    }

    func description(of peer: PeerID) -> PeerDescription? {
        entries.withLock { $0[peer]?.description }
    }

    func isConnected(_ peer: PeerID) -> Bool {
        entries.withLock { $0[peer] != nil }
    }

    func prefer(_ handle: ConnectionHandle, for peer: PeerID) {
        entries.withLock { entries in
            if entries[peer] == nil {
                entries[peer] = Entry(preferred: handle, description: nil)
            } else {
                entries[peer]?.preferred = handle
            }
        }
    }

    func describe(_ peer: PeerID, as description: PeerDescription) {
        entries.withLock { $0[peer]?.description = description }
    }

    func remove(_ peer: PeerID) {
        entries.withLock { $0[peer] = nil }
    }

    func removeAll() {
        entries.withLock { $0.removeAll() }
    }
}
