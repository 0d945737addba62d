// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiJournal

/// What a member may be. The ranks are the same everywhere; what a role may do says the charter.
package enum Role: UInt8, CaseIterable, Comparable, Sendable {
    case founder = 1
    case admin = 2
    case moderator = 3
    case arbiter = 4
    case witness = 5
    case trader = 6
    case member = 7
    case guest = 8
    case observer = 9

    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.rawValue < rhs.rawValue }

    package var rank: Rank {
        switch self {
        case .founder: .founder
        case .admin: .admin
        case .moderator: .moderator
        case .arbiter, .witness, .trader, .member: .member
        case .guest, .observer: .guest
        }
    }
}

/// Who stands above whom: the lower number. A close stands above everybody.
package enum Rank: UInt8, CaseIterable, Comparable, Sendable {
    case close = 0
    case founder = 1
    case admin = 2
    case moderator = 3
    case member = 4
    case guest = 5

    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.rawValue < rhs.rawValue }
}

package enum Permission: UInt8, CaseIterable, Sendable {
    case write = 0
    case vote = 1
    case propose = 2
    case proposeAmendment = 3
    case invite = 4
    case admit = 5
    case grantRoles = 6
    case removeRoles = 7
    case removeMembers = 8
    case label = 9
    case vouch = 10
    case trade = 11
    case arbitrate = 12
    case witness = 13
}

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
        package var permissions: Set<Permission>
        package var quotaBytesPerDay: Int
        /// Uses of all open invites of one member together.
        package var invitesMax: Int

        package init(permissions: Set<Permission>, quotaBytesPerDay: Int, invitesMax: Int) {
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
}
