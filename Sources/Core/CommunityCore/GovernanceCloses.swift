// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiJournal

/// Ends of proposals and the line of charters. What a close is worth is judged by its own past alone, once; afterwards
/// only a closer's own key (a revocation with an earlier cut) and a fork can take that closer's signature back.
extension GovernanceFold {
    /// What is known within a scope before single entries are judged.
    func prepared(scope: Int?) -> Memo {
        var memo = Memo(scope: scope, count: graph.nodes.count)
        prepareCloses(&memo)
        return memo
    }

    func prepareCloses(_ memo: inout Memo) {
        let closes = facts.closes.filter { $0 != memo.scope && isWithin($0, memo) }
        memo.complete = complete(among: closes, memo)
        let winners = winners(among: memo.complete)
        memo.line = line(of: winners, memo)
        let digests = Set(memo.line.map(\.digest))
        let amendments = Set(memo.line.flatMap(\.closes))
        memo.inForce = []
        for close in winners {
            guard let body = proposal(of: close), digests.contains(body.charter) else { continue }
            if case .amend = body.action, hasPassed(close), !amendments.contains(close) { continue }
            memo.inForce.insert(close)
        }
    }

    /// The charter that the author knew to be in force.
    func edition(at place: Int, _ memo: Memo) -> Edition? {
        memo.line.last { edition in
            edition.closes.isEmpty || edition.closes.contains { past(place, holds: $0) }
        }
    }

    /// Sound, and signed by enough closers whose signatures stand. What a complete close rests on, a fork doesn't undo,
    /// so one can complete another: the least set for which this holds.
    private func complete(among closes: [Int], _ memo: Memo) -> [Int] {
        var complete: Set<Int> = []
        var hasGrown = true
        while hasGrown {
            hasGrown = false
            for close in closes where !complete.contains(close) {
                guard let verdict = verdicts[close], verdict.isSound else { continue }
                var signers: Set<Int> = []
                for signature in signatures(of: close) {
                    guard let signer = facts.acts[signature].owner, stands(signature, complete, memo) else { continue }
                    signers.insert(signer)
                }
                guard signers.count >= verdict.needed else { continue }
                complete.insert(close)
                hasGrown = true
            }
        }
        return closes.filter(complete.contains)
    }

    /// Whether neither the closer's own key nor a fork has taken the signature back.
    func stands(_ signature: Int, _ complete: some Sequence<Int>, _ memo: Memo) -> Bool {
        guard !isRevoked(signature, memo) else { return false }
        return !isBeyondFork(signature, memo) || isSparedByOwner(signature, memo)
            || complete.contains { past($0, holds: signature) }
    }

    /// A proposal ends once: by the end that no other one precedes, the rejected first, then the lower id. Where two
    /// ends are complete some closer has signed both.
    private func winners(among closes: [Int]) -> [Int] {
        var byProposal: [Int: [Int]] = [:]
        var order: [Int] = []
        for close in closes {
            guard let proposal = facts.acts[close].subject else { continue }
            if byProposal[proposal] == nil { order.append(proposal) }
            byProposal[proposal, default: []].append(close)
        }
        return order.flatMap { proposal -> [Int] in
            let ends = byProposal[proposal] ?? []
            let first = ends.filter { end in
                !ends.contains { past(end, holds: $0) && !says($0, theSameAs: end) }
            }
            let winner = first.min { one, other in
                let (a, b) = (hasPassed(one), hasPassed(other))
                return a != b ? b : graph.nodes[one].entry.id < graph.nodes[other].entry.id
            }
            guard let winner else { return [] }
            return ends.filter { says($0, theSameAs: winner) }
        }
    }

    /// The founding's charter and its amendments, each naming the one before. Of concurrent ones the proposal with the
    /// lower id; closers sign one amendment of a charter, so there are two only where some have broken that rule.
    private func line(of winners: [Int], _ memo: Memo) -> [Edition] {
        guard let founding = facts.founding, isWithin(founding, memo),
            case .founding(let body) = graph.nodes[founding].entry.body, let charter = try? Charter(body.charter)
        else { return [] }
        var line = [Edition(digest: Charter.digest(body.charter), charter: charter, closes: [])]
        var amendments = winners.filter { hasPassed($0) && amendment(by: $0) != nil }
        while let current = line.last {
            let next = amendments.filter { proposal(of: $0)?.charter == current.digest }
                .min { proposalID(of: $0) < proposalID(of: $1) }
            guard let next, let bytes = amendment(by: next), let charter = try? Charter(bytes) else { break }
            let closes = amendments.filter { facts.acts[$0].subject == facts.acts[next].subject }
            line.append(Edition(digest: Charter.digest(bytes), charter: charter, closes: closes))
            amendments.removeAll { proposal(of: $0)?.charter == current.digest }
        }
        return line
    }

    /// Whether the community decided for a charter that this version can't read.
    func isCharterUnknown(_ memo: Memo) -> Bool {
        guard let last = memo.line.last else { return false }
        return winners(among: memo.complete).contains { close in
            guard hasPassed(close), proposal(of: close)?.charter == last.digest, let bytes = amendment(by: close) else {
                return false
            }
            return (try? Charter(bytes)) == nil
        }
    }

    // MARK: One close

