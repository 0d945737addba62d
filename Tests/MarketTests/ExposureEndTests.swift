// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal
import TuttiMarket
import TuttiWitness

@Suite("An exposure that the witnesses end")
struct ExposureEndTests {
    private static let witnesses = (0..<4).map { KeyPair(seed: .numbered(500 + $0)) }
    private static func signer(_ number: Int) -> TradeSigner { TradeSigner(KeyPair(seed: .numbered(600 + number))) }

    private let set: WitnessSet
    private let plan: TradePlan

    init() throws {
        set = try #require(WitnessSet(Self.witnesses.map { TradeKey($0) }))
        plan = TradePlan(
            trade: TradeID(.numbered(1)), unit: UnitID(.numbered(2)), buyer: Self.signer(0).key,
            seller: Self.signer(1).key, arbiters: [Self.signer(2).key, Self.signer(3).key], witnesses: set.id,
            deadlines: try #require(TradeDeadlines(Array(repeating: 86_400, count: DeadlineName.allCases.count))),
            contract: .numbered(3), account: .numbered(4), amount: 100, charter: .numbered(5))
    }

    private func certificate(_ slot: Slot, _ value: SlotValue) throws -> Certificate {
        let statement = Statement.commit(slot.id(in: set.id), .first, value)
        let signatures = try Self.witnesses.map { pair in
            WitnessSignature(
                witness: try #require(set.keys.firstIndex(of: TradeKey(pair))), signature: pair.sign(statement.bytes))
        }
        return Certificate(
            slot: slot, set: set.id, ballot: .first, value: value,
            commits: try #require(QuorumProof(signatures, quorum: set.quorum)))
    }

    private func debit(_ plan: Bytes32) -> Exposure.Debit {
        let card = PartyCard(
            community: CommunityID(.zero), member: MemberID(.numbered(1)), key: self.plan.seller, nonce: .zero,
            device: Self.witnesses[0])
        return Exposure.Debit(
            seller: card, buyerKey: self.plan.buyer, buyer: nil, plan: plan, account: self.plan.account, units: 100)
    }

    @Test("needs the proof that the trade of its own plan is over, by witnesses who are known")
    func ended() throws {
        let reserved = TradeProof(
            plan: plan, reservation: try certificate(.reservation(plan.unit, round: 0), .event(plan.digest)))
        let lapsed = try #require(
            reserved.appending(.silence, try certificate(.step(plan.trade, number: 1), .noEvent)))
        let exposure = Exposure(debit(plan.digest), .ended(lapsed))
        let read = try Exposure(bytes: exposure.bytes)
        #expect(read == exposure)
        let checks = try #require(read.checks(in: [set]))
        let verdicts = checks.map(\.isValid)
        #expect(verdicts.count == 6 && !verdicts.contains(false))
        #expect(read.checks(in: []) == nil)
        #expect(Exposure(debit(plan.digest), .ended(reserved)).checks(in: [set]) == nil)
        // The seller lets a reservation of another plan lapse, to end what he owes.
        #expect(Exposure(debit(.numbered(9)), .ended(lapsed)).checks(in: [set]) == nil)
        for count in 0..<exposure.bytes.count {
            #expect(throws: DecodeError.self) { try Exposure(bytes: Array(exposure.bytes.prefix(count))) }
        }
    }
}
