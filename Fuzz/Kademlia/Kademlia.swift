// SPDX-License-Identifier: Apache-2.0
import FuzzSupport
import TuttiBase
import TuttiIdentity
import TuttiKademlia

import struct NIOCore.ByteBuffer

/// Kademlia's messages, and the core under any order of inputs. The first byte chooses.
@_cdecl("LLVMFuzzerTestOneInput")
func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var source = ByteSource(start, count)
    switch source.byte() % 4 {
    case 0: fuzzMessages(source.rest())
    default:
        var world = World(&source)
        world.run(&source)
    }
    return 0
}

@_cdecl("Kademlia_main")
func start(_ count: CInt, _ arguments: Arguments?) -> CInt {
    fuzz(count, arguments) { testOneInput($0, $1) }
}

func fuzzMessages(_ bytes: [UInt8]) {
    let limits = KademliaLimits()
    let buffer = ByteBuffer(bytes: bytes)
    let sender = KeyPair(seed: .zero).peerID
    var learnt: [KademliaWirePeer] = []
    if let request = try? KademliaWire.decodeRequest(buffer, from: sender, limits: limits, learn: { learnt.append($0) })
    {
        let encoded = KademliaWire.encode(request, own: learnt.first, limits: limits)
        let again = try? KademliaWire.decodeRequest(encoded, from: sender, limits: limits) { _ in }
        require(again.map { KademliaWire.encode($0, own: learnt.first, limits: limits) } == encoded, "requests survive")
    }
    var count = 0
    let target = KademliaNames.target([1])
    if let response = try? KademliaWire.decodeResponse(
        buffer, to: .getValue(target), limits: limits,
        index: { _ in
            count += 1
            return PeerIndex(UInt32(count))
        })
    {
        require(response.closer.count <= limits.peersPerAnswerMax, "closer peers are limited")
        require(response.providers.count <= limits.peersPerAnswerMax, "providers are limited")
    }
}

/// One core, and what its caller knows of it.
struct World {
    private var core: KademliaCore
    private let keys = Keyspace(derivedFrom: 3)
    private let limits: KademliaLimits
    private var now = Instant.zero
    private var calls: [RequestID] = []
    private var asked: Set<RequestID> = []
    private var requests: Set<RequestID> = []
    private var nextID: UInt64 = 0

    init(_ source: inout ByteSource) {
        var configuration = KademliaConfiguration.lab
        configuration.k = source.pick([20, 2, 4])
        configuration.paths = source.pick([1, 8, 2])
        configuration.isProvideOptimistic = source.bool()
        configuration.limits.operationsMax = source.pick([64, 2])
        configuration.limits.callsMax = source.pick([512, 3])
        configuration.limits.recordsMax = 4
        configuration.limits.candidatesMax = source.pick([256, 5])
        configuration.limits.groupPerTableMax = source.pick([.max, 3])
        configuration.limits.requestInterval = source.pick([.zero, .milliseconds(100)])
        limits = configuration.limits
        core = KademliaCore(
            own: PeerIndex(0), settings: KademliaSettings(configuration), ownKey: keys.key(of: PeerIndex(0)),
            seed: UInt64(source.byte()), at: now)
        if source.bool() { core.load((1..<200).map { PeerIndex($0) }, keys: keys) }
    }

    mutating func run(_ source: inout ByteSource) {
        var steps = 0
        while !source.isEmpty, steps < 400 {
            steps += 1
            step(&source)
            drain()
            require(core.operationCount <= limits.operationsMax, "lookups are limited")
            require(core.callCount <= limits.callsMax, "calls are limited")
            require(core.recordCount <= limits.recordsMax, "records are limited")
        }
        now = now + .seconds(3_600 * 24)
        core.handleTimeout(at: now, keys: keys)
        drain()
        require(requests.isEmpty, "each request ends")
        require(asked.isEmpty, "each question is answered or refused")
    }

