// SPDX-License-Identifier: Apache-2.0
import DequeModule
import TuttiBase

import struct NIOCore.ByteBuffer

/// A message of the last few heartbeats and what is known about it.
struct GossipRecord: Sendable {
    enum State: Sendable {
        case pending, valid, rejected, ignored
    }

    /// A peer that has the message.
    struct Holder: Sendable {
        let peer: PeerIndex
        /// It sent the message, as against saying that it has it.
        var hasDelivered: Bool
        /// How often it was served by IWANT.
        var served: UInt8 = 0
    }

    var state: State
    let id: MessageID
    let digest: UInt64
    let topic: Int
    var message: GossipMessage
    /// Nil: ours.
    let from: PeerIndex?
    let author: UInt64
    let receivedAt: Instant
    /// When the verdict came.
    var validatedAt: Instant
    /// The heartbeat at which it was accepted or, before that, received.
    var heartbeat: UInt32
    var holders: [Holder] = []

    func holder(_ peer: PeerIndex) -> Int? { holders.firstIndex { $0.peer == peer } }

    /// False when the peer had sent it before.
    mutating func noteCopy(from peer: PeerIndex) -> Bool {
        if let holder = holder(peer) {
            defer { holders[holder].hasDelivered = true }
            return !holders[holder].hasDelivered
        }
        guard from != peer else { return false }
        holders.append(Holder(peer: peer, hasDelivered: true))
        return true
    }
}

/// The messages of the last few heartbeats by their running numbers: those that wait for a verdict, those that can be
/// asked for, and those that are remembered for who sent them.
struct MessageCache: Sendable {
    private var records: Deque<GossipRecord> = []
    private var base: UInt32 = 0
    private(set) var byteCount = 0

    var count: Int { records.count }
    var isEmpty: Bool { records.isEmpty }
    var first: GossipRecord? { records.first }
    var nextNumber: UInt32 { base &+ UInt32(truncatingIfNeeded: records.count) }

    func contains(_ number: UInt32) -> Bool { Int(number &- base) < records.count }

    /// The number must be of a record that is there.
    subscript(_ number: UInt32) -> GossipRecord {
        get { records[Int(number &- base)] }
        _modify { yield &records[Int(number &- base)] }
    }

    /// Whether the peer is known to have it.
    func isHeld(_ number: UInt32, by peer: PeerIndex) -> Bool {
        contains(number) && records[Int(number &- base)].holders.contains { $0.peer == peer }
    }

    mutating func append(_ record: GossipRecord) {
        byteCount += record.message.byteCount
        records.append(record)
    }

    mutating func removeFirst() {
        guard let record = records.popFirst() else { return }
        byteCount -= record.message.byteCount
        base &+= 1
    }

    /// Keeps who sent it and lets go of its bytes.
    mutating func empty(_ number: UInt32) {
        byteCount -= self[number].message.byteCount
        self[number].message = GossipMessage(encoded: ByteBuffer())
    }

    /// Newest first.
    func forEachRecent(_ body: (GossipRecord) -> Bool) {
        for record in records.reversed() where !body(record) { return }
    }

    func forEachPeer(_ body: (PeerIndex) -> Void) {
        for record in records {
            if let from = record.from { body(from) }
            for holder in record.holders { body(holder.peer) }
        }
    }
}
