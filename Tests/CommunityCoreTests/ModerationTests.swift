// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal

@Suite("Labels and what they hide")
struct ModerationTests {
    private let post = LabelBody.Subject.entry(EntryID(Bytes32(words: (1, 2, 3, 4))))

    @Test("labels that hide do so with their reason, others are only there")
    func reasons() throws {
        var town = try Town()
        let moderator = try town.resident(.moderator)
        let member = try town.resident("Rosa")
        let rosa = LabelBody.Subject.member(town.people[member].member)
        let post = post
        for (subject, label) in [(post, "funny"), (post, "spam"), (rosa, "blocked")] {
            try town.act(moderator) { core, device throws(CommunityRefusal) in
                try core.label(subject, label, reason: "ads", by: device)
            }
        }
        let state = town.people[0].core.state
        #expect(state.labels(on: post).map(\.body.label).sorted() == ["funny", "spam"])
        #expect(state.hidingReasons == [post: "spam by moderator: ads", rosa: "blocked by moderator: ads"])
    }

    @Test("a label that was taken back hides nothing, its reason stays")
    func takenBack() throws {
        var town = try Town()
        let moderator = try town.resident(.moderator)
        let post = post
        let label = try town.act(moderator) { core, device throws(CommunityRefusal) in
            try core.label(post, "hidden", reason: "rude", by: device)
        }
        try town.act(0) { core, device throws(CommunityRefusal) in
            try core.labelWithdrawal(label, reason: "it wasn't", by: device)
        }
        let state = town.people[moderator].core.state
        #expect(state.hidingReasons.isEmpty)
        #expect(state.labels(on: post).isEmpty)
        #expect(state.labels[label]?.withdrawn == "it wasn't")
        #expect(state.labels[label]?.body.reason == "rude")
    }

    @Test("a ballot tells who may vote, until the end")
    func ballot() throws {
        var town = try Town()
        _ = try town.resident("Rosa")
        let proposal = try town.act(0) { core, device throws(CommunityRefusal) in
            try core.proposal(title: "Jam", text: "", action: .resolution, by: device)
        }
        _ = try town.resident("late")
        #expect(town.people[0].core.ballot(on: proposal)?.electorate == 2)
        try town.act(0) { core, device throws(CommunityRefusal) in try core.close(proposal, by: device) }
        #expect(town.people[0].core.ballot(on: proposal) == nil)
    }
}
