// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
import TuttiCommunityCore
package import TuttiJournal
package import TuttiWitness

package import struct NIOCore.ByteBuffer

/// What a seller owes in one trade, rounded up to a band, for everybody to count. Both sides sign with their trade keys, so
/// nobody can burden another. Whoever publishes it may be either; the buyer may stay unnamed.
///
/// | field | what |
/// |---|---|
/// | 1 | 1 opened; 2 closed by the buyer; 3 ended, by the witnesses' word |
/// | 2 | the seller's ``PartyCard`` |
/// | 3 | the buyer's key |
/// | 4 | the buyer, a member; may be missing |
/// | 5 | digest of the trade's plan |
/// | 6 | account that is debited |
/// | 7 | units: a band of the charter |
/// | 8 | signature by the buyer's key; not of ended ones |
/// | 9 | signature by the seller's key; only of opened ones |
/// | 10 | `TradeProof`; only of ended ones |
///
/// Signed, with domain `tutti-exposure-opened` or `tutti-exposure-closed`, are fields 2 to 7.
package struct Exposure: Hashable, Sendable, CanonicalBody {
    package enum Word: Hashable, Sendable {
        case opened(buyer: [UInt8], seller: [UInt8])
        /// The buyer, who was at risk, is whole.
        case closed(buyer: [UInt8])
        /// The trade is over; the buyer may be gone.
        case ended(TradeProof)
    }

    package enum Domain: String, Sendable {
        case opened = "tutti-exposure-opened"
        case closed = "tutti-exposure-closed"
    }

    /// What is signed.
    package struct Debit: Hashable, Sendable {
        package let seller: PartyCard
        package let buyerKey: TradeKey
        package let buyer: MemberID?
        /// Digest of the trade's plan, as on the account.
        package let plan: Bytes32
        package let account: Bytes32
        package let units: Int64

        package init(
            seller: PartyCard, buyerKey: TradeKey, buyer: MemberID?, plan: Bytes32, account: Bytes32, units: Int64
        ) {
            self.seller = seller
            self.buyerKey = buyerKey
            self.buyer = buyer
            self.plan = plan
            self.account = account
            self.units = units
        }

        fileprivate init(from reader: inout BodyReader) throws(DecodeError) {
            seller = try reader.body(2, "seller's card")
            buyerKey = TradeKey(try reader.bytes32(3, "buyer's key"))
            buyer = try reader.bytes32IfThere(4, "buyer").map { MemberID($0) }
            plan = try reader.bytes32(5, "plan of a trade")
            account = try reader.bytes32(6, "account")
            units = Int64(try reader.number(7, in: 1...Int(MarketLimits.unitsMax), "units"))
        }

        fileprivate func write(into buffer: inout ByteBuffer) {
            buffer.write(2, seller)
            buffer.write(3, buyerKey.bytes)
            if let buyer { buffer.write(4, buyer.bytes) }
            buffer.write(5, plan)
            buffer.write(6, account)
            buffer.write(7, Int(units))
        }

        /// What a side signs with its trade key.
        package func signedBytes(_ domain: Domain) -> [UInt8] {
            SignedBody.bytes(domain.rawValue) { write(into: &$0) }
        }
    }

    package let debit: Debit
    package let word: Word

    package init(_ debit: Debit, _ word: Word) {
        self.debit = debit
        self.word = word
    }

    package init(bytes: [UInt8]) throws(DecodeError) {
        try self.init(body: bytes, "exposure", bytesMax: StandingLimits.exposureBytesMax)
    }

    package var bytes: [UInt8] { body }

    package init(from reader: inout BodyReader) throws(DecodeError) {
        let act = try reader.number(1, in: 1...3, "exposure")
        debit = try Debit(from: &reader)
        switch act {
        case 1:
            let buyer = try reader.signature(8, "buyer's signature")
            word = .opened(buyer: buyer, seller: try reader.signature(9, "seller's signature"))
        case 2: word = .closed(buyer: try reader.signature(8, "buyer's signature"))
        default: word = .ended(try reader.body(10, "proof of an exposure's end"))
        }
    }

    package func write(into buffer: inout ByteBuffer) {
        switch word {
        case .opened(let buyer, let seller):
            buffer.write(1, 1)
            debit.write(into: &buffer)
            buffer.writeProtobuf(8, bytes: buyer)
            buffer.writeProtobuf(9, bytes: seller)
        case .closed(let buyer):
            buffer.write(1, 2)
            debit.write(into: &buffer)
            buffer.writeProtobuf(8, bytes: buyer)
        case .ended(let proof):
            buffer.write(1, 3)
            debit.write(into: &buffer)
            buffer.write(10, proof)
        }
    }

    /// What has to be verified before it counts; nil when it can't count.
    /// - Parameter sets: witnesses whom the charter names or named.
    package func checks(in sets: [WitnessSet]) -> [SignatureCheck]? {
        switch word {
        case .opened(let buyer, let seller):
            let message = debit.signedBytes(.opened)
            return [
                SignatureCheck(key: debit.buyerKey, message: message, signature: buyer),
                SignatureCheck(key: debit.seller.key, message: message, signature: seller), debit.seller.check,
            ]
        case .closed(let buyer):
            return [SignatureCheck(key: debit.buyerKey, message: debit.signedBytes(.closed), signature: buyer)]
        case .ended(let proof):
            guard proof.plan.digest == debit.plan, proof.standing?.course.isTerminal == true else { return nil }
            return proof.checks(in: sets)
        }
    }
}
