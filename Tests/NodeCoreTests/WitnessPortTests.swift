// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal
import TuttiMarket
import TuttiNodeCore
import TuttiWitness

@Suite("The deadline register on whole nodes", .timeLimit(.minutes(3)))
struct WitnessPortTests {
    /// Four witnesses and a seller, all members, the first the founder; connected with each other.
    private struct Register: ~Copyable {
        static let seller = 4
        var town: ReplicaTown
        let keys: [KeyPair]
        let listing = TradeSigner(KeyPair(seed: Bytes32(words: (4, 4, 4, 4))))

        init(seed: UInt64) throws {
            town = ReplicaTown(nodes: 5, seed: seed)
            keys = (0..<4).map { KeyPair(seed: Bytes32(words: (UInt64($0), seed, 8, 8))) }
            try town.found(witnesses: [0, 1, 2, 3])
            let link = try town.invite(by: 0)
            for node in 1...4 { try town.join(node, by: link, through: 0) }
            for node in 0..<4 { for other in (node + 1)..<5 { town.connect(node, other) } }
            town.run(.seconds(20))
            for node in 0..<4 {
                town.serve(node, with: keys[node])
                let card = WitnessCard(
                    peer: town.peer(node), in: town.community, device: town.device(node), key: keys[node])
                town.append(
                    node,
                    EntryDraft(
                        kind: .witnessCard, body: card.bytes, governance: try town.replica(node).community.head))
            }
            town.run(.seconds(10))
        }

        var set: WitnessSet {
            get throws { try #require(WitnessSet(keys.map { TradeKey($0.device.bytes) })) }
        }

        func task(_ unit: Int, for buyer: UInt64) throws -> RegisterTask {
            let set = try set
            let stub = UnitStub(
                seller: listing.key, witnesses: set.id, quantity: 100, nonce: Bytes32(words: (1, 1, 1, 1)))
            let seconds = Array(
                repeating: UInt32(WitnessLimits.deadlineSecondsMin), count: DeadlineName.allCases.count)
            func name(_ number: UInt64) -> Bytes32 { Bytes32(words: (buyer, number, 5, UInt64(unit))) }
            let plan = TradePlan(
                trade: TradeID(name(1)), unit: stub.unit(unit), buyer: TradeKey(name(2)), seller: listing.key,
                arbiters: [TradeKey(name(3)), TradeKey(name(4))], witnesses: set.id,
                deadlines: try #require(TradeDeadlines(seconds)), contract: name(5), account: name(6), amount: 0,
                charter: name(7))
            let slot = Slot.reservation(plan.unit, round: 0)
            let request = ReservationRequest(
                stub: stub, unitNumber: unit, plan: plan, exposure: nil, slot: slot.id(in: set.id), signer: listing)
            return RegisterTask(set: set, slot: slot, request: .reservation(request), evidence: nil)
        }
    }

    private func outcomes(_ told: [JournalResult]) -> [SlotID: RegisterOutcome] {
        var found: [SlotID: RegisterOutcome] = [:]
        for case .witness(.finished(let slot, let outcome)) in told { found[slot] = outcome }
        return found
    }

    @Test(
        "Every node learns the set and where each witness is asked; a unit gets one certificate, whoever asks first",
        arguments: 1...4 as ClosedRange<UInt64>)
    func reserves(_ seed: UInt64) throws {
        var register = try Register(seed: seed)
        let set = try register.set
        for node in 0...4 {
            let port = try #require(register.town.fleet.members[node].core.register)
            #expect(port.set == set && port.seats.count == 4)
        }
        // Two devices of the seller sell the same units to two buyers.
        let tasks = try (0..<6).map { (try register.task($0, for: 1), try register.task($0, for: 2)) }
        for (one, other) in tasks {
            register.town.drive(Register.seller, one, register.listing)
            register.town.drive(seed % 2 == 0 ? 3 : 0, other, register.listing)
        }
        register.town.run(.seconds(60))
        let (first, second) = (
            outcomes(register.town.told(Register.seller)), outcomes(register.town.told(seed % 2 == 0 ? 3 : 0))
        )
        for (one, other) in tasks {
            guard case .decided(let certificate, _, _)? = first[one.id],
                case .decided(let twin, _, _)? = second[other.id]
            else {
                Issue.record("undecided: \(String(describing: first[one.id])), \(String(describing: second[other.id]))")
                continue
            }
            #expect(certificate.isValid(in: set) && twin.isValid(in: set) && certificate.value == twin.value)
        }
    }

    @Test("With one witness gone for good, and another that crashes and comes back, slots are decided all the same")
    func survives() throws {
        var register = try Register(seed: 7)
        register.town.fleet.crash(1)
        let first = try register.task(0, for: 1)
        register.town.drive(Register.seller, first, register.listing)
        register.town.run(.seconds(10))
        let early = outcomes(register.town.told(Register.seller))
        #expect(early[first.id] != nil)
        // Two of four can't.
        register.town.fleet.crash(2)
        let second = try register.task(1, for: 1)
        register.town.drive(Register.seller, second, register.listing)
        register.town.run(.seconds(10))
        let waiting = outcomes(register.town.told(Register.seller))
        #expect(waiting[second.id] == nil)
        register.town.restart(2)
        register.town.serve(2, with: register.keys[2])
        register.town.connect(2, Register.seller)
        register.town.run(.seconds(120))
        let late = outcomes(register.town.told(Register.seller))
        #expect(late[second.id] != nil)
    }

    @Test("Who isn't a member is refused unread, and costs no more than that")
    func refusesStrangers() throws {
        var register = try Register(seed: 9)
        try register.town.remove(Register.seller, by: 0)
        register.town.run(.seconds(5))
        let task = try register.task(0, for: 1)
        register.town.drive(Register.seller, task, register.listing)
        register.town.run(.seconds(20))
        let none = outcomes(register.town.told(Register.seller))
        #expect(none.isEmpty)
        for node in 0..<4 {
            let port = try #require(register.town.fleet.members[node].core.register)
            let questions = port.counts.first { $0.name == "questions" }?.count
            #expect(port.stats.strangers > 0 && questions == 0)
        }
    }
}
