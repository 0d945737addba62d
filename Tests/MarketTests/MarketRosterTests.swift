// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal
import TuttiMarket
import TuttiWitness

@Suite("Who arbitrates and who witnesses")
struct MarketRosterTests {
    private static let now: UInt64 = 1_700_000_000_000

    private static func entry(
        _ who: Int, _ kind: EntryKind, _ body: [UInt8], in village: Village, sequence: UInt64 = 1, at offset: UInt64 = 0
    ) -> StoredEntry {
        let content = Entry.Content(salt: .zero, body: body)
        let header = EntryHeader(
            kind: kind, isCritical: false, retention: .permanent, bodyBytesCount: body.count,
            sequence: EntrySequence(sequence), time: HybridTime(milliseconds: now + offset),
            community: village.state.community, device: Village.device(who), previous: EntryID(.numbered(who)),
            governance: EntryID(.numbered(1)), bodyDigest: content.digest)
        return StoredEntry(
            Entry(signing: header, content: content, with: Village.deviceKey(who)), firstSeen: header.time)
    }

    private static func key(_ number: Int) -> KeyPair { KeyPair(seed: .numbered(1_000 + number)) }

    private static func card(
        _ who: Int, key number: Int? = nil, in village: Village, sequence: UInt64 = 1, at offset: UInt64 = 0
    ) -> StoredEntry {
        let card = WitnessCard(
            peer: Village.deviceKey(who).peerID, in: village.state.community, device: Village.device(who),
            key: key(number ?? who))
        return entry(who, .witnessCard, card.bytes, in: village, sequence: sequence, at: offset)
    }

    private static func consent(
        _ who: Int, until: UInt64 = now + 1, fee: Int = 10, in village: Village, sequence: UInt64 = 1
    ) -> StoredEntry {
        let terms = ArbiterConsent.Terms(feePermille: fee, languages: ["en"], cap: 300, validUntil: until)
        let consent = ArbiterConsent(
            terms, in: village.state.community, device: Village.device(who), key: key(who))
        return entry(who, .arbiterConsent, consent.bytes, in: village, sequence: sequence)
    }

    /// With so many members, of whom the charter names some as witnesses.
    private static func village(_ count: Int, witnesses: Int) -> Village {
        var village = Village()
        for _ in 1..<count { village.join(by: 0, role: .arbiter) }
        village.state.charter?.witnesses = (1...witnesses).map(Village.member).sorted()
        return village
    }

    @Test("The witnesses are those whom the charter names and who have a card: 4, 7, 10 or 13", arguments: 0...15)
    func witnesses(count: Int) {
        let village = Self.village(20, witnesses: 15)
        var roster = MarketRoster(community: village.state.community)
        var inserted = 0
        for who in 1..<1 + count { inserted += roster.insert(Self.card(who, in: village)) ? 1 : 0 }
        // Of whom the charter doesn't name, a card changes nothing.
        inserted += roster.insert(Self.card(17, in: village)) ? 1 : 0
        #expect(inserted == count + 1)
        let set = roster.witnessSet(village.state)
        #expect(set?.keys.count == [4, 7, 10, 13].last { $0 <= count })
        let named = Set((1..<1 + count).map { TradeKey(Self.key($0)) })
        #expect(set.map { named.isSuperset(of: $0.keys) } ?? true)
    }

    @Test("Order of arrival doesn't matter; of a device the last card counts, of a member the latest")
    func latest() {
        var village = Self.village(6, witnesses: 4)
        // Member 1 takes over the device of member 5.
        village.state.devices[Village.device(5)]?.member = Village.member(1)
        village.state.members[Village.member(1)]?.devices = [Village.device(1), Village.device(5)].sorted()
        let entries = [
            Self.card(1, key: 30, in: village, sequence: 2, at: 5), Self.card(1, key: 31, in: village, at: 9),
            Self.card(5, key: 32, in: village, at: 7), Self.card(2, in: village), Self.card(3, in: village),
            Self.card(4, in: village),
        ]
        var random = SeededGenerator(seed: 1)
        for _ in 0..<10 {
            var roster = MarketRoster(community: village.state.community)
            for entry in entries.shuffled(using: &random) { _ = roster.insert(entry) }
            #expect(roster.witnessSet(village.state)?.keys.contains(TradeKey(Self.key(32))) == true)
            village.state.devices[Village.device(5)]?.standing = .ended
            #expect(roster.witnessSet(village.state)?.keys.contains(TradeKey(Self.key(30))) == true)
            village.state.devices[Village.device(5)]?.standing = .good
        }
    }

    @Test("A card with another's key, or of who left, counts for nothing")
    func foreign() {
        var village = Self.village(8, witnesses: 5)
        var roster = MarketRoster(community: village.state.community)
        for who in 1...4 { _ = roster.insert(Self.card(who, in: village)) }
        // Copied from member 4's entry.
        let copied = Self.entry(
            5, .witnessCard, Self.card(4, in: village).entry.content?.body ?? [], in: village)
        _ = roster.insert(copied)
        #expect(roster.refusedCount == 1)
        #expect(roster.witnessSet(village.state) != nil)
        village.state.members[Village.member(2)]?.roles = []
        #expect(roster.witnessSet(village.state) == nil)
        // Two who share a key are one witness.
        _ = roster.insert(Self.card(5, key: 4, in: village))
        #expect(roster.witnessSet(village.state) == nil)
    }

    @Test("Arbiters may arbitrate and consent now")
    func arbiters() {
        var village = Self.village(5, witnesses: 4)
        var roster = MarketRoster(community: village.state.community)
        var inserted = 0
        for who in 1...3 { inserted += roster.insert(Self.consent(who, in: village)) ? 1 : 0 }
        inserted += roster.insert(Self.consent(3, fee: 20, in: village)) ? 1 : 0
        #expect(inserted == 3)
        inserted += roster.insert(Self.consent(3, until: 0, in: village, sequence: 2)) ? 1 : 0
        #expect(inserted == 4)
        #expect(
            roster.arbiters(village.state, at: Self.now).map(\.member) == [1, 2].map(Village.member).sorted())
        #expect(roster.arbiters(village.state, at: Self.now + 2).isEmpty)
        village.state.members[Village.member(1)]?.roles = [.member]
        #expect(roster.arbiters(village.state, at: Self.now).map(\.member) == [Village.member(2)])
    }
}
