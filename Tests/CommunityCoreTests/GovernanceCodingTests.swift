// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal

@Suite("The encodings of governance")
struct GovernanceCodingTests {
    static func id(_ byte: UInt8) -> Bytes32 { Bytes32([UInt8](repeating: byte, count: 32)) ?? .zero }
    static func entry(_ byte: UInt8) -> EntryID { EntryID(id(byte)) }
    static func hex(_ bytes: [UInt8]) -> String { BitText.base16.encode(bytes) }
    static let parent = "0a20" + String(repeating: "01", count: 32)
    static func field(_ tag: String, _ byte: String) -> String { tag + "20" + String(repeating: byte, count: 32) }
    static let signature = [UInt8](repeating: 0x5A, count: 64)
    static let signatureHex = "40" + String(repeating: "5a", count: 64)
    static let cuts = [
        FeedCut(device: DeviceID(id(3)), point: FeedPoint(sequence: EntrySequence(300), id: entry(4))),
        FeedCut(device: DeviceID(id(5)), point: .start),
    ]
    static let cutsHex = [
        "2247" + field("0a", "03") + "10ac02" + field("1a", "04"),
        "2246" + field("0a", "05") + "1000" + field("1a", "00"),
    ].joined()
    static let certificate = DeviceCertificate(
        member: MemberID(id(2)), device: DeviceID(id(3)), signature: signature)
    static let certificateHex = "8601" + field("0a", "02") + field("12", "03") + "1a" + signatureHex

    /// Each kind with its bytes behind the parents.
    static let vectors: [(EntryKind, GovernanceBody, String)] = [
        (.deviceCertificate, .deviceCertificate(certificate), "12" + certificateHex),
        (
            .deviceRevocation,
            .deviceRevocation(
                DeviceRevocationBody(member: MemberID(id(2)), cut: cuts[0], reason: "lost", signature: signature)),
            field("12", "02") + "1a47" + field("0a", "03") + "10ac02" + field("1a", "04") + "22046c6f7374" + "2a"
                + signatureHex
        ),
        (
            .invite, .invite(InviteBody(key: id(2), role: .guest, uses: 3, expiry: 1000, note: "x")),
            field("12", "02") + "1808200328e807320178"
        ),
        (
            .inviteClose, .inviteClose(InviteCloseBody(invite: entry(2), joins: [entry(3), entry(4)])),
            field("12", "02") + field("1a", "03") + field("1a", "04")
        ),
        (
            .join,
            .join(
                JoinBody(
                    invite: entry(2), certificate: certificate, nickname: "Zoë", inviteKey: id(6), proof: signature)),
            field("12", "02") + "1a" + certificateHex + "22045a6fc3ab" + field("2a", "06") + "32" + signatureHex
        ),
        (.admit, .admit(entry(2)), field("12", "02")),
        (
            .leave, .leave(LeaveBody(cuts: [cuts[0]])),
            "1247" + field("0a", "03") + "10ac02" + field("1a", "04")
        ),
        (.roleGrant, .roleGrant(RoleGrantBody(member: MemberID(id(2)), role: .moderator)), field("12", "02") + "1803"),
        (
            .roleRemoval,
            .roleRemoval(RoleRemovalBody(member: MemberID(id(2)), role: .admin, cuts: cuts, reason: "r")),
            field("12", "02") + "1802" + cutsHex + "2a0172"
        ),
        (
            .memberRemoval, .memberRemoval(MemberRemovalBody(member: MemberID(id(2)), cuts: cuts, reason: "")),
            field("12", "02") + cutsHex + "2a00"
        ),
        (
            .proposal,
            .proposal(ProposalBody(charter: id(2), title: "t", text: "a\nb", action: .resolution)),
            field("12", "02") + "1a0174" + "2203610a62" + "2801" + "3200"
        ),
        (
            .proposal,
            .proposal(
                ProposalBody(
                    charter: id(2), title: "t", text: "",
                    action: .grant(RoleGrantBody(member: MemberID(id(3)), role: .witness)))),
            field("12", "02") + "1a0174" + "2200" + "2803" + "3224" + field("12", "03") + "1805"
        ),
        (.vote, .vote(VoteBody(proposal: entry(2), choice: .abstain)), field("12", "02") + "1803"),
        (
            .close,
            .close(
                CloseBody(
                    proposal: entry(2), passed: true, electorate: 9, votes: [entry(3)], countersigned: [entry(4)])),
            field("12", "02") + "1801" + "2009" + field("2a", "03") + field("32", "04")
        ),
        (
            .vouch, .vouch(VouchBody(member: MemberID(id(2)), amount: 300, note: "n")),
            field("12", "02") + "18ac0222016e"
        ),
        (.vouchWithdrawal, .vouchWithdrawal(entry(2)), field("12", "02")),
        (
            .label, .label(LabelBody(subject: .member(MemberID(id(2))), label: "spam", reason: "ads")),
            "1002" + field("1a", "02") + "22047370616d" + "2a03616473"
        ),
        (
            .labelWithdrawal, .labelWithdrawal(LabelWithdrawalBody(label: entry(2), reason: "no")),
            field("12", "02") + "1a026e6f"
        ),
        (.acknowledgement, .acknowledgement, ""),
    ]

    @Test("Each kind has its golden bytes, and reads back from them", arguments: vectors.indices)
    func goldenBytes(index: Int) throws {
        let (kind, body, expected) = Self.vectors[index]
        let message = GovernanceMessage(parents: [Self.entry(1)], body: body)
        #expect(Self.hex(message.encoded) == Self.parent + expected)
        #expect(try GovernanceMessage(kind: kind, bytes: message.encoded) == message)
    }

