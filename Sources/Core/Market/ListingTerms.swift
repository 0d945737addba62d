// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity
package import TuttiJournal
import TuttiWitness

package import struct NIOCore.ByteBuffer

/// What the encodings of listings allow, for everybody alike.
package enum ListingLimits {
    package static let titleBytesMax = 200
    package static let descriptionBytesMax = 8_192
    package static let categoryBytesMax = 64
    package static let referenceBytesMax = 64
    package static let languageBytesMax = 35
    /// Minor units: far above anything, so that sums of many stay far below `Int64.max`.
    package static let priceMax: Int64 = 1_000_000_000_000
    package static let quantityMax = WitnessLimits.quantityMax
    package static let photosMax = 16
    package static let photoBytesMax = 64
    package static let commitmentsMax = 16
    /// A listing drops from search at the latest so many days after its entry (a revision counts anew).
    package static let daysMax = 30
    package static let millisecondsMax = UInt64(daysMax) * 86_400_000
    /// Milliseconds since 1970, as in a hybrid time.
    package static let expiryMax = 1 << 48 - 1
    package static let bodyBytesMax = 16_384
}

/// One way for a thing to get to its buyer.
package struct ListingDelivery: Hashable, Sendable {
    package enum Way: UInt8, CaseIterable, Comparable, Sendable {
        case inPerson = 1
        case domestic
        case region
        case worldwide

        package var name: String {
            switch self {
            case .inPerson: "in person"
            case .domestic: "domestic"
            case .region: "region"
            case .worldwide: "worldwide"
            }
        }

        package static func < (lhs: Self, rhs: Self) -> Bool { lhs.rawValue < rhs.rawValue }
    }

    package var way: Way
    /// For each unit, in minor units of the price's currency.
    package var cost: Int64

    package init(_ way: Way, cost: Int64 = 0) {
        self.way = way
        self.cost = cost
    }
}

/// Binds a seller to something that stays secret until it matters: a serial number, a photo of it.
package struct ListingCommitment: Hashable, Comparable, Sendable {
    package enum Kind: UInt8, CaseIterable, Comparable, Sendable {
        case serial = 1
        case photo

        package static func < (lhs: Self, rhs: Self) -> Bool { lhs.rawValue < rhs.rawValue }
    }

    package var kind: Kind
    package var digest: Bytes32

    package init(kind: Kind, digest: Bytes32) {
        self.kind = kind
        self.digest = digest
    }

    /// Serial numbers are short: without a salt that nobody can guess they could be tried out.
    package init(_ kind: Kind, of bytes: [UInt8], salt: Bytes32) {
        self.kind = kind
        digest = KeyDerivation.sha256(
            Array("tutti-listing-commitment".utf8) + [kind.rawValue] + salt.bytes + bytes)
    }

    package func isOf(_ bytes: [UInt8], salt: Bytes32) -> Bool { self == Self(kind, of: bytes, salt: salt) }

    package static func < (lhs: Self, rhs: Self) -> Bool { (lhs.kind, lhs.digest) < (rhs.kind, rhs.digest) }
}

