// SPDX-License-Identifier: Apache-2.0
import Testing
import Tutti
import TuttiCommunity

/// What one member alone can do; the rest is shown over processes (Tests/Interop/governance.py).
@Suite("Governance as commands", .timeLimit(.minutes(1)))
struct GovernanceCommandTests {
    private func founded(_ folder: Folder) async throws -> CommunityNodeConfiguration {
        let configuration = folder.configuration()
        try await CommunityDoor.ask(.create(name: "Gear", nickname: "camila"), configuration: configuration) { _ in }
        return configuration
    }

    @discardableResult
    private func ask(
        _ command: CommunityCommand, _ configuration: CommunityNodeConfiguration
    ) async throws -> [CommunityReply] {
        let answers = Answers()
        try await CommunityDoor.ask(command, configuration: configuration) { await answers.add($0) }
        return await answers.all
    }

    private func refusal(_ command: GovernanceCommand, _ configuration: CommunityNodeConfiguration) async -> String {
        let error = await #expect(throws: CommunityError.self) { try await ask(.govern(command), configuration) }
        return error?.message ?? ""
    }

    private func messages(_ configuration: CommunityNodeConfiguration) async throws -> [MessageSummary] {
        try await ask(.read(channel: "general", count: 10, follow: false), configuration).compactMap { reply in
            if case .message(let message) = reply { message } else { nil }
        }
    }

    @Test("a refusal says what is wrong and what there is instead")
    func refusals() async throws {
        let folder = try Folder()
        let configuration = try await founded(folder)
        let table: [(GovernanceCommand, String)] = [
            (.admit(member: "rosa"), "nobody waits"),
            (.grant(member: "rosa", role: "admin"), "no member 'rosa'"),
            (.grant(member: "camila", role: "king"), "there are founder, admin"),
            (.vouch(member: "camila", amount: 1, note: ""), "this is you"),
            (.vouch(member: "camila", amount: -1, note: ""), "0 or more"),
            (.withdrawVouches(member: "camila"), "no such vouch"),
            (.label(subject: "camila", label: "spam", reason: ""), "--reason"),
            (.label(subject: "nobody", label: "spam", reason: "x"), "tutti community members"),
            (.withdrawLabel(label: "ab", reason: ""), "no label 'ab'"),
            (.choose(subject: "camila", choice: .hide), "this is you"),
            (.invite(uses: 0, days: 1, role: "member", note: ""), "1 to 1000"),
            (.invite(uses: 1, days: 1, role: "admin", note: ""), "granted later"),
            (.closeInvite(invite: "ab"), "no invite 'ab'"),
            (.vote(proposal: "ab", choice: .yes), "no proposal 'ab'"),
            (.leave(anyway: false), "--anyway"),
        ]
        for (command, words) in table {
            let message = await refusal(command, configuration)
            #expect(message.contains(words), "\(message) lacks \(words)")
        }
    }

    @Test("a reader hides and shows for itself, over a restart and over labels")
    func choices() async throws {
        let folder = try Folder()
        let configuration = try await founded(folder)
        try await ask(.send(channel: "general", text: "watches"), configuration)
        let message = try #require(try await messages(configuration).first)
        try await ask(.govern(.choose(subject: String(message.id.prefix(12)), choice: .hide)), configuration)
        #expect(try await messages(configuration).map(\.text) == ["[hidden here]"])
        try await ask(.govern(.choose(subject: message.id, choice: .show)), configuration)
        #expect(try await messages(configuration).map(\.text) == ["watches"])
        // Nothing was to be overruled, so a label that comes later counts.
        let label = try await ask(
            .govern(.label(subject: message.id, label: "spam", reason: "ads")), configuration)
        #expect(try await messages(configuration).map(\.text) == ["[spam by camila: ads]"])
        try await ask(.govern(.choose(subject: message.id, choice: .show)), configuration)
        #expect(try await messages(configuration).map(\.text) == ["watches"])
        try await ask(.govern(.choose(subject: message.id, choice: .unset)), configuration)
        guard case .labels(let labels) = label.first, let id = labels.first?.id else {
            Issue.record("no label came back")
            return
        }
        try await ask(.govern(.withdrawLabel(label: id, reason: "a joke")), configuration)
        #expect(try await messages(configuration).map(\.text) == ["watches"])
    }

    @Test("open invites are listed until they are closed, then only among all")
    func invites() async throws {
        let folder = try Folder()
        let configuration = try await founded(folder)
        try await ask(.govern(.invite(uses: 3, days: 1, role: "guest", note: "band")), configuration)
        guard case .invites(let open) = try await ask(.govern(.invites(all: false)), configuration).first,
            let invite = open.first
        else {
            Issue.record("no invite is listed")
            return
        }
        #expect(invite.standing == "open")
        #expect(invite.role == "guest")
        #expect(invite.usesLeft == 3)
        try await ask(.govern(.closeInvite(invite: String(invite.id.prefix(10)))), configuration)
        guard case .invites(let left) = try await ask(.govern(.invites(all: false)), configuration).first,
            case .invites(let all) = try await ask(.govern(.invites(all: true)), configuration).first
        else {
            Issue.record("invites aren't listed")
            return
        }
        #expect(left.isEmpty)
        #expect(all.map(\.standing) == ["closed"])
        #expect(await refusal(.closeInvite(invite: invite.id), configuration).contains("was closed"))
    }

    @Test("who leaves says so once")
    func leave() async throws {
        let folder = try Folder()
        let configuration = try await founded(folder)
        try await ask(.govern(.leave(anyway: true)), configuration)
        #expect(await refusal(.leave(anyway: true), configuration).contains("not a member"))
        guard case .members(let members) = try await ask(.govern(.members), configuration).first else {
            Issue.record("members aren't listed")
            return
        }
        #expect(members.map(\.ended) == ["left"])
    }
}
