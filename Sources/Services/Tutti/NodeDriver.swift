// SPDX-License-Identifier: Apache-2.0
import Logging
import NIOCore
import Synchronization
import TuttiBase
import TuttiConnection
import TuttiGossip
import TuttiIdentity
import TuttiKademlia
import TuttiMembership
import TuttiNodeCore
import TuttiPeers
import TuttiTransport

/// Does for NodeCore what it wants done, and tells it what happened.
///
/// Confined to `loop`, which carries no socket: every stored variable is touched there only, and every entry from outside
/// is one `execute`. A turn is: inputs into the core, all effects out, commands grouped per connection and handed over in
/// one call each, one timer armed. Bytes of applications' streams never come by here.
///
/// `@unchecked Sendable`: the guard is `loop`.
final class NodeDriver: ConnectionOwner, @unchecked Sendable {
    /// A name to look up; answered with `.resolved`.
    struct Lookup: Sendable {
        let id: ConnectionID
        let address: Multiaddr
    }

    private struct DialWaiter {
        let peer: PeerID?
        let continuation: CheckedContinuation<Result<PeerID, NodeError>, Never>
    }

    private let loop: any EventLoop
    private let directory: PeerDirectory
    private let events: EventHub
    private let arrivals: BatchQueue<StreamMailbox>
    private let lookups: BatchQueue<Lookup>
    private let logger: Logger
    private var metrics: NodeMetrics
    private let lastRequest = Atomic<UInt64>(0)
    /// What connections have told and no turn has taken up: what came before its turn is one turn's work.
    private let arrived = Mutex<[ConnectionEvent]>([])

    private let topics: TopicHub
    private let answers: @Sendable (ByteBuffer) -> ByteBuffer?
    private var core: NodeCore
    private var calls = NodeCalls()
    private var judge: MessageJudge
    /// Takes what the community's replica wants, on the loop: it must not block.
    private let journal: (@Sendable ([JournalResult]) -> Void)?
    private var replica: [JournalResult] = []
    private var transport: Transport?
    private var protocols = ProtocolTable()
    /// What the node's handlers answer to; the cores' are in `protocols` beside it.
    private var handled = ProtocolTable()
    private var isTableNew = false
    private var handles: [ConnectionID: ConnectionHandle] = [:]
    private var dials: [RequestID: DialWaiter] = [:]
    private var profiles = ProfileWaiters()
    /// What this turn wants of each connection, in the order of first mention.
    private var outbox: [ConnectionID: [ConnectionCommand]] = [:]
    private var outboxOrder: [ConnectionID] = []
    private var alarm = LoopAlarm()
    private var isExportDue = false
    private var isClosing = false
    private var isStopped = false
    private var closeWaiter: CheckedContinuation<Void, Never>?

    init(
        configuration: NodeCoreConfiguration, settings: NodeConfiguration, seed: UInt64, loop: any EventLoop,
        directory: PeerDirectory, events: EventHub, topics: TopicHub, arrivals: BatchQueue<StreamMailbox>,
        lookups: BatchQueue<Lookup>, logger: Logger,
        metrics: NodeMetrics
    ) {
        self.loop = loop
        self.directory = directory
        self.events = events
        self.topics = topics
        answers = (settings.mesh ?? MeshSettings()).answers
        judge = MessageJudge(settings.gossip)
        journal = settings.journal
        self.arrivals = arrivals
        self.lookups = lookups
        self.logger = logger
        self.metrics = metrics
        protocols.query = ProtocolTable.Query(
            name: IdentifyMessage.protocolID, request: PeersCore.query.value,
            messageBytesMax: PeersCore.messageBytesMax)
        core = NodeCore(configuration: configuration, seed: seed, at: Self.now())
    }

    // MARK: From any thread

    /// Connections call this on their own loops. Streams for applications go straight to the tasks; the rest in one hop.
    func receive(_ batch: [ConnectionEvent]) {
        var rest = batch
        rest.removeAll { event in
            guard case .streamArrived(_, let mailbox) = event else { return false }
            // A full queue means that the handlers are far behind: refuse.
            if !arrivals.append(mailbox) { mailbox.reset() }
            return true
        }
        guard !rest.isEmpty else { return }
        let isFirst = arrived.withLock { waiting in
            defer { waiting += rest }
            return waiting.isEmpty
        }
        if isFirst { loop.execute { self.takeArrived() } }
    }

