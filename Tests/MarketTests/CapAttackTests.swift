// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiCommunityCore
import TuttiJournal
import TuttiMarket
import TuttiWitness

@Suite("Attacks on the cap", .timeLimit(.minutes(2)))
struct CapAttackTests {
    private static func name(_ device: DeviceID) -> TradeKey { TradeKey(device.bytes) }

    /// What all these can debit on whatever account they find, by the register's own arithmetic.
    private static func steal(
        _ puppets: [Int], in village: Village, amounts: () -> Int64
    ) -> [Bytes32: ExposureState] {
        let accounts = village.accounts
        var known: [Bytes32: WitnessAccount] = [:]
        var states: [Bytes32: ExposureState] = [:]
        var count = 0
        for _ in 0..<3 {
            for puppet in puppets {
                guard let id = accounts.id(of: Village.member(puppet)) else { continue }
                if known[id] == nil { known[id] = accounts.witnessAccount(id, village.state) }
                guard let account = known[id], account.devices.contains(name(Village.device(puppet))) else { continue }
                count += 1
                let item = ExposureItem(
                    plan: Village.id(count, 70), unit: UnitID(Village.id(count, 71)), round: 0, amount: amounts())
                let state = states[id] ?? ExposureState()
                if let next = state.after(.debit(item), cap: account.cap) { states[id] = next }
            }
        }
        return states
    }

    @Test("Ten thousand identities of one sponsor get not one unit more than the sponsor's own cap", arguments: 1...3)
    func sybils(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var village = Village()
        let honest = village.trusted(5)
        var puppets = [honest[0]]
        for _ in 0..<10_000 {
            puppets.append(village.join(by: puppets.randomElement(using: &random) ?? honest[0]))
        }
        for _ in 0..<10_000 {
            let pair = (0..<2).compactMap { _ in puppets.randomElement(using: &random) }
            village.vouch(pair[0], for: pair[1], Village.cap)
        }
        let states = Self.steal(puppets, in: village) {
            ([7, 10, 50, 100] as [Int64]).randomElement(using: &random) ?? 1
        }
        let own = village.accounts.id(of: Village.member(honest[0]))
        #expect(Array(states.keys) == [own].compactMap(\.self))
        // As much as fits, and no more.
        let total = states.values.reduce(0) { $0 + $1.total }
        #expect(total <= Village.cap && total > Village.cap - 7)
    }

    @Test(
        "However a cheat spreads, vouches and takes back, his people's accounts bound what they get", arguments: 1...40)
    func strategies(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var village = Village { $0.backedMax = [8, 3, 1] }
        let honest = village.trusted(6)
        var puppets = [honest[0]]
        var vouches: [EntryID] = []
        var fooled = 0
        for _ in 0..<400 {
            guard let one = puppets.randomElement(using: &random), let other = puppets.randomElement(using: &random)
            else { continue }
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<4: puppets.append(village.join(by: one))
            case 4..<8:
                let amounts: [Int64] = [1, Village.share, Village.cap]
                let amount = amounts.randomElement(using: &random) ?? 1
                if one != other { vouches.append(village.vouch(one, for: other, amount)) }
            case 8:
                if let last = vouches.popLast() { village.withdraw(last) }
            default:
                // Somebody honest believes one of them.
                fooled += 1
                village.vouch(honest[1 + fooled % 5], for: other, Village.share)
            }
        }
        let states = Self.steal(puppets, in: village) { Int64.random(in: 1...60, using: &random) }
        #expect(states.values.allSatisfy { $0.total <= Village.cap })
        // Five honest members with three vouches each; each account that the cheats bring about needs three
        // vouches, of which those they gave each other come from accounts won in this way.
        #expect(states.count <= 1 + (5 * 3 + 3) / 2)
    }

    @Test(
        "One seller with two hundred devices at once, before real witnesses, owes no more than the cap",
        arguments: 1...2)
    func manyAtOnce(seed: UInt64) throws {
        var village = Village()
        let seller = village.trusted(1)[0]
        var devices = [Village.device(seller)]
        for number in 0..<199 {
            let device = DeviceID(Village.id(number, 80))
            devices.append(device)
            village.state.devices[device] = CommunityState.Device(
                id: device, member: Village.member(seller), standing: .good, cut: nil, certificate: EntryID(.zero))
        }
        village.state.members[Village.member(seller)]?.devices = devices.sorted()
        let (accounts, state) = (village.accounts, village.state)
        let id = try #require(accounts.id(of: Village.member(seller)))
        let account = accounts.witnessAccount(id, state)
        var register = try #require(AccountRegister(seed: seed) { $0 == id ? account : nil })
        for device in devices { register.add(device.bytes, on: id, amounts: [50, 20]) }
        let isOver = register.run()
        #expect(isOver)
        let total = register.certified[id]?.state.total ?? 0
        #expect(total <= Village.cap && total > Village.cap - 20)
        #expect(register.refusals == 2 * devices.count)
    }

    @Test("Identities of one sponsor, all at once before real witnesses, share his cap", arguments: 1...2)
    func puppetsAtOnce(seed: UInt64) throws {
        var village = Village()
        let (cheat, other) = (village.trusted(1)[0], village.trusted(1)[0])
        let puppets = (0..<60).map { _ in village.join(by: cheat) }
        for puppet in puppets { village.vouch(cheat, for: puppet, Village.cap) }
        let (accounts, state) = (village.accounts, village.state)
        let ids = [cheat, other, 0].compactMap { accounts.id(of: Village.member($0)) }
        let known = Dictionary(uniqueKeysWithValues: ids.map { ($0, accounts.witnessAccount($0, state)) })
        var register = try #require(AccountRegister(seed: seed) { known[$0] ?? nil })
        for puppet in puppets {
            // They try everybody's account.
            for id in ids { register.add(Village.device(puppet).bytes, on: id, amounts: [100, 20]) }
        }
        let isOver = register.run()
        #expect(isOver)
        #expect(register.certified.count == 1)
        let total = register.certified[ids[0]]?.state.total ?? 0
        #expect(total <= Village.cap && total > Village.cap - 20)
    }
}
