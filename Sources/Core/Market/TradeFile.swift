// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiCommunityCore
import TuttiJournal
package import TuttiWitness

import struct NIOCore.ByteBuffer

/// What a member's mailbox holds of one trade, and where that leads. The same letters in any order give the same.
package struct TradeFile: Sendable {
    private struct Sealed: Sendable {
        let entry: EntryID
        let author: MemberID
        let milliseconds: UInt64
        let letter: TradeLetter
    }

    package let id: TradeID
    /// In the order in which they were opened.
    private var sealed: [Sealed] = []
    package private(set) var malformedCount = 0
    /// Nil: no letter holds an offer that its buyer signed.
    package private(set) var negotiation: TradeNegotiation?
    /// From the seller's acceptance on, when it fits what was proposed.
    package private(set) var dossier: Dossier?
    /// What the witnesses decided, verified; nil before the unit is reserved.
    package private(set) var proof: TradeProof?
    /// When the last certificate came here, in milliseconds since 1970: the next deadline counts from it, as we see it.
    package private(set) var since: UInt64 = 0
    /// Signed words before the contract that have no effect, and why.
    package private(set) var refusals: [(event: TradeEvent, reason: TradeNegotiation.Refusal)] = []

    static func holds(_ row: OpenedRow) -> Bool { row.kind == SealedKind.tradeEvent.rawValue }

    init(_ id: TradeID, _ rows: [OpenedRow]) {
        self.id = id
        for row in rows where Self.holds(row) {
            guard let letter = try? TradeLetter(bytes: row.payload), letter.trade == id else {
                malformedCount += 1
                continue
            }
            sealed.append(
                Sealed(entry: row.id, author: row.author, milliseconds: row.time.milliseconds, letter: letter))
        }
    }

    package var letters: [TradeLetter] { sealed.map(\.letter) }

    /// The listing that the trade is about, as its first offer says.
    var listing: EntryID? {
        for event in events { if case .offer(let offer) = event.body { return offer.terms.listing } }
        return nil
    }

    /// The entry of the member's own in which an event was written, as others hold it for its reader.
    func entry(of event: Bytes32, by author: MemberID) -> EntryID? {
        sealed.first { sealed in
            sealed.author == author
                && sealed.letter.events.contains { (try? TradeEvent(bytes: $0))?.hash == event }
        }?.entry
    }

    /// Each once, by place and then by hash, so that what came first decides nothing.
    private var events: [TradeEvent] {
        let all = Set(sealed.flatMap(\.letter.events)).compactMap { try? TradeEvent(bytes: $0) }
        return all.filter { $0.trade == id }
            .sorted { ($0.number, $0.hash, $0.signatures.count) < ($1.number, $1.hash, $1.signatures.count) }
    }

    // MARK: The fold

    /// - Parameter seller: whose listing it is.
    mutating func fold(seller: MemberID, countersMax: Int) {
        let events = events
        negotiation =
            events.lazy.compactMap { TradeNegotiation(offer: $0, to: seller, countersMax: countersMax) }.first
        guard var negotiation else { return }
        for event in events {
            guard case .counter = event.body, let reason = negotiation.take(event) else { continue }
            refuse(event, reason)
        }
        self.negotiation = negotiation
        var dossier: Dossier?
        for event in events {
            guard case .accept = event.body else { continue }
            if let reason = negotiation.refusal(of: event) {
                refuse(event, reason)
            } else if dossier == nil {
                dossier = Dossier(acceptance: event)
            }
        }
        guard var dossier else { return }
        for event in events {
            switch event.body {
            case .offer, .counter, .accept: continue
            case .contract, .payment, .shipment, .words, .opening, .mode: break
            }
            if let checks = dossier.signatureChecks(of: event), checks.allSatisfy(\.isValid) {
                dossier.take(event)
            } else {
                dossier.refuse(event, .badSignature)
            }
        }
        prove(&dossier)
        self.dossier = dossier
    }

    private mutating func refuse(_ event: TradeEvent, _ reason: TradeNegotiation.Refusal) {
        guard refusals.count < TradeLimits.refusalsMax else { return }
        refusals.append((event, reason))
    }

    /// Takes the longest proof that the contract's witnesses signed, of those that its parties and arbiters sent.
    private mutating func prove(_ dossier: inout Dossier) {
        let contract = dossier.contract
        let members = Set([contract.buyer, contract.seller].map(\.member) + contract.arbiters.map(\.member))
        var proofs: [(proof: TradeProof, milliseconds: UInt64)] = []
        for sealed in sealed where members.contains(sealed.author) {
            for bytes in sealed.letter.certificates {
                guard let proof = try? TradeProof(letter: bytes), proof.plan == contract.plan,
                    proof.round == contract.round
                else { continue }
                proofs.append((proof, sealed.milliseconds))
            }
        }
        // Of equal ones the one that came first: it says since when.
        proofs.sort { ($1.proof.steps.count, $0.milliseconds) < ($0.proof.steps.count, $1.milliseconds) }
        for (proof, milliseconds) in proofs {
            guard let checks = proof.checks(in: [contract.witnesses]), checks.allSatisfy(\.isValid) else { continue }
            dossier.reserved()
            guard dossier.decide(proof.steps) else { continue }
            self.proof = proof
            since = milliseconds
            return
        }
    }

    /// What has lapsed or ended is looked at for a while, then only when it is asked for.
    package func isOpen(at milliseconds: UInt64) -> Bool {
        guard let negotiation else { return false }
        if let dossier, !dossier.isOver, dossier.isReserved { return true }
        return milliseconds < max(negotiation.expiry, since) + MarketCoreLimits.lapsedKeptMilliseconds
    }
}

extension TradeProof {
    /// As a letter holds it.
    init(letter bytes: [UInt8]) throws(DecodeError) {
        try self.init(encoded: ByteBuffer(bytes: bytes), bytesMax: Self.bytesMax, "proof of a trade")
    }

    package var letterBytes: [UInt8] { Array(encoded.readableBytesView) }
}
