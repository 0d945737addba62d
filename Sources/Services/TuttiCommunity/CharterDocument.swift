// SPDX-License-Identifier: Apache-2.0
import Foundation
import TuttiBase
import TuttiCommunityCore
import TuttiJournal

/// A charter as a file that people edit: `tutti community charter --json` prints it, `tutti community propose --amend`
/// takes it.
public struct CharterDocument: Hashable, Sendable, Codable {
    public struct RoleRules: Hashable, Sendable, Codable {
        public var may: [String]
        public var quotaBytesPerDay: Int
        public var invitesMax: Int
    }

    /// Fractions as "2/3".
    public struct Rule: Hashable, Sendable, Codable {
        public var yes: String
        public var quorum: String
        /// "allMembers" or "recentlyActive".
        public var of: String
    }

    /// Digest of the charter in force when this was printed: an amendment replaces that one and no other.
    public var amends: String
    public var name: String
    public var lowestVersion: Int
    public var overlay: String
    public var admission: String
    public var roles: [String: RoleRules]
    /// Each "ID NICKNAME"; either alone will do.
    public var closers: [String]
    public var witnesses: [String]
    public var decision: Rule
    public var amendment: Rule
    public var votingHours: Int
    public var guestKinds: [String]
    public var market: Market

    /// - Throws: `CommunityError` that says which rule can't be read.
    public init(json: String) throws {
        do {
            let typed = Data(json.utf8)
            self = try JSONDecoder().decode(CharterDocument.self, from: typed)
            // A rule with a slip in its name would else be passed over, and the old one stay.
            let known = try JSONSerialization.jsonObject(with: try JSONEncoder().encode(self))
            if let name = Self.unknown(try JSONSerialization.jsonObject(with: typed), known) {
                throw CommunityError(
                    .invalidInput, "a charter has no rule '\(name)': print it with `tutti community charter --json`")
            }
        } catch let error as DecodingError {
            throw CommunityError(.invalidInput, "this is no charter: \(Self.text(error))")
        }
    }

    public var json: String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        return (try? encoder.encode(self)).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }

    private static func unknown(_ typed: Any, _ known: Any) -> String? {
        guard let typed = typed as? [String: Any], let known = known as? [String: Any] else { return nil }
        for (name, value) in typed.sorted(by: { $0.key < $1.key }) {
            guard let other = known[name] else { return name }
            if let inner = unknown(value, other) { return "\(name).\(inner)" }
        }
        return nil
    }

    private static func text(_ error: DecodingError) -> String {
        func path(_ context: DecodingError.Context) -> String {
            context.codingPath.map(\.stringValue).joined(separator: ".")
        }
        return switch error {
        case .keyNotFound(let key, let context):
            "'\((context.codingPath.map(\.stringValue) + [key.stringValue]).joined(separator: "."))' is missing"
        case .typeMismatch(_, let context), .valueNotFound(_, let context): "'\(path(context))' has another form"
        case .dataCorrupted(let context):
            context.codingPath.isEmpty ? "it isn't JSON" : "'\(path(context))' can't be read"
        @unknown default: "it can't be read"
        }
    }
}

extension CharterDocument {
    init(_ charter: Charter, _ state: CommunityState) {
        func names(_ members: [MemberID]) -> [String] {
            members.map { id in
                ([Names.text(id.bytes)] + [state.members[id]?.nickname].compactMap(\.self)).joined(separator: " ")
            }
        }
        amends = Names.text(charter.digest)
        name = charter.name
        lowestVersion = charter.lowestVersion
        overlay = "\(charter.overlay)"
        admission = "\(charter.admission)"
        roles = [:]
        for role in Role.allCases {
            let policy = charter.policy(role)
            roles["\(role)"] = RoleRules(
                may: Permissions.named.filter { policy.permissions.contains($0.0) }.map(\.1),
                quotaBytesPerDay: policy.quotaBytesPerDay, invitesMax: policy.invitesMax)
        }
        closers = names(charter.closers)
        witnesses = names(charter.witnesses)
        decision = Rule(charter.decision)
        amendment = Rule(charter.amendment)
        votingHours = charter.votingHours
        guestKinds = charter.guestKinds.map(Names.text)
        market = Market(charter.market)
    }

