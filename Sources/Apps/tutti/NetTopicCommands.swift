// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import Tutti

struct NetPublishCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "publish", abstract: "Send a message to all who follow a topic.")

    @Argument(help: "The topic.")
    var topic: String

    @Argument(help: "The message; base64 after 'base64:'.")
    var message: String

    @OptionGroup var net: NetOptions

    private struct Report: Encodable {
        let sentTo: Int
    }

    func run() async throws {
        let (topic, data, deadline) = (topic, ByteBuffer(bytes: try NetText.bytes(message)), net.deadline)
        let count = try await net.withNetwork { node, _ in
            let began = ContinuousClock.now
            while true {
                do {
                    let count = try await node.gossip.publish(data, to: topic, deadline: deadline)
                    // The node says goodbye in order, behind the message.
                    if count > 0 { return count }
                } catch let error as NodeError where error.code == .noPeers {
                    // Peers tell what they follow a moment after they are connected.
                    guard began.duration(to: .now) < deadline else { throw error }
                }
                try await Task.sleep(for: .milliseconds(50))
            }
        }
        try net.show(Report(sentTo: count), ["sent to \(count) peers, who pass it on"])
    }
}

struct NetSubscribeCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "subscribe", abstract: "Print the messages of a topic until SIGINT.")

    @Argument(help: "The topic.")
    var topic: String

    @Option(help: "Leave after so many messages.")
    var count: Int?

    @OptionGroup var net: NetOptions

    private struct Line: Encodable {
        let author: String
        let data: Data
    }

    func run() async throws {
        let (topic, count, net) = (topic, count, net)
        try await net.withNetwork { node, _ in
            var left = count ?? .max
            guard left > 0 else { return }
            for await message in try await node.gossip.subscribe(topic) {
                let bytes = Array(message.data.readableBytesView)
                try net.show(
                    Line(author: "\(message.author)", data: Data(bytes)),
                    ["\(message.author) \(NetText.printable(bytes))"])
                left -= 1
                if left == 0 { return }
            }
        }
    }
}
