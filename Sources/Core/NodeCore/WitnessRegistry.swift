// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal
import TuttiMarket
import TuttiWitness

/// What this node's own replica says of witnesses: where each is asked, which sets there have been, and on whose cap an
/// account trades. Never what somebody says in a question.
///
/// Contracts pin the set that they were made with. So every set that the charter ever led to here is kept on the disk, in
/// order; the last is the one in force.
struct WitnessRegistry: Sendable {
    /// Kept; a set changes when a witness does.
    static let setsMax = 256

    private(set) var roster: MarketRoster
    private(set) var sets: [WitnessSet] = []
    private var peers: [TradeKey: PeerID] = [:]
    private var accounts: CapAccounts?

    init(community: CommunityID) { roster = MarketRoster(community: community) }

    var current: WitnessSet? { sets.last }
    func peer(of witness: TradeKey) -> PeerID? { peers[witness] }

    /// Of sets in force now.
    var seats: [TradeKey: PeerID] {
        Dictionary((current?.keys ?? []).compactMap { key in peers[key].map { (key, $0) } }) { first, _ in first }
    }

    mutating func restore(_ slots: [SlotRecord]) {
        sets = slots.compactMap { slot in
            WitnessSet(
                stride(from: 0, to: slot.value.count, by: Bytes32.count).compactMap { start in
                    Bytes32(Array(slot.value[start...].prefix(Bytes32.count))).map { TradeKey($0) }
                })
        }
    }

    mutating func insert(_ entries: [StoredEntry]) -> Bool {
        entries.reduce(false) { roster.insert($1) || $0 }
    }

    /// - Returns: a set that wasn't there before, to be kept.
    mutating func review(_ state: CommunityState) -> SlotRecord? {
        accounts = nil
        for witness in roster.witnesses(state) { peers[witness.card.key] = witness.card.peer }
        guard let set = roster.witnessSet(state), set != current, sets.count < Self.setsMax else { return nil }
        sets.append(set)
        return SlotRecord(
            SlotKey(.witnessSets, withUnsafeBytes(of: UInt64(sets.count).bigEndian) { Array($0) }),
            set.keys.flatMap(\.bytes.bytes))
    }

    mutating func context(for question: WitnessQuestion, _ state: CommunityState) -> WitnessContext {
        let place = sets.lastIndex { $0.id == question.set }
        let isCurrent = place == sets.count - 1
        let before = place.flatMap { $0 > 0 ? sets[$0 - 1].id : nil }
        return WitnessContext(
            sets: sets, account: account(question.slot, state), successor: isCurrent ? nil : current?.id,
            predecessor: before)
    }

    private mutating func account(_ slot: Slot, _ state: CommunityState) -> WitnessAccount? {
        guard case .exposure(let name, _) = slot else { return nil }
        let known = accounts ?? CapAccounts(state)
        accounts = known
        return known.witnessAccount(name, state)
    }
}
