// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity

import struct NIOCore.ByteBuffer

/// What is remembered of peers: addresses, the signed record, what worked last.
///
/// Bounded in peers, in addresses per peer and in bytes of records. When full, the least useful peer is forgotten, in
/// O(1): first those only heard of, then those once connected, each group by the longest unused. Connected peers are
/// never forgotten. So any number of made-up ids displaces only other made-up ids.
///
/// Order never depends on hashing: the groups are lists through the slots of an array.
package struct PeerStore: Sendable {
    private enum Group: Int, Sendable {
        case heardOf = 0
        case once = 1
        case connected = 2
    }

    private struct Slot: Sendable {
        var peer: PeerID
        var group: Group
        /// Certified ones first, then in the order of arrival.
        var addresses: [Multiaddr] = []
        var certifiedCount = 0
        var sequence: UInt64?
        /// The envelope as it came, to hand on.
        var record: [UInt8] = []
        var lastGood: Multiaddr?
        var security: ProtocolID?
        var previous = -1
        var next = -1
    }

    /// The ends of a list: head is the most, tail the least recently used.
    private struct List: Sendable {
        var head = -1
        var tail = -1
    }

    private let limits: NodeLimits
    private var slots: [Slot] = []
    private var free: [Int] = []
    private var slotOf: [PeerID: Int] = [:]
    private var lists = [List(), List(), List()]
    package private(set) var recordBytesTotal = 0

    package init(limits: NodeLimits) {
        self.limits = limits
    }

    package var count: Int { slotOf.count }
    /// Places allocated, in use or not.
    package var slotCount: Int { slots.count }

    // MARK: Reading

    /// What worked last, then certified addresses, then others.
    package func addresses(of peer: PeerID) -> [Multiaddr] {
        guard let index = slotOf[peer] else { return [] }
        let slot = slots[index]
        guard let lastGood = slot.lastGood else { return slot.addresses }
        return [lastGood] + slot.addresses.filter { $0 != lastGood }
    }

    package func certifiedAddresses(of peer: PeerID) -> [Multiaddr] {
        guard let index = slotOf[peer] else { return [] }
        return Array(slots[index].addresses.prefix(slots[index].certifiedCount))
    }

    package func lastGood(of peer: PeerID) -> Multiaddr? { slotOf[peer].flatMap { slots[$0].lastGood } }
    package func security(of peer: PeerID) -> ProtocolID? { slotOf[peer].flatMap { slots[$0].security } }
    package func sequence(of peer: PeerID) -> UInt64? { slotOf[peer].flatMap { slots[$0].sequence } }
    package func record(of peer: PeerID) -> [UInt8]? {
        guard let index = slotOf[peer], !slots[index].record.isEmpty else { return nil }
        return slots[index].record
    }

    /// Peers with an address, the most useful first: connected, once connected, heard of; each by their latest use.
    package func mostUseful(countMax: Int) -> [PeerID] {
        var found: [PeerID] = []
        for group in [Group.connected, .once, .heardOf] {
            var index = lists[group.rawValue].head
            while index >= 0, found.count < countMax {
                if slots[index].lastGood != nil || !slots[index].addresses.isEmpty { found.append(slots[index].peer) }
                index = slots[index].next
            }
        }
        return found
    }

    /// What an earlier run knew of a peer. A record that isn't validly signed by the peer itself is dropped.
    package mutating func restore(_ peer: PeerStoreSnapshot.Peer) {
        let addresses = (peer.lastGood.map { [$0] } ?? []) + peer.addresses
        add(addresses.map(\.withoutPeerID).filter { $0.kind != .unusable }, to: peer.id)
        guard !peer.record.isEmpty else { return }
        do throws(DecodeError) {
            let record = try PeerRecord(envelope: ByteBuffer(bytes: peer.record))
            guard record.peerID == peer.id else { return }
            // What wasn't credible when it came isn't in the addresses.
            certify(record, addresses: record.addresses.filter(peer.addresses.contains), envelope: peer.record)
        } catch {
            return
        }
    }

    // MARK: Writing

    /// Addresses that somebody, the peer included, told without a signature. The earliest of these give way.
    package mutating func add(_ addresses: [Multiaddr], to peer: PeerID) {
        guard !addresses.isEmpty, let index = use(peer) else { return }
        for address in addresses where !slots[index].addresses.contains(address) {
            if slots[index].addresses.count >= limits.addressesPerPeerMax {
                guard slots[index].certifiedCount < slots[index].addresses.count else { return }
                slots[index].addresses.remove(at: slots[index].certifiedCount)
            }
            slots[index].addresses.append(address)
        }
    }

    /// A record whose signature was checked. It replaces the certified addresses when it is newer.
    ///
    /// - Parameter addresses: those of the record that are credible where it came from.
    package mutating func certify(_ record: PeerRecord, addresses: [Multiaddr], envelope: [UInt8]) {
        guard envelope.count <= limits.recordBytesMax, let index = use(record.peerID) else { return }
        if let known = slots[index].sequence, known >= record.sequence { return }
        var certified: [Multiaddr] = []
        for address in addresses where certified.count < limits.addressesPerPeerMax && !certified.contains(address) {
            certified.append(address)
        }
        let others = slots[index].addresses.dropFirst(slots[index].certifiedCount).filter { !certified.contains($0) }
        slots[index].addresses = certified + others.suffix(limits.addressesPerPeerMax - certified.count)
        slots[index].certifiedCount = certified.count
        slots[index].sequence = record.sequence
        recordBytesTotal += envelope.count - slots[index].record.count
        slots[index].record = envelope
        while recordBytesTotal > limits.recordBytesTotalMax, evictOne(sparing: index) {}
        if recordBytesTotal > limits.recordBytesTotalMax {
            recordBytesTotal -= slots[index].record.count
            slots[index].record = []
        }
    }

    /// A dial led to the peer: where, and under which security protocol.
    package mutating func succeeded(_ peer: PeerID, at address: Multiaddr, with security: ProtocolID) {
        guard let index = use(peer) else { return }
        slots[index].lastGood = address
        slots[index].security = security
    }

    /// Somebody else answered at the address.
    package mutating func forget(_ address: Multiaddr, of peer: PeerID) {
        guard let index = slotOf[peer] else { return }
        if slots[index].lastGood == address { slots[index].lastGood = nil }
        guard let position = slots[index].addresses.firstIndex(of: address) else { return }
        slots[index].addresses.remove(at: position)
        if position < slots[index].certifiedCount { slots[index].certifiedCount -= 1 }
    }

    package mutating func connected(_ peer: PeerID) {
        guard let index = use(peer) else { return }
        move(index, to: .connected)
    }

    package mutating func disconnected(_ peer: PeerID) {
        guard let index = slotOf[peer] else { return }
        move(index, to: .once)
    }

    // MARK: Private parts

    /// The slot of a peer, made when needed, as the most recently used. Nil when all are connected.
    private mutating func use(_ peer: PeerID) -> Int? {
        if let index = slotOf[peer] {
            move(index, to: slots[index].group)
            return index
        }
        if slotOf.count >= limits.peersMax {
            guard evictOne(sparing: -1) else { return nil }
        }
        let slot = Slot(peer: peer, group: .heardOf)
        let index: Int
        if let reused = free.popLast() {
            slots[reused] = slot
            index = reused
        } else {
            slots.append(slot)
            index = slots.count - 1
        }
        slotOf[peer] = index
        link(index)
        return index
    }

    private mutating func evictOne(sparing spared: Int) -> Bool {
        for group in [Group.heardOf, .once] {
            var index = lists[group.rawValue].tail
            if index == spared, index >= 0 { index = slots[index].previous }
            guard index >= 0 else { continue }
            unlink(index)
            recordBytesTotal -= slots[index].record.count
            slotOf[slots[index].peer] = nil
            slots[index].addresses = []
            slots[index].record = []
            slots[index].lastGood = nil
            free.append(index)
            return true
        }
        return false
    }

    private mutating func move(_ index: Int, to group: Group) {
        unlink(index)
        slots[index].group = group
        link(index)
    }

    private mutating func link(_ index: Int) {
        let list = slots[index].group.rawValue
        let head = lists[list].head
        slots[index].previous = -1
        slots[index].next = head
        if head >= 0 { slots[head].previous = index } else { lists[list].tail = index }
        lists[list].head = index
    }

    private mutating func unlink(_ index: Int) {
        let list = slots[index].group.rawValue
        let (previous, next) = (slots[index].previous, slots[index].next)
        if previous >= 0 { slots[previous].next = next } else { lists[list].head = next }
        if next >= 0 { slots[next].previous = previous } else { lists[list].tail = previous }
        slots[index].previous = -1
        slots[index].next = -1
    }
}