    /// Connections may begin when this has returned: they know what to answer.
    func start(_ transport: Transport, protocols: ProtocolTable) async {
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            loop.execute {
                self.transport = transport
                self.replaceProtocols(protocols)
                self.endTurn()
                continuation.resume()
            }
        }
    }

    func submit(_ input: PeersInput) {
        submit(.peers(input))
    }

    func submit(_ input: NodeCore.Input) {
        loop.execute {
            self.feed(input)
            self.endTurn()
        }
    }

    /// Asks a core for something that it ends once, at the latest at the deadline.
    /// - Parameter cancel: what the core is told when the task is cancelled first.
    func call(
        within duration: Duration, cancel: @escaping @Sendable (RequestID) -> NodeCore.Input?,
        _ input: @escaping @Sendable (RequestID, Instant) -> NodeCore.Input
    ) async -> CallEnd {
        let request = RequestID(lastRequest.wrappingAdd(1, ordering: .relaxed).newValue)
        let deadline = Self.now() + duration
        @Sendable func cancelCall() {
            loop.execute {
                guard self.calls.isWaiting(request) else { return }
                self.calls.end(request, .cancelled)
                if let input = cancel(request) { self.feed(input) }
                self.endTurn()
            }
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                loop.execute {
                    guard !self.isStopped else { return continuation.resume(returning: .stopped) }
                    self.calls.begin(request, continuation)
                    self.feed(input(request, deadline))
                    self.endTurn()
                }
                // The handler below may have run before the call was known.
                if Task.isCancelled { cancelCall() }
            }
        } onCancel: {
            cancelCall()
        }
    }

    /// Where the peer can be dialled, as far as is known here.
    func addresses(of peer: PeerID) async -> [Multiaddr] {
        await read { $0.peers.store.addresses(of: peer) }
    }

    /// What to keep over a restart.
    func peerSnapshot() async -> PeerStoreSnapshot {
        await read { $0.peerSnapshot }
    }

    func neighbours() async -> [PeerID] {
        await read { $0.neighbours }
    }

    func reachability() async -> NodeReachability {
        await read { NodeReachability($0) }
    }

    func read<Value: Sendable>(_ body: @escaping @Sendable (borrowing NodeCore) -> Value) async -> Value {
        await withCheckedContinuation { continuation in
            loop.execute { continuation.resume(returning: body(self.core)) }
        }
    }

    func setProtocols(_ protocols: ProtocolTable) {
        loop.execute {
            self.replaceProtocols(protocols)
            self.endTurn()
        }
    }

    /// Connects, or finds that we are connected. Exactly one of the answers comes, at the latest at the deadline.
    func dial(_ peer: PeerID?, at addresses: [Multiaddr], within duration: Duration) async throws(NodeError) -> PeerID {
        let request = RequestID(lastRequest.wrappingAdd(1, ordering: .relaxed).newValue)
        let deadline = Self.now() + duration
        let result: Result<PeerID, NodeError> = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let waiter = DialWaiter(peer: peer, continuation: continuation)
                loop.execute { self.beginDial(request, waiter, addresses, deadline) }
                // The handler below may have run before the dial was known.
                if Task.isCancelled { cancelDial(request) }
            }
        } onCancel: {
            cancelDial(request)
        }
        return try result.get()
    }

    /// What the peer says of itself, now or as soon as it has.
    func profile(of peer: PeerID, within duration: Duration) async throws(NodeError) -> PeerDescription {
        let request = RequestID(lastRequest.wrappingAdd(1, ordering: .relaxed).newValue)
        let result: Result<PeerDescription, NodeError> = await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                loop.execute { self.awaitProfile(request, of: peer, within: duration, continuation) }
                // The handler below may have run before the wait was known.
                if Task.isCancelled { cancelProfile(request, of: peer) }
            }
        } onCancel: {
            cancelProfile(request, of: peer)
        }
        return try result.get()
    }

    /// Gives up every connection to the peer. Whatever is asked of the peer after this call comes after it on the loop too,
    /// so nobody needs to wait for it.
    func disconnect(_ peer: PeerID) {
        directory.remove(peer)
        submit(.disconnectRequested(peer))
    }

    /// From now on nothing is accepted or dialled; what is there goes on.
    func refuseNew() {
        loop.execute { self.isClosing = true }
    }

    /// Closes every connection in order and waits for them, at most `duration`. Nothing is accepted or dialled afterwards.
    func closeAll(within duration: Duration) async {
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            loop.execute {
                self.isClosing = true
                self.closeWaiter = continuation
                for handle in self.handles.values { handle.perform([.close]) }
                self.loop.scheduleTask(in: .nanoseconds(duration.saturatedNanoseconds)) { self.resumeCloser() }
                self.endTurn()
            }
        }
    }

    /// The last call. Dials under way fail with `.stopped`.
    func stop() async {
        await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in
            loop.execute {
                self.isStopped = true
                self.alarm.cancel()
                for waiter in self.dials.values {
                    waiter.continuation.resume(returning: .failure(.stopped(.dial, peer: waiter.peer)))
                }
                self.dials.removeAll()
                self.calls.stop()
                self.profiles.stop()
                self.handles.removeAll()
                self.directory.removeAll()
                self.export()
                continuation.resume()
            }
        }
    }

    // MARK: On the loop

    private static func now() -> Instant {
        Instant(nanoseconds: Int64(clamping: NIODeadline.now().uptimeNanoseconds))
    }

    private func beginDial(_ request: RequestID, _ waiter: DialWaiter, _ addresses: [Multiaddr], _ deadline: Instant) {
        guard !isClosing, !isStopped else {
            waiter.continuation.resume(returning: .failure(.stopped(.dial, peer: waiter.peer)))
            return
        }
        dials[request] = waiter
        feed(.dialRequested(request, peer: waiter.peer, addresses: addresses, deadline: deadline))
        endTurn()
    }

    private func cancelDial(_ request: RequestID) {
        loop.execute {
            guard self.dials[request] != nil else { return }
            self.feed(.dialCancelled(request))
            self.endTurn()
        }
    }

    private func awaitProfile(
        _ request: RequestID, of peer: PeerID, within duration: Duration,
        _ continuation: CheckedContinuation<Result<PeerDescription, NodeError>, Never>
    ) {
        if let known = directory.description(of: peer) { return continuation.resume(returning: .success(known)) }
        guard !isStopped else { return continuation.resume(returning: .failure(.stopped(.identify, peer: peer))) }
        guard directory.isConnected(peer) else {
            let error = NodeError(
                code: .disconnected, peer: peer, stage: .identify, message: "not connected: dial the peer first")
            return continuation.resume(returning: .failure(error))
        }
        let timer = loop.scheduleTask(in: .nanoseconds(duration.saturatedNanoseconds)) {
            self.profiles.answer(request, of: peer, .failure(.deadline(.identify, peer: peer, duration)))
        }
        profiles.add(request, of: peer, continuation, timer: timer)
    }

    private func cancelProfile(_ request: RequestID, of peer: PeerID) {
        loop.execute {
            self.profiles.answer(request, of: peer, .failure(.cancelled(.identify, peer: peer)))
        }
    }

    private func replaceProtocols(_ table: ProtocolTable) {
        handled = table
        gatherProtocols()
        drain()
    }

    private func gatherProtocols() {
        var entries = handled.entries
        for own in core.protocols where !PeersCore.protocols.contains(own.name) {
            entries[own.name] = .init(
                owner: .core(messageBytesMax: own.messageBytesMax), inboundMax: own.inboundMax)
        }
        protocols.entries = entries
        isTableNew = true
        core.handle(.peers(.protocolsChanged(protocols.names)), at: Self.now())
    }

    /// Tells connections, those to come and those that are, what they answer to and with.
    private func distributeTable() {
        isTableNew = false
        protocols.revision += 1
        transport?.setProtocols(protocols)
        for handle in handles.values { handle.perform([.setProtocols(protocols)]) }
    }

    private func takeArrived() {
        var events: [ConnectionEvent] = []
        arrived.withLock { swap(&events, &$0) }
        for event in events { apply(event) }
        drain()
        endTurn()
    }

    private func apply(_ event: ConnectionEvent) {
        guard !isStopped else { return }
        switch event {
        case .accepted(let handle):
            guard !isClosing else { return handle.perform([.close]) }
            handles[handle.id] = handle
            feed(.accepted(handle.id, remote: handle.remote))
        case .established(let handle, let establishment, let direction):
            guard !isClosing else { return handle.perform([.close]) }
            if direction == .outbound { handles[handle.id] = handle }
            feed(.established(handle.id, establishment, direction, remote: handle.remote))
        case .answering(let id, let tableRevision, let statementVersion):
            // The table may have changed while the connection came up.
            if tableRevision < protocols.revision { handles[id]?.perform([.setProtocols(protocols)]) }
            feed(.told(id, version: statementVersion))
        case .dialFailed(let id, let reason):
            metrics.attemptFailed(reason)
            feed(.dialFailed(id, reason))
        case .closed(let id, let reason):
            logger.debug("connection closed", metadata: ["connection.id": "\(id)", "reason": "\(reason)"])
            metrics.closed(reason)
            feed(.closed(id, reason))
            handles[id] = nil
            outbox[id] = nil
        case .streamOpened(let id, let stream, let name, let direction, let request):
            feed(.streamOpened(id, stream, name, direction, request: request.map { RequestID($0) }))
        case .openFailed(let id, let request):
            feed(.openFailed(id, request: RequestID(request)))
        case .message(let id, let stream, let bytes):
            // Drained at the turn's end, so that one RPC tells a peer of all that came.
            core.handle(.peers(.message(id, stream, bytes)), at: Self.now())
        case .streamEnded(let id, let stream):
            feed(.streamEnded(id, stream))
        case .streamFailed(let id, let stream, let fault):
            feed(.streamFailed(id, stream, fault))
        case .streamsInUse(let id, let count):
            feed(.streamsInUse(id, count: count))
        case .roundTripMeasured(let id, let duration):
            metrics.roundTrip(duration)
            feed(.roundTripMeasured(id, duration))
        case .processorUsed(let id, let percent):
            feed(.processorUsed(id, percent: percent))
        case .receipt:
            // Let go of with its batch, at the end of the turn.
            break
        case .streamArrived(_, let mailbox):
            // `receive` takes these out; a stream that nobody waits for is refused.
            mailbox.reset()
        }
    }

    private func feed(_ input: PeersInput) {
        feed(.peers(input))
    }

    private func feed(_ input: NodeCore.Input) {
        guard !isStopped else { return }
        core.handle(input, at: Self.now())
        drain()
    }

    private func drain() {
        while let effect = core.nextEffect() {
            switch effect {
            case .peers(let effect): perform(effect)
            case .kademlia(.finished(let request, let answer)): calls.end(request, .answered(answer))
            case .kademlia(.providerFound): break
            case .gossip(let result): perform(result)
            case .membership(let result): perform(result)
            case .journal(let result): replica.append(result)
            // The effect loop around us picks up what this leads to.
            case .protocolsChanged: gatherProtocols()
            case .reachabilityChanged(let reachability):
                events.emit(.reachabilityChanged(NodeReachability.Status(reachability)))
            }
        }
    }

    private func perform(_ effect: PeersEffect) {
        switch effect {
        case .dial(let id, let address, let expected, let security, let deadline):
            transport?.dial(id, to: address, expected: expected, security: security, timeout: deadline - Self.now())
        case .cancelDial(let id):
            transport?.cancelDial(id)
        case .resolve(let id, let address):
            // The effect loop around us picks up what this input leads to.
            if !lookups.append(Lookup(id: id, address: address)) {
                core.handle(.peers(.resolved(id, [])), at: Self.now())
            }
        case .admit(let id): enqueue(.admit, for: id)
        case .refuse(let id, let until): enqueue(.refuse(sourceUntil: until), for: id)
        case .close(let id): enqueue(.close, for: id)
        case .openStream(let id, let name, let request, let first):
            if handles[id] == nil {
                core.handle(.peers(.openFailed(id, request: request)), at: Self.now())
            } else {
                enqueue(.openStream(name, request: request.value, first: first), for: id)
            }
        case .send(let id, let stream, let bytes): enqueue(.send(stream, bytes), for: id)
        case .closeWriting(let id, let stream): enqueue(.closeWriting(stream), for: id)
        case .resetStream(let id, let stream): enqueue(.resetStream(stream), for: id)
        case .dialed(let request, let id, let peer):
            if !directory.isConnected(peer), let handle = handles[id] { directory.prefer(handle, for: peer) }
            dials.removeValue(forKey: request)?.continuation.resume(returning: .success(peer))
        case .dialRejected(let request, let error):
            guard let waiter = dials.removeValue(forKey: request) else { return }
            waiter.continuation.resume(returning: .failure(.dial(error, peer: waiter.peer)))
        case .announce(let statement):
            protocols.statement = statement
            isTableNew = true
        case .emit(let event): publish(event)
        }
    }

    private func perform(_ result: GossipResult) {
        switch result {
        case .validate(let request, let messages, _):
            let verdicts = judge.judge(messages) { verdicts in
                self.submit(.gossip(.validated(request, verdicts)))
            }
            // The effect loop around us picks up what this input leads to.
            if let verdicts { core.handle(.gossip(.validated(request, verdicts)), at: Self.now()) }
        case .deliver(let message, _):
            if let published = PublishedMessage(message) { topics.deliver(published) }
        case .published(let request, _, let count): calls.end(request, .published(sentTo: count))
        case .publishFailed(let request, let error): calls.end(request, .publishFailed(error))
        }
    }

    private func perform(_ result: MembershipResult) {
        switch result {
        case .match(let search, let question):
            core.handle(.membership(.matched(search: search, answers(question))), at: Self.now())
        case .searchHit(let request, let peer, let answer): calls.hit(request, SearchHit(peer: peer, answer: answer))
        case .searchFinished(let request, _): calls.searched(request)
        case .neighbourUp(let peer): events.emit(.neighbourUp(peer))
        case .neighbourDown(let peer): events.emit(.neighbourDown(peer))
        case .stateChanged, .pathDown, .pathRestored, .broadcast: break
        }
    }

    private func publish(_ event: PeersEvent) {
        switch event {
        case .listening(let addresses):
            events.emit(.listening(addresses))
        case .peerConnected(let peer, let id):
            if let handle = handles[id] { directory.prefer(handle, for: peer) }
            logger.debug("peer connected", metadata: ["peer.id": "\(peer)", "connection.id": "\(id)"])
            events.emit(.peerConnected(peer))
        case .peerDisconnected(let peer, let reason):
            directory.remove(peer)
            logger.debug("peer disconnected", metadata: ["peer.id": "\(peer)"])
            let text = NodeError.sort(reason).text
            events.emit(.peerDisconnected(peer, reason: text))
            let error = NodeError(
                code: .disconnected, peer: peer, stage: .identify,
                message: "the connection was lost before the peer had said what it is, \(text): dial again")
            profiles.answerAll(of: peer, .failure(error))
        case .peerIdentified(let peer, let profile):
            let description = PeerDescription(profile)
            directory.describe(peer, as: description)
            events.emit(.peerIdentified(peer, description))
            profiles.answerAll(of: peer, .success(description))
        case .connectionPreferred(let peer, let id):
            if let handle = handles[id] { directory.prefer(handle, for: peer) }
        case .inboundRefused(let remote, let reason):
            events.emit(.inboundRefused(remote: remote, reason: reason.text))
        }
    }

    private func enqueue(_ command: ConnectionCommand, for id: ConnectionID) {
        if outbox[id] == nil { outboxOrder.append(id) }
        outbox[id, default: []].append(command)
    }

    private func endTurn() {
        judge.turnEnded()
        if isTableNew { distributeTable() }
        for id in outboxOrder {
            guard let commands = outbox.removeValue(forKey: id) else { continue }
            handles[id]?.perform(commands)
        }
        outboxOrder.removeAll(keepingCapacity: true)
        calls.turnEnded()
        if !replica.isEmpty {
            journal?(replica)
            replica.removeAll(keepingCapacity: true)
        }
        if isClosing, handles.isEmpty { resumeCloser() }
        arm()
        scheduleExport()
    }

    /// Counts go out a second after something happened; an idle node does nothing.
    private func scheduleExport() {
        guard !isExportDue, !isStopped else { return }
        isExportDue = true
        loop.scheduleTask(in: .seconds(1)) {
            self.isExportDue = false
            self.export()
        }
    }

    private func export() {
        metrics.export(
            core.peers.stats, turnedAway: transport?.turnedAwayCount ?? 0, peers: directory.count,
            connections: handles.count)
        if core.replica != nil { metrics.export(core.replicaCounts) }
    }

    private func arm() {
        guard !isStopped, let next = core.timeoutInPlace() else { return }
        alarm.arm(for: next, on: loop) { self.fire() }
    }

    private func fire() {
        alarm.fired()
        guard !isStopped else { return }
        let now = Self.now()
        if let next = core.timeoutInPlace(), next <= now {
            core.handleTimeout(at: now)
            drain()
        }
        endTurn()
    }

    private func resumeCloser() {
        closeWaiter?.resume()
        closeWaiter = nil
    }
}
