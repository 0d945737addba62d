// SPDX-License-Identifier: Apache-2.0
import FuzzSupport
import TuttiBase
import TuttiGossip
import TuttiIdentity

import struct NIOCore.ByteBuffer

/// The codec of RPCs, and GossipCore under any order of inputs. The first byte chooses.
@_cdecl("LLVMFuzzerTestOneInput")
func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var source = ByteSource(start, count)
    if source.byte() % 4 == 0 { fuzzWire(&source) } else { fuzzCore(&source) }
    return 0
}

@_cdecl("Gossip_main")
func start(_ count: CInt, _ arguments: Arguments?) -> CInt {
    fuzz(count, arguments) { testOneInput($0, $1) }
}

// MARK: Codec

func encoded(_ rpc: GossipRPC) -> ByteBuffer {
    var buffer = ByteBuffer()
    GossipWire.encode(rpc, into: &buffer) { ([UInt8(truncatingIfNeeded: $0.value), 1], []) }
    return buffer
}

func fuzzWire(_ source: inout ByteSource) {
    var limits = GossipLimits()
    if source.bool() {
        limits.idsPerRPCMax = 3
        limits.messagesPerRPCMax = 2
        limits.controlEntriesPerRPCMax = 2
        limits.exchangedPerPruneMax = 1
    }
    guard let rpc = try? GossipWire.decode(ByteBuffer(bytes: source.rest()), limits: limits) else { return }
    require(rpc.messages.count <= limits.messagesPerRPCMax, "messages are limited")
    require(rpc.iwant.count <= limits.idsPerRPCMax && rpc.idontwant.count <= limits.idsPerRPCMax, "ids are limited")
    require(rpc.ihave.reduce(0) { $0 + $1.ids.count } <= limits.idsPerRPCMax, "advertised ids are limited")
    for message in rpc.messages {
        let fields = message.data.readableBytes + message.author.count + message.sequence.count
        require(fields + message.signature.count + message.key.count <= message.byteCount, "fields lie in the message")
        _ = GossipSignature.isValid(message)
    }
    let bytes = encoded(rpc)
    guard let again = try? GossipWire.decode(bytes, limits: limits) else {
        return require(bytes.readableBytes > limits.rpcBytesMax, "what was read can be written and read")
    }
    require(encoded(again) == bytes, "an RPC survives its encoding")
    var rest = rpc
    var parts = 0
    while !rest.isEmpty, parts < 10_000 {
        let part = rest.splitOff(bytesMax: 4_096)
        require(!part.isEmpty, "a split makes progress")
        parts += 1
    }
    require(rest.isEmpty, "a split ends")
}

// MARK: Core

let topics: [Topic] = ["a", "b", "a topic with a long name", "open"]
let versions: [GossipVersion] = [.v1_2, .v1_1, .v1_0, .floodsub]

func configuration(_ source: inout ByteSource) -> GossipConfiguration {
    var configuration = GossipConfiguration(author: [0xFF])
    configuration.topics["open"] = GossipTopicConfiguration(signing: .strictNoSign)
    configuration.mesh.floodPublish = source.bool()
    configuration.topic.score.meshDeliveriesWeight = source.bool() ? -1 : 0
    if source.bool() {
        configuration.limits.peersMax = 4
        configuration.limits.topicsMax = 2
        configuration.limits.pendingMax = 3
        configuration.limits.pendingPerPeerMax = 2
        configuration.limits.cachedMax = 4
        configuration.limits.seenMax = 6
        configuration.limits.authorsMax = 2
        configuration.limits.promisesMax = 2
        configuration.limits.idontwantPerPeerMax = 2
        configuration.limits.backoffsPerTopicMax = 2
        configuration.limits.retainedScoresMax = 2
        configuration.limits.fanoutTopicsMax = 1
    }
    require(configuration.validate() == nil, "the parameters are sound")
    return configuration
}

func randomMessage(_ source: inout ByteSource) -> GossipMessage {
    let topic = source.pick(topics)
    let size = source.bool() ? 1_100 : Int(source.byte())
    let data = ByteBuffer(repeating: source.byte(), count: size)
    switch source.byte() % 4 {
    case 0: return GossipMessage(topic: topic, data: data)
    case 1: return GossipMessage(topic: topic, data: data, author: source.blob(countMax: 70), sequence: source.take(8))
    default:
        let sequence = source.bool() ? UInt64(source.byte()) : source.word64()
        return .signed(topic: topic, data: data, author: [source.byte() & 7], sequence: sequence, by: nil)
    }
}

