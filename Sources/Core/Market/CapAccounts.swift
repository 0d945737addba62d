// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiCommunityCore
import TuttiIdentity
package import TuttiJournal
package import TuttiWitness

import struct NIOCore.ByteBuffer

/// On whose cap each member trades. docs/decisions/0017-a-cheat-and-all-he-brought-in-share-one-cap.md.
///
/// A member without an account of its own trades on that of the nearest sponsor who has one. An account of one's own is
/// *backed*: by the founder's vouch for the whole cap, or by so many others' as the charter says, each for its share of
/// it, from members who have accounts themselves and weren't brought in by whom one traded on until then. Each may back
/// so many, the fewer the farther from the founder; a vouch taken back stays spent.
///
/// A pure function of the community's state: all witnesses come to the same accounts.
package struct CapAccounts: Sendable {
    package struct Account: Hashable, Sendable {
        package let holder: MemberID
        package let cap: Int64
        /// From the founder, who is 0.
        package let level: Int
        /// Who trades on it now, ascending.
        package fileprivate(set) var traders: [MemberID] = []
    }

    private var holders: [MemberID: MemberID] = [:]
    private var accounts: [MemberID: Account] = [:]
    private var holdersByID: [Bytes32: MemberID] = [:]
    private let community: CommunityID

    package init(_ state: CommunityState) {
        community = state.community
        guard let charter = state.charter, let founder = state.founder else { return }
        let tree = SponsorTree(state, founder: founder)
        let levels = Backing(state, charter.market, tree).levels()
        for (member, level) in levels {
            // Nobody goes on where a cheat had to stop.
            var isRemoved = false
            if case .removed? = state.members[member]?.ended { isRemoved = true }
            accounts[member] = Account(holder: member, cap: isRemoved ? 0 : charter.market.cap, level: level)
            holdersByID[Self.id(of: member, in: state.community)] = member
        }
        holders = tree.nearest { levels[$0] != nil }
        for member in tree.order.sorted() where state.mayTrade(member) {
            if let holder = holders[member] { accounts[holder]?.traders.append(member) }
        }
    }

    package func account(of member: MemberID) -> Account? { holders[member].flatMap { accounts[$0] } }
    package func account(_ id: Bytes32) -> Account? { holdersByID[id].flatMap { accounts[$0] } }
    /// The name under which witnesses keep the member's exposure.
    package func id(of member: MemberID) -> Bytes32? { holders[member].map { Self.id(of: $0, in: community) } }
    /// Ascending by holder.
    package var all: [Account] { accounts.values.sorted { $0.holder < $1.holder } }

    /// What a witness answers from its own roster when it is asked about an account; nil for one that nobody has.
    package func witnessAccount(_ id: Bytes32, _ state: CommunityState) -> WitnessAccount? {
        guard let account = account(id) else { return nil }
        let devices = account.traders.flatMap { state.goodDevices(of: $0) }
        return WitnessAccount(cap: account.cap, devices: Set(devices.map { TradeKey($0.bytes) }))
    }

    package static func id(of holder: MemberID, in community: CommunityID) -> Bytes32 {
        var buffer = ByteBuffer()
        buffer.write(1, community.bytes)
        buffer.write(2, holder.bytes)
        return KeyDerivation.sha256(
            Array("tutti-account".utf8) + Array(buffer.readableBytesView))
    }
}

extension CommunityState {
    /// By any of the member's roles.
    package func may(_ permission: Permissions, _ member: MemberID) -> Bool {
        guard let charter else { return false }
        return members[member]?.roles.contains { charter.allows($0, permission) } ?? false
    }

    package func mayTrade(_ member: MemberID) -> Bool { may(.trade, member) }

    /// The member's devices that aren't ended or frozen, ascending.
    package func goodDevices(of member: MemberID) -> [DeviceID] {
        (members[member]?.devices ?? []).filter { devices[$0]?.standing == .good }
    }
}

/// Who brought in whom. The founder is the root; who has no sponsor hangs directly below.
struct SponsorTree {
    let founder: MemberID
    /// Whoever is brought in stands behind the sponsor. Roles may be given to who joined in other ways, so sponsors could
    /// stand in a circle: such aren't here, and have neither an account nor a say in others'.
    private(set) var order: [MemberID] = []
    private(set) var sponsors: [MemberID: MemberID] = [:]
    /// Whom the founder brought in, and through whom oneself came.
    private(set) var branches: [MemberID: MemberID] = [:]
    /// Places in `order`, from one's own to that of the last who came through oneself.
    private var spans: [MemberID: ClosedRange<Int>] = [:]

