// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import Tutti
import TuttiCommunity

@Suite("A charter as a file", .timeLimit(.minutes(1)))
struct CharterDocumentTests {
    /// Of a community of one, made in the folder.
    private func charter(in configuration: CommunityNodeConfiguration) async throws -> CharterSummary {
        try await CommunityDoor.ask(.create(name: "Rare gear", nickname: "camila"), configuration: configuration) { _ in
        }
        return try await summary(configuration)
    }

    private func summary(_ configuration: CommunityNodeConfiguration) async throws -> CharterSummary {
        let answers = Answers()
        try await CommunityDoor.ask(.govern(.charter), configuration: configuration) { await answers.add($0) }
        guard case .charter(let summary) = try #require(await answers.all.first) else {
            throw TestFailure("another answer")
        }
        return summary
    }

    private func propose(_ document: CharterDocument, _ configuration: CommunityNodeConfiguration) async throws {
        try await CommunityDoor.ask(
            .govern(.propose(title: "Other rules", text: "", action: .amend(document))), configuration: configuration
        ) { _ in }
    }

    @Test("what is printed is read again")
    func roundTrip() async throws {
        let folder = try Folder()
        let summary = try await charter(in: folder.configuration())
        #expect(try CharterDocument(json: summary.rules.json) == summary.rules)
        #expect(summary.rules.amends == summary.digest)
        #expect(summary.rules.roles["guest"]?.may == ["write"])
        #expect(summary.rules.closers.count == 1)
        #expect(summary.rules.closers[0].hasSuffix(" camila"))
    }

    @Test("a rule that is missing, of another form or unknown is named")
    func slips() async throws {
        let folder = try Folder()
        let json = try await charter(in: folder.configuration()).rules.json
        for (old, new, word) in [
            ("\"votingHours\"", "\"votingHour\"", "'votingHours' is missing"),
            ("\"votingHours\" : 72", "\"votingHours\" : \"72\"", "'votingHours' has another form"),
            ("\"votingHours\" : 72", "\"votingHours\" : 72, \"days\" : 3", "no rule 'days'"),
            ("\"of\" : \"allMembers\",", "\"of\" : \"allMembers\", \"or\" : 1,", "no rule 'amendment.or'"),
            ("{", "", "isn't JSON"),
        ] {
            let slip = json.replacingOccurrences(of: old, with: new)
            #expect(slip != json)
            let error = #expect(throws: CommunityError.self) { try CharterDocument(json: slip) }
            #expect(error?.message.contains(word) ?? false, "\(error?.message ?? "") lacks \(word)")
        }
    }

    @Test("rules that no charter can have are refused by name")
    func refusals() async throws {
        let folder = try Folder()
        let configuration = folder.configuration()
        let rules = try await charter(in: configuration).rules
        let changes: [(String, (inout CharterDocument) -> Void)] = [
            ("is the one in force", { _ in }),
            ("changed since", { $0.amends = String(repeating: "0", count: 64) }),
            ("overlay: 'net' is none of mesh, index, dht", { $0.overlay = "net" }),
            ("decision.yes: '2' is no fraction", { $0.decision.yes = "2" }),
            ("amendment.quorum: '4/3'", { $0.amendment.quorum = "4/3" }),
            ("votingHours: -1", { $0.votingHours = -1 }),
            ("roles.member.quotaBytesPerDay: -5", { $0.roles["member"]?.quotaBytesPerDay = -5 }),
            ("roles.member.may: 'fly'", { $0.roles["member"]?.may = ["fly"] }),
            ("no role 'king'", { $0.roles["king"] = $0.roles["member"] }),
            ("'roles.guest' is missing", { $0.roles["guest"] = nil }),
            ("no member 'rosa'", { $0.closers = ["rosa"] }),
            ("stands there twice", { $0.closers.append("camila") }),
            ("closers", { $0.closers = [] }),
            ("'songs' is no kind", { $0.guestKinds = ["songs"] }),
            ("market.deadlineHours.pay: 23", { $0.market.deadlineHours["pay"] = 23 }),
            ("market.deadlineHours.ship is missing", { $0.market.deadlineHours["ship"] = nil }),
            ("no deadline 'dance'", { $0.market.deadlineHours["dance"] = 24 }),
            ("market.arbitersMax: 2 is not from 3 to 5", { ($0.market.arbitersMin, $0.market.arbitersMax) = (3, 2) }),
            ("market.bands: each must be above", { $0.market.bands = [5, 5] }),
            ("'euro' is no code", { $0.market.currencies = [.init(code: "euro", unitsPerMillion: 1)] }),
            (
                "one stands there twice",
                {
                    $0.market.currencies = [
                        .init(code: "EUR", unitsPerMillion: 1), .init(code: "EUR", unitsPerMillion: 2),
                    ]
                }
            ),
        ]
        for (word, change) in changes {
            var other = rules
            change(&other)
            let proposed = other
            let error = await #expect(throws: CommunityError.self) { try await propose(proposed, configuration) }
            #expect(error?.message.contains(word) ?? false, "\(error?.message ?? "") lacks \(word)")
        }
    }

    @Test("an amendment is in force once it was voted and closed")
    func inForce() async throws {
        let folder = try Folder()
        let configuration = folder.configuration()
        var rules = try await charter(in: configuration).rules
        rules.votingHours = 1
        rules.admission = "approval"
        rules.guestKinds = ["chat"]
        rules.roles["member"]?.may.removeAll { $0 == "invite" }
        rules.market.cap = 20_000
        rules.market.deadlineHours["pay"] = 96
        rules.market.currencies = [.init(code: "EUR", unitsPerMillion: 1_000_000)]
        let answers = Answers()
        try await CommunityDoor.ask(
            .govern(.propose(title: "Other rules", text: "", action: .amend(rules))), configuration: configuration
        ) { await answers.add($0) }
        guard case .proposed(let id) = try #require(await answers.all.first) else {
            throw TestFailure("another answer")
        }
        let early = await #expect(throws: CommunityError.self) {
            try await CommunityDoor.ask(.govern(.close(proposal: id, early: false)), configuration: configuration) {
                _ in
            }
        }
        #expect(early?.message.contains("open until") ?? false)
        for command in [GovernanceCommand.vote(proposal: id, choice: .yes), .close(proposal: id, early: false)] {
            try await CommunityDoor.ask(.govern(command), configuration: configuration) { _ in }
        }
        let after = try await summary(configuration)
        #expect(after.edition == 2)
        rules.amends = after.digest
        #expect(after.rules == rules)
    }
}

actor Answers {
    private(set) var all: [CommunityReply] = []

    func add(_ reply: CommunityReply) { all.append(reply) }
}
