// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiJournal
package import TuttiWitness

import struct NIOCore.ByteBuffer

/// What an event says, beside its kind.
package enum TradeEventBody: Hashable, Sendable {
    case offer(TradeOffer)
    case counter(TradeCounter)
    case accept(Contract)
    /// Where the goods go; empty where they are handed over.
    case contract(destination: String)
    /// Of a payment and of a refund.
    case payment(TradePayment)
    /// Of a shipment and of a carrier's proof.
    case shipment(TradeShipment)
    case words(TradeWords)
    /// The challenged event itself, as it was signed.
    case opening([UInt8])
    case mode(TradeModeChange)
}

/// What a buyer would agree to.
package struct TradeOffer: Hashable, Sendable {
    package var community: CommunityID
    package var nonce: Bytes32
    package var buyer: TradeParty
    package var terms: TradeTerms
    /// Milliseconds since 1970. Until then it stands, by its author's word; nobody else's clock decides anything by it.
    package var expiry: UInt64

    package init(community: CommunityID, nonce: Bytes32, buyer: TradeParty, terms: TradeTerms, expiry: UInt64) {
        self.community = community
        self.nonce = nonce
        self.buyer = buyer
        self.terms = terms
        self.expiry = expiry
    }

    package var trade: TradeID { Contract.trade(listing: terms.listing, buyer: buyer.member, nonce: nonce) }
}

/// The terms anew, by either. The seller's key is in the seller's first one; the contract pins it.
package struct TradeCounter: Hashable, Sendable {
    package var author: TradeParty
    package var terms: TradeTerms
    package var expiry: UInt64

    package init(author: TradeParty, terms: TradeTerms, expiry: UInt64) {
        self.author = author
        self.terms = terms
        self.expiry = expiry
    }
}

package struct TradePayment: Hashable, Sendable {
    package var sum: Money
    /// Bank, card, cash: whatever the two agreed on.
    package var way: String
    /// By which the other finds it.
    package var reference: String
    package var evidence: [TradeEvidence]

    package init(sum: Money, way: String, reference: String, evidence: [TradeEvidence] = []) {
        self.sum = sum
        self.way = way
        self.reference = reference
        self.evidence = evidence
    }
}

package struct TradeShipment: Hashable, Sendable {
    package var carrier: String
    package var tracking: String
    package var evidence: [TradeEvidence]

    package init(carrier: String, tracking: String, evidence: [TradeEvidence] = []) {
        self.carrier = carrier
        self.tracking = tracking
        self.evidence = evidence
    }
}

/// Why, in a word and in words.
package struct TradeWords: Hashable, Sendable {
    package enum Reason: Int, CaseIterable, Sendable {
        case none = 0
        // Of disputes.
        case notPaid = 1
        case notConfirmed = 2
        case notShipped = 3
        case notReceived = 4
        case notAsDescribed = 5
        case notRefunded = 6
        // Of challenges.
        case unreadable = 32
        case againstContract = 33
    }

    package var reason: Reason
    package var text: String
    package var evidence: [TradeEvidence]
    /// Of a ruling: the digest of the dossier file it was made on.
    package var dossier: Bytes32?

    package init(
        reason: Reason = .none, text: String = "", evidence: [TradeEvidence] = [], dossier: Bytes32? = nil
    ) {
        self.reason = reason
        self.text = text
        self.evidence = evidence
        self.dossier = dossier
    }
}

/// Names a file that both may show: a photo, a serial number's, a bank statement's. The digest binds, the file stays where it
/// is.
package struct TradeEvidence: Hashable, Sendable {
    package enum Kind: Int, CaseIterable, Sendable {
        case photo = 1
        case serial = 2
        case document = 3
        case recording = 4
    }

    package var kind: Kind
    package var digest: Bytes32

    package init(kind: Kind, digest: Bytes32) {
        self.kind = kind
        self.digest = digest
    }
}

