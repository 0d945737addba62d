// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import Tutti
import TuttiBase
import TuttiCommunity
import TuttiIdentity
import TuttiNodeCore
import TuttiWitness

/// Real nodes whose charter names them as witnesses.
@Suite("Witnesses on real nodes", .timeLimit(.minutes(3)), .serialized)
struct WitnessNodeTests {
    private static let names = ["camila", "rosa", "jun", "noor"]

    private static func nest(
        _ folders: [Folder], _ nodes: [CommunityNode],
        _ body: @escaping @Sendable ([CommunityNode]) async throws -> Void
    ) async throws {
        guard nodes.count < folders.count else { return try await body(nodes) }
        let name = names[nodes.count]
        try await withCommunityNode(folders[nodes.count].path) { node in
            if let founder = nodes.first {
                try await node.perform(.join(link: try await founder.inviteLink().text, nickname: name)) { _ in }
                try await until(syncing: founder) { try await founder.knows(node) }
            } else {
                try await node.perform(.create(name: "Rare gear", nickname: name)) { _ in }
            }
            try await nest(folders, nodes + [node], body)
        }
    }

    private static func elect(_ nodes: [CommunityNode]) async throws {
        let founder = try #require(nodes.first)
        for node in nodes {
            try await until(syncing: founder) {
                try await node.replica { $0.community.state.members.count } == names.count
            }
        }
        let (rules, replies) = AsyncStream<CharterDocument>.makeStream()
        try await founder.perform(.govern(.charter)) { reply in
            if case .charter(let summary) = reply { replies.yield(summary.rules) }
        }
        replies.finish()
        guard var document = await rules.first(where: { _ in true }) else { throw TestFailure("no charter") }
        document.witnesses = names
        let (proposals, made) = AsyncStream<String>.makeStream()
        try await founder.perform(.govern(.propose(title: "Witnesses", text: "us", action: .amend(document)))) {
            reply in
            if case .proposed(let id) = reply { made.yield(id) }
        }
        made.finish()
        guard let proposal = await proposals.first(where: { _ in true }) else { throw TestFailure("no proposal") }
        for node in nodes {
            try await until(syncing: node) {
                try await node.replica { !$0.community.state.proposals.isEmpty }
            }
            try await node.perform(.govern(.vote(proposal: proposal, choice: .yes))) { _ in }
        }
        try await until(syncing: founder) {
            await communityError {
                try await founder.perform(.govern(.close(proposal: proposal, early: false))) { _ in }
            }
                == nil
        }
    }

    @Test("Members whom the charter names show their keys and serve; all nodes know where; a restart changes nothing")
    func serve() async throws {
        let folders = try Self.names.map { _ in try Folder() }
        let (sets, found) = AsyncStream<[TradeKey]>.makeStream()
        try await Self.nest(folders, []) { nodes in
            try await Self.elect(nodes)
            for node in nodes {
                try await until(syncing: node) { try await node.witnessPeers().count == Self.names.count }
                found.yield(try await node.witnessPeers().keys.sorted())
                #expect(try await node.count("votes", .witness) == 0)
            }
        }
        found.finish()
        let known = await sets.reduce(into: []) { $0.append($1) }
        let first = try #require(known.first)
        #expect(known == Array(repeating: first, count: Self.names.count))
        try await withCommunityNode(folders[0].path) { founder in
            try await until { try await founder.witnessPeers().keys.sorted() == first }
            try await until { try await founder.node.readRegister { $0.key } ?? nil != nil }
            let key = try #require(try await founder.node.readRegister { $0.key } ?? nil)
            #expect(first.contains(key))
        }
        withExtendedLifetime(folders) {}
    }
}
