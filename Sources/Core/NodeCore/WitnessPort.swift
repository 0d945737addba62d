// SPDX-License-Identifier: Apache-2.0
import DequeModule
package import TuttiBase
package import TuttiCommunityCore
package import TuttiIdentity
package import TuttiJournal
package import TuttiMarket
package import TuttiWitness

import struct NIOCore.ByteBuffer

/// The deadline register on streams (docs/protocols/witness.md): this node's witness, where its member is one, and what its
/// member asks of the community's witnesses.
///
///     question -> member? rate? -> WitnessCore -> (load) -> (check signatures) -> (persist) -> answer
///     task -> RegisterClient -> question to each witness -> (check signatures) -> outcome
///
/// Only members are served, as the roster stands when they ask: a stranger's stream is reset, and a newcomer asks again.
/// Signatures are checked off the loop, those of one turn together. Our own witness is asked like the others, but without
/// a stream.
package struct WitnessPort: Sendable {
    package static let name: ProtocolID = "/tutti/witness/1"
    /// Streams that a connection may hold open: a party asks on one.
    private static let inboundMax = 2
    /// Sets and cards are read so many at a time.
    private static let pageCountMax = 512
    private static let pageBytesMax = 1 << 20

    private enum Origin: Sendable {
        case member(MemberID)
        /// A call of our register client.
        case own(RequestID)
    }

    private enum CheckOwner: Sendable {
        case core(RequestID)
        case client(RequestID)
    }

    private enum Load: Sendable {
        case chain
        case sets
        case cards
    }

    private var core: WitnessCore?
    private var client: RegisterClient
    private var registry: WitnessRegistry
    private var wall: WitnessWall
    private var gate = WitnessGate(limits: WitnessServingLimits())
    private var streams: QuestionStreams
    private var order = AnswerOrder()
    private var origins: [RequestID: Origin] = [:]
    private var loads: [RequestID: Load] = [:]
    private var dueChecks: [(owner: CheckOwner, checks: [SignatureCheck])] = []
    private var checking: [RequestID: [(owner: CheckOwner, count: Int)]] = [:]
    private var results: [JournalResult] = []
    private var lastRequest = WitnessPort.requestBase
    /// Until sets and cards are read, nobody is served.
    package private(set) var isReady = false
    private var needsReview = false
    package private(set) var stats = WitnessPortStats()

    package init(_ start: JournalStart, seed: UInt64, at now: Instant) {
        client = RegisterClient(seed: seed)
        registry = WitnessRegistry(community: start.community)
        wall = WitnessWall(milliseconds: start.milliseconds, at: now)
        var limits = RequestStreams.Limits()
        limits.callsMax = 8_192
        limits.callsPerPeerMax = 1_024
        streams = QuestionStreams(calls: RequestStreams(Self.name, owner: 9, limits: limits))
        load(.slotPage(.witnessSets, countMax: WitnessRegistry.setsMax, bytesMax: Self.pageBytesMax), .sets)
    }

    package var protocols: [CoreProtocol] {
        [
            CoreProtocol(
                Self.name, messageBytesMax: max(WitnessLimits.questionBytesMax, WitnessLimits.answerBytesMax),
                inboundMax: Self.inboundMax)
        ]
    }
    package func speaks(_ name: ProtocolID) -> Bool { name == Self.name }
    package func owns(_ request: RequestID) -> Bool { streams.calls.owns(request) }
    package var nextTimeout: Instant? {
        var earliest = streams.calls.nextTimeout
        if let next = client.nextTimeout { earliest = min(earliest ?? next, next) }
        return earliest
    }

    var coreStats: WitnessCoreStats { core?.stats ?? WitnessCoreStats() }
    var coreSigned: WitnessStats { core?.signed ?? WitnessStats() }
    var clientStats: RegisterStats { client.stats }

    /// With which this node signs as a witness.
    package var key: TradeKey? { core?.key }
    /// In force, as far as this node knows.
    package var set: WitnessSet? { registry.current }
    /// Where each witness in force is asked.
    package var seats: [TradeKey: PeerID] { registry.seats }
    /// What a member's devices have shown last.
    package func witness(_ member: MemberID, _ state: CommunityState) -> MarketRoster.Witness? {
        registry.roster.witness(member, state)
    }

    package mutating func handleTimeout(at now: Instant) {
        streams.calls.handleTimeout(at: now)
        if let next = client.nextTimeout, next <= now { client.handleTimeout(at: now) }
    }

    // MARK: The embedder

    package mutating func handle(_ command: WitnessCommand, at now: Instant) {
        switch command {
        case .serve(let key, let limits):
            guard core == nil else { return }
            gate = WitnessGate(limits: limits)
            core = WitnessCore(signer: TradeSigner(key), requestBase: Self.coreBase)
        case .drive(let task, let signer): client.drive(task, signer: signer, at: now)
        case .cancel(let slot): client.cancel(slot)
        }
    }

    package mutating func clockRead(_ milliseconds: UInt64, at now: Instant) { wall.read(milliseconds, at: now) }

    // MARK: Streams

    package mutating func handle(
        _ input: PortInput, at now: Instant, _ context: inout NodeContext, _ journal: JournalPort?
    ) {
        switch input {
        case .streamEnded(let key), .streamFailed(let key): order.ended(key)
        case .connectionClosed(let id): order.connectionClosed(id)
        default: break
        }
        guard let question = streams.handle(input, at: now, &context) else { return }
        guard isReady, core != nil, let journal, let member = journal.member(of: question.peer) else {
            stats.strangers += 1
            return streams.refuse(question.key, &context)
        }
        do throws(DecodeError) {
            let asked = try WitnessQuestion(
                encoded: question.bytes, bytesMax: WitnessLimits.questionBytesMax, "question to a witness")
            let id = nextRequest()
            order.asked(id, on: question.key)
            guard gate.enter(member, at: now) else { return tooMuch(id, &context) }
            origins[id] = .member(member)
            ask(asked, id, at: now, journal)
        } catch {
            stats.malformed += 1
            order.ended(question.key)
            streams.refuse(question.key, &context)
        }
    }

    private mutating func ask(_ question: WitnessQuestion, _ id: RequestID, at now: Instant, _ journal: JournalPort) {
        let context = registry.context(for: question, journal.community.state)
        core?.handle(.asked(id, question, context), at: wall.clock(at: now))
    }

    private mutating func tooMuch(_ id: RequestID, _ context: inout NodeContext) {
        stats.throttled += 1
        let retry = WitnessServingLimits().retryMilliseconds
        send(id, .refused(.busy, .first, nil, milliseconds: retry), &context)
    }

    private mutating func send(_ id: RequestID, _ answer: WitnessAnswer, _ context: inout NodeContext) {
        guard let (stream, due) = order.answered(id, answer.encoded) else { return }
        for bytes in due { context.commands.append(.send(stream, bytes)) }
    }

    // MARK: What the replica tells

    /// Whatever it tells the embedder.
    package mutating func overheard(_ result: JournalResult) {
        switch result {
        case .admitted(let entries): if registry.insert(entries) { needsReview = true }
        case .communityChanged: needsReview = true
        default: break
        }
    }

    /// - Returns: false when it is the answer to somebody else's question.
    package mutating func answered(_ command: JournalCommand, at now: Instant) -> Bool {
        let clock = wall.clock(at: now)
        switch command {
        case .persisted(let id) where Self.isOurs(id): core?.handle(.persisted(id), at: clock)
        case .persistFailed(let id, _) where Self.isOurs(id): core?.handle(.persistFailed(id), at: clock)
        case .loaded(.witness(let id), let answer): loaded(id, answer, at: clock)
        case .checked(let id, let verdicts): checked(id, verdicts, at: now)
        default: return false
        }
        return true
    }

    private mutating func load(_ query: JournalQuery, _ load: Load) {
        let id = nextRequest()
        loads[id] = load
        results.append(.load(query, .witness(id)))
    }

    private mutating func loaded(_ id: RequestID, _ answer: JournalAnswer, at clock: WitnessClock) {
        switch (loads.removeValue(forKey: id), answer) {
        case (.chain, .slots(let slots)):
            let records = slots.map { WitnessRecord(key: $0.key.bytes, value: ByteBuffer(bytes: $0.value)) }
            core?.handle(.loaded(id, records), at: clock)
        case (.chain, _): core?.handle(.loaded(id, nil), at: clock)
        case (.sets, .slots(let slots)):
            registry.restore(slots)
            loadCards(after: 0)
        case (.cards, .arrivals(let entries, let last)):
            _ = registry.insert(entries)
            guard entries.isEmpty else { return loadCards(after: last) }
            (isReady, needsReview) = (true, true)
            results.append(.witness(.ready))
        // Without its disk a witness doesn't serve; the node says so itself.
        case (.sets, _), (.cards, _), (nil, _): break
        }
    }

    private mutating func loadCards(after: UInt64) {
        load(
            .ofKind(.witnessCard, after: after, countMax: Self.pageCountMax, bytesMax: Self.pageBytesMax), .cards)
    }

    private mutating func checked(_ id: RequestID, _ verdicts: [Bool], at now: Instant) {
        var start = 0
        for (owner, count) in checking.removeValue(forKey: id) ?? [] {
            let own = Array(verdicts.dropFirst(start).prefix(count))
            start += count
            switch owner {
            case .core(let request): core?.handle(.checked(request, own), at: wall.clock(at: now))
            case .client(let request): client.verified(request, own, at: now)
            }
        }
    }

    // MARK: Effects

    /// - Returns: whether anything happened.
    mutating func settle(
        at now: Instant, _ context: inout NodeContext, _ journal: JournalPort?, _ outbox: inout Deque<NodeCore.Effect>
    ) -> Bool {
        if needsReview, isReady, let journal { review(journal) }
        var isBusy = false
        while true {
            if let effect = core?.nextEffect() {
                perform(effect, at: now, &context)
            } else if let effect = client.nextEffect() {
                perform(effect, at: now, context, journal)
            } else if let outcome = streams.calls.nextOutcome() {
                returned(outcome, at: now)
            } else {
                break
            }
            isBusy = true
        }
        while let command = streams.calls.nextCommand() { context.commands.append(command) }
        checkSignatures()
        for result in results { outbox.append(.journal(result)) }
        results.removeAll()
        return isBusy
    }

    private mutating func review(_ journal: JournalPort) {
        needsReview = false
        guard let record = registry.review(journal.community.state) else { return }
        var batch = JournalBatch()
        batch.slots = [record]
        // Lost in a crash, it is found again from the same cards.
        results.append(.persist(batch, nextRequest()))
        results.append(.witness(.setChanged))
    }

    private mutating func perform(_ effect: WitnessCoreEffect, at now: Instant, _ context: inout NodeContext) {
        switch effect {
        case .load(let chain, let id):
            loads[id] = .chain
            // The open slot and where the chain stands, and every slot that is decided.
            let countMax = 2 + WitnessLimits.stepsMax
            results.append(
                .load(
                    .slotPage(.witness, prefix: chain.bytes, countMax: countMax, bytesMax: .max), .witness(id)))
        case .check(let checks, let id): dueChecks.append((.core(id), checks))
        case .persist(let records, let id):
            var batch = JournalBatch()
            batch.slots = records.map { SlotRecord(SlotKey(.witness, $0.key), Array($0.value.readableBytesView)) }
            results.append(.persist(batch, id))
        case .answer(let id, let answer):
            switch origins.removeValue(forKey: id) {
            case .member(let member):
                gate.left(member)
                send(id, answer, &context)
            case .own(let call): client.answered(call, answer, at: now)
            case nil: break
            }
        }
    }

    private mutating func perform(
        _ effect: RegisterEffect, at now: Instant, _ context: NodeContext, _ journal: JournalPort?
    ) {
        switch effect {
        case .ask(let call, let witness, let question):
            if witness == key, isReady, let journal {
                let id = nextRequest()
                origins[id] = .own(call)
                return ask(question, id, at: now, journal)
            }
            guard let peer = registry.peer(of: witness), peer != context.peers.ownID else {
                return client.callFailed(call, at: now)
            }
            streams.calls.call(
                call, peer, question.encoded, expectsAnswer: true, over: context.peers.connection(to: peer), at: now)
        case .verify(let id, let checks): dueChecks.append((.client(id), checks))
        case .finished(let slot, let outcome): results.append(.witness(.finished(slot, outcome)))
        case .fault(let fault): results.append(.witness(.fault(fault)))
        }
    }

    private mutating func returned(_ outcome: RequestStreams.Outcome, at now: Instant) {
        switch outcome {
        case .failed(let call): client.callFailed(call, at: now)
        case .answered(let call, let bytes):
            do throws(DecodeError) {
                let answer = try WitnessAnswer(
                    encoded: bytes, bytesMax: WitnessLimits.answerBytesMax, "answer of a witness")
                client.answered(call, answer, at: now)
            } catch {
                stats.answersMalformed += 1
                client.callFailed(call, at: now)
            }
        }
    }

    private mutating func checkSignatures() {
        guard !dueChecks.isEmpty else { return }
        let id = nextRequest()
        checking[id] = dueChecks.map { ($0.owner, $0.checks.count) }
        results.append(.check(dueChecks.flatMap(\.checks), id))
        dueChecks = []
    }

    // MARK: Numbers

    /// Set our requests to the disk apart from those of the journal, the mailbox and the market.
    private static let coreBase: UInt64 = 0x57 << 56
    private static let requestBase: UInt64 = 0x58 << 56

    private static func isOurs(_ id: RequestID) -> Bool {
        id.value >> 56 == coreBase >> 56 || id.value >> 56 == requestBase >> 56
    }

    private mutating func nextRequest() -> RequestID {
        lastRequest += 1
        return RequestID(lastRequest)
    }
}