/// All that a seller says of what is offered, and that a revision may say anew.
///
/// Canonical protobuf: fields ascending, each as often as stated; what breaks this is malformed.
///
/// | field | what |
/// |---|---|
/// | 1 | title: 1 to 200 bytes, one line |
/// | 2 | description: at most 8,192 bytes |
/// | 3 | category: 1 to 64 bytes, lower case, no spaces around it |
/// | 4 | condition, 1 (brand new) to 8 (non functioning) |
/// | 5 | price of a unit in minor units, 1 to 10^12 |
/// | 6 | currency, ISO 4217 |
/// | 7 | how many units are still offered, 1 to 10,000 |
/// | 8 | language of the text, BCP 47, or empty |
/// | 9 | expiry, milliseconds since 1970 |
/// | 10 | the seller's reference, at most 64 bytes, perhaps empty |
/// | 11, to 4 | delivery: 1 way, 2 cost in minor units; ascending by way, each once |
/// | 12, to 16 | photo: 1 content id; the first one is shown first; none twice |
/// | 13, to 16 | commitment: 1 kind (1 serial, 2 photo), 2 salted digest; ascending, none twice |
package struct ListingTerms: Hashable, Sendable, CanonicalBody {
    package var title: String
    package var text: String
    package var category: String
    package var condition: ListingCondition
    package var price: Int64
    package var currency: CurrencyCode
    package var quantity: Int
    package var language: String
    package var expiry: UInt64
    package var reference: String
    package var delivery: [ListingDelivery]
    package var photos: [CID]
    package var commitments: [ListingCommitment]

    package init(
        title: String, text: String = "", category: String, condition: ListingCondition, price: Int64,
        currency: CurrencyCode, quantity: Int = 1, language: String = "", expiry: UInt64, reference: String = "",
        delivery: [ListingDelivery] = [], photos: [CID] = [], commitments: [ListingCommitment] = []
    ) {
        self.title = title
        self.text = text
        self.category = category
        self.condition = condition
        self.price = price
        self.currency = currency
        self.quantity = quantity
        self.language = language
        self.expiry = expiry
        self.reference = reference
        self.delivery = delivery
        self.photos = photos
        self.commitments = commitments
    }

    // MARK: What may stand there

    /// What no encoding can hold, if anything: for people who type.
    package var refusal: ListingRefusal? {
        if !Self.isTitle(title) { return .title }
        if text.utf8.count > ListingLimits.descriptionBytesMax || !text.isPlain(lines: true) { return .description }
        if !Self.isCategory(category) { return .category }
        if !(1...ListingLimits.priceMax).contains(price) { return .price }
        if !(1...ListingLimits.quantityMax).contains(quantity) { return .quantity }
        if !Self.isLanguage(language) { return .language }
        if expiry > UInt64(ListingLimits.expiryMax) { return .expiry }
        if reference.utf8.count > ListingLimits.referenceBytesMax || !reference.isPlain(lines: false) {
            return .reference
        }
        if !isDelivery { return .delivery }
        if photos.count > ListingLimits.photosMax || Set(photos).count != photos.count
            || photos.contains(where: { $0.bytes.count > ListingLimits.photoBytesMax })
        {
            return .photos
        }
        let isAscending = zip(commitments, commitments.dropFirst()).allSatisfy { $0 < $1 }
        return commitments.count <= ListingLimits.commitmentsMax && isAscending ? nil : .commitments
    }

    private var isDelivery: Bool {
        zip(delivery, delivery.dropFirst()).allSatisfy { $0.way < $1.way }
            && delivery.allSatisfy { way in
                (0...ListingLimits.priceMax).contains(way.cost) && (way.way != .inPerson || way.cost == 0)
            }
    }

    private static func isTitle(_ title: String) -> Bool {
        (1...ListingLimits.titleBytesMax).contains(title.utf8.count) && title.isPlain(lines: false)
            && !title.allSatisfy(\.isWhitespace)
    }

    private static func isCategory(_ name: String) -> Bool {
        (1...ListingLimits.categoryBytesMax).contains(name.utf8.count) && name.isPlain(lines: false)
            && name == name.lowercased() && name.first?.isWhitespace == false && name.last?.isWhitespace == false
    }

    private static func isLanguage(_ tag: String) -> Bool {
        tag.utf8.count <= ListingLimits.languageBytesMax
            && tag.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"):
                    true
                default: false
                }
            }
    }

    // MARK: Bytes

    package init(from reader: inout BodyReader) throws(DecodeError) {
        title = try reader.text(1, bytesMax: ListingLimits.titleBytesMax, "title of a listing")
        text = try reader.text(
            2, bytesMax: ListingLimits.descriptionBytesMax, lines: true, "description of a listing")
        category = try reader.text(3, bytesMax: ListingLimits.categoryBytesMax, "category of a listing")
        let condition = try reader.number(4, in: 1...ListingCondition.allCases.count, "condition of a listing")
        guard let condition = ListingCondition(rawValue: UInt8(condition)) else {
            throw .malformed("condition of a listing")
        }
        self.condition = condition
        price = Int64(try reader.number(5, in: 1...Int(ListingLimits.priceMax), "price of a listing"))
        let code = try reader.text(6, bytesMax: CurrencyCode.lettersCount, "currency of a listing")
        guard let currency = CurrencyCode(code) else { throw .malformed("currency of a listing") }
        self.currency = currency
        quantity = try reader.number(7, in: 1...ListingLimits.quantityMax, "quantity of a listing")
        language = try reader.text(8, bytesMax: ListingLimits.languageBytesMax, "language of a listing")
        expiry = UInt64(try reader.number(9, in: 0...ListingLimits.expiryMax, "expiry of a listing"))
        reference = try reader.text(10, bytesMax: ListingLimits.referenceBytesMax, "reference of a listing")
        delivery = try reader.bodies(11, countMax: ListingDelivery.Way.allCases.count, "delivery")
        photos = []
        while var photo = try reader.messageIfThere(12, "photo") {
            guard photos.count < ListingLimits.photosMax else {
                throw .tooLarge("photos", limit: ListingLimits.photosMax)
            }
            let bytes = try photo.bytes(1, countMax: ListingLimits.photoBytesMax, "photo")
            try photo.end("photo")
            photos.append(try CID(bytes: bytes))
        }
        commitments = try reader.bodies(13, countMax: ListingLimits.commitmentsMax, "commitment")
        guard refusal == nil else { throw .malformed("terms of a listing") }
    }

    package func write(into buffer: inout ByteBuffer) {
        buffer.writeProtobuf(1, string: title)
        buffer.writeProtobuf(2, string: text)
        buffer.writeProtobuf(3, string: category)
        buffer.write(4, Int(condition.rawValue))
        buffer.write(5, Int(clamping: price))
        buffer.writeProtobuf(6, string: currency.text)
        buffer.write(7, quantity)
        buffer.writeProtobuf(8, string: language)
        buffer.write(9, Int(clamping: expiry))
        buffer.writeProtobuf(10, string: reference)
        for way in delivery { buffer.write(11, way) }
        for photo in photos { buffer.write(12) { $0.writeProtobuf(1, bytes: photo.bytes) } }
        for commitment in commitments { buffer.write(13, commitment) }
    }
}

