// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity
package import TuttiWitness

import struct NIOCore.ByteBuffer

/// Something that somebody says in a trade, signed with the key that the contract names. A value can be sent any number of
/// times by anyone: what it says speaks for itself, and where it belongs.
///
/// Canonical protobuf:
///
/// | field | what |
/// |---|---|
/// | 1 | version, 1 |
/// | 2 | trade |
/// | 3 | slot that it is for; 0 before the contract, and then the place among the proposals |
/// | 4 | hash of the event before |
/// | 5 | kind (``TradeEventKind``) |
/// | 6 | an outcome's number, 0 for all but rulings and settlements |
/// | 7 | salt: nobody who sees the hash can guess what it is of |
/// | 8 | its authors: one byte for each role (1 buyer, 2 seller, 3 first arbiter, …), ascending; one or two |
/// | 9 | body, by its kind (``TradeEventBody``) |
/// | 10, 1 to 2 | signature: 1 role, one of the authors', 2 Ed25519; ascending |
///
/// The hash is of fields 1 to 9: a second signature changes nothing, and nobody becomes an author by adding one. What is
/// signed is the hash under a domain.
package struct TradeEvent: Hashable, Sendable {
    package struct Signature: Hashable, Sendable {
        package var role: TradeRole
        package var bytes: [UInt8]

        package init(role: TradeRole, bytes: [UInt8]) {
            self.role = role
            self.bytes = bytes
        }
    }

    package static let version = 1
    package static let authorsMax = 2

    package let trade: TradeID
    package let number: UInt32
    package let previous: Bytes32
    package let kind: TradeEventKind
    package let detail: UInt16
    package let salt: Bytes32
    package let authors: Set<TradeRole>
    package let body: TradeEventBody
    package private(set) var signatures: [Signature]
    package let hash: Bytes32

    /// Not signed yet. Nil for what no event can say.
    package init?(
        trade: TradeID, number: UInt32, previous: Bytes32, kind: TradeEventKind, detail: UInt16 = 0, salt: Bytes32,
        authors: Set<TradeRole>, body: TradeEventBody
    ) {
        self.trade = trade
        self.number = number
        self.previous = previous
        self.kind = kind
        self.detail = detail
        self.salt = salt
        self.authors = authors
        self.body = body
        signatures = []
        let unsigned = Self.unsigned(trade, number, previous, kind, detail, salt, authors, body)
        hash = Self.hash(unsigned)
        guard body.fits(kind),
            // Reads what was written: what can't be read can't be signed.
            (try? TradeEvent(bytes: bytes, signed: false)) != nil
        else { return nil }
    }

    package var act: StepAct? {
        if case .step(let kind) = kind { StepAct(kind, detail: detail) } else { nil }
    }

    /// Whether all its authors have signed; whether their signatures are good is for others to see.
    package var isComplete: Bool { signatures.count == authors.count }
}

// MARK: Signatures

extension TradeEvent {
    private static let hashDomain: [UInt8] = Array("tutti-trade-event-id".utf8)
    private static let signatureDomain = "tutti-trade-event"

    private static func hash(_ unsigned: ByteBuffer) -> Bytes32 {
        KeyDerivation.sha256(hashDomain + Array(unsigned.readableBytesView))
    }

    package var signedBytes: [UInt8] {
        SignedEnvelope.signedBytes(
            domain: Self.signatureDomain, payloadType: [], payload: ByteBuffer(bytes: hash.bytes))
    }

    /// The same, signed by this author.
    package func signed(as role: TradeRole, with key: KeyPair) -> TradeEvent {
        adding(Signature(role: role, bytes: key.sign(signedBytes)))
    }

    /// The same with another's signature under the same hash, or unchanged when that isn't an author's.
    package func adding(_ signature: Signature) -> TradeEvent {
        guard authors.contains(signature.role) else { return self }
        var copy = self
        copy.signatures.removeAll { $0.role == signature.role }
        copy.signatures.append(signature)
        copy.signatures.sort { $0.role.number < $1.role.number }
        return copy
    }

    /// Whether all its authors have signed, each with this key. 50 to 100 µs for each.
    package func isSigned(by keys: [TradeRole: TradeKey]) -> Bool {
        isComplete
            && signatures.allSatisfy { signature in
                guard let key = keys[signature.role] else { return false }
                return Ed25519Verifier.preferred.isValid(signature.bytes, for: signedBytes, key: key.bytes.bytes)
            }
    }
}

