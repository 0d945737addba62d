// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal

@Suite("A large community")
struct LargeCommunityTests {
    static let members = 2_000
    static let proposals = 38
    static let voters = 210

    /// 2,000 members and 20,000 entries, in a line but for pairs of votes.
    static func large() throws -> Town {
        var town = try Town(seed: 9, uses: 1_000)
        var last = town.entries.last?.entry.id ?? .none
        func next(_ who: Int, _ kind: EntryKind, _ body: GovernanceBody) -> EntryID {
            last = town.write(who, kind, body, on: [last])
            return last
        }
        var invites: [EntryID] = [try town.link.invite]
        for _ in 1..<3 {
            invites.append(
                next(
                    0, .invite,
                    .invite(InviteBody(key: town.inviteKey.device.bytes, uses: 1_000, expiry: 1 << 45, note: ""))))
        }
        for index in 0..<members {
            let who = town.newcomer()
            let person = town.people[who]
            let certificate = DeviceCertificate(of: person.device, at: town.community.bytes, by: person.memberKey)
            _ = next(
                who, .join,
                .join(
                    JoinBody(
                        invite: invites[index / 900], in: town.community, certificate: certificate,
                        nickname: "M\(index)",
                        inviteKey: town.inviteKey)))
        }
        let charter = Charter.digest(Charter.standard(name: "Gear", founder: town.people[0].member).encoded)
        for number in 0..<proposals {
            let proposal = next(
                0, .proposal,
                .proposal(ProposalBody(charter: charter, title: "", text: "", action: .resolution)))
            var votes: [EntryID] = []
            for voter in 0..<voters {
                let who = 1 + (number * 37 + voter) % members
                votes.append(next(who, .vote, .vote(VoteBody(proposal: proposal, choice: .yes))))
            }
            _ = next(
                0, .close,
                .close(
                    CloseBody(
                        proposal: proposal, passed: true, electorate: members + 1, votes: votes.sorted(),
                        countersigned: [])))
        }
        for index in 0..<500 {
            let role: Role = index % 10 == 0 ? .moderator : .trader
            _ = next(0, .roleGrant, .roleGrant(RoleGrantBody(member: town.people[1 + index].member, role: role)))
        }
        while town.entries.count < 19_900 {
            let who = 1 + town.entries.count % members
            let other = 1 + (who + 7) % members
            _ = next(who, .vouch, .vouch(VouchBody(member: town.people[other].member, amount: 1, note: "")))
        }
        for index in 0..<100 {
            let target = town.people[1_800 + index]
            _ = next(
                0, .memberRemoval,
                .memberRemoval(
                    MemberRemovalBody(
                        member: target.member, cuts: [FeedCut(device: target.device, point: target.point)], reason: ""))
            )
        }
        return town
    }

    @Test("2,000 members and 20,000 entries come to the same state in order and backwards; the times are printed")
    func twentyThousand() throws {
        var town = try Self.large()
        let clock = ContinuousClock()
        var core = CommunityCore(community: town.community)
        let first = clock.measure { _ = core.insert(town.entries) }
        #expect(core.state.members.values.count { !$0.roles.isEmpty } == Self.members + 1 - 100)
        #expect(core.state.proposals.values.allSatisfy { if case .passed = $0.outcome { true } else { false } })
        #expect(core.state.proposals.count == Self.proposals)
        // A fork that is news makes it judge everything anew, bodies read and ends of proposals judged already.
        let anew = clock.measure { _ = core.addForks([town.people[5].device: EntrySequence(1 << 40)]) }
        #expect(core.stats.judgedAnew == 2)
        var backwards = CommunityCore(community: town.community)
        _ = backwards.insert(town.entries.reversed())
        _ = backwards.addForks([town.people[5].device: EntrySequence(1 << 40)])
        #expect(backwards.state.digest == core.state.digest)
        print("20,000 entries read and judged: \(first); judged anew: \(anew)")
        let charter = try #require(core.state.charterDigest)
        for (name, kind, body) in [
            ("vouch", .vouch, .vouch(VouchBody(member: town.people[9].member, amount: 2, note: ""))),
            ("role", .roleGrant, .roleGrant(RoleGrantBody(member: town.people[9].member, role: .arbiter))),
            (
                "removal", .memberRemoval,
                .memberRemoval(
                    MemberRemovalBody(
                        member: town.people[77].member,
                        cuts: [FeedCut(device: town.people[77].device, point: town.people[77].point)], reason: ""))
            ),
            (
                "proposal", .proposal,
                .proposal(ProposalBody(charter: charter, title: "", text: "", action: .resolution))
            ),
        ] as [(String, EntryKind, GovernanceBody)] {
            town.write(0, kind, body, on: core.parents)
            let entry = Array(town.entries.suffix(1))
            let time = clock.measure { _ = core.insert(entry) }
            print("one more on top, \(name): \(time)")
        }
        #expect(core.stats.judgedAnew == 2)
        #expect(backwards.stats.entries == 20_000)
        _ = backwards.insert(town.entries)
        #expect(backwards.state.digest == core.state.digest && backwards.head == core.head)
    }
}
