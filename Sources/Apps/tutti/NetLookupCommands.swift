// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import Tutti

struct NetFindCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "find", abstract: "Find where a peer is, or who has some content.")

    @Argument(help: "A peer id, or a content id (bafy…, Qm…).")
    var target: String

    @Option(help: "At most so many providers.")
    var count = 20

    @OptionGroup var net: NetOptions

    private struct Report: Encodable {
        var addresses: [String]?
        var providers: [String]?
    }

    func run() async throws {
        let (target, count, deadline) = (target, count, net.deadline)
        if let peer = PeerID(target) {
            let addresses = try await net.withNetwork { node, _ in
                try await node.dht.findPeer(peer, deadline: deadline).map { "\($0)" }
            }
            return try net.show(Report(addresses: addresses), addresses.isEmpty ? ["no address is known"] : addresses)
        }
        guard let content = ContentID(target) else {
            throw ValidationError("'\(target)' is neither a peer id nor a content id")
        }
        let providers = try await net.withNetwork { node, _ in
            try await node.dht.findProviders(content, countMax: count, deadline: deadline).map { "\($0)" }
        }
        try net.show(Report(providers: providers), providers.isEmpty ? ["nobody has it"] : providers)
    }
}

struct NetPutCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "put", abstract: "Store a value under a name in the DHT.",
        discussion: "Peers take only names and values that their rules allow; /pk/ names always work.")

    @Argument(help: "The name, such as /pk/…; base64 after 'base64:'.")
    var name: String

    @Argument(help: "The value; base64 after 'base64:'.")
    var value: String

    @OptionGroup var net: NetOptions

    private struct Report: Encodable {
        let stored: Int
    }

    func run() async throws {
        let (name, value, deadline) = (try NetText.bytes(name), try NetText.bytes(value), net.deadline)
        let stored = try await net.withNetwork { node, _ in
            try await node.dht.put(name, value: value, deadline: deadline)
        }
        try net.show(Report(stored: stored), ["stored at \(stored) peers"])
    }
}

struct NetGetCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "get", abstract: "Fetch the value under a name from the DHT.")

    @Argument(help: "The name, such as /pk/…; base64 after 'base64:'.")
    var name: String

    @OptionGroup var net: NetOptions

    private struct Report: Encodable {
        let value: Data
    }

    func run() async throws {
        let (name, deadline) = (try NetText.bytes(name), net.deadline)
        let value = try await net.withNetwork { node, _ in try await node.dht.get(name, deadline: deadline) }
        try net.show(Report(value: Data(value)), [NetText.printable(value)])
    }
}

struct NetProvideCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "provide", abstract: "Tell the network that this node has some content.",
        discussion: "Runs until SIGINT, for whoever wants the content asks this node.")

    @Argument(help: "A content id (bafy…, Qm…).")
    var content: String

    @Flag(help: "Leave as soon as it is told.")
    var once = false

    @OptionGroup var net: NetOptions

    private struct Report: Encodable {
        let told: Int
        let peer: String
    }

    func run() async throws {
        guard let id = ContentID(content) else { throw ValidationError("'\(content)' is no content id") }
        let (net, once) = (net, once)
        try await net.withNetwork { node, _ in
            let told = try await node.dht.provide(id, deadline: net.deadline)
            try net.show(
                Report(told: told, peer: "\(node.peerID)"), ["\(told) peers know that \(node.peerID) has it"])
            if !once { try await Task.sleep(for: .seconds(86_400 * 365)) }
        }
    }
}

enum NetText {
    static func bytes(_ text: String) throws -> [UInt8] {
        guard text.hasPrefix("base64:") else { return Array(text.utf8) }
        guard let data = Data(base64Encoded: String(text.dropFirst(7))) else {
            throw ValidationError("'\(text)' is not base64 behind 'base64:'")
        }
        return Array(data)
    }

    /// Text as it is, other bytes as base64.
    static func printable(_ bytes: [UInt8]) -> String {
        if let text = String(validating: bytes, as: UTF8.self), !text.unicodeScalars.contains(where: { $0.value < 32 })
        {
            return text
        }
        return "base64:" + Data(bytes).base64EncodedString()
    }
}
