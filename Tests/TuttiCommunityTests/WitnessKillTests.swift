// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import TuttiBase
import TuttiCommunity
import TuttiIdentity
import TuttiJournal
import TuttiStorage
import TuttiWitness

import struct NIOCore.ByteBuffer

/// A witness on its disk, without a network: what it is asked, and where it is killed.
@Suite("A witness that is killed", .serialized)
struct WitnessKillTests {
    /// Where the process ends, by SIGKILL.
    enum Moment: Int, CaseIterable, Sendable {
        case beforeTheWrite
        /// The vote is on the disk, and nobody has heard of it.
        case beforeTheAnswer
        case afterTheAnswer
    }

    @Test(
        "Killed at any moment it comes back under the same key and never signs a second vote",
        arguments: Moment.allCases)
    func votesOnce(_ moment: Moment) async throws {
        let root = try Folder()
        let folder = root.path + "/data"
        try FileManager.default.createDirectory(atPath: folder + "/keys", withIntermediateDirectories: true)
        let key = try await WitnessAlone(folder).key
        for unit in 0..<4 {
            await #expect(processExitsWith: .signal(SIGKILL)) {
                [folder = folder as String, unit = unit as Int, moment = moment.rawValue as Int] in
                let witness = try await WitnessAlone(folder)
                _ = try await witness.propose(unit, for: 1, killedAt: Moment(rawValue: moment))
            }
            // Another buyer asks for the same unit.
            let witness = try await WitnessAlone(folder)
            #expect(witness.key == key)
            let vote = try #require(Self.vote(try await witness.propose(unit, for: 2)))
            let statement = Statement.vote(witness.slot(unit).id(in: witness.set.id), .first, vote.value)
            #expect(SignatureCheck(key: key, message: statement.bytes, signature: vote.signature).isValid)
            #expect(vote.value == witness.value(unit, for: moment == .beforeTheWrite ? 2 : 1))
            // And whoever asks again hears the same.
            let again = try #require(Self.vote(try await witness.propose(unit, for: 1)))
            #expect(again == vote)
        }
    }

    private static func vote(_ answer: WitnessAnswer?) -> WitnessFault.SignedValue? {
        guard case .voted(.first, let value, let signature, _)? = answer else { return nil }
        return WitnessFault.SignedValue(value: value, signature: signature.signature)
    }

    @Test("A copy of the folder doesn't vote under the key that has voted")
    func copiesHaveAnotherKey() async throws {
        let root = try Folder()
        let (folder, other) = (root.path + "/data", root.path + "/copy")
        try FileManager.default.createDirectory(atPath: folder + "/keys", withIntermediateDirectories: true)
        let key = try await WitnessAlone(folder).key
        try FileManager.default.copyItem(atPath: folder, toPath: other)
        let copy = try await WitnessAlone(other)
        #expect(copy.key != key)
        // In the set of the old key it serves nobody.
        let answer = try await copy.ask(0, for: 1, in: try #require(WitnessAlone.set(with: key)))
        guard case .refused(.notServed, _, _, _)? = answer else {
            Issue.record("a copy answered \(String(describing: answer))")
            return
        }
    }
}

/// `WitnessCore` over a folder, driven as the node does: what it wants of the disk is done before anything else happens.
private struct WitnessAlone {
    private static let others = (1...3).map { TradeKey(Bytes32(words: ($0, 7, 7, 7))) }
    private static let now = WitnessClock(milliseconds: 1_800_000_000_000, steadySince: 0)

    let key: TradeKey
    let set: WitnessSet
    private let signer: TradeSigner
    private let writer: JournalWriter
    private let seller = TradeSigner(KeyPair(seed: Bytes32(words: (1, 2, 3, 4))))

    init(_ folder: String) async throws {
        writer = JournalWriter(try SQLiteJournal(path: folder + "/journal.sqlite"))
        let (pair, _) = try await WitnessKey(folder: folder, passphrase: nil).begin(writer)
        signer = TradeSigner(pair)
        key = signer.key
        set = try #require(Self.set(with: key))
    }

    static func set(with key: TradeKey) -> WitnessSet? { WitnessSet(others + [key]) }

    private var stub: UnitStub {
        UnitStub(seller: seller.key, witnesses: set.id, quantity: 100, nonce: Bytes32(words: (9, 9, 9, 9)))
    }

    func slot(_ unit: Int) -> Slot { .reservation(stub.unit(unit), round: 0) }

    private func plan(_ unit: Int, for buyer: UInt64) -> TradePlan {
        let seconds = Array(repeating: UInt32(WitnessLimits.deadlineSecondsMin), count: DeadlineName.allCases.count)
        guard let deadlines = TradeDeadlines(seconds) else { preconditionFailure("the bounds hold themselves") }
        func name(_ number: UInt64) -> Bytes32 { Bytes32(words: (buyer, number, 5, UInt64(unit))) }
        return TradePlan(
            trade: TradeID(name(1)), unit: stub.unit(unit), buyer: TradeKey(name(2)), seller: seller.key,
            arbiters: [TradeKey(name(3)), TradeKey(name(4))], witnesses: set.id, deadlines: deadlines,
            contract: name(5), account: name(6), amount: 0, charter: name(7))
    }

    func value(_ unit: Int, for buyer: UInt64) -> SlotValue { .event(plan(unit, for: buyer).digest) }

    func propose(
        _ unit: Int, for buyer: UInt64, killedAt moment: WitnessKillTests.Moment? = nil
    ) async throws -> WitnessAnswer? {
        try await ask(unit, for: buyer, in: set, killedAt: moment)
    }

    func ask(
        _ unit: Int, for buyer: UInt64, in asked: WitnessSet, killedAt moment: WitnessKillTests.Moment? = nil
    ) async throws -> WitnessAnswer? {
        let request = ReservationRequest(
            stub: stub, unitNumber: unit, plan: plan(unit, for: buyer), exposure: nil,
            slot: slot(unit).id(in: set.id), signer: seller)
        let proposal = Proposal(ballot: .first, value: value(unit, for: buyer), request: .reservation(request))
        var core = WitnessCore(signer: signer)
        let question = WitnessQuestion(set: asked.id, slot: slot(unit), ask: .propose(proposal))
        core.handle(.asked(RequestID(1), question, WitnessContext(sets: [asked])), at: Self.now)
        while let effect = core.nextEffect() {
            switch effect {
            case .load(let chain, let id):
                let query = JournalQuery.slotPage(.witness, prefix: chain.bytes, countMax: 100, bytesMax: .max)
                guard case .slots(let slots) = await writer.answer(query) else { return nil }
                let records = slots.map { WitnessRecord(key: $0.key.bytes, value: ByteBuffer(bytes: $0.value)) }
                core.handle(.loaded(id, records), at: Self.now)
            case .check(let checks, let id): core.handle(.checked(id, checks.map(\.isValid)), at: Self.now)
            case .persist(let records, let id):
                if moment == .beforeTheWrite { kill(getpid(), SIGKILL) }
                var batch = JournalBatch()
                batch.slots = records.map {
                    SlotRecord(SlotKey(.witness, $0.key), Array($0.value.readableBytesView))
                }
                try await writer.write(batch)
                if moment == .beforeTheAnswer { kill(getpid(), SIGKILL) }
                core.handle(.persisted(id), at: Self.now)
            case .answer(_, let answer):
                if moment == .afterTheAnswer { kill(getpid(), SIGKILL) }
                return answer
            }
        }
        return nil
    }
}
