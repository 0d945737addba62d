// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Tutti
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal

/// Asks whomever this node reaches for the seal of a recovery code, until one answers truly.
///
/// Asked are the peers that are connected and those that come (mDNS, bootstrap list, peers of an earlier run), the
/// addresses that the user named, and who tells the DHT of the seal. A false answer costs its author nothing and us two
/// signatures: the others are asked all the same, and only what the code opens counts.
struct RecoverySearch: Sendable {
    struct Finding: Sendable {
        let member: KeyPair
        let community: CommunityID
        /// Holds the seal; what the new device's certificate builds on.
        let entry: EntryID
        let entryPoints: [Multiaddr]
    }

    private enum Reply: Sendable {
        case found(Finding)
        case nothing
        case falsehood
        case silence
    }

    private enum Step: Sendable {
        case met(PeerID)
        /// Speaks the protocol, or says so in the DHT.
        case candidate(PeerID)
        /// The user wants it asked, whoever else there is.
        case named(PeerID)
        case unreachable(Multiaddr)
        case replied(Reply)
        case second(Int)
    }

    private static let protocolName = RecoveryQuestion.protocolName
    private static let askedAtOnceMax = 64
    private static let askedMax = 256
    private static let metMax = 4_096
    private static let answerTimeout: Duration = .seconds(10)
    /// Between two lookups in the DHT.
    private static let lookupInterval: Duration = .seconds(2)
    private static let progressInterval = 5

    let node: Node
    let code: RecoveryCode
    let timeout: Duration

    /// - Throws: `CommunityError` that says what to do.
    func run(
        _ addresses: [Multiaddr], progress: @escaping @Sendable (RecoveryProgress) async throws -> Void
    ) async throws -> Finding {
        // Bounded by the peers that may be met, the addresses and the seconds.
        let (steps, sink) = AsyncStream.makeStream(of: Step.self, bufferingPolicy: .unbounded)
        return try await withThrowingTaskGroup(of: Void.self) { group in
            defer { group.cancelAll() }
            group.addTask { await listen(sink) }
            group.addTask { await lookUp(sink) }
            group.addTask { await count(sink) }
            for address in addresses { group.addTask { await dial(address, sink) } }
            var tally = Tally(secondsMax: Int(timeout.components.seconds))
            var waiting: [PeerID] = []
            var underWay = 0
            for await step in steps {
                switch step {
                case .met(let peer): tally.met.insert(peer)
                case .candidate(let peer):
                    tally.met.insert(peer)
                    if tally.asked.count < Self.askedMax, tally.asked.insert(peer).inserted { waiting.append(peer) }
                case .named(let peer):
                    tally.met.insert(peer)
                    if tally.asked.insert(peer).inserted { waiting.insert(peer, at: 0) }
                case .unreachable(let address): tally.unreachable.append(address)
                case .replied(.found(let finding)): return finding
                case .replied(.nothing): (underWay, tally.nothing) = (underWay - 1, tally.nothing + 1)
                case .replied(.falsehood): (underWay, tally.falsehoods) = (underWay - 1, tally.falsehoods + 1)
                case .replied(.silence): underWay -= 1
                case .second(let second):
                    tally.seconds = second
                    guard second < tally.secondsMax else { throw tally.error }
                    if second % Self.progressInterval == 0 { try await progress(tally.progress) }
                }
                while underWay < Self.askedAtOnceMax, !waiting.isEmpty {
                    let peer = waiting.removeFirst()
                    underWay += 1
                    group.addTask { sink.yield(.replied(await ask(peer))) }
                }
            }
            throw CancellationError()
        }
    }

    // MARK: Whom to ask

    /// Those who are connected, and those who come.
    private func listen(_ sink: AsyncStream<Step>.Continuation) async {
        let events = node.events
        var seen: Set<PeerID> = []
        func identified(_ peer: PeerID, _ description: PeerDescription) {
            guard seen.count < Self.metMax, seen.insert(peer).inserted else { return }
            sink.yield(description.protocols.contains(Self.protocolName) ? .candidate(peer) : .met(peer))
        }
        // Who isn't described yet will be, by an event.
        for peer in node.peers {
            guard let description = try? await node.profile(of: peer, deadline: .zero) else { continue }
            identified(peer, description)
        }
        for await event in events {
            if case .peerIdentified(let peer, let description) = event { identified(peer, description) }
        }
    }

