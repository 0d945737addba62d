// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
import TuttiIdentity
package import TuttiJournal
package import TuttiWitness

import struct NIOCore.ByteBuffer

/// Somebody in a trade: the key that acts, and whose it is. That the two belong together an attestation shows.
package struct TradeParty: Hashable, Sendable {
    package var member: MemberID
    package var key: TradeKey

    package init(member: MemberID, key: TradeKey) {
        self.member = member
        self.key = key
    }
}

/// What decides when no arbiter acts: an outcome for each stage at which a dispute can stand.
package struct DefaultTable: Hashable, Sendable {
    /// Said to be paid, not confirmed.
    package var claimed: TradeOutcome
    package var confirmed: TradeOutcome
    package var shipped: TradeOutcome
    package var delivered: TradeOutcome

    /// Who was paid and can't show that the goods arrived gives the money back.
    package static let standard = DefaultTable(
        claimed: .void, confirmed: .refund, shipped: .refund, delivered: .release)

    package init(
        claimed: TradeOutcome, confirmed: TradeOutcome, shipped: TradeOutcome, delivered: TradeOutcome
    ) {
        self.claimed = claimed
        self.confirmed = confirmed
        self.shipped = shipped
        self.delivered = delivered
    }

    package func outcome(at stage: TradeStage) -> TradeOutcome {
        switch stage {
        case .agreed: .void
        case .claimed: claimed
        case .confirmed: confirmed
        case .shipped: shipped
        case .delivered: delivered
        }
    }

    fileprivate var rows: [TradeOutcome] { [claimed, confirmed, shipped, delivered] }
}

/// All terms and all keys of a trade. Its digest is what the seller's ACCEPT names and the buyer's CONTRACT signs; nothing
/// that comes later alters any of it.
///
/// Canonical protobuf (`BodyReader`):
///
/// | field | what |
/// |---|---|
/// | 1 | version, 1 |
/// | 2 | community |
/// | 3 | the buyer's nonce; trade = digest of listing, buyer and nonce |
/// | 4 | terms (``TradeTerms``) |
/// | 5 | unit |
/// | 6 | round of the reservation |
/// | 7 | buyer: 1 member, 2 key |
/// | 8 | seller, likewise |
/// | 9, 2 to 5 | arbiters in order, likewise |
/// | 10, 4 to 13 | the witnesses' keys, ascending |
/// | 11 | deadlines in seconds: 1 to 12 in the order of `DeadlineName` |
/// | 12 | default table: 1 claimed, 2 confirmed, 3 shipped, 4 delivered; each an outcome's number |
/// | 13 | exposure: 1 account, 2 banded units |
/// | 14 | digest of the charter |
package struct Contract: Hashable, Sendable {
    package static let version = 1

    package var community: CommunityID
    package var nonce: Bytes32
    package var terms: TradeTerms
    package var unit: UnitID
    package var round: UInt32
    package var buyer: TradeParty
    package var seller: TradeParty
    /// In the order in which they are called.
    package var arbiters: [TradeParty]
    package var witnesses: WitnessSet
    /// In seconds, in the order of `DeadlineName`; those of transport are in the one of delivery.
    package var deadlines: [Int]
    package var table: DefaultTable
    /// The seller's, which the reservation debits.
    package var account: Bytes32
    package var exposure: Int64
    package var charter: Bytes32

    package init(
        community: CommunityID, nonce: Bytes32, terms: TradeTerms, unit: UnitID, round: UInt32, buyer: TradeParty,
        seller: TradeParty, arbiters: [TradeParty], witnesses: WitnessSet, deadlines: [Int],
        table: DefaultTable = .standard, account: Bytes32, exposure: Int64, charter: Bytes32
    ) {
        self.community = community
        self.nonce = nonce
        self.terms = terms
        self.unit = unit
        self.round = round
        self.buyer = buyer
        self.seller = seller
        self.arbiters = arbiters
        self.witnesses = witnesses
        self.deadlines = deadlines
        self.table = table
        self.account = account
        self.exposure = exposure
        self.charter = charter
    }
}

// MARK: What it says

extension Contract {
    private static let domain: [UInt8] = Array("tutti-contract".utf8)
    private static let tradeDomain: [UInt8] = Array("tutti-trade-id".utf8)

    package var digest: Bytes32 { KeyDerivation.sha256(Self.domain + bytes) }

    /// The name of a trade from its first offer on.
    package static func trade(listing: EntryID, buyer: MemberID, nonce: Bytes32) -> TradeID {
        TradeID(
            KeyDerivation.sha256(tradeDomain + listing.bytes.bytes + buyer.bytes.bytes + nonce.bytes))
    }

    package var trade: TradeID { Self.trade(listing: terms.listing, buyer: buyer.member, nonce: nonce) }

    package func seconds(_ name: DeadlineName) -> Int {
        let index = Int(name.rawValue)
        return deadlines.indices.contains(index) ? deadlines[index] : 0
    }

    package func party(_ role: TradeRole) -> TradeParty? {
        switch role {
        case .buyer: buyer
        case .seller: seller
        case .arbiter(let number): arbiters.indices.contains(number) ? arbiters[number] : nil
        }
    }

    /// Roles are keys: who signs with none of these has none.
    package func role(of key: TradeKey) -> TradeRole? {
        if key == buyer.key { return .buyer }
        if key == seller.key { return .seller }
        return arbiters.firstIndex { $0.key == key }.map { .arbiter($0) }
    }

