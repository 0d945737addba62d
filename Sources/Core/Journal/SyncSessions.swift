// SPDX-License-Identifier: Apache-2.0
import TuttiIdentity

/// The sessions of all peers, in the order of their names, and which of them have nothing to do.
///
/// After every input each peer could get a request, and most have nothing to ask. A session that said so is passed over
/// until something in it was changed.
struct SyncSessions: Sendable {
    private var places: [PeerID: Int] = [:]
    private(set) var peers: [PeerID] = []
    /// None is nil; so kept that a change through `[peer]?` is made in place: a session is large.
    private var sessions: [SyncSession?] = []
    private var resting: [Bool] = []

    var count: Int { peers.count }

    subscript(peer: PeerID) -> SyncSession? {
        _read {
            if let place = places[peer] { yield sessions[place] } else { yield nil }
        }
        _modify {
            if let place = places[peer] {
                resting[place] = false
                yield &sessions[place]
            } else {
                var none: SyncSession?
                yield &none
            }
        }
    }

    mutating func insert(_ session: SyncSession) {
        remove(session.peer)
        let place = peers.firstIndex { $0 > session.peer } ?? count
        peers.insert(session.peer, at: place)
        sessions.insert(session, at: place)
        resting.insert(false, at: place)
        number(from: place)
    }

    mutating func remove(_ peer: PeerID) {
        guard let place = places.removeValue(forKey: peer) else { return }
        peers.remove(at: place)
        sessions.remove(at: place)
        resting.remove(at: place)
        number(from: place)
    }

    private mutating func number(from first: Int) {
        for place in first..<count { places[peers[place]] = place }
    }

    /// - Precondition: `place` is below `count`.
    func isResting(_ place: Int) -> Bool { resting[place] }

    /// Passes the peer over from now on if it has nothing to do.
    mutating func rest(_ place: Int) { resting[place] = sessions[place]?.isQuiet() ?? true }
}