extension TradeRole {
    static let numbers = 1...2 + TradeCourse.arbiterCounts.upperBound

    package init?(number: Int) {
        switch number {
        case 1: self = .buyer
        case 2: self = .seller
        case 3...2 + TradeCourse.arbiterCounts.upperBound: self = .arbiter(number - 3)
        default: return nil
        }
    }

    /// 1 buyer, 2 seller, 3 first arbiter, and so on.
    package var number: Int {
        switch self {
        case .buyer: 1
        case .seller: 2
        case .arbiter(let index): 3 + index
        }
    }
}

// MARK: Encoding

extension TradeEvent {
    package init(bytes: [UInt8]) throws(DecodeError) { try self.init(bytes: bytes, signed: true) }

    private init(bytes: [UInt8], signed: Bool) throws(DecodeError) {
        guard bytes.count <= TradeLimits.eventBytesMax else {
            throw .tooLarge("event of a trade", limit: TradeLimits.eventBytesMax)
        }
        var reader = try BodyReader(bytes)
        guard try reader.number(1, in: 1...Int(UInt16.max), "event version") == Self.version else {
            throw .unsupported("event version")
        }
        trade = TradeID(try reader.bytes32(2, "trade"))
        number = UInt32(try reader.number(3, in: 0...Int(TradeLimits.stepsMax), "slot"))
        previous = try reader.bytes32(4, "previous event")
        let number = try reader.number(5, in: 1...TradeEventKind.numberMax, "kind of an event")
        guard let kind = TradeEventKind(number: number) else { throw .unsupported("kind of an event") }
        self.kind = kind
        detail = UInt16(try reader.number(6, in: 0...Int(UInt16.max), "outcome"))
        salt = try reader.bytes32(7, "salt")
        let roles = try reader.bytes(8, countMax: Self.authorsMax, "authors of an event")
        authors = Set(roles.compactMap { TradeRole(number: Int($0)) })
        // Ascending and none twice: written again they are the same.
        guard !roles.isEmpty, authors.count == roles.count else { throw .malformed("authors of an event") }
        var message = try reader.message(9, "body of an event")
        body = try TradeEventBody(kind: kind, from: &message)
        var signatures: [Signature] = []
        while var message = try reader.messageIfThere(10, "signature of an event") {
            guard signatures.count < Self.authorsMax else {
                throw .tooLarge("signatures of an event", limit: Self.authorsMax)
            }
            let number = try message.number(1, in: TradeRole.numbers, "role")
            guard let role = TradeRole(number: number), authors.contains(role) else { throw .malformed("role") }
            if let last = signatures.last, last.role.number >= number { throw .malformed("roles") }
            signatures.append(Signature(role: role, bytes: try message.signature(2, "signature of an event")))
            try message.end("signature of an event")
        }
        try reader.end("event of a trade")
        guard signatures.isEmpty != signed else { throw .truncated("signatures of an event") }
        self.signatures = signatures
        let unsigned = Self.unsigned(trade, self.number, previous, kind, detail, salt, authors, body)
        guard unsigned.readableBytes <= TradeLimits.bodyBytesMax else {
            throw .tooLarge("event of a trade", limit: TradeLimits.bodyBytesMax)
        }
        hash = Self.hash(unsigned)
        guard self.bytes == bytes, act?.isWellFormed ?? (detail == 0) else { throw .malformed("event of a trade") }
    }

    package var bytes: [UInt8] {
        var buffer = Self.unsigned(trade, number, previous, kind, detail, salt, authors, body)
        for signature in signatures {
            buffer.write(10) {
                $0.write(1, signature.role.number)
                $0.writeProtobuf(2, bytes: signature.bytes)
            }
        }
        return Array(buffer.readableBytesView)
    }

    private static func unsigned(
        _ trade: TradeID, _ number: UInt32, _ previous: Bytes32, _ kind: TradeEventKind, _ detail: UInt16,
        _ salt: Bytes32, _ authors: Set<TradeRole>, _ body: TradeEventBody
    ) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.write(1, version)
        buffer.write(2, trade.bytes)
        buffer.write(3, Int(number))
        buffer.write(4, previous)
        buffer.write(5, kind.number)
        buffer.write(6, Int(detail))
        buffer.write(7, salt)
        buffer.writeProtobuf(8, bytes: authors.map { UInt8(clamping: $0.number) }.sorted())
        buffer.write(9) { body.encode(into: &$0) }
        return buffer
    }
}
