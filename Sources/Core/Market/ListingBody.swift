// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiJournal
package import TuttiWitness

package import struct NIOCore.ByteBuffer

/// What stands in an entry about a listing.
package protocol ListingEntryBody: CanonicalBody {
    static var name: StaticText { get }
}

extension ListingEntryBody {
    package init(bytes: [UInt8]) throws(DecodeError) {
        try self.init(encoded: ByteBuffer(bytes: bytes), bytesMax: ListingLimits.bodyBytesMax, Self.name)
    }

    package var bytes: [UInt8] { Array(encoded.readableBytesView) }
}

/// The body of an entry that lists something: 1 stub, 2 terms. The listing's id is the entry's.
///
/// The stub is said once, for all revisions: were it to change, two sets of witnesses could reserve one unit.
package struct ListingBody: Hashable, Sendable, ListingEntryBody {
    package static let name: StaticText = "listing"

    package let stub: UnitStub
    package let terms: ListingTerms

    /// Nil for what no body can hold.
    package init?(stub: UnitStub, terms: ListingTerms) {
        guard (1...ListingLimits.quantityMax).contains(stub.quantity), terms.quantity <= stub.quantity,
            terms.refusal == nil
        else { return nil }
        self.stub = stub
        self.terms = terms
    }

    package init(from reader: inout BodyReader) throws(DecodeError) {
        stub = try reader.body(1, "stub of a listing")
        terms = try reader.body(2, "terms of a listing")
        guard terms.quantity <= stub.quantity else { throw .malformed("quantity of a listing") }
    }

    package func write(into buffer: inout ByteBuffer) {
        buffer.write(1, stub)
        buffer.write(2, terms)
    }
}

/// The body of an entry that says a listing's terms anew: 1 the listing, 2 all of its terms.
package struct ListingRevisionBody: Hashable, Sendable, ListingEntryBody {
    package static let name: StaticText = "revision of a listing"

    package let listing: EntryID
    package let terms: ListingTerms

    /// Nil for terms that no body can hold.
    package init?(listing: EntryID, terms: ListingTerms) {
        guard terms.refusal == nil else { return nil }
        self.listing = listing
        self.terms = terms
    }

    package init(from reader: inout BodyReader) throws(DecodeError) {
        listing = EntryID(try reader.bytes32(1, "revised listing"))
        terms = try reader.body(2, "terms of a listing")
    }

    package func write(into buffer: inout ByteBuffer) {
        buffer.write(1, listing.bytes)
        buffer.write(2, terms)
    }
}

/// The body of an entry that ends a listing: 1 the listing, 2 how (2 withdrawn, 3 sold). It has no way back.
package struct ListingEndBody: Hashable, Sendable, ListingEntryBody {
    package static let name: StaticText = "end of a listing"

    package let listing: EntryID
    package let outcome: ListingState

    /// Nil for what is no end.
    package init?(listing: EntryID, outcome: ListingState) {
        guard outcome != .open else { return nil }
        self.listing = listing
        self.outcome = outcome
    }

    package init(from reader: inout BodyReader) throws(DecodeError) {
        listing = EntryID(try reader.bytes32(1, "ended listing"))
        let range = Int(ListingState.withdrawn.rawValue)...Int(ListingState.sold.rawValue)
        let outcome = try reader.number(2, in: range, "outcome of a listing")
        guard let outcome = ListingState(rawValue: UInt8(outcome)) else { throw .malformed("outcome of a listing") }
        self.outcome = outcome
    }

    package func write(into buffer: inout ByteBuffer) {
        buffer.write(1, listing.bytes)
        buffer.write(2, Int(outcome.rawValue))
    }
}
