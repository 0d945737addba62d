// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiIdentity

/// Receipts both ways: what other nodes say that they hold of our feed, and what we owe to those who brought us something.
///
/// A receipt means the whole feed up to a place, so we give one only for feeds that we hold from their first entry.
struct ReceiptTable: Sendable {
    /// Nodes that hold our feed, and up to where.
    private var holders: [PeerID: EntrySequence] = [:]
    private(set) var sentThrough = EntrySequence.none
    private var due: [DeviceID: [PeerIndex]] = [:]
    private var dueAt: Instant?

    private static let peersPerFeedMax = 32

    init(opening: JournalOpening, _ holdings: JournalHoldings) {
        for receipt in opening.receipts where receipt.device == holdings.own?.device {
            holders[receipt.holder] = receipt.head
        }
        sentThrough = reached(holdings)
    }

    var nextTimeout: Instant? { dueAt }

    func holderCount(_ sequence: EntrySequence) -> Int {
        holders.values.reduce(0) { $0 + ($1 >= sequence ? 1 : 0) }
    }

    /// Another device writes from now on.
    mutating func restart() {
        holders = [:]
        sentThrough = .none
    }

    // MARK: Receipts of others

    /// Whether it says something new; it counts once it is on disk.
    func isNews(_ receipt: ReceiptRecord, _ holdings: JournalHoldings) -> Bool {
        guard let own = holdings.own?.device, receipt.device == own, let feed = holdings.feeds.states[own] else {
            return false
        }
        // Nobody holds what we have not written.
        guard receipt.head <= feed.head.sequence, receipt.head > holders[receipt.holder] ?? .none else { return false }
        return holders[receipt.holder] != nil || holders.count < holdings.limits.holdersMax
    }

    mutating func persisted(_ receipts: [ReceiptRecord], _ holdings: inout JournalHoldings) {
        guard !receipts.isEmpty else { return }
        for receipt in receipts where isNews(receipt, holdings) {
            holders[receipt.holder] = receipt.head
            holdings.stats.receiptsTaken &+= 1
        }
        let reached = reached(holdings)
        guard reached > sentThrough else { return }
        sentThrough = reached
        holdings.emit(.emit(.sent(through: reached)))
    }

    private func reached(_ holdings: JournalHoldings) -> EntrySequence {
        let wanted = max(1, holdings.configuration.holdersOfSent)
        guard holders.count >= wanted else { return .none }
        return holders.values.sorted(by: >)[wanted - 1]
    }

    // MARK: Receipts of ours

    mutating func owe(_ device: DeviceID, to peer: PeerIndex, _ holdings: JournalHoldings, at now: Instant) {
        var peers = due[device] ?? []
        guard !peers.contains(peer), peers.count < Self.peersPerFeedMax else { return }
        peers.append(peer)
        due[device] = peers
        if dueAt == nil { dueAt = now + holdings.configuration.receiptDelay }
    }

    mutating func peerDisconnected(_ peer: PeerIndex) {
        for (device, peers) in due where peers.contains(peer) { due[device] = peers.filter { $0 != peer } }
    }

    mutating func handleTimeout(_ holdings: inout JournalHoldings, at now: Instant) {
        guard let at = dueAt, at <= now else { return }
        dueAt = nil
        let owed = due
        due = [:]
        let receipts = owed.keys.sorted().compactMap { device -> JournalReceipt? in
            guard let feed = holdings.feeds.states[device], !feed.isFrozen, feed.low == .first, !feed.isNothing,
                let peers = owed[device]
            else { return nil }
            return JournalReceipt(device: device, head: feed.head.sequence, peers: peers.sorted())
        }
        if !receipts.isEmpty { holdings.emit(.receiptsDue(receipts)) }
    }

    func forEachPeer(_ body: (PeerIndex) -> Void) {
        for peers in due.values { peers.forEach(body) }
    }
}