/// What about a listing's terms can't be: the first that was found.
package enum ListingRefusal: Error, Hashable, Sendable {
    case title, description, category, price, quantity, language, expiry, reference, delivery, photos, commitments
}

extension ListingDelivery: CanonicalBody {
    package init(from reader: inout BodyReader) throws(DecodeError) {
        let way = try reader.number(1, in: 1...Way.allCases.count, "way of delivery")
        guard let way = Way(rawValue: UInt8(way)) else { throw .malformed("way of delivery") }
        self.way = way
        cost = Int64(try reader.number(2, in: 0...Int(ListingLimits.priceMax), "cost of delivery"))
    }

    package func write(into buffer: inout ByteBuffer) {
        buffer.write(1, Int(way.rawValue))
        buffer.write(2, Int(clamping: cost))
    }
}

extension ListingCommitment: CanonicalBody {
    package init(from reader: inout BodyReader) throws(DecodeError) {
        let kind = try reader.number(1, in: 1...Kind.allCases.count, "kind of a commitment")
        guard let kind = Kind(rawValue: UInt8(kind)) else { throw .malformed("kind of a commitment") }
        self.kind = kind
        digest = try reader.bytes32(2, "commitment")
    }

    package func write(into buffer: inout ByteBuffer) {
        buffer.write(1, Int(kind.rawValue))
        buffer.write(2, digest)
    }
}
