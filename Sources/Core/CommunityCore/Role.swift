// SPDX-License-Identifier: Apache-2.0

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

/// What a charter may allow to a role.
package struct Permissions: OptionSet, Hashable, Sendable {
    package let rawValue: UInt32

    package init(rawValue: UInt32) { self.rawValue = rawValue }

    /// Ordinary entries of every kind.
    package static let write = Permissions(rawValue: 1 << 0)
    package static let vote = Permissions(rawValue: 1 << 1)
    package static let propose = Permissions(rawValue: 1 << 2)
    package static let proposeAmendment = Permissions(rawValue: 1 << 3)
    package static let invite = Permissions(rawValue: 1 << 4)
    /// Signs joins that are pending, and ends invites of others.
    package static let admit = Permissions(rawValue: 1 << 5)
    package static let grantRoles = Permissions(rawValue: 1 << 6)
    package static let removeRoles = Permissions(rawValue: 1 << 7)
    package static let removeMembers = Permissions(rawValue: 1 << 8)
    package static let label = Permissions(rawValue: 1 << 9)
    package static let vouch = Permissions(rawValue: 1 << 10)
    package static let trade = Permissions(rawValue: 1 << 11)
    package static let arbitrate = Permissions(rawValue: 1 << 12)
    package static let witness = Permissions(rawValue: 1 << 13)

    package static let all = Permissions(rawValue: (1 << 14) - 1)
    package static let named: [(Permissions, String)] = [
        (.write, "write"), (.vote, "vote"), (.propose, "propose"), (.proposeAmendment, "propose-amendment"),
        (.invite, "invite"), (.admit, "admit"), (.grantRoles, "grant-roles"), (.removeRoles, "remove-roles"),
        (.removeMembers, "remove-members"), (.label, "label"), (.vouch, "vouch"), (.trade, "trade"),
        (.arbitrate, "arbitrate"), (.witness, "witness"),
    ]
}
