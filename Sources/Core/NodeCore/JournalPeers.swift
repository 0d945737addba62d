// SPDX-License-Identifier: Apache-2.0
import TuttiIdentity
import TuttiJournal

/// Who takes part in a community's replica on this node: which device each connected peer has shown to be, and what it
/// may ask for by the roster as it stands.
struct JournalPeers: Sendable {
    enum Standing: Hashable, Sendable {
        case open(SyncAudience)
        case refused(SyncRefusal)
    }

    private struct Peer: Sendable {
        let hello: SyncHello
        var standing: Standing
    }

    /// Whose proof was checked. One more than this is judged, and not again when the roster changes.
    private static let knownMax = 1_024

    private var known: [PeerID: Peer] = [:]
    /// Of those that may take part.
    private var peers: [DeviceID: PeerID] = [:]
    /// Peers to which our hello went.
    private var ready: Set<PeerID> = []
    /// This node has found itself in the roster once: who isn't there is a stranger.
    var hasCaughtUp = false

    /// Ordered.
    var accepted: [PeerID] { known.keys.filter(isAccepted).sorted() }
    func isAccepted(_ peer: PeerID) -> Bool { if case .open = known[peer]?.standing { true } else { false } }
    func isReady(_ peer: PeerID) -> Bool { ready.contains(peer) }
    func peer(of device: DeviceID) -> PeerID? { peers[device] }
    func device(of peer: PeerID) -> DeviceID? { known[peer]?.hello.device }

    /// Whose node it is; nil unless everything of the community is open to it.
    func member(of peer: PeerID, _ roster: Roster) -> MemberID? {
        guard let known = known[peer], known.standing == .open(.all) else { return nil }
        return roster.devices[known.hello.device]?.member
    }

    mutating func setReady(_ peer: PeerID) { ready.insert(peer) }

    func standing(of hello: SyncHello, _ roster: Roster) -> Standing {
        guard let device = roster.devices[hello.device] else {
            // A newcomer takes the community's governance from whom it finds; what it has itself is its own join.
            return hasCaughtUp ? .refused(.notMember) : .open(.governance)
        }
        if device.cut != nil { return .refused(.excluded) }
        return .open(device.open == .all ? .all : .governance)
    }

    /// A peer has shown which device it is.
    mutating func judged(_ peer: PeerID, _ hello: SyncHello, _ standing: Standing) {
        if let before = known[peer]?.hello.device, peers[before] == peer { peers[before] = nil }
        guard known[peer] != nil || known.count < Self.knownMax else { return }
        known[peer] = Peer(hello: hello, standing: standing)
        if case .open = standing { peers[hello.device] = peer }
    }

    /// Whose standing is another by this roster, ordered by peer.
    func changed(by roster: Roster) -> [(peer: PeerID, hello: SyncHello, standing: Standing)] {
        known.keys.sorted().compactMap { peer in
            guard let known = known[peer] else { return nil }
            let standing = standing(of: known.hello, roster)
            return standing == known.standing ? nil : (peer, known.hello, standing)
        }
    }

    /// Those that the roster doesn't name and that have shown a join, ordered by peer.
    func newcomers(_ roster: Roster) -> [(peer: PeerID, hello: SyncHello)] {
        known.keys.sorted().compactMap { peer in
            guard let hello = known[peer]?.hello, hello.join != nil, roster.devices[hello.device] == nil else {
                return nil
            }
            return (peer, hello)
        }
    }

    mutating func forget(_ peer: PeerID) {
        if let device = known.removeValue(forKey: peer)?.hello.device, peers[device] == peer { peers[device] = nil }
        ready.remove(peer)
    }
}
