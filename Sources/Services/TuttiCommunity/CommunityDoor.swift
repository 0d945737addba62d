// SPDX-License-Identifier: Apache-2.0
import Foundation
import Tutti

/// How a command reaches a community: by the node that runs in its data folder, or, when none does, by one that is
/// started for as long as the answer takes.
public enum CommunityDoor {
    /// - Parameters:
    ///   - configuration: of the node that is started when none runs.
    ///   - reply: called for each answer but `.done` and `.failed`.
    /// - Returns: whether a node ran in the folder, and so goes on.
    /// - Throws: `CommunityError` when it wasn't done.
    @discardableResult
    public static func ask(
        _ command: CommunityCommand, configuration: CommunityNodeConfiguration,
        reply: @escaping @Sendable (CommunityReply) async throws -> Void
    ) async throws -> Bool {
        let request = try JSONEncoder().encode(command)
        let isServed = try await ControlClient.call(ControlAddress(folder: configuration.folder), request) { line in
            try await pass(try JSONDecoder().decode(CommunityReply.self, from: line), reply)
        }
        guard !isServed else { return true }
        let node = try CommunityNode(configuration: configuration)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await node.run() }
            group.addTask {
                try await node.started()
                try await node.perform(command) { answer in try await pass(answer, reply) }
            }
            // Whichever comes first: the answer, or the reason why the node can't run.
            try await group.next()
            group.cancelAll()
            // What the node says at its end was already said, or isn't this command's concern.
            while let _ = try? await group.next() {}
        }
        return false
    }

    /// While `body` runs a node runs in the folder: the one that is there, or one that is started for it. What `body` asks
    /// goes to that node.
    public static func keepOpen(
        configuration: CommunityNodeConfiguration, _ body: @escaping @Sendable () async throws -> Void
    ) async throws {
        let address = ControlAddress(folder: configuration.folder)
        let status = try JSONEncoder().encode(CommunityCommand.status)
        guard try await !ControlClient.call(address, status, reply: { _ in }) else { return try await body() }
        let node = try CommunityNode(configuration: configuration)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await node.run() }
            group.addTask {
                try await node.started()
                // The socket comes right after.
                while try await !ControlClient.call(address, status, reply: { _ in }) {
                    try await Task.sleep(for: .milliseconds(10))
                }
                try await body()
            }
            try await group.next()
            group.cancelAll()
            while let _ = try? await group.next() {}
        }
    }

    private static func pass(
        _ answer: CommunityReply, _ reply: @Sendable (CommunityReply) async throws -> Void
    ) async throws {
        switch answer {
        case .done: break
        case .failed(let error): throw error
        default: try await reply(answer)
        }
    }
}