    private func dial(_ address: Multiaddr, _ sink: AsyncStream<Step>.Continuation) async {
        do {
            sink.yield(.named(try await node.dial(at: [address], deadline: timeout)))
        } catch {
            sink.yield(.unreachable(address))
        }
    }

    /// Members' nodes tell the DHT that they hold it (docs/protocols/sealed.md).
    private func lookUp(_ sink: AsyncStream<Step>.Continuation) async {
        guard node.configuration.dht != nil else { return }
        let content = CommunityNode.content(code.lookupTag)
        while !Task.isCancelled {
            let found = try? await node.dht.findProviders(
                content, countMax: CommunityLimits.codeProvidersMax, deadline: timeout)
            for peer in found ?? [] where peer != node.peerID { sink.yield(.candidate(peer)) }
            try? await Task.sleep(for: Self.lookupInterval)
        }
    }

    private func count(_ sink: AsyncStream<Step>.Continuation) async {
        let began = ContinuousClock.now
        for second in 1...max(1, Int(timeout.components.seconds)) {
            do { try await Task.sleep(until: began + .seconds(second)) } catch { break }
            sink.yield(.second(second))
        }
        // Cancelled: nobody may wait for more.
        sink.finish()
    }

    // MARK: Asking

    private func ask(_ peer: PeerID) async -> Reply {
        guard let stream = try? await node.open(Self.protocolName, to: peer, deadline: Self.answerTimeout) else {
            return .silence
        }
        defer { stream.reset() }
        var answer = ByteBuffer()
        do {
            var question = ByteBuffer()
            RecoveryQuestion(code.lookupTag, from: node.peerID, to: peer).encode(into: &question)
            try await stream.write(question)
            stream.closeWriting()
            let deadline = ContinuousClock.now + Self.answerTimeout
            while var part = try await stream.read(deadline: ContinuousClock.now.duration(to: deadline)) {
                answer.writeBuffer(&part)
                guard answer.readableBytes <= CommunityLimits.recoveryAnswerBytesMax else { return .falsehood }
            }
        } catch {
            return .silence
        }
        guard answer.readableBytes > 0 else { return .nothing }
        guard let read = try? RecoveryAnswer(answer), let member = try? read.open(with: code) else { return .falsehood }
        return .found(
            Finding(
                member: member, community: read.entry.header.community, entry: read.entry.id,
                entryPoints: read.entryPoints))
    }
}

/// What a search has come to.
private struct Tally {
    let secondsMax: Int
    var seconds = 0
    var met: Set<PeerID> = []
    var asked: Set<PeerID> = []
    var nothing = 0
    var falsehoods = 0
    var unreachable: [Multiaddr] = []

    init(secondsMax: Int) { self.secondsMax = max(1, secondsMax) }

    var progress: RecoveryProgress {
        RecoveryProgress(found: met.count, asked: asked.count, seconds: seconds, secondsMax: secondsMax)
    }

    /// Nobody had it.
    var error: CommunityError {
        let advice = "name a member's node (--peer /ip4/…/tcp/…/p2p/…), or go into one network with it"
        let lost = unreachable.map { "; \($0) doesn't answer" }.joined()
        guard !met.isEmpty else {
            return CommunityError(.deadline, "no other node was found within \(secondsMax) s\(lost): \(advice)")
        }
        guard nothing + falsehoods > 0 else {
            return CommunityError(
                .deadline,
                "none of \(met.count) nodes answers questions for recovery codes\(lost): \(advice)")
        }
        let lies = falsehoods == 0 ? "" : ", \(falsehoods) answered falsely"
        return CommunityError(
            .notFound,
            "the code is well-formed, but none of \(asked.count) nodes that were asked knows it\(lies)\(lost): "
                + "their communities aren't yours, or they haven't heard of it yet; \(advice)")
    }
}
