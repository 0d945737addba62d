// SPDX-License-Identifier: Apache-2.0
import Foundation
import NIOCore
import Synchronization
import Testing
import Tutti
import TuttiBase
import TuttiCommunity
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal

extension CommunityNode {
    /// Founds a community; the recovery code of its founder.
    func found() async throws -> String {
        try Self.words(try await ask(.create(name: "Rare gear", nickname: "camila")))
    }

    func invite() async throws -> String {
        guard
            case .invited(let link)? = try await ask(.govern(.invite(uses: 10, days: 1, role: "member", note: "")))
                .first
        else {
            throw TestFailure("no link")
        }
        return link
    }

    func join(_ link: String, as nickname: String) async throws -> String {
        try Self.words(try await ask(.join(link: link, nickname: nickname)))
    }

    private static func words(_ replies: [CommunityReply]) throws -> String {
        guard case .created(let created)? = replies.first else { throw TestFailure("no code") }
        return try RecoveryCode(parsing: created.recoveryPage).words.joined(separator: " ")
    }

    @discardableResult
    func recover(_ code: String, at peers: [Multiaddr] = [], link: String? = nil) async throws -> CommunityStatus {
        let replies = try await ask(.recover(code: code, peers: peers.map(\.description), link: link))
        guard case .joined(let status)? = replies.last else { throw TestFailure("no status") }
        return status
    }

    var devices: [DeviceSummary] {
        get async throws {
            guard case .devices(let devices)? = try await ask(.devices).first else { throw TestFailure("no devices") }
            return devices
        }
    }

    func say(_ text: String) async throws { _ = try await ask(.send(channel: "general", text: text)) }

    /// Returns when the text is shown here.
    func hear(_ text: String) async throws {
        let found = Mutex(false)
        struct Heard: Error {}
        do {
            try await perform(.read(channel: "general", count: 100, follow: true)) { reply in
                guard case .message(let message) = reply, message.text == text else { return }
                found.withLock { $0 = true }
                throw Heard()
            }
        } catch is Heard {}
        #expect(found.withLock { $0 })
    }

    var addresses: [Multiaddr] { get async throws { try await node.listenAddresses } }
}

/// A stranger that answers every question for a seal with these bytes.
func withLiar<Value: Sendable>(
    _ answer: @escaping @Sendable (NodeStream) async throws -> Void,
    _ body: @escaping @Sendable (Multiaddr) async throws -> Value
) async throws -> Value {
    let node = try Node(configuration: NodeConfiguration())
    node.handle(RecoveryQuestion.protocolName) { stream in
        _ = try await stream.read(exactly: RecoveryQuestion.bytesCount)
        try await answer(stream)
    }
    return try await withNode(node) { node in try await body(try #require(try await node.listenAddresses.first)) }
}