    package var course: TradeCourse { TradeCourse(arbiterCount: arbiters.count) }

    /// Within how many seconds from payment it is over, whatever anybody does.
    package var secondsFromPayment: Int {
        TradeCourse.secondsFromPayment(arbiterCount: arbiters.count, deadlines: deadlines)
    }

    /// What no contract may say, whatever the charter. Nobody judges in their own cause, no key acts in two roles.
    package var isWellFormed: Bool {
        let keys = [buyer.key, seller.key] + arbiters.map(\.key) + witnesses.keys
        let members = [buyer.member, seller.member] + arbiters.map(\.member)
        return terms.isWellFormed && TradeCourse.arbiterCounts.contains(arbiters.count)
            && Set(keys).count == keys.count && Set(members).count == members.count
            && deadlines.count == DeadlineName.allCases.count
            && deadlines.allSatisfy { TradeLimits.deadlineSeconds.contains($0) }
            && secondsFromPayment <= WitnessLimits.secondsFromPaymentMax && exposure > 0
            && exposure <= Money.amountMax
    }
}

// MARK: Encoding

extension Contract {
    package init(bytes: [UInt8]) throws(DecodeError) {
        guard bytes.count <= TradeLimits.contractBytesMax else {
            throw .tooLarge("contract", limit: TradeLimits.contractBytesMax)
        }
        var reader = try BodyReader(bytes)
        guard try reader.number(1, in: 1...Int(UInt16.max), "contract version") == Self.version else {
            throw .unsupported("contract version")
        }
        community = CommunityID(try reader.bytes32(2, "community"))
        nonce = try reader.bytes32(3, "nonce of a trade")
        var message = try reader.message(4, "terms")
        terms = try TradeTerms(from: &message)
        unit = UnitID(try reader.bytes32(5, "unit"))
        round = UInt32(try reader.number(6, in: 0...Slot.numberMax, "round of a reservation"))
        message = try reader.message(7, "buyer")
        buyer = try TradeParty(from: &message)
        message = try reader.message(8, "seller")
        seller = try TradeParty(from: &message)
        arbiters = []
        while var message = try reader.messageIfThere(9, "arbiter") {
            guard arbiters.count < TradeCourse.arbiterCounts.upperBound else {
                throw .tooLarge("arbiters", limit: TradeCourse.arbiterCounts.upperBound)
            }
            arbiters.append(try TradeParty(from: &message))
        }
        let keys = try reader.set(10, countMax: WitnessSet.countMax, "witnesses")
        guard let witnesses = WitnessSet(keys.map { TradeKey($0) }) else { throw .malformed("witnesses") }
        self.witnesses = witnesses
        message = try reader.message(11, "deadlines")
        deadlines = []
        for name in DeadlineName.allCases {
            deadlines.append(
                try message.number(Int(name.rawValue) + 1, in: TradeLimits.deadlineSeconds, "deadline"))
        }
        try message.end("deadlines")
        message = try reader.message(12, "default table")
        table = try DefaultTable(from: &message)
        message = try reader.message(13, "exposure")
        account = try message.bytes32(1, "account")
        exposure = Int64(try message.number(2, in: 1...Int(Money.amountMax), "exposure"))
        try message.end("exposure")
        charter = try reader.bytes32(14, "charter")
        try reader.end("contract")
        guard self.bytes == bytes, isWellFormed else { throw .malformed("contract") }
    }

    package var bytes: [UInt8] {
        var buffer = ByteBuffer()
        buffer.write(1, Self.version)
        buffer.write(2, community.bytes)
        buffer.write(3, nonce)
        buffer.write(4) { terms.encode(into: &$0) }
        buffer.write(5, unit.bytes)
        buffer.write(6, Int(round))
        buffer.write(7) { buyer.encode(into: &$0) }
        buffer.write(8) { seller.encode(into: &$0) }
        for arbiter in arbiters { buffer.write(9) { arbiter.encode(into: &$0) } }
        for key in witnesses.keys { buffer.write(10, key.bytes) }
        buffer.write(11) {
            for (index, seconds) in deadlines.enumerated() { $0.write(index + 1, seconds) }
        }
        buffer.write(12) {
            for (index, outcome) in table.rows.enumerated() { $0.write(index + 1, Int(outcome.detail)) }
        }
        buffer.write(13) {
            $0.write(1, account)
            $0.write(2, Int(exposure))
        }
        buffer.write(14, charter)
        return Array(buffer.readableBytesView)
    }
}

extension TradeParty {
    init(from reader: inout BodyReader) throws(DecodeError) {
        member = MemberID(try reader.bytes32(1, "member of a trade"))
        key = TradeKey(try reader.bytes32(2, "key of a trade"))
        try reader.end("party of a trade")
    }

    func encode(into buffer: inout ByteBuffer) {
        buffer.write(1, member.bytes)
        buffer.write(2, key.bytes)
    }
}

extension DefaultTable {
    fileprivate init(from reader: inout BodyReader) throws(DecodeError) {
        func outcome(_ number: Int, _ reader: inout BodyReader) throws(DecodeError) -> TradeOutcome {
            let detail = try reader.number(number, in: 0...Int(UInt16.max), "outcome")
            guard let outcome = TradeOutcome(detail: UInt16(detail)) else { throw .malformed("outcome") }
            return outcome
        }
        self.init(
            claimed: try outcome(1, &reader), confirmed: try outcome(2, &reader), shipped: try outcome(3, &reader),
            delivered: try outcome(4, &reader))
        try reader.end("default table")
    }
}
