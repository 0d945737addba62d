// SPDX-License-Identifier: Apache-2.0
import TuttiIdentity
import TuttiJournal

/// Who takes part in a community's replica on this node: which device each peer has shown to be, and who was let in
/// before we could know whether they belong.
struct JournalPeers: Sendable {
    /// Once it was accepted.
    private var devices: [PeerID: DeviceID] = [:]
    private var peers: [DeviceID: PeerID] = [:]
    /// Peers to which our hello went.
    private var ready: Set<PeerID> = []
    /// With what they showed.
    private var provisional: [PeerID: SyncHello] = [:]
    /// Nothing was missing once: who isn't in the roster is a stranger.
    var hasCaughtUp = false

    /// Ordered.
    var accepted: [PeerID] { devices.keys.sorted() }
    func isAccepted(_ peer: PeerID) -> Bool { devices[peer] != nil }
    func isReady(_ peer: PeerID) -> Bool { ready.contains(peer) }
    func peer(of device: DeviceID) -> PeerID? { peers[device] }

    mutating func setReady(_ peer: PeerID) { ready.insert(peer) }

    /// Nil: it may take part. Its proof was checked.
    func refusal(of hello: SyncHello, _ roster: Roster) -> SyncRefusal? {
        guard let device = roster.devices[hello.device] else {
            // A newcomer takes the community's governance from whom it finds; what it has itself is its own join.
            return hasCaughtUp ? .notMember : nil
        }
        if device.cut != nil { return .excluded }
        return device.open == .all ? nil : .notMember
    }

    mutating func accept(_ peer: PeerID, _ hello: SyncHello, _ roster: Roster) {
        if roster.devices[hello.device] == nil { provisional[peer] = hello }
        devices[peer] = hello.device
        peers[hello.device] = peer
    }

    /// Ordered by peer.
    mutating func takeProvisional() -> [(peer: PeerID, hello: SyncHello)] {
        defer { provisional.removeAll() }
        return provisional.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
    }

    /// Ordered: accepted peers whose device was removed.
    func cut(by roster: Roster) -> [PeerID] {
        accepted.filter { peer in devices[peer].flatMap { roster.devices[$0]?.cut } != nil }
    }

    mutating func exclude(_ peer: PeerID) {
        if let device = devices.removeValue(forKey: peer), peers[device] == peer { peers[device] = nil }
    }

    mutating func forget(_ peer: PeerID) {
        exclude(peer)
        ready.remove(peer)
        provisional[peer] = nil
    }
}
