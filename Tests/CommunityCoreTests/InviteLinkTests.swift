// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal

@Suite("Invite links")
struct InviteLinkTests {
    static func link(name: String = "Gear", points: Int = 2) throws -> InviteLink {
        let peer = KeyPair(seed: GovernanceCodingTests.id(9)).peerID
        return try InviteLink(
            community: CommunityID(GovernanceCodingTests.id(1)), invite: GovernanceCodingTests.entry(2),
            seed: GovernanceCodingTests.id(3), name: name,
            entryPoints: (0..<points).map { try #require(Multiaddr("/ip4/192.0.2.\($0)/tcp/4001/p2p/\(peer)")) })
    }

    @Test("A link is what it was made of, pasted as it is or in an https link")
    func roundTrip() throws {
        let link = try Self.link()
        #expect(link.text.hasPrefix("tutti://join/AQEBAQ"))
        #expect(link.bytes.count == 1 + 96 + 5 + 1 + 2 * (1 + 49) + 4)
        #expect(try InviteLink(text: link.text) == link)
        #expect(try InviteLink(text: "  \(link.text)\n") == link)
        let code = link.text.dropFirst(InviteLink.scheme.count)
        #expect(try InviteLink(text: "https://example.org/join#\(code)") == link)
        #expect(link.key.seed == GovernanceCodingTests.id(3))
    }

    @Test("A slip in any character is noticed")
    func damage() throws {
        let text = Array(try Self.link().text)
        for index in InviteLink.scheme.count..<text.count {
            var damaged = text
            damaged[index] = damaged[index] == "A" ? "B" : "A"
            #expect(throws: InviteLinkError.damaged) { try InviteLink(text: String(damaged)) }
            #expect(throws: InviteLinkError.self) { try InviteLink(text: String(text.prefix(index))) }
        }
    }

    @Test("What is no link says so")
    func refusals() throws {
        #expect(throws: InviteLinkError.notALink) { try InviteLink(text: "hello") }
        #expect(throws: InviteLinkError.notALink) { try InviteLink(text: "https://example.org/") }
        #expect(throws: InviteLinkError.notALink) { try InviteLink(text: "tutti://join/") }
        #expect(throws: InviteLinkError.tooLong) { try InviteLink(text: String(repeating: "a", count: 3_000)) }
        #expect(throws: InviteLinkError.noEntryPoint) { try Self.link(points: 0) }
        #expect(throws: InviteLinkError.tooManyEntryPoints) { try Self.link(points: 6) }
        #expect(throws: InviteLinkError.malformed) { try Self.link(name: "a\u{07}b") }
        let bytes = try Self.link().bytes
        #expect(throws: InviteLinkError.damaged) { try InviteLink(bytes: [2] + bytes.dropFirst()) }
        #expect(throws: InviteLinkError.damaged) { try InviteLink(bytes: []) }
    }
}