/// The trade leaves its witnesses: from here on signatures alone count, and the first arbiter judges time.
package struct TradeModeChange: Hashable, Sendable {
    /// The last slot whose certificate counts, 0 for the reservation; later ones are void.
    package var lastNumber: UInt32
    /// The digest of everything decided up to there (`TradeHistory`).
    package var history: Bytes32
    package var text: String

    package init(lastNumber: UInt32, history: Bytes32, text: String = "") {
        self.lastNumber = lastNumber
        self.history = history
        self.text = text
    }
}

// MARK: Encoding

extension TradeEventBody {
    init(kind: TradeEventKind, from reader: inout BodyReader) throws(DecodeError) {
        switch kind {
        case .offer: self = .offer(try TradeOffer(from: &reader))
        case .counter: self = .counter(try TradeCounter(from: &reader))
        case .accept:
            let bytes = try reader.bytes(1, countMax: TradeLimits.contractBytesMax, "contract")
            self = .accept(try Contract(bytes: bytes))
        case .mode: self = .mode(try TradeModeChange(from: &reader))
        case .step(let step):
            switch step {
            case .contract:
                let text = try reader.text(1, bytesMax: TradeLimits.textBytesMax, lines: true, "destination")
                self = .contract(destination: text)
            case .paid, .refund: self = .payment(try TradePayment(from: &reader))
            case .shipped, .carrierProof: self = .shipment(try TradeShipment(from: &reader))
            case .received, .receipt, .accepted, .cancel, .dispute, .answer, .settlement, .acknowledgement, .ruling,
                .challenge, .handover:
                self = .words(try TradeWords(from: &reader))
            case .opening: self = .opening(try reader.bytes(1, countMax: TradeLimits.bodyBytesMax, "opened event"))
            }
        }
        try reader.end("body of an event")
    }

    func encode(into buffer: inout ByteBuffer) {
        switch self {
        case .offer(let offer): offer.encode(into: &buffer)
        case .counter(let counter): counter.encode(into: &buffer)
        case .accept(let contract): buffer.writeProtobuf(1, bytes: contract.bytes)
        case .contract(let destination): buffer.writeProtobuf(1, string: destination)
        case .payment(let payment): payment.encode(into: &buffer)
        case .shipment(let shipment): shipment.encode(into: &buffer)
        case .words(let words): words.encode(into: &buffer)
        case .opening(let event): buffer.writeProtobuf(1, bytes: event)
        case .mode(let change): change.encode(into: &buffer)
        }
    }

    /// Whether this is a body of such events.
    func fits(_ kind: TradeEventKind) -> Bool {
        switch (self, kind) {
        case (.offer, .offer), (.counter, .counter), (.accept, .accept), (.mode, .mode): true
        case (.contract, .step(.contract)), (.opening, .step(.opening)): true
        case (.payment, .step(let step)): step == .paid || step == .refund
        case (.shipment, .step(let step)): step == .shipped || step == .carrierProof
        case (.words, .step(let step)):
            switch step {
            case .contract, .opening, .paid, .refund, .shipped, .carrierProof: false
            case .received, .receipt, .accepted, .cancel, .dispute, .answer, .settlement, .acknowledgement, .ruling,
                .challenge, .handover:
                true
            }
        default: false
        }
    }
}

extension TradeOffer {
    fileprivate init(from reader: inout BodyReader) throws(DecodeError) {
        community = CommunityID(try reader.bytes32(1, "community"))
        nonce = try reader.bytes32(2, "nonce of a trade")
        var message = try reader.message(3, "buyer")
        buyer = try TradeParty(from: &message)
        message = try reader.message(4, "terms")
        terms = try TradeTerms(from: &message)
        expiry = UInt64(try reader.number(5, in: 0...ListingLimits.expiryMax, "expiry"))
    }

    fileprivate func encode(into buffer: inout ByteBuffer) {
        buffer.write(1, community.bytes)
        buffer.write(2, nonce)
        buffer.write(3) { buyer.encode(into: &$0) }
        buffer.write(4) { terms.encode(into: &$0) }
        buffer.writeProtobuf(5, varint: expiry)
    }
}

