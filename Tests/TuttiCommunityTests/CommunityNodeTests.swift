// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import Tutti
import TuttiCommunity

@Suite("A community's node", .timeLimit(.minutes(1)))
struct CommunityNodeTests {
    /// Runs `body` while another node has a port.
    private func withTakenPort(_ body: (String) async throws -> Void) async throws {
        let folder = try Folder()
        let node = try CommunityNode(configuration: folder.configuration())
        let run = Task { try await node.run() }
        try await node.started()
        try await body(try #require(try await node.node.listenAddresses.first).description.removingPeer)
        run.cancel()
        _ = await run.result
    }

    @Test("who waits for a node whose port is taken hears so")
    func takenPort() async throws {
        try await withTakenPort { taken in
            let folder = try Folder()
            let node = try CommunityNode(configuration: folder.configuration(listen: taken))
            let run = Task { try await node.run() }
            let error = await #expect(throws: NodeError.self) { try await node.started() }
            #expect(error?.code == .addressInUse)
            await #expect(throws: NodeError.self) { try await run.value }
            // Later as well.
            await #expect(throws: NodeError.self) { try await node.started() }
        }
    }

    @Test("a command that starts a node for itself says that the port is taken")
    func commandOnTakenPort() async throws {
        try await withTakenPort { taken in
            let folder = try Folder()
            let configuration = folder.configuration(listen: taken)
            let error = await #expect(throws: NodeError.self) {
                try await CommunityDoor.ask(.status, configuration: configuration) { _ in }
            }
            #expect(error?.code == .addressInUse)
        }
    }

    @Test("who waits for a node that never runs may give up")
    func cancelledWait() async throws {
        let folder = try Folder()
        let node = try CommunityNode(configuration: folder.configuration())
        let wait = Task { try await node.started() }
        wait.cancel()
        await #expect(throws: CancellationError.self) { try await wait.value }
    }

    @Test("what a folder knows of itself is there after a restart")
    func settingsStay() async throws {
        let folder = try Folder()
        let configuration = folder.configuration()
        try await CommunityDoor.ask(.create(name: "Rare gear", nickname: "camila"), configuration: configuration) { _ in
        }
        try await CommunityDoor.ask(.status, configuration: configuration) { reply in
            guard case .status(let status) = reply else { return }
            #expect(status.name == "Rare gear")
            #expect(status.nickname == "camila")
            #expect(!status.isPending)
        }
    }
}

extension String {
    /// Of an address with the peer's name at its end, what is before.
    fileprivate var removingPeer: String { components(separatedBy: "/p2p/")[0] }
}
