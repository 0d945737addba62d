// SPDX-License-Identifier: Apache-2.0
import TuttiBase

/// An entry or a fault proof of others on its way from the wire to the disk.
struct Arrival: Sendable {
    enum Purpose: Sendable {
        /// Becomes part of its feed.
        case attach
        /// Of a device that makes itself known.
        case newcomer
        /// Its signature is good, and CommunityCore wants the device.
        case introduced
        /// Brings back the body of an entry that is held without it.
        case body
        /// Stands against an entry that is held.
        case fault(Entry)
        /// Of our own device, and not known here.
        case elsewhere
        case proof(FaultProof)
        /// Governance that has no place in its feed and that other governance refers to.
        case evidence
    }

    /// Of a proof, its first header.
    var entry: Entry
    var purpose: Purpose
    let source: JournalSource
    /// Nil once the verdict was given.
    var ticket: Ticket?
    /// How often it had to begin again, because something else came before it.
    var attempts: UInt8 = 0
    /// When it began to wait for what makes it admissible.
    var heldSince: Instant?
    /// Counted among what is under way.
    var isCounted = false
    /// The feed, as it will be, reckons with it.
    var isExpected = false
    /// Governance refers to it, and it isn't here.
    var isMissing = false

    static let attemptsMax: UInt8 = 3

    init(_ entry: Entry, from source: JournalSource, ticket: Ticket?) {
        self.entry = entry
        purpose = .attach
        self.source = source
        self.ticket = ticket
    }

    init(_ proof: FaultProof, from source: JournalSource, ticket: Ticket?) {
        entry = proof.first
        purpose = .proof(proof)
        self.source = source
        self.ticket = ticket
    }

    /// Whose signatures are to be checked. A body needs none: the digest in the held header covers it.
    var unverified: [Entry] {
        switch purpose {
        case .attach, .newcomer, .elsewhere, .fault, .evidence: [entry]
        case .proof(let proof): [proof.first, proof.second]
        case .introduced, .body: []
        }
    }

    var device: DeviceID { entry.header.device }
    var bytesCount: Int { entry.encodedBytesCount }
    var mayStandAlone: Bool {
        guard entry.header.kind.isGovernance else { return false }
        return isMissing || source.door == .governanceSync
    }
    /// Governance that comes ahead of everything must not fix where a range begins.
    var mayOpen: Bool { source.door != .governanceSync }
}

/// The place of one verdict in the answer to a `.received`.
struct Ticket: Hashable, Sendable {
    let delivery: UInt64
    let place: Int
}

/// Which verdicts are still owed to whom.
struct DeliveryTable: Sendable {
    private struct Delivery: Sendable {
        let request: RequestID
        let source: JournalSource
        var verdicts: [EntryVerdict]
        var openCount: Int
    }

    private var deliveries: [UInt64: Delivery] = [:]
    private var lastDelivery: UInt64 = 0

    var count: Int { deliveries.count }

    /// Gives out `count` tickets, places 0 and up, of the returned delivery.
    mutating func open(_ request: RequestID, from source: JournalSource, count: Int) -> UInt64 {
        lastDelivery &+= 1
        deliveries[lastDelivery] = Delivery(
            request: request, source: source, verdicts: Array(repeating: .ignore, count: count), openCount: count)
        return lastDelivery
    }

    /// The effect, once the last verdict is there.
    mutating func settle(_ ticket: Ticket, _ verdict: EntryVerdict) -> JournalEffect? {
        guard var delivery = deliveries.removeValue(forKey: ticket.delivery) else { return nil }
        delivery.verdicts[ticket.place] = verdict
        delivery.openCount -= 1
        guard delivery.openCount > 0 else {
            return .judged(delivery.request, from: delivery.source, delivery.verdicts)
        }
        deliveries[ticket.delivery] = delivery
        return nil
    }
}
