// SPDX-License-Identifier: Apache-2.0
import TuttiBase
package import TuttiCommunityCore
import TuttiIdentity
package import TuttiJournal
package import TuttiWitness

/// Who arbitrates and who witnesses: of each device the last consent and card; what of that counts, the community's state
/// decides when it is asked.
package struct MarketRoster: Sendable {
    private struct Words<Body: Hashable & Sendable>: Sendable {
        let body: Body
        let sequence: EntrySequence
        let order: (HybridTime, EntryID)
    }

    package struct Arbiter: Hashable, Sendable {
        package let member: MemberID
        package let device: DeviceID
        package let consent: ArbiterConsent
        /// Of the consent.
        package let entry: EntryID
    }

    package struct Witness: Hashable, Sendable {
        package let member: MemberID
        package let device: DeviceID
        package let card: WitnessCard
        /// Of the card.
        package let entry: EntryID
    }

    private let community: CommunityID
    private var consents: [DeviceID: Words<ArbiterConsent>] = [:]
    private var cards: [DeviceID: Words<WitnessCard>] = [:]
    /// Malformed ones, such as nobody with that key wrote, and those for which there was no room.
    package private(set) var refusedCount = 0

    package init(community: CommunityID) { self.community = community }

    /// Takes an entry from the ordinary view; of other kinds it takes no notice.
    /// - Returns: whether it changed anything.
    package mutating func insert(_ stored: StoredEntry) -> Bool {
        let header = stored.entry.header
        guard header.kind == .arbiterConsent || header.kind == .witnessCard,
            let body = stored.entry.content?.body
        else { return false }
        do throws(DecodeError) {
            if header.kind == .arbiterConsent {
                return Self.insert(try consent(body, header.device), stored, into: &consents)
            }
            return Self.insert(try card(body, header.device), stored, into: &cards)
        } catch {
            refusedCount += 1
            return false
        }
    }

    private func consent(_ body: [UInt8], _ device: DeviceID) throws(DecodeError) -> ArbiterConsent {
        let consent = try ArbiterConsent(bytes: body)
        guard consent.isProofValid(in: community, device: device) else { throw .malformed("proof of a consent") }
        return consent
    }

    private func card(_ body: [UInt8], _ device: DeviceID) throws(DecodeError) -> WitnessCard {
        let card = try WitnessCard(bytes: body)
        guard card.isProofValid(in: community, device: device) else { throw .malformed("proof of a witness card") }
        return card
    }

    private static func insert<Body>(
        _ body: Body, _ stored: StoredEntry, into table: inout [DeviceID: Words<Body>]
    ) -> Bool {
        let header = stored.entry.header
        if let known = table[header.device] {
            guard known.sequence < header.sequence else { return false }
        } else if table.count >= StandingLimits.devicesMax {
            return false
        }
        table[header.device] = Words(
            body: body, sequence: header.sequence, order: (header.time, stored.entry.id))
        return true
    }

    /// The latest words of the member's good devices.
    private func latest<Body>(
        of member: MemberID, _ state: CommunityState, _ table: [DeviceID: Words<Body>]
    ) -> (device: DeviceID, words: Words<Body>)? {
        state.goodDevices(of: member).compactMap { device in table[device].map { (device, $0) } }
            .max { $0.1.order < $1.1.order }
    }

    /// Who may be named by a contract made now, ascending by member. Nobody stands there with another's key.
    package func arbiters(_ state: CommunityState, at milliseconds: UInt64) -> [Arbiter] {
        let members = state.members.keys.filter { state.may(.arbitrate, $0) }.sorted()
        return members.compactMap { member in
            guard let (device, words) = latest(of: member, state, consents),
                milliseconds <= words.body.terms.validUntil
            else { return nil }
            return Arbiter(member: member, device: device, consent: words.body, entry: words.order.1)
        }
    }

    /// The latest card of the member's good devices, whether or not the charter names the member.
    package func witness(_ member: MemberID, _ state: CommunityState) -> Witness? {
        latest(of: member, state, cards).map { device, words in
            Witness(member: member, device: device, card: words.body, entry: words.order.1)
        }
    }

    /// The members whom the charter names, by their keys: the first 4, 7, 10 or 13 of those who have a card. The charter
    /// alone says who witnesses, so nobody gets in, or somebody else out, by a key made to fit.
    package func witnesses(_ state: CommunityState) -> [Witness] {
        var keys: Set<TradeKey> = []
        let seated = (state.charter?.witnesses ?? []).compactMap { member -> Witness? in
            guard state.isMember(member), let seat = witness(member, state),
                keys.insert(seat.card.key).inserted
            else { return nil }
            return seat
        }
        let count = stride(from: WitnessSet.countMax, through: WitnessSet.countMin, by: -3).first { $0 <= seated.count }
        return Array(seated.prefix(count ?? 0))
    }

    /// Nil when fewer than four witnesses are there.
    package func witnessSet(_ state: CommunityState) -> WitnessSet? {
        WitnessSet(witnesses(state).map(\.card.key))
    }
}
