// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
package import TuttiJournal
package import TuttiWitness

import struct NIOCore.ByteBuffer

/// What a seller owes in one trade, rounded up to a band, for everybody to count. Both sides sign with their trade keys, so
/// nobody can burden another. Whoever publishes it may be either; the buyer may stay unnamed.
///
/// | field | what |
/// |---|---|
/// | 1 | 1 opened, 2 closed |
/// | 2 | the seller's ``PartyCard`` |
/// | 3 | the buyer's key |
/// | 4 | the buyer, a member; may be missing |
/// | 5 | trade |
/// | 6 | account that is debited |
/// | 7 | units: a band of the charter |
/// | 8 | signature by the buyer's key |
/// | 9 | signature by the seller's key; only of opened ones |
///
/// Signed, with domain `tutti-exposure-opened` or `tutti-exposure-closed`, are fields 2 to 7.
package struct Exposure: Hashable, Sendable {
    package enum Act: Int, CaseIterable, Sendable {
        case opened = 1
        /// The buyer, who was at risk, is whole.
        case closed = 2

        fileprivate var domain: String { self == .opened ? "tutti-exposure-opened" : "tutti-exposure-closed" }
    }

    /// What is signed.
    package struct Debit: Hashable, Sendable {
        package let seller: PartyCard
        package let buyerKey: TradeKey
        package let buyer: MemberID?
        package let trade: TradeID
        package let account: Bytes32
        package let units: Int64

        package init(
            seller: PartyCard, buyerKey: TradeKey, buyer: MemberID?, trade: TradeID, account: Bytes32, units: Int64
        ) {
            self.seller = seller
            self.buyerKey = buyerKey
            self.buyer = buyer
            self.trade = trade
            self.account = account
            self.units = units
        }

        fileprivate init(from reader: inout BodyReader) throws(DecodeError) {
            var message = try reader.message(2, "seller's card")
            seller = try PartyCard(from: &message)
            try message.end("seller's card")
            buyerKey = TradeKey(try reader.bytes32(3, "buyer's key"))
            buyer = try reader.bytes32IfThere(4, "buyer").map { MemberID($0) }
            trade = TradeID(try reader.bytes32(5, "trade"))
            account = try reader.bytes32(6, "account")
            units = Int64(try reader.number(7, in: 1...Int(MarketLimits.unitsMax), "units"))
        }

        fileprivate func write(into buffer: inout ByteBuffer) {
            buffer.write(2) { seller.write(into: &$0) }
            buffer.write(3, buyerKey.bytes)
            if let buyer { buffer.write(4, buyer.bytes) }
            buffer.write(5, trade.bytes)
            buffer.write(6, account)
            buffer.write(7, Int(units))
        }

        /// What a side signs with its trade key.
        package func signedBytes(_ act: Act) -> [UInt8] { SignedBody.bytes(act.domain) { write(into: &$0) } }
    }

    package let act: Act
    package let debit: Debit
    package let buyerSignature: [UInt8]
    /// Empty in closed ones.
    package let sellerSignature: [UInt8]

    package init(opened debit: Debit, buyerSignature: [UInt8], sellerSignature: [UInt8]) {
        act = .opened
        self.debit = debit
        self.buyerSignature = buyerSignature
        self.sellerSignature = sellerSignature
    }

    package init(closed debit: Debit, buyerSignature: [UInt8]) {
        act = .closed
        self.debit = debit
        self.buyerSignature = buyerSignature
        sellerSignature = []
    }

    package init(bytes: [UInt8]) throws(DecodeError) {
        guard bytes.count <= StandingLimits.bodyBytesMax else {
            throw .tooLarge("exposure", limit: StandingLimits.bodyBytesMax)
        }
        var reader = try BodyReader(bytes)
        act = try reader.number(1, in: 1...2, "exposure") == Act.opened.rawValue ? .opened : .closed
        debit = try Debit(from: &reader)
        buyerSignature = try reader.signature(8, "buyer's signature")
        sellerSignature = act == .opened ? try reader.signature(9, "seller's signature") : []
        try reader.end("exposure")
        guard self.bytes == bytes else { throw .malformed("exposure") }
    }

    package var bytes: [UInt8] {
        var buffer = ByteBuffer()
        buffer.write(1, act.rawValue)
        debit.write(into: &buffer)
        buffer.writeProtobuf(8, bytes: buyerSignature)
        if act == .opened { buffer.writeProtobuf(9, bytes: sellerSignature) }
        return Array(buffer.readableBytesView)
    }

    /// Up to three signatures, 0.1 ms each.
    package var isAuthentic: Bool {
        let message = debit.signedBytes(act)
        return SignedBody.isValid(buyerSignature, by: debit.buyerKey.bytes, for: message)
            && (act == .closed
                || SignedBody.isValid(sellerSignature, by: debit.seller.key.bytes, for: message)
                    && debit.seller.isSignatureValid)
    }
}
