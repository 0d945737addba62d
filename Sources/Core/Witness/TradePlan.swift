// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

package import struct NIOCore.ByteBuffer

/// The part of a listing that witnesses see: it pins the key that may reserve, the witnesses and the number of units, for all
/// revisions of the listing.
package struct UnitStub: Hashable, Sendable, CanonicalBody {
    package let seller: TradeKey
    package let witnesses: WitnessSetID
    package let quantity: Int
    package let nonce: Bytes32

    package init(seller: TradeKey, witnesses: WitnessSetID, quantity: Int, nonce: Bytes32) {
        self.seller = seller
        self.witnesses = witnesses
        self.quantity = quantity
        self.nonce = nonce
    }

    package init(from reader: inout BodyReader) throws(DecodeError) {
        seller = TradeKey(try reader.bytes32(1, "key of a listing"))
        witnesses = WitnessSetID(try reader.bytes32(2, "witnesses of a listing"))
        quantity = try reader.number(3, in: 1...WitnessLimits.quantityMax, "units of a listing")
        nonce = try reader.bytes32(4, "nonce of a listing")
    }

    package func write(into buffer: inout ByteBuffer) {
        buffer.write(1, seller.bytes)
        buffer.write(2, witnesses.bytes)
        buffer.write(3, quantity)
        buffer.write(4, nonce)
    }

    /// - Parameter number: from 0.
    package func unit(_ number: Int) -> UnitID {
        var buffer = ByteBuffer()
        buffer.write(domain: "tutti-unit")
        buffer.write(1, self)
        buffer.write(2, number)
        return UnitID(buffer.sha256)
    }
}

/// The named deadlines of one contract, in seconds.
package struct TradeDeadlines: Hashable, Sendable {
    /// In the order of ``DeadlineName``.
    package let seconds: [UInt32]

    /// Nil unless there is one for each name, within its bounds. Whether a trade ends in time depends on the number of
    /// arbiters: ``TradePlan/isBounded``.
    package init?(_ seconds: [UInt32]) {
        let bounds = UInt32(WitnessLimits.deadlineSecondsMin)...UInt32(WitnessLimits.deadlineSecondsMax)
        guard seconds.count == DeadlineName.allCases.count, seconds.allSatisfy(bounds.contains) else { return nil }
        self.seconds = seconds
    }

    package subscript(_ name: DeadlineName) -> UInt32 { seconds[Int(name.rawValue)] }
}

/// The part of a contract that witnesses see: whose turn may come, by which key, within which time. Of what is sold they
/// learn a digest.
package struct TradePlan: Hashable, Sendable, CanonicalBody {
    package let trade: TradeID
    package let unit: UnitID
    package let buyer: TradeKey
    package let seller: TradeKey
    /// In the order in which they are called.
    package let arbiters: [TradeKey]
    package let witnesses: WitnessSetID
    package let deadlines: TradeDeadlines
    /// The digest of the whole contract.
    package let contract: Bytes32
    /// Whose cap the trade debits, and by how much: the price, rounded up to a band.
    package let account: Bytes32
    package let amount: Int64
    package let charter: Bytes32

    package init(
        trade: TradeID, unit: UnitID, buyer: TradeKey, seller: TradeKey, arbiters: [TradeKey],
        witnesses: WitnessSetID, deadlines: TradeDeadlines, contract: Bytes32, account: Bytes32, amount: Int64,
        charter: Bytes32
    ) {
        self.trade = trade
        self.unit = unit
        self.buyer = buyer
        self.seller = seller
        self.arbiters = arbiters
        self.witnesses = witnesses
        self.deadlines = deadlines
        self.contract = contract
        self.account = account
        self.amount = amount
        self.charter = charter
    }

    package init(from reader: inout BodyReader) throws(DecodeError) {
        trade = TradeID(try reader.bytes32(1, "trade"))
        unit = UnitID(try reader.bytes32(2, "unit"))
        buyer = TradeKey(try reader.bytes32(3, "buyer's key"))
        seller = TradeKey(try reader.bytes32(4, "seller's key"))
        arbiters = try reader.bytes32s(5, countMax: WitnessLimits.arbitersMax, "arbiters").map { TradeKey($0) }
        witnesses = WitnessSetID(try reader.bytes32(6, "witnesses"))
        var message = try reader.message(7, "deadlines")
        var seconds: [UInt32] = []
        for name in DeadlineName.allCases {
            let value = try message.number(Int(name.rawValue) + 1, in: 0...Int(UInt32.max), "deadline")
            seconds.append(UInt32(value))
        }
        try message.end("deadlines")
        guard let deadlines = TradeDeadlines(seconds) else { throw .malformed("deadlines") }
        self.deadlines = deadlines
        contract = try reader.bytes32(8, "contract")
        account = try reader.bytes32(9, "account")
        amount = Int64(try reader.number(10, in: 0...Int(WitnessLimits.amountMax), "amount"))
        charter = try reader.bytes32(11, "charter")
        guard isWellFormed else { throw .malformed("plan of a trade") }
    }

    package func write(into buffer: inout ByteBuffer) {
        buffer.write(1, trade.bytes)
        buffer.write(2, unit.bytes)
        buffer.write(3, buyer.bytes)
        buffer.write(4, seller.bytes)
        for arbiter in arbiters { buffer.write(5, arbiter.bytes) }
        buffer.write(6, witnesses.bytes)
        buffer.write(7) { message in
            for (index, seconds) in deadlines.seconds.enumerated() { message.write(index + 1, Int(seconds)) }
        }
        buffer.write(8, contract)
        buffer.write(9, account)
        buffer.write(10, Int(amount))
        buffer.write(11, charter)
    }

    package var digest: Bytes32 { digest(domain: "tutti-plan") }

    /// Buyer, seller, arbiters: whose turns ballots are.
    package var keys: [TradeKey] { [buyer, seller] + arbiters }

    /// Each role has a key of its own, there are arbiters enough, and the trade ends in time.
    package var isWellFormed: Bool {
        (WitnessLimits.arbitersMin...WitnessLimits.arbitersMax).contains(arbiters.count)
            && Set(keys).count == keys.count && (0...WitnessLimits.amountMax).contains(amount) && isBounded
    }

    /// Whether every course ends within 90 days of the buyer's word that he paid.
    package var isBounded: Bool {
        TradeCourse.secondsFromPayment(arbiterCount: arbiters.count, deadlines: deadlines.seconds.map { Int($0) })
            <= WitnessLimits.secondsFromPaymentMax
    }

    package func key(of role: TradeRole) -> TradeKey? {
        switch role {
        case .buyer: buyer
        case .seller: seller
        case .arbiter(let index): arbiters.indices.contains(index) ? arbiters[index] : nil
        }
    }

    package var course: TradeCourse { TradeCourse(arbiterCount: arbiters.count) }
}
