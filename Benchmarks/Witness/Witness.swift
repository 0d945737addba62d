// SPDX-License-Identifier: Apache-2.0
import Foundation
import Tutti
import TuttiBase
import TuttiCommunity
import TuttiIdentity
import TuttiWitness

/// A seller's node that has units reserved by four witnesses, whose processes run beside. Prints one line of JSON.
///
///     witness FOLDER LINK --via ADDRESS,… (--window W | --rate R) [--count 2000]
///
/// Joins by the link, speaks with the witnesses over the given addresses alone, and registers `count` reservations, each a
/// slot of its own: proposal, votes, lock, commits, certificate. `--window`: so many under way at once, for certificates a
/// second; `--rate`: so many begin in each second, for the time that one takes.
@main
struct Witness {
    static func main() async throws {
        let arguments = CommandLine.arguments
        func option(_ name: String) -> String? {
            arguments.firstIndex(of: name).flatMap { $0 + 1 < arguments.count ? arguments[$0 + 1] : nil }
        }
        guard arguments.count > 3, let via = option("--via") else {
            throw CommunityError(.invalidInput, "usage: witness FOLDER LINK --via ADDRESS,… (--window W | --rate R)")
        }
        var configuration = CommunityNodeConfiguration(folder: arguments[1])
        configuration.node.listen = []
        configuration.node.limits = .lab
        let node = try CommunityNode(configuration: configuration)
        let addresses = via.split(separator: ",").compactMap { Multiaddr(String($0)) }
        let count = option("--count").flatMap { Int($0) } ?? 2_000
        let pace: Pace =
            option("--rate").flatMap { Double($0) }.map { .rate($0) }
            ?? .window(option("--window").flatMap { Int($0) } ?? 64)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await node.run() }
            group.addTask {
                try await node.started()
                for address in addresses { try await node.node.dial(at: [address], deadline: .seconds(10)) }
                try await node.perform(.join(link: arguments[2], nickname: "seller")) { _ in }
                let witnesses = try await witnesses(of: node)
                try await measure(node, witnesses, count: count, pace)
            }
            try await group.next()
            group.cancelAll()
        }
    }

    /// Once the charter names enough and all have shown their keys.
    private static func witnesses(of node: CommunityNode) async throws -> [TradeKey: PeerID] {
        while true {
            let cards = try await node.witnessPeers()
            if WitnessSet(cards.keys) != nil { return cards }
            try await Task.sleep(for: .milliseconds(100))
        }
    }

    private static func measure(
        _ node: CommunityNode, _ witnesses: [TradeKey: PeerID], count: Int, _ pace: Pace
    ) async throws {
        guard let set = WitnessSet(witnesses.keys) else { return }
        var links: [WitnessLink] = []
        for key in set.keys {
            guard let peer = witnesses[key] else { return }
            links.append(try await WitnessLink(to: peer, of: node.node))
        }
        let registrar = Registrar(set: set, links: links)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for link in links { group.addTask { try await link.run() } }
            group.addTask {
                // What is opened and loaded at first isn't measured.
                _ = try await registrar.register(0..<16, .window(4))
                let began = ContinuousClock.now
                let times = try await registrar.register(16..<(16 + count), pace).sorted()
                let seconds = began.duration(to: .now) / .seconds(1)
                func milliseconds(_ share: Double) -> Double {
                    times[min(times.count - 1, Int(Double(times.count) * share))] / .milliseconds(1)
                }
                print(
                    "{\"certificates\":\(times.count),\"perSecond\":\(Double(times.count) / seconds),"
                        + "\"p50\":\(milliseconds(0.5)),\"p95\":\(milliseconds(0.95)),\"p99\":\(milliseconds(0.99))}")
            }
            try await group.next()
            group.cancelAll()
        }
    }
}
