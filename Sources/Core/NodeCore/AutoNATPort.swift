// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
import TuttiIdentity
package import TuttiPeers

import struct NIOCore.ByteBuffer

/// Whether a node takes part in AutoNAT v2, and how far.
package struct AutoNATConfiguration: Sendable {
    package var client = AutoNATClient.Limits()
    package var server = AutoNATServer.Limits()
    /// Nobody is asked, but others may ask.
    package var asksNobody = false
    /// `.system` in every live node.
    package var nonces: KeySource

    package init(nonces: KeySource) {
        self.nonces = nonces
    }
}

/// Both halves of AutoNAT on streams. Each question has a stream of its own, each dial-back a connection of its own.
package struct AutoNATPort: Sendable {
    /// A question of ours, from the wish to open its stream on.
    private struct Question: Sendable {
        let peer: PeerID
        let connection: ConnectionID
        let message: AutoNATMessage
        var stream: StreamKey?
    }

    /// What a peer opened to us.
    private enum Arrival: Sendable {
        case silent(PeerID)
        case question(RequestID)
        case dialBack
    }

    /// A dial on behalf of a peer.
    private enum DialBack: Sendable {
        case dialling(nonce: UInt64)
        case opening(ConnectionID, nonce: UInt64)
        case told(StreamKey)
    }

    private var client: AutoNATClient
    private var server: AutoNATServer
    private let asksNobody: Bool
    private var numbers = RequestNumbers(owner: 7)
    private var questions: [RequestID: Question] = [:]
    /// Of openings under way.
    private var questionOfOpening: [RequestID: RequestID] = [:]
    private var questionOfStream: [StreamKey: RequestID] = [:]
    private var arrivals: [StreamKey: Arrival] = [:]
    private var streamOfRequest: [RequestID: StreamKey] = [:]
    private var lastAsked: UInt64 = 0
    private var dialBacks: [RequestID: DialBack] = [:]
    private var requestOfDial: [RequestID: RequestID] = [:]
    private var requestOfStream: [StreamKey: RequestID] = [:]
    /// Where peers see us, with a port at which we listen: that port may be forwarded. The latest last.
    private var guesses: [Multiaddr] = []
    private static let guessesMax = 4
    /// A dial-back or its answer.
    private static let dialBackBytesMax = 64

    package init(configuration: AutoNATConfiguration, seed: UInt64, at now: Instant) {
        client = AutoNATClient(limits: configuration.client, seed: seed, nonces: configuration.nonces, at: now)
        server = AutoNATServer(limits: configuration.server, speaksIPv6: false, seed: seed &+ 1, at: now)
        asksNobody = configuration.asksNobody
    }

    package var protocols: [CoreProtocol] {
        [
            CoreProtocol(
                AutoNATMessage.requestProtocolID, messageBytesMax: AutoNATMessage.messageBytesMax, inboundMax: 2),
            CoreProtocol(AutoNATMessage.dialBackProtocolID, messageBytesMax: Self.dialBackBytesMax, inboundMax: 2),
        ]
    }
    package func speaks(_ name: ProtocolID) -> Bool {
        name == AutoNATMessage.requestProtocolID || name == AutoNATMessage.dialBackProtocolID
    }
    package func owns(_ request: RequestID) -> Bool { numbers.owns(request) }
    package var clientStats: AutoNATClient.Stats { client.stats }
    package var serverStats: AutoNATServer.Stats { server.stats }
    /// Peers that may be asked.
    package var serverCount: Int { client.serverCount }
    package var nextTimeout: Instant? {
        guard let own = client.nextTimeout else { return server.nextTimeout }
        return min(own, server.nextTimeout ?? own)
    }

    package mutating func handleTimeout(at now: Instant) {
        if let next = client.nextTimeout, next <= now { client.handleTimeout(at: now) }
        if let next = server.nextTimeout, next <= now { server.handleTimeout(at: now) }
    }

    // MARK: Inputs

    package mutating func handle(_ input: PortInput, at now: Instant, _ context: inout NodeContext) {
        switch input {
        case .peerIdentified(let peer, let profile, let id): identified(peer, profile, id, at: now, context)
        case .peerDisconnected(let peer): client.handle(.serverLost(peer), at: now)
        case .streamArrived(let key, let name, let peer):
            arrivals[key] = name == AutoNATMessage.dialBackProtocolID ? .dialBack : .silent(peer)
        case .message(let key, let bytes): received(bytes, on: key, at: now, &context)
        case .streamEnded(let key): ended(key, at: now, &context)
        case .streamFailed(let key): failed(key, at: now, &context)
        case .connectionClosed(let id): closed(id, at: now, &context)
        case .streamOpened(let request, let key): opened(request, key, at: now, &context)
        case .openFailed(let request):
            if let question = questionOfOpening.removeValue(forKey: request) {
                client.handle(.failed(question), at: now)
                forget(question, at: now, &context)
            } else if let id = requestOfDial.removeValue(forKey: request) {
                end(id, .dialBackError, at: now, &context)
            }
        case .dialed(let request, let id): dialed(request, id, &context)
        case .dialFailed: break
        case .connectionPreferred: break
        }
    }

    /// A dial-back did not come about.
    package mutating func dialFailed(_ request: RequestID, _ error: DialError, at now: Instant) {
        guard let id = requestOfDial.removeValue(forKey: request), dialBacks.removeValue(forKey: id) != nil else {
            return
        }
        server.handle(.dialBackEnded(id, error.attempts.isEmpty ? nil : .dialError), at: now)
    }

    private mutating func identified(
        _ peer: PeerID, _ profile: PeerProfile, _ id: ConnectionID, at now: Instant, _ context: NodeContext
    ) {
        server.speaksIPv6 = context.peers.listenAddresses.contains {
            $0.kind.isIP6 && $0.ipAddress?.isGlobal == true
        }
        guard !asksNobody, profile.protocols.contains(AutoNATMessage.requestProtocolID),
            let remote = context.peers.remote(of: id)
        else { return }
        if context.peers.direction(of: id) == .outbound, let ip = profile.observedAddress?.ipAddress, ip.isGlobal {
            guess(ip, context.peers.listenAddresses)
        }
        client.handle(.candidates(candidates(context)), at: now)
        client.handle(.serverFound(peer, remote: remote, observed: profile.observedAddress), at: now)
    }

    private mutating func guess(_ ip: IPAddress, _ listening: [Multiaddr]) {
        for address in listening {
            let components = address.components
            guard components.count == 2, address.ipAddress?.isIPv6 == ip.unwrapped.isIPv6,
                !listening.contains(where: { $0.ipAddress?.unwrapped == ip.unwrapped })
            else { continue }
            let first: Multiaddr.Component =
                switch ip.unwrapped {
                case .v4(let bits): .ip4(bits)
                case .v6(let high, let low): .ip6(high: high, low: low)
                }
            let guess = Multiaddr(components: [first, components[1]])
            guesses.removeAll { $0 == guess }
            guesses.append(guess)
            if guesses.count > Self.guessesMax { guesses.removeFirst() }
        }
    }

    /// Global ones first: they say most.
    private func candidates(_ context: NodeContext) -> [Multiaddr] {
        let listening = context.peers.listenAddresses.filter {
            switch $0.kind {
            case .ip4, .ip6: true
            case .name, .memory, .unusable: false
            }
        }
        let isGlobal: (Multiaddr) -> Bool = { $0.ipAddress?.isGlobal == true }
        return listening.filter(isGlobal) + context.peers.reachability.observed.filter(isGlobal).prefix(4)
            + guesses.reversed() + listening.filter { !isGlobal($0) }
    }

    // MARK: Streams

    private mutating func received(
        _ bytes: ByteBuffer, on key: StreamKey, at now: Instant, _ context: inout NodeContext
    ) {
        do throws(DecodeError) {
            if let question = questionOfStream[key] {
                return client.handle(.received(question, try AutoNATMessage(bytes)), at: now)
            }
            if let id = requestOfStream.removeValue(forKey: key) {
                // Whatever it answers, it heard us.
                return end(id, .ok, at: now, &context)
            }
            switch arrivals[key] {
            case .silent(let peer):
                guard case .dialRequest(let addresses, let nonce) = try AutoNATMessage(bytes),
                    let observed = context.peers.remote(of: key.connection)
                else { return refuse(key, &context) }
                lastAsked += 1
                let id = RequestID(lastAsked)
                arrivals[key] = .question(id)
                streamOfRequest[id] = key
                server.handle(.asked(id, peer, observed: observed, addresses: addresses, nonce: nonce), at: now)
            case .question(let id):
                guard case .dialDataResponse(let count) = try AutoNATMessage(bytes) else {
                    server.handle(.streamFailed(id), at: now)
                    streamOfRequest[id] = nil
                    return refuse(key, &context)
                }
                server.handle(.dataReceived(id, bytes: count), at: now)
            case .dialBack:
                guard client.dialledBack(nonce: try AutoNATMessage.dialBackNonce(bytes)) else {
                    return refuse(key, &context)
                }
                context.commands.append(.send(key, AutoNATMessage.dialBackResponse))
                context.commands.append(.closeWriting(key))
            case nil: break
            }
        } catch {
            broke(key, at: now, &context)
        }
    }

    /// What came on the stream can't be read.
    private mutating func broke(_ key: StreamKey, at now: Instant, _ context: inout NodeContext) {
        failed(key, at: now, &context)
        context.commands.append(.reset(key))
    }

    private mutating func refuse(_ key: StreamKey, _ context: inout NodeContext) {
        arrivals[key] = nil
        context.commands.append(.reset(key))
    }

    private mutating func ended(_ key: StreamKey, at now: Instant, _ context: inout NodeContext) {
        switch arrivals.removeValue(forKey: key) {
        // `server` may still answer on it.
        case .question(let id): return server.handle(.streamEnded(id), at: now)
        case .silent, .dialBack: return context.commands.append(.closeWriting(key))
        case nil: failed(key, at: now, &context)
        }
    }

    private mutating func failed(_ key: StreamKey, at now: Instant, _ context: inout NodeContext) {
        if case .question(let id) = arrivals.removeValue(forKey: key) {
            streamOfRequest[id] = nil
            server.handle(.streamFailed(id), at: now)
        }
        if let question = questionOfStream[key] {
            client.handle(.failed(question), at: now)
            forget(question, at: now, &context)
        }
        if let id = requestOfStream.removeValue(forKey: key) { end(id, .dialBackError, at: now, &context) }
    }

    private mutating func closed(_ id: ConnectionID, at now: Instant, _ context: inout NodeContext) {
        let keys = Set(arrivals.keys).union(questionOfStream.keys).union(requestOfStream.keys)
            .union(streamOfRequest.values)
        for key in keys.filter({ $0.connection == id }).sorted() {
            for (request, stream) in streamOfRequest where stream == key { streamOfRequest[request] = nil }
            failed(key, at: now, &context)
        }
        for (opening, question) in questionOfOpening.sorted(by: { $0.key < $1.key })
        where questions[question]?.connection == id {
            questionOfOpening[opening] = nil
            client.handle(.failed(question), at: now)
            forget(question, at: now, &context)
        }
        for (opening, request) in requestOfDial.sorted(by: { $0.key < $1.key }) {
            guard case .opening(id, _) = dialBacks[request] else { continue }
            requestOfDial[opening] = nil
            end(request, .dialBackError, at: now, &context)
        }
    }

    private mutating func opened(
        _ request: RequestID, _ key: StreamKey, at now: Instant, _ context: inout NodeContext
    ) {
        if let id = questionOfOpening.removeValue(forKey: request), let question = questions[id] {
            questions[id]?.stream = key
            questionOfStream[key] = id
            context.commands.append(.send(key, question.message.encoded()))
        } else if let id = requestOfDial.removeValue(forKey: request), case .opening(_, let nonce) = dialBacks[id] {
            dialBacks[id] = .told(key)
            requestOfStream[key] = id
            context.commands.append(.send(key, AutoNATMessage.dialBack(nonce: nonce)))
            context.commands.append(.closeWriting(key))
        } else {
            context.commands.append(.reset(key))
        }
    }

    // MARK: Dial-backs

    private mutating func dialed(_ request: RequestID, _ id: ConnectionID, _ context: inout NodeContext) {
        guard let server = requestOfDial.removeValue(forKey: request), case .dialling(let nonce) = dialBacks[server]
        else { return context.commands.append(.close(id)) }
        let opening = numbers.next()
        requestOfDial[opening] = server
        dialBacks[server] = .opening(id, nonce: nonce)
        context.commands.append(.open(id, AutoNATMessage.dialBackProtocolID, opening))
    }

    private mutating func end(
        _ id: RequestID, _ status: AutoNATMessage.DialStatus, at now: Instant, _ context: inout NodeContext
    ) {
        switch dialBacks.removeValue(forKey: id) {
        case .opening(let connection, _): context.commands.append(.close(connection))
        case .told(let key):
            requestOfStream[key] = nil
            context.commands.append(.close(key.connection))
        case .dialling, nil: return
        }
        server.handle(.dialBackEnded(id, status), at: now)
    }

    // MARK: Effects

    package mutating func settle(at now: Instant, _ context: inout NodeContext) {
        while true {
            if let effect = client.nextEffect() {
                perform(effect, at: now, &context)
            } else if let effect = server.nextEffect() {
                perform(effect, at: now, &context)
            } else {
                return
            }
        }
    }

    private mutating func perform(_ effect: AutoNATClient.Effect, at now: Instant, _ context: inout NodeContext) {
        switch effect {
        case .ask(let id, let peer, let message):
            guard let connection = context.peers.connection(to: peer) else {
                return client.handle(.failed(id), at: now)
            }
            questions[id] = Question(peer: peer, connection: connection, message: message)
            let opening = numbers.next()
            questionOfOpening[opening] = id
            context.peers.handle(.dialBackAwaited(peer, true), at: now)
            context.commands.append(.open(connection, AutoNATMessage.requestProtocolID, opening))
        case .pay(let id, let bytes):
            guard let key = questions[id]?.stream else { return }
            let portion = AutoNATMessage.dialDataResponse(bytes: AutoNATMessage.dataBytesMax).encoded()
            var left = min(bytes, AutoNATClient.Limits().dataBytesMax)
            while left > 0 {
                context.commands.append(.send(key, portion))
                left -= min(left, UInt64(AutoNATMessage.dataBytesMax))
            }
        case .end(let id):
            if let key = questions[id]?.stream { context.commands.append(.closeWriting(key)) }
            forget(id, at: now, &context)
        case .abandon(let id):
            if let key = questions[id]?.stream { context.commands.append(.reset(key)) }
            forget(id, at: now, &context)
        case .judged(let address, let judge, let isReachable):
            context.peers.handle(.addressJudged(address, by: judge, isReachable: isReachable), at: now)
            context.isReachabilityStale = true
        }
    }

    private mutating func forget(_ id: RequestID, at now: Instant, _ context: inout NodeContext) {
        guard let question = questions.removeValue(forKey: id) else { return }
        if let key = question.stream { questionOfStream[key] = nil }
        let isAskedMore = questions.values.contains { $0.peer == question.peer }
        if !isAskedMore { context.peers.handle(.dialBackAwaited(question.peer, false), at: now) }
    }

    private mutating func perform(_ effect: AutoNATServer.Effect, at now: Instant, _ context: inout NodeContext) {
        switch effect {
        case .send(let id, let message):
            if let key = streamOfRequest[id] { context.commands.append(.send(key, message.encoded())) }
        case .answer(let id, let message):
            guard let key = streamOfRequest.removeValue(forKey: id) else { return }
            context.commands.append(.send(key, message.encoded()))
            context.commands.append(.closeWriting(key))
        case .reset(let id):
            cancel(id, &context)
            guard let key = streamOfRequest.removeValue(forKey: id) else { return }
            refuse(key, &context)
        case .dialBack(let id, let peer, let address, let nonce, let deadline):
            let request = numbers.next()
            requestOfDial[request] = id
            dialBacks[id] = .dialling(nonce: nonce)
            context.commands.append(.dialBack(request, peer, address, deadline: deadline))
        }
    }

    /// Nobody waits for what comes of the dial-back.
    private mutating func cancel(_ id: RequestID, _ context: inout NodeContext) {
        switch dialBacks.removeValue(forKey: id) {
        case .opening(let connection, _): context.commands.append(.close(connection))
        case .told(let key):
            requestOfStream[key] = nil
            context.commands.append(.close(key.connection))
        case .dialling, nil: break
        }
    }
}
