// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiJournal
package import TuttiWitness

import struct NIOCore.ByteBuffer

/// What witnesses need to know of a listing: who may reserve its units, at which witnesses, how many there are. It never
/// changes, so that no unit is reserved twice; a listing says it once.
package struct ListingStub: Hashable, Sendable {
    package var seller: TradeKey
    package var witnesses: WitnessSetID
    package var quantity: Int
    package var nonce: Bytes32

    package init(seller: TradeKey, witnesses: WitnessSetID, quantity: Int, nonce: Bytes32) {
        self.seller = seller
        self.witnesses = witnesses
        self.quantity = quantity
        self.nonce = nonce
    }

    fileprivate init(from reader: inout BodyReader) throws(DecodeError) {
        seller = TradeKey(try reader.bytes32(1, "seller of a unit"))
        witnesses = WitnessSetID(try reader.bytes32(2, "witnesses of a unit"))
        quantity = try reader.number(3, in: 1...ListingLimits.quantityMax, "units")
        nonce = try reader.bytes32(4, "nonce of a unit")
        try reader.end("unit")
    }

    fileprivate func encode(into buffer: inout ByteBuffer) {
        buffer.write(1, seller.bytes)
        buffer.write(2, witnesses.bytes)
        buffer.write(3, quantity)
        buffer.write(4, nonce)
    }
}

/// The body of an entry that lists something: 1 stub, 2 terms. The listing's id is the entry's.
package struct ListingBody: Hashable, Sendable {
    package let stub: ListingStub
    package let terms: ListingTerms

    /// Nil for what no body can hold.
    package init?(stub: ListingStub, terms: ListingTerms) {
        guard (1...ListingLimits.quantityMax).contains(stub.quantity), terms.quantity <= stub.quantity,
            terms.refusal == nil
        else { return nil }
        self.stub = stub
        self.terms = terms
    }

    package init(bytes: [UInt8]) throws(DecodeError) {
        var reader = try ListingReader.reader(bytes)
        var message = try reader.message(1, "stub of a listing")
        stub = try ListingStub(from: &message)
        message = try reader.message(2, "terms of a listing")
        terms = try ListingTerms(from: &message)
        try reader.end("listing")
        guard terms.quantity <= stub.quantity, self.bytes == bytes else { throw .malformed("listing") }
    }

    package var bytes: [UInt8] {
        ListingReader.bytes { buffer in
            buffer.write(1) { stub.encode(into: &$0) }
            buffer.write(2) { terms.encode(into: &$0) }
        }
    }
}

/// The body of an entry that says a listing's terms anew: 1 the listing, 2 all of its terms.
package struct ListingRevisionBody: Hashable, Sendable {
    package let listing: EntryID
    package let terms: ListingTerms

    /// Nil for terms that no body can hold.
    package init?(listing: EntryID, terms: ListingTerms) {
        guard terms.refusal == nil else { return nil }
        self.listing = listing
        self.terms = terms
    }

    package init(bytes: [UInt8]) throws(DecodeError) {
        var reader = try ListingReader.reader(bytes)
        listing = EntryID(try reader.bytes32(1, "revised listing"))
        var message = try reader.message(2, "terms of a listing")
        terms = try ListingTerms(from: &message)
        try reader.end("revision of a listing")
        guard self.bytes == bytes else { throw .malformed("revision of a listing") }
    }

    package var bytes: [UInt8] {
        ListingReader.bytes { buffer in
            buffer.write(1, listing.bytes)
            buffer.write(2) { terms.encode(into: &$0) }
        }
    }
}

/// The body of an entry that ends a listing: 1 the listing, 2 how (2 withdrawn, 3 sold). It has no way back.
package struct ListingEndBody: Hashable, Sendable {
    package let listing: EntryID
    package let outcome: ListingState

    /// Nil for what is no end.
    package init?(listing: EntryID, outcome: ListingState) {
        guard outcome != .open else { return nil }
        self.listing = listing
        self.outcome = outcome
    }

    package init(bytes: [UInt8]) throws(DecodeError) {
        var reader = try ListingReader.reader(bytes)
        listing = EntryID(try reader.bytes32(1, "ended listing"))
        let range = Int(ListingState.withdrawn.rawValue)...Int(ListingState.sold.rawValue)
        let outcome = try reader.number(2, in: range, "outcome of a listing")
        guard let outcome = ListingState(rawValue: UInt8(outcome)) else { throw .malformed("outcome of a listing") }
        self.outcome = outcome
        try reader.end("end of a listing")
        guard self.bytes == bytes else { throw .malformed("end of a listing") }
    }

    package var bytes: [UInt8] {
        ListingReader.bytes { buffer in
            buffer.write(1, listing.bytes)
            buffer.write(2, Int(outcome.rawValue))
        }
    }
}

/// What the three have in common.
private enum ListingReader {
    static func reader(_ bytes: [UInt8]) throws(DecodeError) -> BodyReader {
        guard bytes.count <= ListingLimits.bodyBytesMax else {
            throw .tooLarge("listing", limit: ListingLimits.bodyBytesMax)
        }
        return try BodyReader(bytes)
    }

    static func bytes(_ write: (inout ByteBuffer) -> Void) -> [UInt8] {
        var buffer = ByteBuffer()
        write(&buffer)
        return Array(buffer.readableBytesView)
    }
}
