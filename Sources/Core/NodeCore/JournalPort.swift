// SPDX-License-Identifier: Apache-2.0
import DequeModule
package import TuttiBase
package import TuttiCommunityCore
package import TuttiGossip
package import TuttiIdentity
package import TuttiJournal
import TuttiMarket
import TuttiPeers

import struct NIOCore.ByteBuffer

/// A community's replica on streams and topics: JournalCore takes entries from gossip and from SyncCore, CommunityCore
/// says whose, and only what is on disk is answered, shown or passed on.
///
///     gossip, SyncCore -> JournalCore -> (verify) -> CommunityCore folds -> (persist) -> verdicts, receipts, SyncCore's tree
package struct JournalPort: Sendable {
    /// Repair (docs/protocols/sync.md).
    package static let syncProtocol: ProtocolID = "/tutti/sync/1"
    /// Topics of communities begin so. What is behind it says nothing to who doesn't know the community.
    package static let topicPrefix = "/tutti/journal/1/"
    package static let topicFamily = GossipTopicFamily(
        prefix: topicPrefix, settings: GossipTopicConfiguration(signing: .strictNoSign, judge: .journal))

    /// Who waits for the verdicts on entries that were given to JournalCore.
    private enum Waiter: Sendable {
        case gossip(RequestID, places: [Int])
        case sync(SyncBatchID)
        case hello(PeerID, SyncHello)
    }

    package internal(set) var journal: JournalCore
    private var fold: ReplicaFold
    var sync: SyncCore
    private var streams: QuestionStreams
    let topic: Topic
    private let device: KeyPair?
    private var join: Entry?
    /// Peers hear of this device only once it has an entry to show: who refuses us wouldn't listen again for a while.
    private var isIntroduced: Bool
    private var asked = AnswerOrder()
    private var sent: [RequestID: SyncRequest] = [:]
    private var waiters: [RequestID: Waiter] = [:]
    private var judgements = GossipJudgements()
    private(set) var members = JournalPeers()
    private var lastRequest: UInt64 = 0
    private var publications = RequestNumbers(owner: 7)
    var results: [JournalResult] = []
    private var governance = GovernanceShelf()
    /// Nil: this node reads nothing that is sealed.
    package internal(set) var mailbox: MailboxPort?
    package internal(set) var market: MarketPort?
    /// Governance entries that others refer to and that aren't here.
    private var sought: [EntryID] = []

    package init(_ start: JournalStart, own: PeerID, seed: UInt64, at now: Instant) {
        journal = JournalCore(
            community: start.community, own: start.device, configuration: start.journal, keys: start.keys,
            opening: start.opening, milliseconds: start.milliseconds, at: now)
        fold = ReplicaFold(community: start.community, member: start.member)
        sync = SyncCore(configuration: start.sync, seed: seed, own: own, community: start.community)
        streams = QuestionStreams(calls: RequestStreams(Self.syncProtocol, owner: 6))
        topic = Self.topic(of: start.community)
        device = start.device
        let ownDevice = start.device?.device
        isIntroduced = start.opening.feeds.contains { $0.device == ownDevice }
        journal.restore(governance: start.governance)
        fold.restore(start.governance, forks: journal.forks)
        var change = GovernanceShelf.Change()
        for stored in start.governance { governance.keep(stored.entry, &change) }
        sync.handle(.governanceChanged(added: change.added, removed: change.removed), at: now)
        members.hasCaughtUp = isAtHome
        mailbox = MailboxPort(start, at: now)
        market = MarketPort(start)
    }

    package var community: CommunityCore { fold.community }
    /// Of every feed held, what removals name as the last that counts.
    package var heads: [DeviceID: FeedPoint] {
        Dictionary(uniqueKeysWithValues: journal.feeds.map { ($0.device, $0.head) })
    }

    /// Tells the cores what each other holds, and peers that are connected already who we are.
    mutating func begin(at now: Instant, _ context: NodeContext) {
        journal.handle(.rosterChanged(community.roster), at: now)
        sync.handle(.feedsChanged(journal.feeds), at: now)
        sync.handle(.proofsChanged(journal.proofs), at: now)
        reviewGovernance(at: now)
        seekMissing(at: now)
        tellMailbox(.communityChanged(community.state, community.roster), at: now)
        tellMarket(.opened, at: now)
        meetAll(at: now, context)
    }

    /// Named by a digest, so that subscriptions, which go to everybody, don't tell the community's name.
    package static func topic(of community: CommunityID) -> Topic {
        let digest = KeyDerivation.sha256(Array("tutti-journal-topic".utf8) + community.bytes.bytes)
        return Topic(topicPrefix + BitText.base16.encode(digest.bytes.prefix(16)))
    }

    package var protocols: [CoreProtocol] {
        [CoreProtocol(Self.syncProtocol, messageBytesMax: SyncLimits().messageBytesMax, inboundMax: 4)]
    }
    package func speaks(_ name: ProtocolID) -> Bool { name == Self.syncProtocol }
    package func owns(_ request: RequestID) -> Bool { streams.calls.owns(request) }
    package func forEachPeer(_ body: (PeerIndex) -> Void) { journal.forEachPeer(body) }
    package var nextTimeout: Instant? {
        var earliest = journal.nextTimeout
        if let next = streams.calls.nextTimeout { earliest = min(earliest ?? next, next) }
        if let next = sync.nextTimeout { earliest = min(earliest ?? next, next) }
        if let next = mailbox?.nextTimeout { earliest = min(earliest ?? next, next) }
        if let next = market?.nextTimeout { earliest = min(earliest ?? next, next) }
        return earliest
    }

    package mutating func handleTimeout(at now: Instant, _ context: inout NodeContext) {
        streams.calls.handleTimeout(at: now)
        if let next = journal.nextTimeout, next <= now { journal.handleTimeout(at: now) }
        if let next = sync.nextTimeout, next <= now { sync.handleTimeout(at: now) }
        if let next = mailbox?.nextTimeout, next <= now { mailbox?.handleTimeout(journal.time(at: now), at: now) }
        if let next = market?.nextTimeout, next <= now { market?.handleTimeout(journal.time(at: now), at: now) }
    }

    // MARK: The embedder

    package mutating func handle(_ command: JournalCommand, at now: Instant, _ context: inout NodeContext) {
        switch command {
        case .start, .stop, .loaded(.witness, _), .checked, .witness: break
        case .clockRead(let milliseconds):
            journal.handle(.clockRead(milliseconds: milliseconds), at: now)
            market?.handleTimeout(journal.time(at: now), at: now)
        case .append(let request, let drafts): journal.handle(.appendRequested(request, drafts), at: now)
        case .appendSealed(let request, let letter): seal(letter, for: request, at: now)
        case .introduce(let entry):
            join = entry
            isIntroduced = true
            // Who founded the community has all there is: whoever it doesn't know is a stranger.
            if entry?.header.kind == .founding, isAtHome { members.hasCaughtUp = true }
            meetAll(at: now, context)
        case .syncNow: sync.handle(.syncRequested, at: now)
        case .persisted(let id) where MailboxCore.owns(id): tellMailbox(.persisted(id), at: now)
        case .persistFailed(let id, _) where MailboxCore.owns(id): tellMailbox(.persistFailed(id), at: now)
        case .persisted(let id) where MarketCore.owns(id): tellMarket(.persisted(id), at: now)
        case .persistFailed(let id, _) where MarketCore.owns(id): tellMarket(.persistFailed(id), at: now)
        case .persisted(let id): journal.handle(.persisted(id), at: now)
        case .persistFailed(let id, let error): journal.handle(.persistFailed(id, error), at: now)
        case .loaded(.journal(let id), let answer): journal.handle(.loaded(id, answer), at: now)
        case .loaded(.sync(let id), let answer): sync.handle(.loaded(id, answer), at: now)
        case .loaded(.fold(let id), let answer):
            // A disk that can't be read shows less, and says so when it is asked.
            var existing: [JournalRow] = []
            if case .rows(let rows) = answer { existing = rows }
            journal.handle(.folded(id, rows: fold.finish(existing: existing)), at: now)
        case .loaded(.mailbox(let id), let answer): tellMailbox(.loaded(id, answer), at: now)
        case .loaded(.market(let id), let answer): tellMarket(.loaded(id, answer), at: now)
        case .loaded(.marketSecrets(let id), let answer): unsealed(id, answer, at: now)
        case .keyringKept(let id, let isKept): tellMailbox(isKept ? .kept(id) : .keepFailed(id), at: now)
        case .verified(let id, let verdicts): journal.handle(.verified(id, verdicts), at: now)
        case .registered(let slot, let outcome): tellMarket(.registered(slot, outcome), at: now)
        }
    }

    private mutating func nextRequest() -> RequestID {
        lastRequest += 1
        return RequestID(lastRequest)
    }

    private mutating func receive(
        _ entries: [Entry], from source: JournalSource, for waiter: Waiter, at now: Instant
    ) {
        let request = nextRequest()
        waiters[request] = waiter
        journal.handle(.received(request, entries, from: source), at: now)
    }

    // MARK: Streams

    package mutating func handle(_ input: PortInput, at now: Instant, _ context: inout NodeContext) {
        switch input {
        case .peerIdentified(let peer, let profile, _):
            meet(peer, profile, at: now, context)
        case .peerDisconnected(let peer): disconnected(peer, at: now, &context)
        case .streamEnded(let key), .streamFailed(let key):
            asked.ended(key)
            carry(input, at: now, &context)
        case .connectionClosed(let id):
            asked.connectionClosed(id)
            carry(input, at: now, &context)
        default: carry(input, at: now, &context)
        }
    }

    private mutating func carry(_ input: PortInput, at now: Instant, _ context: inout NodeContext) {
        guard let question = streams.handle(input, at: now, &context) else { return }
        receive(question.bytes, from: question.peer, on: question.key, at: now, &context)
    }

    private mutating func meetAll(at now: Instant, _ context: NodeContext) {
        for peer in context.peers.connectedPeers {
            if let profile = context.peers.profile(of: peer) { meet(peer, profile, at: now, context) }
        }
    }

    private mutating func meet(_ peer: PeerID, _ profile: PeerProfile, at now: Instant, _ context: NodeContext) {
        guard isIntroduced, profile.protocols.contains(Self.syncProtocol), !members.isReady(peer), let device,
            let hello = SyncHello(
                community: journal.community, own: context.peers.ownID, remote: peer, join: join, signedWith: device)
        else { return }
        members.setReady(peer)
        sync.handle(.peerReady(peer, hello), at: now)
    }

    private mutating func disconnected(_ peer: PeerID, at now: Instant, _ context: inout NodeContext) {
        members.forget(peer)
        sync.handle(.peerGone(peer), at: now)
        if let index = context.table.known(peer) { journal.handle(.peerDisconnected(index), at: now) }
    }

    private mutating func receive(
        _ bytes: ByteBuffer, from peer: PeerID, on key: StreamKey, at now: Instant, _ context: inout NodeContext
    ) {
        do throws(DecodeError) {
            let request = try SyncWire.decodeRequest(bytes)
            let id = nextRequest()
            if request.isAnswered { asked.asked(id, on: key) }
            sync.handle(.asked(id, by: peer, request), at: now)
        } catch {
            sync.handle(.requestMalformed(peer), at: now)
            asked.ended(key)
            streams.refuse(key, &context)
        }
    }

    // MARK: Effects

    /// - Returns: whether anything happened.
    mutating func settle(
        at now: Instant, _ context: inout NodeContext, _ gossip: inout GossipPort?,
        _ outbox: inout Deque<NodeCore.Effect>
    ) -> Bool {
        var isBusy = false
        while true {
            if let batch = gossip?.nextUnjudged() {
                judge(batch, at: now, &context, &gossip)
            } else if let effect = journal.nextEffect() {
                perform(effect, at: now, &context, &gossip)
            } else if let effect = sync.nextEffect() {
                perform(effect, at: now, &context, &gossip)
            } else if let outcome = streams.calls.nextOutcome() {
                returned(outcome, at: now)
            } else if let effect = mailbox?.nextEffect() {
                perform(effect, at: now)
            } else if let effect = market?.nextEffect() {
                perform(effect, at: now)
            } else {
                break
            }
            isBusy = true
        }
        while let command = streams.calls.nextCommand() { context.commands.append(command) }
        for result in results { outbox.append(.journal(result)) }
        results.removeAll()
        return isBusy
    }

    // MARK: Gossip

    private mutating func judge(
        _ batch: UnjudgedMessages, at now: Instant, _ context: inout NodeContext, _ gossip: inout GossipPort?
    ) {
        guard let index = context.table.index(of: batch.peer) else {
            // No number is left for the peer: nobody is blamed, and gossip waits for nothing.
            gossip?.handle(.validated(batch.request, []), at: now, &context)
            return
        }
        let source = JournalSource(peer: index, door: .gossip)
        let sorted = judgements.open(batch, on: topic)
        for _ in 0..<sorted.malformedCount { journal.handle(.malformed(from: source), at: now) }
        if !sorted.entries.isEmpty {
            receive(sorted.entries, from: source, for: .gossip(batch.request, places: sorted.entryPlaces), at: now)
        }
        if !sorted.proofs.isEmpty {
            let request = nextRequest()
            waiters[request] = .gossip(batch.request, places: sorted.proofPlaces)
            journal.handle(.proofsReceived(request, sorted.proofs, from: source), at: now)
        }
        conclude(batch.request, at: now, &context, &gossip)
    }

    /// Once all verdicts of a batch are there.
    private mutating func conclude(
        _ request: RequestID, at now: Instant, _ context: inout NodeContext, _ gossip: inout GossipPort?
    ) {
        guard let verdicts = judgements.takeFinished(request) else { return }
        gossip?.handle(.validated(request, verdicts), at: now, &context)
    }

    private mutating func publish(
        _ message: JournalMessage, at now: Instant, _ context: inout NodeContext, _ gossip: inout GossipPort?
    ) {
        var bytes = ByteBuffer()
        message.encode(into: &bytes)
        gossip?.handle(.publish(publications.next(), topic, bytes), at: now, &context)
    }

    // MARK: JournalCore

    private mutating func perform(
        _ effect: JournalEffect, at now: Instant, _ context: inout NodeContext, _ gossip: inout GossipPort?
    ) {
        switch effect {
        case .verify(let entries, let id): results.append(.verify(entries, id))
        case .persist(let batch, let id): results.append(.persist(batch, id))
        case .load(let query, let id): results.append(.load(query, .journal(id)))
        case .introduce(let entries, let id):
            journal.handle(.introduced(id, entries.map { community.introduces($0) }), at: now)
        case .fold(let entries, let id):
            let (change, needed) = fold.begin(entries)
            if needed.isEmpty {
                journal.handle(.folded(id, rows: fold.finish(existing: [])), at: now)
            } else {
                results.append(.load(.rows(needed), .fold(id)))
            }
            apply(change, at: now, &context, &gossip)
        case .foldUndone(let ids, _): apply(fold.undo(ids), at: now, &context, &gossip)
        case .admitted(let entries): admitted(entries, at: now)
        case .appended(let request, let entries):
            appended(request, entries, at: now)
        case .appendFailed(let request, let error): appendFailed(request, error, at: now)
        case .publish(let entries):
            for entry in entries { publish(.entry(entry), at: now, &context, &gossip) }
        case .publishProof(let proof): publish(.proof(proof), at: now, &context, &gossip)
        case .judged(let request, let source, let verdicts):
            judged(request, source, verdicts, at: now, &context, &gossip)
        case .violation: break
        case .feedsChanged(let records): sync.handle(.feedsChanged(records), at: now)
        case .wanted(let device): sync.handle(.wanted(device, from: nil), at: now)
        case .receiptsDue(let receipts): tell(receipts, at: now, context)
        case .emit(let event):
            if case .feedFrozen(_, let proof) = event { froze(proof, at: now, &context, &gossip) }
            results.append(.event(event))
        }
    }

    private mutating func admitted(_ entries: [StoredEntry], at now: Instant) {
        var change = GovernanceShelf.Change()
        for entry in entries.map(\.entry) where entry.header.kind.isGovernance { governance.keep(entry, &change) }
        if !change.isEmpty {
            sync.handle(.governanceChanged(added: change.added, removed: change.removed), at: now)
            reviewGovernance(at: now)
            results.append(.communityChanged)
        }
        results.append(.admitted(entries))
        tellMailbox(.admitted(entries), at: now)
    }

    /// For who comes with a recovery code.
    package var recovery: RecoveryIndex { governance.recovery }

    /// At or behind the place where a feed forks, and beyond a cut, replicas may hold different entries and are the same
    /// nonetheless.
    private mutating func reviewGovernance(at now: Instant) {
        let (roster, forks) = (community.roster, journal.forks)
        let change = governance.review { device in
            GovernanceShelf.Bounds(fork: forks[device], cut: roster.devices[device]?.cut)
        }
        guard !change.isEmpty else { return }
        sync.handle(.governanceChanged(added: change.added, removed: change.removed), at: now)
    }

    /// What governance refers to is taken by its name, whatever became of its feed: else replicas would judge
    /// differently for ever.
    private mutating func seekMissing(at now: Instant) {
        let missing = community.missing
        guard missing != sought else { return }
        sought = missing
        journal.handle(.missingChanged(missing), at: now)
        sync.handle(.missingChanged(missing), at: now)
    }

    private mutating func judged(
        _ request: RequestID, _ source: JournalSource, _ verdicts: [EntryVerdict], at now: Instant,
        _ context: inout NodeContext, _ gossip: inout GossipPort?
    ) {
        guard let waiter = waiters.removeValue(forKey: request) else { return }
        switch waiter {
        case .gossip(let batch, let places):
            judgements.settle(batch, places, verdicts)
            conclude(batch, at: now, &context, &gossip)
        case .sync(let batch):
            let outcome: SyncOutcome =
                verdicts.contains(.reject)
                ? .forged
                : !verdicts.contains(.ignore) ? .stored : journal.isDiskPaused(at: now) ? .unavailable : .refused
            sync.handle(.settled(batch, outcome), at: now)
        case .hello(let peer, let hello): judge(hello, of: peer, at: now, &context, &gossip)
        }
    }

    /// To those that brought us the entries, and to the device that wrote them if it is connected.
    private mutating func tell(_ receipts: [JournalReceipt], at now: Instant, _ context: NodeContext) {
        var due: [PeerID: [SyncReceipt]] = [:]
        for receipt in receipts {
            var told = receipt.peers.compactMap { context.table.id(of: $0) }
            if let author = members.peer(of: receipt.device), !told.contains(author) { told.append(author) }
            for peer in told where members.isAccepted(peer) {
                due[peer, default: []].append(SyncReceipt(device: receipt.device, head: receipt.head))
            }
        }
        for peer in due.keys.sorted() { sync.handle(.receiptsDue(peer, due[peer] ?? []), at: now) }
    }

    // MARK: SyncCore

    private mutating func perform(
        _ effect: SyncEffect, at now: Instant, _ context: inout NodeContext, _ gossip: inout GossipPort?
    ) {
        switch effect {
        case .send(let id, let peer, let request):
            var bytes = ByteBuffer()
            SyncWire.encode(request, into: &bytes)
            sent[id] = request
            streams.calls.call(
                id, peer, bytes, expectsAnswer: request.isAnswered, over: context.peers.connection(to: peer), at: now)
        case .cancel(let id):
            sent[id] = nil
            streams.calls.cancel(id, at: now)
        case .answer(let id, let answer):
            var bytes = ByteBuffer()
            SyncWire.encode(answer, into: &bytes)
            guard let (stream, due) = asked.answered(id, bytes) else { return }
            for bytes in due { context.commands.append(.send(stream, bytes)) }
        case .judge(let peer, let hello): introduce(hello, of: peer, at: now, &context, &gossip)
        case .load(let query, let id): results.append(.load(query, .sync(id)))
        case .received(let batch):
            guard let index = context.table.index(of: batch.peer) else {
                return sync.handle(.settled(batch.id, .refused), at: now)
            }
            receive(batch.entries, from: JournalSource(peer: index, door: batch.door), for: .sync(batch.id), at: now)
        case .receivedProofs(let id, let proofs, let peer):
            guard let index = context.table.index(of: peer) else {
                return sync.handle(.settled(id, .refused), at: now)
            }
            let request = nextRequest()
            waiters[request] = .sync(id)
            journal.handle(.proofsReceived(request, proofs, from: JournalSource(peer: index, door: .sync)), at: now)
        case .receipted(let peer, let receipts):
            for receipt in receipts {
                let record = ReceiptRecord(device: receipt.device, holder: peer, head: receipt.head)
                journal.handle(.receiptReceived(record), at: now)
            }
        case .emit(let event):
            if case .caughtUp(let peer) = event {
                caughtUp(with: peer, at: now, &context, &gossip)
                tellMailbox(.caughtUp, at: now)
            }
            results.append(.sync(event))
        }
    }

    /// Members' nodes that showed which device they are, ordered.
    package var connectedPeers: [PeerID] { members.accepted }

    // MARK: Who may take part

    private mutating func introduce(
        _ hello: SyncHello, of peer: PeerID, at now: Instant, _ context: inout NodeContext,
        _ gossip: inout GossipPort?
    ) {
        guard context.peers.connection(to: peer) != nil else { return }
        guard hello.community == journal.community else {
            return sync.handle(.judged(peer, .unknownCommunity), at: now)
        }
        guard hello.isValid(from: peer, to: context.peers.ownID) else {
            return sync.handle(.judged(peer, .badProof), at: now)
        }
        guard community.roster.devices[hello.device] == nil, let join = hello.join,
            join.header.device == hello.device, let index = context.table.index(of: peer)
        else { return judge(hello, of: peer, at: now, &context, &gossip) }
        receive(
            [join], from: JournalSource(peer: index, door: .governanceSync), for: .hello(peer, hello), at: now)
    }

    private mutating func judge(
        _ hello: SyncHello, of peer: PeerID, at now: Instant, _ context: inout NodeContext,
        _ gossip: inout GossipPort?
    ) {
        // It may have gone while its join was looked at.
        guard context.peers.connection(to: peer) != nil else { return }
        let standing = members.standing(of: hello, community.roster)
        members.judged(peer, hello, standing)
        switch standing {
        case .open(let audience): sync.handle(.judged(peer, nil, audience), at: now)
        case .refused(let refusal): sync.handle(.judged(peer, refusal), at: now)
        }
        // For one that was here before; who was just judged has it already.
        admit(peer, standing, at: now, &context, &gossip)
    }

    private mutating func admit(
        _ peer: PeerID, _ standing: JournalPeers.Standing, at now: Instant, _ context: inout NodeContext,
        _ gossip: inout GossipPort?
    ) {
        switch standing {
        case .open(let audience): sync.handle(.audienceChanged(peer, audience), at: now)
        case .refused: sync.handle(.peerExcluded(peer), at: now)
        }
        gossip?.setMember(peer, standing == .open(.all), at: now, &context)
    }

    /// Whoever is admitted or removed while it is connected has what it may from then on.
    private mutating func reviewPeers(
        at now: Instant, _ context: inout NodeContext, _ gossip: inout GossipPort?
    ) {
        for (peer, hello, standing) in members.changed(by: community.roster) {
            members.judged(peer, hello, standing)
            admit(peer, standing, at: now, &context, &gossip)
        }
    }

    private mutating func caughtUp(
        with peer: PeerID, at now: Instant, _ context: inout NodeContext, _ gossip: inout GossipPort?
    ) {
        // Who holds all there is holds its own join too: while we lack that, there is more than we have.
        guard !members.hasCaughtUp, isAtHome, let device = members.device(of: peer),
            community.roster.devices[device] != nil
        else { return }
        members.hasCaughtUp = true
        // Their joins could not be judged before.
        for (peer, hello) in members.newcomers(community.roster) {
            introduce(hello, of: peer, at: now, &context, &gossip)
        }
        reviewPeers(at: now, &context, &gossip)
    }

    /// Our own device is known here, with all that this rests on. Who holds less may have it from a newcomer.
    private var isAtHome: Bool {
        guard community.state.charter != nil else { return false }
        return device.map { community.roster.devices[$0.device] != nil } ?? true
    }

    private mutating func apply(
        _ change: CommunityCore.Change, at now: Instant, _ context: inout NodeContext, _ gossip: inout GossipPort?
    ) {
        if change.state || change.roster {
            tellMailbox(.communityChanged(community.state, community.roster), at: now)
        }
        if change.roster {
            journal.handle(.rosterChanged(community.roster), at: now)
            sync.handle(.rosterChanged, at: now)
            reviewGovernance(at: now)
            reviewPeers(at: now, &context, &gossip)
        }
        seekMissing(at: now)
    }

    private mutating func froze(
        _ proof: FaultProof, at now: Instant, _ context: inout NodeContext, _ gossip: inout GossipPort?
    ) {
        sync.handle(.proofsChanged([proof]), at: now)
        reviewGovernance(at: now)
        apply(fold.setForks(journal.forks), at: now, &context, &gossip)
    }

    private mutating func returned(_ outcome: RequestStreams.Outcome, at now: Instant) {
        switch outcome {
        case .failed(let id):
            sent[id] = nil
            sync.handle(.requestFailed(id), at: now)
        case .answered(let id, let bytes):
            guard let request = sent.removeValue(forKey: id), request.isAnswered else { return }
            do throws(DecodeError) {
                sync.handle(.answered(id, try SyncWire.decodeAnswer(bytes)), at: now)
            } catch {
                sync.handle(.answerMalformed(id), at: now)
            }
        }
    }
}