    init(_ state: CommunityState, founder: MemberID) {
        self.founder = founder
        var children: [MemberID: [MemberID]] = [:]
        for member in state.members.keys.sorted(by: >) where member != founder {
            var sponsor = state.members[member]?.sponsor ?? founder
            if state.members[sponsor] == nil { sponsor = founder }
            sponsors[member] = sponsor
            children[sponsor, default: []].append(member)
        }
        var walk: [(member: MemberID, start: Int?)] = [(founder, nil)]
        while let (member, start) = walk.popLast() {
            if let start {
                spans[member] = start...order.count - 1
                continue
            }
            walk.append((member, order.count))
            order.append(member)
            if let sponsor = sponsors[member] { branches[member] = sponsor == founder ? member : branches[sponsor] }
            for child in children[member] ?? [] { walk.append((child, nil)) }
        }
    }

    /// Whether `other` is the member, or came through it.
    func isBelow(_ other: MemberID, _ member: MemberID) -> Bool {
        guard let span = spans[member], let place = spans[other]?.lowerBound else { return false }
        return span.contains(place)
    }

    /// For each the member itself or the nearest sponsor for whom it holds.
    func nearest(where holds: (MemberID) -> Bool) -> [MemberID: MemberID] {
        var nearest: [MemberID: MemberID] = [:]
        for member in order { nearest[member] = holds(member) ? member : sponsors[member].flatMap { nearest[$0] } }
        return nearest
    }
}

/// Decides, generation by generation, who has an account.
private struct Backing {
    private let rules: MarketRules
    private let tree: SponsorTree
    private let founder: MemberID
    /// Each author's vouches that are for a share of the cap at least, one for each whom they are for, the earliest first.
    private var spent: [MemberID: [MemberID]] = [:]
    /// What each now answers for: by whom it is for, then by author.
    private var amounts: [MemberID: [MemberID: Int64]] = [:]

    /// Of the cap, rounded up.
    private var share: Int64 {
        let count = Int64(max(1, rules.backersMin))
        return max(1, rules.cap / count + (rules.cap % count == 0 ? 0 : 1))
    }

    init(_ state: CommunityState, _ rules: MarketRules, _ tree: SponsorTree) {
        self.rules = rules
        self.tree = tree
        founder = state.founder ?? MemberID(.zero)
        for vouch in (Array(state.vouches.values) + Array(state.vouchesWithdrawn.values)).sorted(by: precedes)
        where vouch.body.amount >= share && vouch.author != vouch.body.member {
            if !(spent[vouch.author] ?? []).contains(vouch.body.member) {
                spent[vouch.author, default: []].append(vouch.body.member)
            }
        }
        for vouch in state.vouches.values where vouch.body.amount >= share {
            let before = amounts[vouch.body.member]?[vouch.author] ?? 0
            amounts[vouch.body.member, default: [:]][vouch.author] = max(before, vouch.body.amount)
        }
    }

    func levels() -> [MemberID: Int] {
        var levels = [founder: 0]
        var backed: [MemberID: Set<MemberID>] = [:]
        var newest = [founder]
        for (level, countMax) in rules.backedMax.enumerated() {
            for author in newest { backed[author] = Set((spent[author] ?? []).prefix(countMax)) }
            // Judged by the accounts of the generation before, so that no order among them matters.
            let holders = tree.nearest { levels[$0] != nil }
            newest = tree.order.filter { levels[$0] == nil && isBacked($0, holder: holders[$0], levels, backed) }
            for member in newest { levels[member] = level + 1 }
        }
        return levels
    }

    private func isBacked(
        _ member: MemberID, holder: MemberID?, _ levels: [MemberID: Int], _ backed: [MemberID: Set<MemberID>]
    ) -> Bool {
        guard let answering = amounts[member] else { return false }
        if backed[founder]?.contains(member) ?? false, answering[founder] ?? 0 >= max(1, rules.cap) { return true }
        // All that one cheat can have made: whom the holder brought in. The founder brought in everybody; there it is
        // the branch.
        guard answering.count >= rules.backersMin, let holder,
            let excluded = holder == founder ? tree.branches[member] : holder
        else { return false }
        let backers = answering.keys.lazy.filter { author in
            levels[author] != nil && (backed[author]?.contains(member) ?? false) && !tree.isBelow(author, excluded)
        }
        return backers.count >= rules.backersMin
    }
}

private func precedes(_ one: CommunityState.Vouch, _ other: CommunityState.Vouch) -> Bool {
    (one.depth, one.id) < (other.depth, other.id)
}
