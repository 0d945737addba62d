// SPDX-License-Identifier: Apache-2.0
import TuttiBase
package import TuttiJournal

import struct NIOCore.ByteBuffer

/// What the two agree on: what an offer proposes and a contract holds.
///
/// | field | what |
/// |---|---|
/// | 1 | the listing's entry |
/// | 2 | the entry of the revision that was read; the listing's own, if none |
/// | 3 | title: 1 to 200 bytes, one line |
/// | 4 | the whole price with delivery: 1 minor units, 2 ISO 4217 |
/// | 5 | delivery: 1 in person, 2 domestic, 3 region, 4 worldwide |
/// | 6 | days of transport, 0 to 60 |
/// | 7 | how to pay: at most 1,000 bytes |
/// | 8 | what else: at most 1,000 bytes |
/// | 9, to 16 | the listing's commitments: 1 kind, 2 digest; ascending |
package struct TradeTerms: Hashable, Sendable {
    package var listing: EntryID
    package var revision: EntryID
    package var title: String
    package var price: Money
    package var delivery: ListingDelivery.Way
    package var transportDays: Int
    package var payment: String
    package var note: String
    package var commitments: [ListingCommitment]

    package init(
        listing: EntryID, revision: EntryID, title: String, price: Money, delivery: ListingDelivery.Way,
        transportDays: Int, payment: String = "", note: String = "", commitments: [ListingCommitment] = []
    ) {
        self.listing = listing
        self.revision = revision
        self.title = title
        self.price = price
        self.delivery = delivery
        self.transportDays = transportDays
        self.payment = payment
        self.note = note
        self.commitments = commitments
    }

    /// Whether an encoding can hold them: for people who type.
    package var isWellFormed: Bool {
        (1...TradeLimits.titleBytesMax).contains(title.utf8.count) && title.isPlain(lines: false) && price.amount > 0
            && (0...TradeLimits.transportDaysMax).contains(transportDays)
            && [payment, note].allSatisfy { $0.utf8.count <= TradeLimits.textBytesMax && $0.isPlain(lines: true) }
            && commitments.count <= TradeLimits.commitmentsMax
            && zip(commitments, commitments.dropFirst()).allSatisfy { $0 < $1 }
    }

    init(from reader: inout BodyReader) throws(DecodeError) {
        listing = EntryID(try reader.bytes32(1, "listing"))
        revision = EntryID(try reader.bytes32(2, "revision of a listing"))
        title = try reader.text(3, bytesMax: TradeLimits.titleBytesMax, "title")
        price = try Money(from: &reader, 4, "price")
        let way = try reader.number(5, in: 1...ListingDelivery.Way.allCases.count, "delivery")
        guard let way = ListingDelivery.Way(rawValue: UInt8(way)) else { throw .malformed("delivery") }
        delivery = way
        transportDays = try reader.number(6, in: 0...TradeLimits.transportDaysMax, "days of transport")
        payment = try reader.text(7, bytesMax: TradeLimits.textBytesMax, lines: true, "payment")
        note = try reader.text(8, bytesMax: TradeLimits.textBytesMax, lines: true, "note")
        commitments = []
        while var message = try reader.messageIfThere(9, "commitment") {
            guard commitments.count < TradeLimits.commitmentsMax else {
                throw .tooLarge("commitments", limit: TradeLimits.commitmentsMax)
            }
            let kind = try message.number(1, in: 1...ListingCommitment.Kind.allCases.count, "commitment")
            guard let kind = ListingCommitment.Kind(rawValue: UInt8(kind)) else { throw .malformed("commitment") }
            commitments.append(ListingCommitment(kind: kind, digest: try message.bytes32(2, "commitment")))
            try message.end("commitment")
        }
        try reader.end("terms")
        guard isWellFormed else { throw .malformed("terms") }
    }

    func encode(into buffer: inout ByteBuffer) {
        buffer.write(1, listing.bytes)
        buffer.write(2, revision.bytes)
        buffer.writeProtobuf(3, string: title)
        price.encode(into: &buffer, 4)
        buffer.write(5, Int(delivery.rawValue))
        buffer.write(6, transportDays)
        buffer.writeProtobuf(7, string: payment)
        buffer.writeProtobuf(8, string: note)
        for commitment in commitments {
            buffer.write(9) {
                $0.write(1, Int(commitment.kind.rawValue))
                $0.write(2, commitment.digest)
            }
        }
    }
}