    func verdict(_ place: Int) -> (verdict: CloseVerdict, electorate: (Int, Set<Int>)?) {
        let unsound = CloseVerdict(isSound: false, needed: .max)
        guard case .close(let body) = graph.nodes[place].entry.body, let proposal = facts.acts[place].subject,
            let proposed = self.proposal(of: place), let signer = facts.acts[place].owner
        else { return (unsound, nil) }
        var memo = prepared(scope: place)
        guard let edition = memo.line.last, edition.digest == proposed.charter,
            edition.charter.signers.contains(facts.members[signer].id), counts(proposal, &memo),
            isReadable(proposed), isConsistent(place, body, signer)
        else { return (unsound, nil) }
        let electorate = electorates[proposal] ?? electorate(of: proposal)
        let rule = edition.charter.rule(for: proposed.action)
        var voters: Set<Int> = []
        var tally = [0, 0, 0, 0]
        for id in body.votes {
            guard let vote = graph.places[id], facts.acts[vote].subject == proposal, let voter = facts.acts[vote].owner,
                case .vote(let cast) = graph.nodes[vote].entry.body, electorate.contains(voter),
                voters.insert(voter).inserted, counts(vote, &memo)
            else { return (unsound, (proposal, electorate)) }
            tally[Int(cast.choice.rawValue)] += 1
        }
        let isCounted =
            rule.basis == .allMembers
            ? body.electorate == electorate.count : (voters.count...electorate.count).contains(body.electorate)
        let isMet = rule.isMet(yes: tally[1], no: tally[2], abstaining: tally[3], electorate: body.electorate)
        let verdict = CloseVerdict(
            isSound: isCounted && isMet == body.passed, needed: edition.charter.signersNeeded)
        return (verdict, (proposal, electorate))
    }

    func counts(_ place: Int, _ memo: inout Memo) -> Bool {
        (0..<Self.ranks).contains { isValid(place, $0, &memo) }
    }

    /// An amendment must follow the charter that it amends, if this version can read it.
    private func isReadable(_ body: ProposalBody) -> Bool {
        guard case .amend(let bytes) = body.action else { return true }
        do {
            return try Charter(bytes).previous == body.charter
        } catch {
            if case .unsupported = error { return true }
            return false
        }
    }

    /// Whether the closes that it cites say the same, and its signer has not said otherwise before.
    private func isConsistent(_ place: Int, _ body: CloseBody, _ signer: Int) -> Bool {
        for id in body.countersigned {
            guard let other = graph.places[id], case .close(let cited) = graph.nodes[other].entry.body,
                cited.says(theSameAs: body), verdicts[other]?.isSound == true
            else { return false }
        }
        return !(facts.closesOf[facts.acts[place].subject ?? place] ?? []).contains { other in
            facts.acts[other].owner == signer && past(place, holds: other) && !says(other, theSameAs: place)
        }
    }

    /// Who could vote when the proposal was made: later joiners can't tip it.
    func electorate(of proposal: Int) -> Set<Int> {
        var memo = prepared(scope: proposal)
        guard let edition = edition(at: proposal, memo) else { return [] }
        var voters: Set<Int> = []
        for member in facts.members.indices {
            for grant in facts.members[member].grants
            where edition.charter.allows(grant.role, .vote) && past(proposal, holds: grant.place) {
                for rank in 0...grant.role.rank.number { _ = isValid(grant.place, rank, &memo) }
                if holds(grant, member, at: proposal, &memo) {
                    voters.insert(member)
                    break
                }
            }
        }
        return voters
    }

    /// ``isLive(_:of:at:isOwnAct:_:)``, asking for what it needs.
    func holds(_ grant: GovernanceFacts.Grant, _ member: Int, at place: Int?, _ memo: inout Memo) -> Bool {
        answered(&memo) { isLive(grant, of: member, at: place, isOwnAct: false, &$0) } ?? false
    }

    /// Asks again until all that the answer needs is known.
    func answered<Answer>(_ memo: inout Memo, _ ask: (inout Memo) -> Answer?) -> Answer? {
        while true {
            memo.needed = nil
            if let answer = ask(&memo) { return answer }
            guard let needed = memo.needed else { return nil }
            _ = isValid(needed.place, needed.rank, &memo)
        }
    }

    // MARK: Reading

    func proposal(of close: Int) -> ProposalBody? {
        guard let place = facts.acts[close].subject, case .proposal(let body) = graph.nodes[place].entry.body else {
            return nil
        }
        return body
    }

    private func amendment(by close: Int) -> [UInt8]? {
        guard let body = proposal(of: close), case .amend(let bytes) = body.action else { return nil }
        return bytes
    }

    private func proposalID(of close: Int) -> EntryID {
        facts.acts[close].subject.map { graph.nodes[$0].entry.id } ?? .none
    }

    func hasPassed(_ close: Int) -> Bool {
        guard case .close(let body) = graph.nodes[close].entry.body else { return false }
        return body.passed
    }

    private func says(_ one: Int, theSameAs other: Int) -> Bool {
        guard case .close(let a) = graph.nodes[one].entry.body, case .close(let b) = graph.nodes[other].entry.body
        else {
            return false
        }
        return a.says(theSameAs: b)
    }
}
