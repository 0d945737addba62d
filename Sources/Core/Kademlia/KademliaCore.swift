// SPDX-License-Identifier: Apache-2.0
import DequeModule
package import TuttiBase

/// A node of a Kademlia network: its table, what it looks up, and what it keeps for others.
///
/// Follows libp2p's kad-dht specification, with S/Kademlia's disjoint paths. Typed messages come and go; bytes are
/// `KademliaWire`'s, connections the caller's. Who lives is learnt from calls; the table takes peers that the caller
/// identified as servers, in the lab also any that answered.
///
/// Legal late events, dropped: answers to calls that were cancelled or given up, cancelling what has ended.
/// Invariants: each request of the embedder ends with one `.finished`; each `.asked` with one `.answer` or `.refuse`;
/// effects name only peers that `forEachPeer` names until they are taken.
package struct KademliaCore: Sendable {
    package let own: PeerIndex
    private let settings: KademliaSettings
    private let ownName: [UInt8]
    package private(set) var isServer: Bool
    package private(set) var stats = KademliaStats()

    private var random: SeededGenerator
    private var contacts: KademliaContacts
    private var size = NetworkSize()
    private var calls = CallTable()
    private var nextSerial: UInt32 = 0
    private var isAnyStarved = false
    private var operations: [KademliaOperation] = []
    private var server: KademliaServer
    private var effects = Deque<KademliaEffect>()
    /// So many effects stood in the queue that it is not to keep their room.
    private var wasBusy = false

    /// - Parameter ownName: our id's bytes, by which others are asked for peers near us.
    package init(
        own: PeerIndex, settings: KademliaSettings, ownKey: KademliaKey, ownName: [UInt8] = [], seed: UInt64,
        at now: Instant
    ) {
        self.own = own
        self.settings = settings
        self.ownName = ownName
        isServer = settings.configuration.isServer
        random = SeededGenerator(seed: seed)
        contacts = KademliaContacts(ownWord: ownKey.word, settings, &random, at: now)
        server = KademliaServer(own: own)
    }

    // MARK: Inputs

    /// The caller passes the key space in which all peers named by the input have their keys.
    package mutating func handle(_ input: KademliaInput, at now: Instant, keys: Keyspace) {
        switch input {
        case .peerIdentified(let peer, let isServer, let group):
            guard peer != own else { return }
            contacts.identified(
                peer, isServer: isServer, word: keys.word(of: peer), group, at: now, settings, &random, &stats)
        case .modeChanged(let isServer):
            self.isServer = isServer
        case .answered(let id, let response):
            answered(id, response, now, keys)
        case .callFailed(let id):
            guard let call = calls.remove(id) else { return }
            fail(call, now, keys)
        case .asked(let id, let peer, let group, let request):
            answer(id, peer, group, request, now, keys)
        case .lookupRequested(let id, let goal, let deadline):
            lookupRequested(id, goal, deadline, now, keys)
        case .lookupCancelled(let id):
            if let place = operations.firstIndex(where: { $0.request == id }) { finish(place, .cancelled, now, keys) }
        case .provideRequested(let id, let target, let deadline):
            provideRequested(id, target, deadline, now, keys)
        case .provideWithdrawn(let target):
            server.withdrawProvided(target)
        case .putRequested(let id, let target, let record, let deadline):
            putRequested(id, target, record, deadline, now, keys)
        case .peersRemembered(let peers):
            contacts.remember(peers, settings)
            askRemembered(now, keys)
        }
        if isAnyStarved { pumpStarved(now, keys) }
    }

    // MARK: Answers

    private mutating func answered(
        _ id: RequestID, _ response: KademliaResponse, _ now: Instant, _ keys: Keyspace
    ) {
        guard let call = calls.remove(id) else { return }
        calls.measure(now - call.sent)
        stats.answers &+= 1
        let word = keys.word(of: call.peer)
        contacts.answered(call.peer, word: word, at: now, settings, &random, &stats)
        switch call.purpose {
        case .search:
            guard let place = place(of: call.operation) else { return }
            searchAnswered(place, call, response, now, keys)
        case .store:
            guard let place = place(of: call.operation) else { return }
            operations[place].storedCount += 1
            concludeStoring(place, now, keys)
        case .check:
            contacts.checked(word: word, at: now)
            askRemembered(now, keys)
        case .correction:
            return
        }
    }

    private mutating func searchAnswered(
        _ place: Int, _ call: Call, _ response: KademliaResponse, _ now: Instant, _ keys: Keyspace
    ) {
        guard let source = operations[place].machine.answered(call.peer, distance: call.distance) else { return }
        // A place of a candidate moves when nearer ones come in, so what they hear is noted first.
        operations[place].heard(
            response.closer, from: source, except: own, keys: keys, settings.configuration.limits)
        var isFound = operations[place].isFound(response, from: call.peer, settings.configuration.limits)
        if let request = operations[place].request, case .providers = operations[place].kind {
            for provider in response.providers.prefix(settings.configuration.limits.providersPerLookupMax)
            where operations[place].gather(provider: provider, settings.configuration.limits) {
                effects.append(.providerFound(request, provider))
            }
            isFound = operations[place].hasEnoughProviders(settings.configuration.limits)
        }
        if operations[place].gather(response.record, from: call.peer, settings) { isFound = true }
        if isFound { return finish(place, .done, now, keys) }
        pump(place, now, keys)
    }

    private mutating func fail(_ call: Call, _ now: Instant, _ keys: Keyspace) {
        stats.callsFailed &+= 1
        contacts.failed(call.peer, word: keys.word(of: call.peer), settings, &stats)
        if call.purpose == .check { askRemembered(now, keys) }
        guard let place = place(of: call.operation) else { return }
        // A call that was given up is counted already.
        if call.patience != .givenUp { operations[place].failedCallCount += 1 }
        if call.purpose == .search { operations[place].machine.failed(call.peer, distance: call.distance) }
        goOn(place, after: call, now, keys)
    }

    // MARK: The embedder

    private mutating func lookupRequested(
        _ id: RequestID, _ goal: KademliaGoal, _ deadline: Instant, _ now: Instant, _ keys: Keyspace
    ) {
        switch goal {
        case .closest(let target):
            start(.closest, id, target, deadline, now, keys)
        case .peer(let peer, let target):
            if contacts.table.contains(peer, word: keys.word(of: peer)) {
                effects.append(.finished(id, KademliaOutcome(status: .done, closest: [peer])))
            } else {
                start(.peer(peer), id, target, deadline, now, keys)
            }
        case .value(let target, let quorum):
            let kept = server.record(for: target, at: now)
            if let kept, quorum <= 1 {
                effects.append(.finished(id, KademliaOutcome(status: .done, record: kept)))
            } else {
                start(.value(quorum: quorum), id, target, deadline, now, keys, kept: kept)
            }
        case .providers(let target, let countMax):
            let known = server.providers(
                of: target, at: now,
                countMax: min(max(1, countMax), settings.configuration.limits.providersPerLookupMax))
            start(.providers(countMax: countMax), id, target, deadline, now, keys, known: known)
        }
    }

    private mutating func provideRequested(
        _ id: RequestID, _ target: KademliaTarget, _ deadline: Instant, _ now: Instant, _ keys: Keyspace
    ) {
        guard server.publish(target, nil, at: now, settings, keys, &random) else { return refuse(id, .limit) }
        start(.provide, id, target, deadline, now, keys)
    }

    private mutating func putRequested(
        _ id: RequestID, _ target: KademliaTarget, _ record: KademliaRecord, _ deadline: Instant, _ now: Instant,
        _ keys: Keyspace
    ) {
        guard KademliaNames.accepts(record.value, under: target, settings.configuration) else {
            return refuse(id, .invalidRecord)
        }
        guard server.publish(target, record, at: now, settings, keys, &random) else { return refuse(id, .limit) }
        start(.put(record), id, target, deadline, now, keys)
    }

    private mutating func refuse(_ id: RequestID, _ status: KademliaOutcome.Status) {
        effects.append(.finished(id, KademliaOutcome(status: status)))
    }

    // MARK: Operations

    private func place(of operation: UInt32) -> Int? {
        guard operation != 0 else { return nil }
        return operations.firstIndex { $0.serial == operation }
    }

    private mutating func start(
        _ kind: KademliaOperation.Kind, _ request: RequestID?, _ target: KademliaTarget, _ deadline: Instant,
        _ now: Instant, _ keys: Keyspace, kept: KademliaRecord? = nil, known: [PeerIndex] = []
    ) {
        guard operations.count < settings.configuration.limits.operationsMax else {
            stats.lookupsRefused &+= 1
            if let request { refuse(request, .limit) }
            return
        }
        stats.lookups &+= 1
        nextSerial = nextSerial == .max ? 1 : nextSerial + 1
        var operation = KademliaOperation(
            serial: nextSerial, request: request, kind: kind, target: target, deadline: deadline, settings)
        if let kept { _ = operation.gather(kept, from: own, settings) }
        for peer in known where operation.gather(provider: peer, settings.configuration.limits) {
            if let request { effects.append(.providerFound(request, peer)) }
        }
        let isEnough = operation.hasEnoughProviders(settings.configuration.limits)
        operations.append(operation)
        let place = operations.count - 1
        operations[place].machine.start(
            with: contacts.closest(to: target.key.word, countMax: settings.configuration.k, keys: keys), keys: keys)
        if isEnough { return finish(place, .done, now, keys) }
        guard !operations[place].machine.candidates.isEmpty else {
            return finish(place, known.isEmpty && kept == nil ? .noPeers : .done, now, keys)
        }
        contacts.touch(word: target.key.word, at: now)
        pump(place, now, keys)
    }

    /// Asks whom the lookup wants asked, and goes on when it is at its end.
    private mutating func pump(_ place: Int, _ now: Instant, _ keys: Keyspace) {
        guard operations[place].phase != .storing else { return }
        if isSetSure(place) { return startStoring(place, isSure: true, now, keys) }
        let question = operations[place].question
        while true {
            switch operations[place].machine.step() {
            case .ask(let peer, let distance):
                guard calls.count < settings.configuration.limits.callsMax else {
                    operations[place].machine.postponed(peer, distance: distance)
                    operations[place].isStarved = true
                    isAnyStarved = true
                    return
                }
                operations[place].callCount += 1
                call(peer, question, .search, operations[place].serial, distance, now)
            case .wait:
                return
            case .done:
                return searchEnded(place, now, keys)
            }
        }
    }

    private mutating func pumpStarved(_ now: Instant, _ keys: Keyspace) {
        isAnyStarved = false
        for serial in operations.filter(\.isStarved).map(\.serial) {
            guard let place = place(of: serial) else { continue }
            operations[place].isStarved = false
            pump(place, now, keys)
        }
    }

    private mutating func call(
        _ peer: PeerIndex, _ request: KademliaRequest, _ purpose: CallPurpose, _ operation: UInt32,
        _ distance: UInt64, _ now: Instant
    ) {
        stats.calls &+= 1
        let id = calls.add(peer, purpose, operation: operation, distance: distance, at: now, settings)
        effects.append(.call(id, peer, request))
    }

    /// A provide may go out at once when the k closest peers heard of reach no farther than they should.
    private func isSetSure(_ place: Int) -> Bool {
        let k = settings.configuration.k
        guard settings.configuration.isProvideOptimistic, case .provide = operations[place].kind,
            operations[place].phase == .searching, let reach = size.reach(contacts.table, k: k)
        else { return false }
        let live = operations[place].machine.closestLive(countMax: k)
        guard live.count == k, let last = live.last else { return false }
        return last.distance <= reach && !NetworkSize.isDense(last.distance, reach)
    }

    private mutating func searchEnded(_ place: Int, _ now: Instant, _ keys: Keyspace) {
        switch operations[place].phase {
        case .searching:
            operations[place].depth = operations[place].machine.depth
            let isCrowded = operations[place].isCrowded(&size, contacts.table, k: settings.configuration.k)
            if isCrowded { stats.denseKeys &+= 1 }
            if isCrowded, settings.configuration.isSybilMitigationOn, operations[place].isWorthSampling {
                operations[place].collectRegion(keys: keys)
                return sample(place, 0, now, keys)
            }
            conclude(place, now, keys)
        case .sampling(let number):
            operations[place].collectRegion(keys: keys)
            sample(place, number + 1, now, keys)
        case .sweeping:
            conclude(place, now, keys)
        case .storing:
            return
        }
    }

    /// Looks for the region's peers at its quarter `number`, then asks or stores at all of them.
    private mutating func sample(_ place: Int, _ number: Int, _ now: Instant, _ keys: Keyspace) {
        releaseCalls(of: operations[place].serial)
        if let (number, target) = operations[place].samplePoint(from: number, settings, &random) {
            operations[place].phase = .sampling(number)
            // More than k, because the crowd may hold as many places of the table.
            let near = contacts.closest(to: target.key.word, countMax: 4 * settings.configuration.k, keys: keys)
            operations[place].sample(target, with: near, keys: keys, settings)
            return pump(place, now, keys)
        }
        let peers = operations[place].regionPeers(keys: keys, settings)
        switch operations[place].kind {
        case .value, .providers:
            operations[place].sweep(peers, keys: keys, settings)
            pump(place, now, keys)
        case .closest, .peer, .provide, .put, .join, .refresh:
            store(place, at: peers, now)
            concludeStoring(place, now, keys)
        }
    }

    private mutating func conclude(_ place: Int, _ now: Instant, _ keys: Keyspace) {
        guard let status = operations[place].searchStatus else {
            return startStoring(place, isSure: false, now, keys)
        }
        finish(place, status, isAtEnd: true, now, keys)
    }

    // MARK: Stores

    private mutating func startStoring(_ place: Int, isSure: Bool, _ now: Instant, _ keys: Keyspace) {
        let k = settings.configuration.k
        let peers =
            isSure
            ? operations[place].machine.closestLive(countMax: k).map(\.peer)
            : operations[place].machine.closestAnswered(countMax: k)
        if isSure {
            operations[place].depth = operations[place].machine.depth
            releaseCalls(of: operations[place].serial)
        }
        store(place, at: peers, now)
        concludeStoring(place, now, keys)
    }

    private mutating func store(_ place: Int, at peers: [PeerIndex], _ now: Instant) {
        let operation = operations[place]
        guard let request = operation.storeRequest else { return }
        operations[place].phase = .storing
        for peer in peers where calls.count < settings.configuration.limits.callsMax {
            operations[place].plannedCount += 1
            operations[place].callCount += 1
            call(peer, request, .store, operation.serial, 0, now)
        }
    }

    private mutating func concludeStoring(_ place: Int, _ now: Instant, _ keys: Keyspace) {
        let operation = operations[place]
        guard operation.phase == .storing else { return }
        let (isEnough, isWaiting) = operation.storeProgress(calls, settings)
        guard isEnough || !isWaiting else { return }
        finish(place, operation.storedCount > 0 ? .done : .notStored, now, keys)
    }

    // MARK: The end

    private mutating func releaseCalls(of operation: UInt32) {
        // Two steps, because the effects are ours too.
        var cancelled: [RequestID] = []
        calls.release(
            operation: operation, cancel: { cancelled.append($0.id) }, hardTimeout: settings.configuration.callTimeout)
        for id in cancelled { effects.append(.cancelCall(id)) }
    }

    private mutating func finish(
        _ place: Int, _ status: KademliaOutcome.Status, isAtEnd: Bool = false, _ now: Instant, _ keys: Keyspace
    ) {
        let operation = operations.remove(at: place)
        if operations.isEmpty { operations = [] }
        releaseCalls(of: operation.serial)
        if let best = operation.best {
            for peer in operation.corrections(isAtEnd: isAtEnd, settings)
            where peer != own && calls.count < settings.configuration.limits.callsMax {
                call(peer, .putValue(operation.target, best), .correction, 0, 0, now)
            }
        }
        if case .join = operation.kind {
            contacts.joinEnded(at: now, settings, &random)
        }
        guard let request = operation.request else { return }
        effects.append(.finished(request, operation.outcome(status, k: settings.configuration.k)))
    }

    // MARK: Requests of others

    private mutating func answer(
        _ id: RequestID, _ peer: PeerIndex, _ group: AddressGroup, _ request: KademliaRequest, _ now: Instant,
        _ keys: Keyspace
    ) {
        guard isServer, effects.count < settings.configuration.limits.answersQueuedMax,
            let response = server.answer(
                request, by: peer, group, from: contacts.table, at: now, settings, keys, &stats)
        else {
            stats.requestsRefused &+= 1
            effects.append(.refuse(id))
            return
        }
        effects.append(.answer(id, response))
    }

    // MARK: Time

    package mutating func handleTimeout(at now: Instant, keys: Keyspace) {
        while let expired = calls.expire(at: now, hardTimeout: settings.configuration.callTimeout) {
            callExpired(expired, now, keys)
        }
        while let place = operations.firstIndex(where: { $0.deadline <= now }) {
            finish(place, operations[place].storedCount > 0 ? .done : .deadline, now, keys)
        }
        if contacts.startJoin(at: now) { startUpkeep(.join, ownTarget(keys), now, keys) }
        if contacts.isTickDue(at: now) { tick(now, keys) }
        if isAnyStarved { pumpStarved(now, keys) }
    }

    private mutating func callExpired(_ expired: CallTable.OnExpired, _ now: Instant, _ keys: Keyspace) {
        switch expired {
        case .cancel(let call):
            effects.append(.cancelCall(call.id))
            fail(call, now, keys)
        case .overtake(let call):
            stats.callsOvertaken &+= 1
            guard let place = place(of: call.operation) else { return }
            if call.purpose == .search { operations[place].machine.overtaken(call.peer, distance: call.distance) }
            goOn(place, after: call, now, keys)
        case .giveUp(let call):
            guard let place = place(of: call.operation) else { return }
            if call.purpose == .search {
                operations[place].failedCallCount += 1
                operations[place].machine.failed(call.peer, distance: call.distance)
            }
            goOn(place, after: call, now, keys)
        }
    }

    private mutating func goOn(_ place: Int, after call: Call, _ now: Instant, _ keys: Keyspace) {
        switch call.purpose {
        case .search: pump(place, now, keys)
        case .store: concludeStoring(place, now, keys)
        case .check, .correction: return
        }
    }

    private mutating func tick(_ now: Instant, _ keys: Keyspace) {
        server.expire(at: now)
        republish(now, keys)
        if let peer = contacts.contactToCheck() { check(peer, keys, now) }
        switch contacts.refreshDue(at: now, settings) {
        case .bucket(let bucket):
            let target = contacts.table.target(inBucket: bucket, settings, &random)
            startUpkeep(target == nil ? .join : .refresh, target ?? ownTarget(keys), now, keys)
        case .own:
            startUpkeep(.join, ownTarget(keys), now, keys)
        case nil:
            break
        }
        contacts.ticked(at: now, settings, &random)
    }

    private func ownTarget(_ keys: Keyspace) -> KademliaTarget {
        KademliaTarget(key: keys.key(of: own), name: ownName)
    }

    private mutating func startUpkeep(
        _ kind: KademliaOperation.Kind, _ target: KademliaTarget, _ now: Instant, _ keys: Keyspace
    ) {
        let running = operations.reduce(0) { $0 + ($1.request == nil ? 1 : 0) }
        guard running < settings.configuration.limits.upkeepOperationsMax else { return }
        stats.refreshes &+= 1
        start(kind, nil, target, now + settings.configuration.callTimeout * 6, now, keys)
    }

    private mutating func republish(_ now: Instant, _ keys: Keyspace) {
        guard let publication = server.publicationDue(at: now, settings, keys, &random) else { return }
        startUpkeep(publication.record.map { .put($0) } ?? .provide, publication.target, now, keys)
    }

    /// A few at a time, each when an earlier one answered or failed; the caller's word that they are servers brings
    /// them into the table.
    private mutating func askRemembered(_ now: Instant, _ keys: Keyspace) {
        while calls.checkCount < 4, let peer = contacts.nextRemembered() {
            if peer != own { check(peer, keys, now) }
        }
    }

    /// The specification forbids to send pings, so that on the wire a contact is asked for peers near us.
    private mutating func check(_ peer: PeerIndex, _ keys: Keyspace, _ now: Instant) {
        guard calls.count < settings.configuration.limits.callsMax else { return }
        stats.checks &+= 1
        let request: KademliaRequest = settings.configuration.areChecksPings ? .ping : .findNode(ownTarget(keys))
        call(peer, request, .check, 0, 0, now)
    }

    // MARK: Outputs

    package var nextTimeout: Instant? {
        var next = min(contacts.nextTimeout, calls.nextDeadline)
        for operation in operations { next = min(next, operation.deadline) }
        return next
    }

    package mutating func nextEffect() -> KademliaEffect? {
        if effects.isEmpty { return nil }
        // A core that rests keeps no room for the effects of its busiest hour.
        if effects.count > 4 { wasBusy = true }
        let effect = effects.removeFirst()
        if wasBusy, effects.isEmpty {
            effects = Deque()
            wasBusy = false
        }
        return effect
    }

    /// Fills the table at once, for fleets that start settled: no lookup at the start.
    package mutating func load(_ peers: [PeerIndex], keys: Keyspace) {
        contacts.load(peers, keys: keys)
    }

    /// Reads what an input from `peer`, or a timer, will need; for fleets whose cores lie far apart in memory. Changes
    /// nothing, and the number says nothing.
    package func warm(for peer: PeerIndex?, keys: Keyspace) -> UInt64 {
        UInt64(calls.count) &+ UInt64(effects.count) &+ contacts.warm(for: peer, keys: keys)
    }

    package var table: RoutingTable { contacts.table }
    package var tableCount: Int { contacts.table.count }
    package func contains(_ peer: PeerIndex, keys: Keyspace) -> Bool {
        contacts.table.contains(peer, word: keys.word(of: peer))
    }

    /// The table, most useful first, to be remembered over a restart.
    package func snapshot() -> [PeerIndex] { contacts.table.mostUsefulFirst }

    /// How many peers the network has, as this node's table and lookups tell; nil while they tell too little.
    package var networkSize: Int? { size.count(contacts.table, k: settings.configuration.k) }

    package var recordCount: Int { server.recordCount }
    package var recordByteCount: Int { server.recordByteCount }
    package var providerRecordCount: Int { server.providerRecordCount }
    package var operationCount: Int { operations.count }
    package var callCount: Int { calls.count }

    /// Every peer that the core would name in an effect: `PeerTable` frees the numbers of all others.
    package func forEachPeer(_ body: (PeerIndex) -> Void) {
        contacts.forEachPeer(body)
        calls.forEachPeer(body)
        for operation in operations { operation.forEachPeer(body) }
        server.forEachPeer(body)
    }
}