    @Test("A body cut short at any length is refused, or is another whole body", arguments: vectors.indices)
    func cutShort(index: Int) throws {
        let (kind, body, _) = Self.vectors[index]
        let bytes = GovernanceMessage(parents: [Self.entry(1)], body: body).encoded
        for count in 0..<bytes.count {
            // Lists stand last in some kinds: without their last element they are a body as well, but not this one.
            guard let read = try? GovernanceMessage(kind: kind, bytes: Array(bytes.prefix(count))) else { continue }
            #expect(read.encoded == Array(bytes.prefix(count)))
            #expect(read != GovernanceMessage(parents: [Self.entry(1)], body: body))
        }
    }

    @Test("No body can be written in two ways", arguments: vectors.indices)
    func oneEncoding(index: Int) throws {
        let (kind, body, _) = Self.vectors[index]
        let bytes = GovernanceMessage(parents: [Self.entry(1)], body: body).encoded
        #expect(throws: DecodeError.self) { try GovernanceMessage(kind: kind, bytes: bytes + [0x78, 0x01]) }
        // A length of one byte, padded to two.
        #expect(throws: DecodeError.self) {
            try GovernanceMessage(kind: kind, bytes: [0x0A, 0xA0, 0x00] + bytes.dropFirst(2))
        }
        #expect(throws: DecodeError.self) {
            try GovernanceMessage(kind: kind, bytes: Array(bytes.prefix(34)) + bytes)
        }
    }

    @Test("Limits and forms are checked")
    func limits() throws {
        func refuses(_ kind: EntryKind, _ body: GovernanceBody, parents: [EntryID] = [GovernanceCodingTests.entry(1)]) {
            let bytes = GovernanceMessage(parents: parents, body: body).encoded
            #expect(throws: DecodeError.self) { try GovernanceMessage(kind: kind, bytes: bytes) }
        }
        refuses(.acknowledgement, .acknowledgement, parents: (1...9).map { Self.entry($0) })
        refuses(.acknowledgement, .acknowledgement, parents: [Self.entry(2), Self.entry(1)])
        refuses(.invite, .invite(InviteBody(key: Self.id(2), role: .admin, uses: 1, expiry: 0, note: "")))
        refuses(.invite, .invite(InviteBody(key: Self.id(2), uses: 0, expiry: 0, note: "")))
        refuses(.invite, .invite(InviteBody(key: Self.id(2), uses: 1_001, expiry: 0, note: "")))
        refuses(.invite, .invite(InviteBody(key: Self.id(2), uses: 1, expiry: 0, note: "\u{1B}[2J")))
        refuses(.invite, .invite(InviteBody(key: Self.id(2), uses: 1, expiry: 0, note: "a\u{202E}b")))
        refuses(.label, .label(LabelBody(subject: .entry(Self.entry(2)), label: "Not Plain", reason: "")))
        refuses(.label, .label(LabelBody(subject: .entry(Self.entry(2)), label: "", reason: "")))
        refuses(
            .memberRemoval,
            .memberRemoval(
                MemberRemovalBody(member: MemberID(Self.id(2)), cuts: [Self.cuts[1], Self.cuts[0]], reason: "")))
        let long = String(repeating: "x", count: CommunityLimits.reasonBytesMax + 1)
        refuses(.labelWithdrawal, .labelWithdrawal(LabelWithdrawalBody(label: Self.entry(2), reason: long)))
    }

    @Test("A kind of a later version is kept with its parents and what it is about")
    func unknownKinds() throws {
        var bytes = GovernanceMessage(parents: [Self.entry(1)], body: .admit(Self.entry(7))).encoded
        bytes += [0x78, 0x05]
        let read = try GovernanceMessage(kind: EntryKind(0x00EE), bytes: bytes)
        #expect(read.parents == [Self.entry(1)])
        #expect(read.body == .unknown(object: Self.id(7)))
    }

    @Test("The charter has its golden bytes, and one encoding only")
    func charter() throws {
        let charter = Charter.standard(name: "Gear", founder: MemberID(Self.id(2)))
        let bytes = charter.encoded
        #expect(try Charter(bytes) == charter)
        #expect(
            Self.hex(bytes)
                == "0801122000000000000000000000000000000000000000000000000000000000000000001a0447656172200128013001"
                + "3a0b08ff1f108080802018904e3a0b08ff1f108080802018904e3a0b08bf0e108080801018f4033a0a089f3810808080"
                + "0818323a0a089f58108080801018323a0a089f18108080800818323a0a089f18108080800418143a0808011080804018"
                + "003a0608001000180042200202020202020202020202020202020202020202020202020202020202020202520a080110"
                + "021801200a28015a0a0802100318012004280160486a00")
        for count in 0..<bytes.count {
            #expect(throws: DecodeError.self) { try Charter(Array(bytes.prefix(count))) }
        }
        #expect(throws: DecodeError.self) { try Charter(bytes + [0x78, 0x01]) }
        var later = bytes
        later[1] = 2
        #expect(throws: DecodeError.unsupported("charter version")) { try Charter(later) }
        for change in [
            { $0.closers = [] }, { $0.name = "" }, { $0.guestKinds = [EntryKind(3)] },
            { $0.decision.yes = Charter.Fraction(2, of: 1) },
            { $0.closers = [MemberID(Self.id(3)), MemberID(Self.id(2))] },
        ] as [(inout Charter) -> Void] {
            var bad = charter
            change(&bad)
            #expect(throws: DecodeError.self) { try Charter(bad.encoded) }
        }
    }
}
