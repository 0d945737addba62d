// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
import TuttiIdentity
package import TuttiJournal

import struct NIOCore.ByteBuffer

/// The rules of a community as data that every node enforces.
package struct Charter: Hashable, Sendable {
    package enum Overlay: UInt8, CaseIterable, Sendable {
        case mesh = 1
        case index = 2
        case dht = 3
    }

    package enum Admission: UInt8, CaseIterable, Sendable {
        /// A good invite is enough.
        case invite = 1
        /// Who may admit signs each join.
        case approval = 2
    }

    package struct RolePolicy: Hashable, Sendable {
        package var permissions: Permissions
        package var quotaBytesPerDay: Int
        /// Uses of all open invites of one member together.
        package var invitesMax: Int

        package init(_ permissions: Permissions, quotaBytesPerDay: Int, invitesMax: Int) {
            self.permissions = permissions
            self.quotaBytesPerDay = quotaBytesPerDay
            self.invitesMax = invitesMax
        }
    }

    /// When a proposal has passed.
    package struct Rule: Hashable, Sendable {
        package enum Basis: UInt8, CaseIterable, Sendable {
            case allMembers = 1
            /// Who wrote lately, as the closers see it.
            case recentlyActive = 2
        }

        /// Yes out of yes and no, at least.
        package var yes: Fraction
        /// Votes out of the electorate, at least.
        package var quorum: Fraction
        package var basis: Basis

        package init(yes: Fraction, quorum: Fraction, basis: Basis) {
            self.yes = yes
            self.quorum = quorum
            self.basis = basis
        }
    }

    package struct Fraction: Hashable, Sendable {
        package var numerator: Int
        package var denominator: Int

        package init(_ numerator: Int, of denominator: Int) {
            self.numerator = numerator
            self.denominator = denominator
        }
    }

    /// Digest of the charter that this one replaces; zero for the first. So no two editions have one digest.
    package var previous: Bytes32
    package var name: String
    /// The lowest version of the program that may act under this charter.
    package var lowestVersion: Int
    package var overlay: Overlay
    package var admission: Admission
    /// One for each role, in the order of `Role.allCases`.
    package var roles: [RolePolicy]
    package var closers: [MemberID]
    package var witnesses: [MemberID]
    package var decision: Rule
    package var amendment: Rule
    /// How long a proposal is open at least, as closers and interfaces see it.
    package var votingHours: Int
    /// Ordinary kinds that guests and observers may write.
    package var guestKinds: [EntryKind]
    package var market: MarketRules
}

// MARK: What it says

extension Charter {
    package static let version = 1

    package func policy(_ role: Role) -> RolePolicy {
        let index = Int(role.rawValue) - 1
        return roles.indices.contains(index) ? roles[index] : RolePolicy([], quotaBytesPerDay: 0, invitesMax: 0)
    }

    package func allows(_ role: Role, _ permission: Permissions) -> Bool {
        policy(role).permissions.contains(permission)
    }

    /// Who ends proposals: the witnesses, or without any the closers.
    package var signers: [MemberID] { witnesses.isEmpty ? closers : witnesses }

    /// How many of them: of 3f + 1 witnesses 2f + 1, so that any two ends share an honest one; of closers a majority.
    package var signersNeeded: Int {
        witnesses.isEmpty ? closers.count / 2 + 1 : witnesses.count - (witnesses.count - 1) / 3
    }

    package func rule(for action: ProposalBody.Action) -> Rule { action.isFundamental ? amendment : decision }

    private static let domain: [UInt8] = Array("tutti-charter".utf8)

    package static func digest(_ encoded: [UInt8]) -> Bytes32 { KeyDerivation.sha256(domain + encoded) }
    package var digest: Bytes32 { Self.digest(encoded) }

    /// What a community starts with: an invite is enough, the founder closes, amendments need two thirds of the votes
    /// and a quarter of all members.
    package static func standard(name: String, founder: MemberID) -> Charter {
        let megabyte = 1 << 20
        let speaking: Permissions = [.write, .vote, .propose, .proposeAmendment, .vouch, .invite]
        let moderating: Permissions = speaking.union([.label, .admit, .removeMembers])
        let leading: Permissions = moderating.union([.grantRoles, .removeRoles, .trade])
        func policy(_ permissions: Permissions, _ megabytes: Int, _ invites: Int) -> RolePolicy {
            RolePolicy(permissions, quotaBytesPerDay: megabytes * megabyte, invitesMax: invites)
        }
        return Charter(
            previous: .zero, name: name, lowestVersion: 1, overlay: .mesh, admission: .invite,
            roles: [
                policy(leading, 64, 10_000), policy(leading, 64, 10_000), policy(moderating, 32, 500),
                policy(speaking.union([.trade, .arbitrate]), 16, 50),
                policy(speaking.union([.trade, .witness]), 32, 50),
                policy(speaking.union([.trade]), 16, 50), policy(speaking.union([.trade]), 8, 20),
                policy([.write], 1, 0), policy([], 0, 0),
            ],
            closers: [founder], witnesses: [],
            decision: Rule(yes: Fraction(1, of: 2), quorum: Fraction(1, of: 10), basis: .allMembers),
            amendment: Rule(yes: Fraction(2, of: 3), quorum: Fraction(1, of: 4), basis: .allMembers),
            votingHours: 72, guestKinds: [], market: .standard)
    }
}

extension ProposalBody.Action {
    /// Whether it needs the rule of amendments: who leads, who belongs, and the charter itself.
    package var isFundamental: Bool {
        switch self {
        case .resolution: false
        case .amend, .removeMember: true
        case .grant(let body): body.role.rank <= .admin
        case .removeRole(let body): body.role.rank <= .admin
        }
    }
}