func randomRPC(_ source: inout ByteSource, _ ids: [MessageID]) -> GossipRPC {
    var rpc = GossipRPC()
    func id(_ source: inout ByteSource) -> MessageID {
        source.bool() && !ids.isEmpty ? source.pick(ids) : MessageID([source.byte()]) ?? source.pick(ids)
    }
    for _ in 0..<source.below(4) {
        switch source.byte() % 7 {
        case 0: rpc.subscriptions.append((source.pick(topics), source.bool()))
        case 1: rpc.messages.append(randomMessage(&source))
        case 2: rpc.ihave.append((source.pick(topics), (0..<source.below(5)).map { _ in id(&source) }))
        case 3: rpc.iwant.append(id(&source))
        case 4: rpc.graft.append(source.pick(topics))
        case 5:
            let backoff = UInt64(source.boundary32(around: 3_600)) << (source.bool() ? 32 : 0)
            rpc.prune.append(
                .init(topic: source.pick(topics), backoffSeconds: backoff, exchanged: [.known(PeerIndex(1))]))
        default: rpc.idontwant.append(id(&source))
        }
    }
    return rpc
}

func fuzzCore(_ source: inout ByteSource) {
    let configuration = configuration(&source)
    var core = GossipCore(configuration: configuration, seed: UInt64(source.byte()), at: .zero)
    var now = Instant.zero
    var connected: Set<PeerIndex> = []
    var waiting: [(RequestID, Int)] = []
    var ids: [MessageID] = []
    var steps = 0
    while !source.isEmpty, steps < 2_000 {
        steps += 1
        let peer = PeerIndex(UInt32(source.byte() & 7) + 1)
        switch source.byte() % 12 {
        case 0:
            let group = AddressGroup(UInt64(source.byte() & 1))
            core.handle(
                .peerConnected(
                    peer, source.pick(versions), source.bool() ? .inbound : .outbound, group: group,
                    author: [UInt8(peer.value)]), at: now)
            if core.score(of: peer) != nil { connected.insert(peer) }
        case 1:
            core.handle(.peerDisconnected(peer), at: now)
            connected.remove(peer)
        case 2: core.handle(.subscribeRequested(source.pick(topics)), at: now)
        case 3: core.handle(.unsubscribeRequested(source.pick(topics)), at: now)
        case 4:
            let data = ByteBuffer(bytes: source.blob(countMax: 64))
            core.handle(.publishRequested(RequestID(UInt64(steps)), source.pick(topics), data), at: now)
        case 5:
            guard !waiting.isEmpty else { continue }
            let (request, count) = waiting.remove(at: source.below(waiting.count))
            let verdicts = (0..<source.below(count + 2)).map { _ in
                source.pick([GossipVerdict.accept, .accept, .reject, .ignore])
            }
            core.handle(.validated(request, verdicts), at: now)
        case 6:
            core.handle(.applicationScoreChanged(peer, Int(Int32(bitPattern: source.boundary32(around: 100)))), at: now)
        case 7: core.handle(.directPeersChanged(source.bool() ? [peer] : []), at: now)
        case 8:
            now = now + .milliseconds(Int64(source.word16()) * (source.byte() == 0 ? 1_000 : 1))
            var turns = 0
            while let due = core.nextTimeout, due <= now, turns < 4 {
                core.handleTimeout(at: now)
                turns += 1
            }
            require(core.nextTimeout.map { $0 > now } ?? true, "a timeout moves on")
        case 9: core.handle(.malformed(peer), at: now)
        default: core.handle(.received(peer, randomRPC(&source, ids)), at: now)
        }
        drain(&core, connected, &waiting, &ids)
    }
    for peer in connected { core.handle(.peerDisconnected(peer), at: now) }
    require(core.peerCount == 0, "everybody has gone")
    for topic in topics {
        require(core.meshPeers(of: topic).isEmpty && core.peers(of: topic).isEmpty, "no trace in topics")
    }
}

func drain(
    _ core: inout GossipCore, _ connected: Set<PeerIndex>, _ waiting: inout [(RequestID, Int)], _ ids: inout [MessageID]
) {
    var effects = 0
    while let effect = core.nextEffect() {
        effects += 1
        require(effects < 10_000, "effects end")
        switch effect {
        case .send(let peer, let rpc):
            require(connected.contains(peer), "nothing is sent to those who are gone")
            require(!rpc.isEmpty && encoded(rpc).readableBytes <= 1 << 20, "an RPC has something and fits")
        case .validate(let request, let messages, let from, _):
            require(connected.contains(from) && !messages.isEmpty, "what is to be checked came from somebody")
            waiting.append((request, messages.count))
        case .published(_, let id, _): if ids.count < 64 { ids.append(id) }
        case .deliver(let message, _): if ids.count < 64, let id = MessageID.ofOrigin(message) { ids.append(id) }
        case .disconnect(let peer): require(connected.contains(peer), "only who is there can be sent away")
        case .publishFailed, .peersExchanged: continue
        }
    }
    for topic in topics {
        let mesh = core.meshPeers(of: topic)
        require(Set(mesh).count == mesh.count && mesh.allSatisfy(connected.contains), "a mesh holds who is there, once")
        require(mesh.isEmpty || core.subscriptions.contains(topic), "only our topics have meshes")
    }
}
