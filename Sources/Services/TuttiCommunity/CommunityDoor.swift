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
