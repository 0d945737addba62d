// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal
import TuttiMarket
import TuttiWitness

@Suite("An attestation of a trade's key")
struct TradeAttestationTests {
    typealias Fixture = TradeFixture

    private static let community = CommunityID(Fixture.bytes32(0xC0))
    private static let member = KeyPair(seed: Fixture.bytes32(0x31))
    private static let device = KeyPair(seed: Fixture.bytes32(0x32))
    private static let party = TradeParty(member: member.member, key: Fixture.tradeKey(Fixture.key(.buyer)))

    /// The entry by which a member's key names a device.
    private static func introduction(of device: KeyPair, by member: KeyPair) -> Entry {
        let certificate = DeviceCertificate(of: device.device, at: community.bytes, by: member)
        let head = EntryID(Fixture.bytes32(0x33))
        let body = GovernanceMessage(parents: [head], body: .deviceCertificate(certificate)).encoded
        let content = Entry.Content(salt: Fixture.bytes32(0x34), body: body)
        let header = EntryHeader(
            kind: .deviceCertificate, isCritical: true, retention: .permanent, bodyBytesCount: body.count,
            sequence: .first, time: HybridTime(0), community: community, device: device.device, previous: .none,
            governance: head, bodyDigest: content.digest)
        return Entry(signing: header, content: content, with: device)
    }

    private static func card(by device: KeyPair, member: MemberID = member.member) -> PartyCard {
        PartyCard(
            community: community, member: member, key: party.key, nonce: Fixture.trade.bytes, device: device)
    }

    @Test("shows whose the key is, from its bytes alone")
    func shows() throws {
        let attestation = TradeAttestation(
            card: Self.card(by: Self.device), introduction: Self.introduction(of: Self.device, by: Self.member))
        let read = try TradeAttestation(bytes: attestation.bytes)
        #expect(read == attestation && read.shows(Self.party, in: Self.community))
        var other = Self.party
        other.key = Fixture.party(.seller).key
        #expect(!read.shows(other, in: Self.community))
        other = Self.party
        other.member = Fixture.party(.seller).member
        #expect(!read.shows(other, in: Self.community))
        #expect(!read.shows(Self.party, in: CommunityID(Fixture.bytes32(0xC1))))
        for count in attestation.bytes.indices {
            #expect(throws: DecodeError.self) { try TradeAttestation(bytes: Array(attestation.bytes[..<count])) }
        }
    }

    @Test("isn't believed of a device that another member's key names, nor of a card that another device signed")
    func forged() {
        let stranger = Fixture.strangerPair
        let introduction = Self.introduction(of: stranger, by: stranger)
        let claimed = TradeAttestation(card: Self.card(by: stranger), introduction: introduction)
        #expect(!claimed.shows(Self.party, in: Self.community))
        let borrowed = TradeAttestation(
            card: Self.card(by: stranger), introduction: Self.introduction(of: Self.device, by: Self.member))
        #expect(!borrowed.shows(Self.party, in: Self.community))
        let forgedName = DeviceCertificate(
            member: Self.member.member, device: stranger.device, signature: [UInt8](repeating: 0, count: 64))
        #expect(!forgedName.isSignatureValid(at: Self.community.bytes))
    }
}
