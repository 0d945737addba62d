// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal
import TuttiMarket
import TuttiWitness

/// A community as its fold leaves it, of any size, without a single signature. Member 0 is the founder.
struct Village {
    static let cap: Int64 = 300
    /// A vouch that helps somebody to an account.
    static let share: Int64 = 100

    var state: CommunityState
    private(set) var count = 0
    private var vouchesCount = 0

    static func id(_ number: Int, _ space: UInt64) -> Bytes32 {
        // Spread, so that ids don't stand in the order of joining.
        let word = UInt64(number + 1) &* 0x9E37_79B9_7F4A_7C15
        return Bytes32(words: (word ^ word >> 29, space, UInt64(number), 0))
    }

    static func member(_ number: Int) -> MemberID { MemberID(id(number, 1)) }
    static func deviceKey(_ number: Int) -> KeyPair { KeyPair(seed: id(number, 2)) }
    static func device(_ number: Int) -> DeviceID { deviceKey(number).device }

    init(rules change: (inout MarketRules) -> Void = { _ in }) {
        state = CommunityState(community: CommunityID(Self.id(0, 9)))
        var charter = Charter.standard(name: "Gear", founder: Self.member(0))
        charter.market.cap = Self.cap
        charter.market.backersMin = 3
        charter.market.backedMax = [8, 4, 2]
        charter.market.bands = [10, 20, 50, 100, 200, 300]
        change(&charter.market)
        state.charter = charter
        state.founder = Self.member(0)
        join(by: nil, role: .founder)
    }

    @discardableResult
    mutating func join(by sponsor: Int?, role: Role = .member) -> Int {
        let (member, device) = (Self.member(count), Self.device(count))
        state.members[member] = CommunityState.Member(
            id: member, nickname: "m\(count)", roles: [role, .member], sponsor: sponsor.map(Self.member),
            since: EntryID(Self.id(count, 3)), devices: [device], ended: nil)
        state.devices[device] = CommunityState.Device(
            id: device, member: member, standing: .good, cut: nil, certificate: EntryID(Self.id(count, 3)))
        count += 1
        return count - 1
    }

    @discardableResult
    mutating func vouch(_ author: Int, for member: Int, _ amount: Int64 = Self.share) -> EntryID {
        vouchesCount += 1
        let id = EntryID(Self.id(vouchesCount, 4))
        state.vouches[id] = CommunityState.Vouch(
            id: id, author: Self.member(author),
            body: VouchBody(member: Self.member(member), amount: amount, note: ""), depth: vouchesCount)
        return id
    }

    mutating func withdraw(_ vouch: EntryID) {
        state.vouchesWithdrawn[vouch] = state.vouches.removeValue(forKey: vouch)
    }

    /// Each with an account by the founder's own vouch.
    mutating func trusted(_ number: Int) -> [Int] {
        (0..<number).map { _ in
            let member = join(by: 0)
            vouch(0, for: member, Self.cap)
            return member
        }
    }

    var accounts: CapAccounts { CapAccounts(state) }

    func holder(of number: Int) -> Int? {
        let holder = accounts.account(of: Self.member(number))?.holder
        return (0..<count).first { Self.member($0) == holder }
    }

    /// Members with accounts of their own.
    var holders: [Int] {
        let holders = Set(accounts.all.map(\.holder))
        return (0..<count).filter { holders.contains(Self.member($0)) }
    }
}