extension TradeCounter {
    fileprivate init(from reader: inout BodyReader) throws(DecodeError) {
        var message = try reader.message(1, "author")
        author = try TradeParty(from: &message)
        message = try reader.message(2, "terms")
        terms = try TradeTerms(from: &message)
        expiry = UInt64(try reader.number(3, in: 0...ListingLimits.expiryMax, "expiry"))
    }

    fileprivate func encode(into buffer: inout ByteBuffer) {
        buffer.write(1) { author.encode(into: &$0) }
        buffer.write(2) { terms.encode(into: &$0) }
        buffer.writeProtobuf(3, varint: expiry)
    }
}

extension TradePayment {
    fileprivate init(from reader: inout BodyReader) throws(DecodeError) {
        sum = try Money(from: &reader, 1, "sum")
        way = try reader.text(2, bytesMax: TradeLimits.referenceBytesMax, "way of payment")
        reference = try reader.text(3, bytesMax: TradeLimits.referenceBytesMax, "reference")
        evidence = try reader.evidence(4)
    }

    fileprivate func encode(into buffer: inout ByteBuffer) {
        sum.encode(into: &buffer, 1)
        buffer.writeProtobuf(2, string: way)
        buffer.writeProtobuf(3, string: reference)
        buffer.write(4, evidence)
    }
}

extension TradeShipment {
    fileprivate init(from reader: inout BodyReader) throws(DecodeError) {
        carrier = try reader.text(1, bytesMax: TradeLimits.referenceBytesMax, "carrier")
        tracking = try reader.text(2, bytesMax: TradeLimits.referenceBytesMax, "tracking")
        evidence = try reader.evidence(3)
    }

    fileprivate func encode(into buffer: inout ByteBuffer) {
        buffer.writeProtobuf(1, string: carrier)
        buffer.writeProtobuf(2, string: tracking)
        buffer.write(3, evidence)
    }
}

extension TradeWords {
    fileprivate init(from reader: inout BodyReader) throws(DecodeError) {
        let number = try reader.number(1, in: 0...Int(UInt8.max), "reason")
        guard let reason = Reason(rawValue: number) else { throw .malformed("reason") }
        self.reason = reason
        text = try reader.text(2, bytesMax: TradeLimits.reasonsBytesMax, lines: true, "words")
        evidence = try reader.evidence(3)
        dossier = try reader.bytes32IfThere(4, "dossier")
    }

    fileprivate func encode(into buffer: inout ByteBuffer) {
        buffer.write(1, reason.rawValue)
        buffer.writeProtobuf(2, string: text)
        buffer.write(3, evidence)
        if let dossier { buffer.write(4, dossier) }
    }
}

extension TradeModeChange {
    fileprivate init(from reader: inout BodyReader) throws(DecodeError) {
        lastNumber = UInt32(try reader.number(1, in: 0...Int(TradeLimits.stepsMax), "slot"))
        history = try reader.bytes32(2, "history of a trade")
        text = try reader.text(3, bytesMax: TradeLimits.textBytesMax, lines: true, "words")
    }

    fileprivate func encode(into buffer: inout ByteBuffer) {
        buffer.write(1, Int(lastNumber))
        buffer.write(2, history)
        buffer.writeProtobuf(3, string: text)
    }
}

extension BodyReader {
    fileprivate mutating func evidence(_ field: Int) throws(DecodeError) -> [TradeEvidence] {
        var evidence: [TradeEvidence] = []
        while var message = try messageIfThere(field, "evidence") {
            guard evidence.count < TradeLimits.evidenceMax else {
                throw .tooLarge("evidence", limit: TradeLimits.evidenceMax)
            }
            let number = try message.number(1, in: 1...TradeEvidence.Kind.allCases.count, "evidence")
            guard let kind = TradeEvidence.Kind(rawValue: number) else { throw .malformed("evidence") }
            evidence.append(TradeEvidence(kind: kind, digest: try message.bytes32(2, "evidence")))
            try message.end("evidence")
        }
        return evidence
    }
}

extension ByteBuffer {
    fileprivate mutating func write(_ field: Int, _ evidence: [TradeEvidence]) {
        for item in evidence {
            write(field) {
                $0.write(1, item.kind.rawValue)
                $0.write(2, item.digest)
            }
        }
    }
}