    /// The charter that it describes, with people looked up in `state`.
    func charter(_ state: CommunityState) throws -> Charter {
        guard var charter = state.charter else { throw CommunityRefusal.notFounded }
        guard amends == Names.text(charter.digest) else {
            throw CommunityError(
                .invalidInput,
                "the charter was changed since this file was printed: print it again, and make your changes in the new one"
            )
        }
        charter.name = name
        charter.lowestVersion = try Self.number(lowestVersion, in: 1...Int(UInt16.max), "lowestVersion")
        charter.overlay = try Self.choice(overlay, Charter.Overlay.allCases, "overlay")
        charter.admission = try Self.choice(admission, Charter.Admission.allCases, "admission")
        charter.roles = try Role.allCases.map(policy)
        if let unknown = roles.keys.sorted().first(where: { name in !Role.allCases.contains { "\($0)" == name } }) {
            throw CommunityError(.invalidInput, "roles: there is no role '\(unknown)'")
        }
        charter.closers = try people(closers, "closers", state)
        charter.witnesses = try people(witnesses, "witnesses", state)
        charter.decision = try decision.rule("decision")
        charter.amendment = try amendment.rule("amendment")
        charter.votingHours = try Self.number(votingHours, in: 0...24 * 366, "votingHours")
        charter.guestKinds = try guestKinds.map(Names.kind).sorted()
        charter.market = try market.rules()
        return charter
    }

    private func policy(_ role: Role) throws -> Charter.RolePolicy {
        let name = "roles.\(role)"
        guard let rules = roles["\(role)"] else { throw CommunityError(.invalidInput, "'\(name)' is missing") }
        var permissions: Permissions = []
        for word in rules.may {
            guard let permission = Permissions.named.first(where: { $0.1 == word })?.0 else {
                let all = Permissions.named.map(\.1).joined(separator: ", ")
                throw CommunityError(.invalidInput, "\(name).may: '\(word)' is none of \(all)")
            }
            permissions.insert(permission)
        }
        return Charter.RolePolicy(
            permissions,
            quotaBytesPerDay: try Self.number(rules.quotaBytesPerDay, in: 0...1 << 40, "\(name).quotaBytesPerDay"),
            invitesMax: try Self.number(rules.invitesMax, in: 0...1 << 20, "\(name).invitesMax"))
    }

    private func people(_ typed: [String], _ what: String, _ state: CommunityState) throws -> [MemberID] {
        let members = try typed.map { text in
            let id = text.split(separator: " ").first.map(String.init) ?? text
            let member = try state.member(typed: id.utf8.count == 2 * Bytes32.count ? id : text)
            guard state.isMember(member) else {
                throw CommunityError(.invalidInput, "\(what): \(text) is no member any more")
            }
            return member
        }
        guard Set(members).count == members.count else {
            throw CommunityError(.invalidInput, "\(what): somebody stands there twice")
        }
        return members
    }

    static func number(_ value: Int, in range: ClosedRange<Int>, _ what: String) throws -> Int {
        guard range.contains(value) else {
            throw CommunityError(
                .invalidInput, "\(what): \(value) is not from \(range.lowerBound) to \(range.upperBound)")
        }
        return value
    }

    fileprivate static func choice<Value>(_ typed: String, _ all: [Value], _ what: String) throws -> Value {
        guard let value = all.first(where: { "\($0)" == typed }) else {
            let names = all.map { "\($0)" }.joined(separator: ", ")
            throw CommunityError(.invalidInput, "\(what): '\(typed)' is none of \(names)")
        }
        return value
    }
}

extension CharterDocument.Rule {
    init(_ rule: Charter.Rule) {
        yes = "\(rule.yes.numerator)/\(rule.yes.denominator)"
        quorum = "\(rule.quorum.numerator)/\(rule.quorum.denominator)"
        of = "\(rule.basis)"
    }

    func rule(_ what: String) throws -> Charter.Rule {
        Charter.Rule(
            yes: try Self.fraction(yes, "\(what).yes"), quorum: try Self.fraction(quorum, "\(what).quorum"),
            basis: try CharterDocument.choice(of, Charter.Rule.Basis.allCases, "\(what).of"))
    }

    private static func fraction(_ text: String, _ what: String) throws -> Charter.Fraction {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false).map { Int($0) }
        guard parts.count == 2, let numerator = parts[0], let denominator = parts[1],
            (1...1_000).contains(denominator), (0...denominator).contains(numerator)
        else { throw CommunityError(.invalidInput, "\(what): '\(text)' is no fraction such as 2/3") }
        return Charter.Fraction(numerator, of: denominator)
    }
}
