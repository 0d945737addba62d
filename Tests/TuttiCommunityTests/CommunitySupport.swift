// SPDX-License-Identifier: Apache-2.0
import Foundation
import Synchronization
import Testing
import Tutti
import TuttiBase
import TuttiCommunity

/// A folder that is gone with its owner.
final class Folder: Sendable {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "tutti-community-\(UInt64.random(in: .min ... .max))"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    var journal: String { path + "/journal.sqlite" }

    /// A node in it, or in a folder within it, that listens on loopback, on a free port unless one is named.
    func configuration(
        _ name: String? = nil, listen: String = "/ip4/127.0.0.1/tcp/0", bootstrap: [Multiaddr] = [],
        timeout: Duration = .seconds(20)
    ) -> CommunityNodeConfiguration {
        var configuration = CommunityNodeConfiguration(folder: path + (name.map { "/" + $0 } ?? ""))
        configuration.node.listen = [Multiaddr(listen)].compactMap(\.self)
        configuration.node.multicastDNS = false
        configuration.node.limits = .lab
        configuration.node.bootstrap = bootstrap
        configuration.recoveryTimeout = timeout
        return configuration
    }
}

/// What a test could not go on without.
struct TestFailure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// Asks again until it holds, at a pace that leaves the processor to who is asked. The suite's limit is the only clock.
func until(_ holds: () async throws -> Bool) async throws {
    while try await !holds() { try await Task.sleep(for: .milliseconds(3)) }
}

/// The same, while the nodes are told to reconcile again and again.
func until(syncing nodes: CommunityNode..., holds: () async throws -> Bool) async throws {
    while try await !holds() {
        for node in nodes { try await node.node.replicaCommands()(.syncNow) }
        try await Task.sleep(for: .milliseconds(100))
    }
}

/// A whole node on loopback, with its disk, for as long as `body` takes.
func withCommunityNode<Value: Sendable>(
    _ folder: String, configure: (inout CommunityNodeConfiguration) -> Void = { _ in },
    _ body: @escaping @Sendable (CommunityNode) async throws -> Value
) async throws -> Value {
    var configuration = CommunityNodeConfiguration(folder: folder)
    configuration.node.listen = NodeConfiguration.loopback
    configuration.node.limits = .lab
    configure(&configuration)
    return try await withCommunityNode(configuration, body)
}

func withCommunityNode<Value: Sendable>(
    _ configuration: CommunityNodeConfiguration, _ body: @escaping @Sendable (CommunityNode) async throws -> Value
) async throws -> Value {
    let node = try CommunityNode(configuration: configuration)
    return try await withThrowingTaskGroup(of: Value?.self) { group in
        group.addTask {
            try await node.run()
            return nil
        }
        group.addTask {
            try await node.started()
            return try await body(node)
        }
        defer { group.cancelAll() }
        while let ended = try await group.next() {
            guard let value = ended else { continue }
            group.cancelAll()
            try await group.waitForAll()
            return value
        }
        throw CancellationError()
    }
}

/// What a call threw, when it was a `CommunityError`.
func communityError(_ body: () async throws -> Void) async -> CommunityError? {
    do {
        try await body()
        return nil
    } catch { return error as? CommunityError }
}

extension CommunityNode {
    func ask(_ command: CommunityCommand) async throws -> [CommunityReply] {
        let replies = Mutex<[CommunityReply]>([])
        try await perform(command) { reply in replies.withLock { $0.append(reply) } }
        return replies.withLock { $0 }
    }
}
