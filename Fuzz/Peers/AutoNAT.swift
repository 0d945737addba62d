// SPDX-License-Identifier: Apache-2.0
import FuzzSupport
import TuttiBase
import TuttiIdentity
import TuttiPeers

import struct NIOCore.ByteBuffer

/// AutoNAT's messages, as bytes.
func fuzzAutoNATMessage(_ source: inout ByteSource) {
    let bytes = ByteBuffer(bytes: source.rest())
    if let nonce = try? AutoNATMessage.dialBackNonce(bytes) {
        require((try? AutoNATMessage.dialBackNonce(AutoNATMessage.dialBack(nonce: nonce))) == nonce, "a nonce survives")
    }
    guard let message = try? AutoNATMessage(bytes) else { return }
    if case .dialRequest(let addresses, let nonce) = message {
        require(addresses.count <= AutoNATMessage.addressesMax, "addresses are limited")
        let readable = addresses.compactMap(\.self).map { Optional($0) }
        let again = try? AutoNATMessage(AutoNATMessage.dialRequest(addresses: readable, nonce: nonce).encoded())
        require(again == .dialRequest(addresses: readable, nonce: nonce), "a request survives its encoding")
    } else {
        require((try? AutoNATMessage(message.encoded())) == message, "a message survives its encoding")
    }
}

/// Servers that answer anything at any time: what the client asks and pays stays bounded, and success is never believed
/// without the nonce.
func fuzzAutoNATClient(_ source: inout ByteSource) {
    let limits = AutoNATClient.Limits()
    var client = AutoNATClient(seed: 1, nonces: .seeded(SeededGenerator(seed: 2)), at: .zero)
    let peers = (0..<4).map { KeyPair(seed: Bytes32(words: ($0, 0, 0, 9))).peerID }
    let addresses = ["/ip4/44.0.0.1/tcp/1", "/ip4/10.0.0.5/tcp/1", "/ip6/2a00::1/tcp/1"].compactMap { Multiaddr($0) }
    var now = Instant.zero
    var open: [RequestID: (nonce: UInt64, addresses: [Multiaddr?], proven: Bool)] = [:]
    var paid: UInt64 = 0
    var last = RequestID(0)
    for _ in 0..<200 where !source.isEmpty {
        let peer = peers[source.below(peers.count)]
        switch source.byte() % 8 {
        case 0: client.handle(.candidates(addresses.filter { _ in source.bool() }), at: now)
        case 1:
            client.handle(
                .serverFound(
                    peer, remote: addresses[source.below(addresses.count)],
                    observed: addresses[source.below(addresses.count)]), at: now)
        case 2: client.handle(.serverLost(peer), at: now)
        case 3:
            open[last] = nil
            client.handle(.failed(last), at: now)
        case 4:
            if let nonce = open[last]?.nonce, client.dialledBack(nonce: nonce) { open[last]?.proven = true }
            require(!client.dialledBack(nonce: 0), "no nonce that wasn't sent")
        case 5:
            now = now + .milliseconds(Int64(source.byte()) * 500)
            client.handleTimeout(at: now)
        default:
            let index = Int(source.byte() % 4)
            let message: AutoNATMessage =
                switch source.byte() % 6 {
                case 0: .dialResponse(.ok, index: index, .ok)
                case 1: .dialResponse(.ok, index: index, .dialError)
                case 2: .dialResponse(.ok, index: index, .dialBackError)
                case 3: .dialDataRequest(index: index, bytes: UInt64(source.byte()) * 1_000)
                case 4: .dialResponse(.rejected, index: index, .unused)
                default: .dialDataResponse(bytes: 1)
                }
            client.handle(.received(last, message), at: now)
        }
        var ended: (nonce: UInt64, addresses: [Multiaddr?], proven: Bool)?
        while let effect = client.nextEffect() {
            switch effect {
            case .ask(let id, _, .dialRequest(let asked, let nonce)):
                require(!asked.isEmpty && asked.count <= limits.addressesPerRequestMax, "a question names addresses")
                open[id] = (nonce, asked, false)
                last = id
            case .ask: require(false, "a question is a question")
            case .pay(let id, let bytes):
                require(open[id] != nil && bytes <= limits.dataBytesMax, "a payment is for a question, and limited")
                paid += bytes
            case .end(let id), .abandon(let id):
                ended = open.removeValue(forKey: id)
            case .judged(_, _, let isReachable):
                require(!isReachable || ended?.proven == true, "success is proven by the nonce")
            }
        }
        require(client.requestCount <= limits.requestsMax && open.count == client.requestCount, "questions are limited")
        let intervals = UInt64(now.nanoseconds / limits.dataInterval.saturatedNanoseconds)
        require(paid <= (UInt64(limits.dataBurst) + intervals) * limits.dataBytesMax, "payments are limited by time")
    }
}
