// SPDX-License-Identifier: Apache-2.0
import Foundation
import Tutti
import TuttiBase
import TuttiCommunity
import TuttiCommunityCore
import TuttiJournal

/// Whole nodes with journals, on loopback. Each prints one line of JSON.
///
///     replica serve FOLDER [--count 100000]     founds a community and writes so many messages, 256 appends of 8 under way;
///                                               prints the link, then runs until killed
///     replica join FOLDER LINK COUNT            joins: seconds to the first screen, and until everything is on disk here
@main
struct Replica {
    static func main() async throws {
        let arguments = CommandLine.arguments
        guard arguments.count > 2 else { throw CommunityError(.invalidInput, "usage: replica serve|join FOLDER …") }
        var configuration = CommunityNodeConfiguration(folder: arguments[2])
        configuration.node.listen = NodeConfiguration.loopback
        configuration.node.limits = .lab
        let node = try CommunityNode(configuration: configuration)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await node.run() }
            group.addTask {
                try await node.started()
                switch arguments[1] {
                case "serve":
                    let count = arguments.firstIndex(of: "--count").flatMap { Int(arguments[$0 + 1]) } ?? 100_000
                    try await serve(node, count: count)
                    try await Task.sleep(for: .seconds(86_400))
                default: try await join(node, link: arguments[3], count: Int(arguments[4]) ?? 0)
                }
            }
            try await group.next()
            group.cancelAll()
        }
    }

    private static func serve(_ node: CommunityNode, count: Int) async throws {
        try await node.perform(.create(name: "Replica", nickname: "author")) { _ in }
        let head = try await node.governanceHead()
        let text = String(repeating: "x", count: 200)
        let body = ChatBody(place: .channel(.zero), act: .post(text))?.bytes ?? []
        let draft = EntryDraft(kind: .chat, body: body, governance: head)
        let rounds = (count + 2_047) / 2_048
        let began = ContinuousClock.now
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<256 {
                group.addTask {
                    for _ in 0..<rounds { _ = try await node.append(Array(repeating: draft, count: 8)) }
                }
            }
            try await group.waitForAll()
        }
        let seconds = began.duration(to: .now) / .seconds(1)
        var singles: [Double] = []
        for _ in 0..<300 {
            let began = ContinuousClock.now
            _ = try await node.append([draft])
            singles.append(began.duration(to: .now) / .milliseconds(1))
        }
        let sorted = singles.sorted()
        let total = try await node.entryCount()
        try await node.perform(.govern(.invite(uses: 20, days: 1, role: "member", note: ""))) { reply in
            guard case .invited(let link) = reply else { return }
            let line =
                "{\"entries\":\(total),\"entriesPerSecond\":\(Int(Double(rounds * 8 * 256) / seconds)),\"singleP50\":\(sorted[150]),"
                + "\"singleP99\":\(sorted[296]),\"link\":\"\(link)\"}\n"
            try FileHandle.standardOutput.write(contentsOf: Data(line.utf8))
        }
    }

    private static func join(_ node: CommunityNode, link: String, count: Int) async throws {
        let began = ContinuousClock.now
        try await node.perform(.join(link: link, nickname: "reader")) { _ in }
        let first = began.duration(to: .now) / .seconds(1)
        while try await node.entryCount() < UInt64(count) { try await Task.sleep(for: .milliseconds(20)) }
        print("{\"firstScreenSeconds\":\(first),\"allSeconds\":\(began.duration(to: .now) / .seconds(1))}")
    }
}
