// SPDX-License-Identifier: Apache-2.0
import Foundation
import Tutti

/// What a rig asks of the DHT, of topics and of the neighbourhood. Runs on the node's loop: nothing here blocks but
/// writing to the rig.
struct RigOverlays: Sendable {
    private typealias Refusal = RigOperations.Refusal
    private static let deadline = Duration.seconds(60)
    let node: Node

    func perform(_ request: RigRequest, _ output: RigOutput) async throws -> RigAnswer {
        switch request.op {
        case "dht_put":
            try await node.dht.put(
                Array(try bytes(request.key, "key")), value: Array(try bytes(request.value, "value")),
                deadline: Self.deadline)
            return RigAnswer()
        case "dht_get":
            let value = try await node.dht.get(Array(try bytes(request.key, "key")), deadline: Self.deadline)
            return RigAnswer(value: Data(value).base64EncodedString())
        case "provide":
            try await node.dht.provide(try content(request), deadline: Self.deadline)
            return RigAnswer()
        case "find_providers":
            let peers = try await node.dht.findProviders(
                try content(request), countMax: request.count ?? 1, deadline: Self.deadline)
            return RigAnswer(peers: peers.map { "\($0)" })
        case "find_peer":
            let addresses = try await node.dht.findPeer(try RigOperations.peer(request), deadline: Self.deadline)
            return RigAnswer(addrs: addresses.map { "\($0)" })
        case "subscribe":
            try await follow(try topic(request), request, output)
            throw Refusal(description: "the subscription ended")
        case "publish":
            try await node.gossip.publish(
                ByteBuffer(bytes: try bytes(request.data, "data")), to: try topic(request))
            return RigAnswer()
        case "peers": return RigAnswer(peers: node.peers.map { "\($0)" })
        case "reachability":
            let found = try await node.reachability
            return RigAnswer(value: found.status.rawValue, addrs: found.addresses.map { "\($0.address)" })
        default: throw Refusal(description: "unsupported")
        }
    }

    private func follow(_ topic: String, _ request: RigRequest, _ output: RigOutput) async throws {
        let messages = try await node.gossip.subscribe(topic)
        output.write(RigAnswer(), to: request)
        let name = try Console.json([topic]).dropFirst().dropLast()
        var heads: [PeerID: [UInt8]] = [:]
        var iterator = messages.makeAsyncIterator()
        while let batch = await iterator.nextBatch() {
            let now = Date().timeIntervalSince1970
            let tail = Array("\",\"t\":\(now)}\n".utf8)
            var lines: [UInt8] = []
            lines.reserveCapacity(batch.reduce(0) { $0 + $1.data.readableBytes * 4 / 3 + 256 })
            for message in batch {
                let head =
                    heads[message.author]
                    ?? Array(#"{"event":"msg","topic":\#(name),"from":"\#(message.author)","data":""#.utf8)
                heads[message.author] = head
                // By hand: a JSON encoder would cost more than the message did on its way.
                lines += head
                message.data.withUnsafeReadableBytes { lines += Data($0).base64EncodedData() }
                lines += tail
            }
            output.write(lines: lines)
        }
    }

    private func bytes(_ text: String?, _ name: String) throws -> Data {
        guard let text, let data = Data(base64Encoded: text) else {
            throw Refusal(description: "\(name) is missing or not base64")
        }
        return data
    }

    private func content(_ request: RigRequest) throws -> ContentID {
        guard let content = ContentID(bytes: try bytes(request.cid, "cid")) else {
            throw Refusal(description: "cid is no content id")
        }
        return content
    }

    private func topic(_ request: RigRequest) throws -> String {
        guard let topic = request.topic else { throw Refusal(description: "topic is missing") }
        return topic
    }
}