    private mutating func step(_ source: inout ByteSource) {
        switch source.byte() % 10 {
        case 0:
            input(
                .peerIdentified(
                    peer(&source), isServer: source.byte() < 200, group: AddressGroup(UInt64(source.byte() & 3))))
        case 1, 2, 3:
            guard !calls.isEmpty else { return }
            let id = calls.remove(at: Int(source.byte()) % calls.count)
            let response = KademliaResponse(
                closer: peers(&source), providers: peers(&source), record: source.bool() ? record(&source) : nil)
            input(.answered(id, response))
        case 4:
            guard !calls.isEmpty else { return }
            input(.callFailed(calls.remove(at: Int(source.byte()) % calls.count)))
        case 5:
            let id = newID()
            asked.insert(id)
            let group = AddressGroup(UInt64(source.byte() & 3))
            let target = target(&source)
            let request: KademliaRequest =
                switch source.byte() % 6 {
                case 0: .ping
                case 1: .findNode(target)
                case 2: .getValue(target)
                case 3: .putValue(target, record(&source))
                case 4: .getProviders(target)
                default: .addProvider(target)
                }
            input(.asked(id, by: peer(&source), group: group, request))
        case 6, 7:
            let id = newID()
            requests.insert(id)
            let deadline = now + .seconds(Int(source.byte()))
            let target = target(&source)
            switch source.byte() % 6 {
            case 0: input(.lookupRequested(id, .closest(target), deadline: deadline))
            case 1: input(.lookupRequested(id, .peer(peer(&source), target), deadline: deadline))
            case 2: input(.lookupRequested(id, .value(target, quorum: Int(source.byte()) - 1), deadline: deadline))
            case 3:
                input(.lookupRequested(id, .providers(target, countMax: Int(source.byte()) - 1), deadline: deadline))
            case 4: input(.provideRequested(id, target, deadline: deadline))
            default: input(.putRequested(id, target, record(&source), deadline: deadline))
            }
        case 8:
            switch source.byte() % 4 {
            case 0: input(.modeChanged(isServer: source.bool()))
            case 1: input(.provideWithdrawn(target(&source)))
            case 2: input(.peersRemembered(peers(&source)))
            default: input(.lookupCancelled(RequestID(UInt64(source.byte()))))
            }
        default:
            now = now + .milliseconds(Int(source.byte()) * 50)
            core.handleTimeout(at: now, keys: keys)
            require(core.nextTimeout.map { $0 > now } ?? true, "timeouts move on")
        }
    }

    private mutating func input(_ input: KademliaInput) {
        trace("\(input)")
        core.handle(input, at: now, keys: keys)
    }

    private mutating func drain() {
        while let effect = core.nextEffect() {
            trace("  \(effect)")
            switch effect {
            case .call(let id, let peer, _):
                require(peer != core.own, "nobody calls itself")
                calls.append(id)
            case .cancelCall(let id):
                calls.removeAll { $0 == id }
            case .answer(let id, _), .refuse(let id):
                require(asked.remove(id) != nil, "one answer to each question")
            case .finished(let id, _):
                require(requests.remove(id) != nil, "a request ends once")
            case .providerFound(let id, _):
                require(requests.contains(id), "nothing is found after the end")
            }
        }
    }

    private mutating func newID() -> RequestID {
        nextID += 1
        return RequestID(nextID)
    }

    private func peer(_ source: inout ByteSource) -> PeerIndex { PeerIndex(UInt32(source.byte())) }
    private func peers(_ source: inout ByteSource) -> [PeerIndex] {
        source.blob(countMax: 24).map { PeerIndex(UInt32($0)) }
    }
    private func record(_ source: inout ByteSource) -> KademliaRecord { KademliaRecord(value: [source.byte()]) }
    private func target(_ source: inout ByteSource) -> KademliaTarget {
        KademliaTarget(key: keys.key(of: PeerIndex(UInt32(source.byte()))))
    }
}