extension Charter.Rule {
    /// Whether so many votes decide for it. The quorum counts whoever voted, abstentions too.
    package func isMet(yes yesCount: Int, no noCount: Int, abstaining: Int, electorate: Int) -> Bool {
        yesCount > 0 && yesCount * yes.denominator >= (yesCount + noCount) * yes.numerator
            && (yesCount + noCount + abstaining) * quorum.denominator >= electorate * quorum.numerator
    }
}

// MARK: Encoding

extension Charter {
    /// - Throws: `.unsupported` for one that a later version of the program wrote.
    package init(_ bytes: [UInt8]) throws(DecodeError) {
        guard bytes.count <= CommunityLimits.charterBytesMax else {
            throw .tooLarge("charter", limit: CommunityLimits.charterBytesMax)
        }
        var reader = try BodyReader(bytes)
        guard try reader.number(1, in: 1...Int(UInt16.max), "charter version") == Self.version else {
            throw .unsupported("charter version")
        }
        previous = try reader.bytes32(2, "previous charter")
        name = try reader.text(3, bytesMax: CommunityLimits.nameBytesMax, "name")
        lowestVersion = try reader.number(4, in: 1...Int(UInt16.max), "lowest version")
        overlay = Overlay(rawValue: UInt8(try reader.number(5, in: 1...3, "overlay"))) ?? .mesh
        admission = Admission(rawValue: UInt8(try reader.number(6, in: 1...2, "admission"))) ?? .approval
        roles = []
        for _ in Role.allCases {
            var message = try reader.message(7, "role")
            let permissions = try message.number(1, in: 0...Int(Permissions.all.rawValue), "permissions")
            let policy = RolePolicy(
                Permissions(rawValue: UInt32(permissions)),
                quotaBytesPerDay: try message.number(2, in: 0...1 << 40, "quota"),
                invitesMax: try message.number(3, in: 0...1 << 20, "invites"))
            try message.end("role")
            roles.append(policy)
        }
        closers = try reader.set(8, countMax: CommunityLimits.closersMax, "closers").map { MemberID($0) }
        witnesses = try reader.set(9, countMax: CommunityLimits.witnessesMax, "witnesses").map { MemberID($0) }
        decision = try Rule(from: &reader, 10)
        amendment = try Rule(from: &reader, 11)
        votingHours = try reader.number(12, in: 0...24 * 366, "voting hours")
        let kinds = try reader.bytes(13, countMax: 2 * CommunityLimits.openKindsMax, "guests' kinds")
        guard kinds.count % 2 == 0 else { throw .malformed("guests' kinds") }
        guestKinds = stride(from: 0, to: kinds.count, by: 2).map {
            EntryKind(UInt16(kinds[$0]) << 8 | UInt16(kinds[$0 + 1]))
        }
        market = .standard
        if var message = try reader.messageIfThere(14, "market") { market = try MarketRules(from: &message) }
        try reader.end("charter")
        guard encoded == bytes else { throw .malformed("charter (not canonical)") }
        guard !name.isEmpty, !signers.isEmpty else { throw .malformed("charter (without a name or closers)") }
        guard zip(guestKinds, guestKinds.dropFirst()).allSatisfy({ $0 < $1 }),
            guestKinds.allSatisfy({ !$0.isGovernance })
        else { throw .malformed("guests' kinds") }
    }

    package var encoded: [UInt8] {
        var buffer = ByteBuffer()
        buffer.write(1, Self.version)
        buffer.write(2, previous)
        buffer.writeProtobuf(3, string: name)
        buffer.write(4, lowestVersion)
        buffer.write(5, Int(overlay.rawValue))
        buffer.write(6, Int(admission.rawValue))
        for policy in roles {
            buffer.write(7) {
                $0.write(1, Int(policy.permissions.rawValue))
                $0.write(2, policy.quotaBytesPerDay)
                $0.write(3, policy.invitesMax)
            }
        }
        for member in closers { buffer.write(8, member.bytes) }
        for member in witnesses { buffer.write(9, member.bytes) }
        decision.encode(into: &buffer, 10)
        amendment.encode(into: &buffer, 11)
        buffer.write(12, votingHours)
        buffer.writeProtobuf(
            13, bytes: guestKinds.flatMap { [UInt8($0.rawValue >> 8), UInt8(truncatingIfNeeded: $0.rawValue)] })
        if market != .standard { buffer.write(14) { market.encode(into: &$0) } }
        return Array(buffer.readableBytesView)
    }
}

extension Charter.Rule {
    fileprivate init(from reader: inout BodyReader, _ field: Int) throws(DecodeError) {
        var message = try reader.message(field, "rule")
        yes = try Charter.Fraction(from: &message, 1)
        quorum = try Charter.Fraction(from: &message, 3)
        basis = Basis(rawValue: UInt8(try message.number(5, in: 1...2, "electorate of a rule"))) ?? .allMembers
        try message.end("rule")
    }

    fileprivate func encode(into buffer: inout ByteBuffer, _ field: Int) {
        buffer.write(field) {
            $0.write(1, yes.numerator)
            $0.write(2, yes.denominator)
            $0.write(3, quorum.numerator)
            $0.write(4, quorum.denominator)
            $0.write(5, Int(basis.rawValue))
        }
    }
}

extension Charter.Fraction {
    fileprivate init(from reader: inout BodyReader, _ field: Int) throws(DecodeError) {
        numerator = try reader.number(field, in: 0...1_000, "fraction")
        denominator = try reader.number(field + 1, in: 1...1_000, "fraction")
        guard numerator <= denominator else { throw .malformed("fraction") }
    }
}
