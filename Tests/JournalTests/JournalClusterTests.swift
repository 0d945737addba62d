// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity
import TuttiJournal

@Suite(.timeLimit(.minutes(2))) struct JournalClusterTests {
    /// What replicas compare: of a frozen feed only that it is frozen, and by which proof.
    struct Digest: Hashable {
        let feeds: [FeedRecord]
        let proofs: [FaultProof]

        init(_ node: Node) {
            feeds = node.core.feeds.map { feed in
                feed.isFrozen ? FeedRecord(device: feed.device, low: .first, head: .start, isFrozen: true) : feed
            }
            proofs = node.core.proofs
        }
    }

    @Test("the same entries in any order, in parts and several times, make the same feeds", arguments: 0..<20)
    func permuted(seed: Int) throws {
        var (plain, governing, ended) = (Author(2), Author(3), Author(4))
        plain.write(count: 20)
        ended.write(count: 12)
        for number in 0..<12 { governing.write("\(number)", kind: number % 3 == 0 ? .rule : .chat) }
        var (forked, other) = (Author(5), Author(5))
        forked.write(count: 3)
        other = forked.branch(after: 3)
        for number in 0..<4 {
            forked.write("one \(number)")
            other.write("other \(number)")
        }
        var roster = Roster.of(plain.device, governing.device, forked.device)
        roster.devices[ended.device] = Roster.of(ended.device, cut: ended.entries[7].point).devices[ended.device]
        let all = plain.entries + governing.entries + ended.entries + forked.entries + other.entries

        var generator = SeededGenerator(seed: UInt64(seed))
        var nodes = [Node(roster: roster), Node(), Node(roster: roster)]
        for place in nodes.indices {
            for round in 0..<40 {
                var rest = all.shuffled(using: &generator)[...]
                while !rest.isEmpty {
                    let part = Array(rest.prefix(Int.random(in: 1...9, using: &generator)))
                    rest = rest.dropFirst(part.count)
                    let doors: [JournalSource.Door] = [.gossip, .sync, .governanceSync]
                    let door = doors.randomElement(using: &generator) ?? .sync
                    nodes[place].receive(part, by: door, from: UInt32.random(in: 0..<5, using: &generator))
                }
                if round == 1 { nodes[place].handle(.rosterChanged(roster)) }
                nodes[place].wait(.seconds(61))
            }
        }
        let proofs = nodes.flatMap(\.core.proofs)
        for place in nodes.indices { nodes[place].receive(proofs.shuffled(using: &generator)) }
        #expect(Set(nodes.map { Digest($0) }).count == 1)
        let feeds = nodes[0].core.feeds
        #expect(feeds.count == 4)
        for (author, head) in [(plain, 19), (governing, 11), (ended, 7)] {
            let record = FeedRecord(
                device: author.device, low: .first, head: author.entries[head].point, isFrozen: false)
            #expect(feeds.contains(record))
        }
        #expect(nodes[0].core.feed(forked.device)?.isFrozen == true)
        #expect(nodes.flatMap(\.violations).isEmpty)
    }

    /// Nodes that gossip with loss and repair from each other, feed by feed.
    struct Cluster {
        var nodes: [Node]
        private var generator: SeededGenerator
        private var told: [Int]

        init(count: Int, seed: UInt64) {
            generator = SeededGenerator(seed: seed)
            let authors = (0..<count).map { Author(200 + UInt64($0)) }
            var roster = Roster()
            for author in authors { roster.devices[author.device] = Roster.of(author.device).devices[author.device] }
            nodes = authors.map { Node($0.key, roster: roster) }
            told = Array(repeating: 0, count: count)
        }

        mutating func gossip(loss: Double) {
            for author in nodes.indices {
                let new = nodes[author].published.dropFirst(told[author])
                told[author] = nodes[author].published.count
                for node in nodes.indices where node != author {
                    let heard = new.filter { _ in Double.random(in: 0..<1, using: &generator) >= loss }
                    for entry in heard.shuffled(using: &generator) {
                        nodes[node].receive([entry], by: .gossip, from: UInt32(author))
                    }
                }
            }
        }

        mutating func repair() {
            for node in nodes.indices {
                let others = nodes.indices.filter { $0 != node }
                guard let other = others.randomElement(using: &generator) else { return }
                for feed in nodes[other].core.feeds { pull(feed, into: node, from: other) }
            }
        }

        private mutating func pull(_ feed: FeedRecord, into node: Int, from other: Int) {
            let held = nodes[node].core.feed(feed.device)
            var ranges: [(ClosedRange<EntrySequence>, Bool)] = []
            if let held {
                if held.head.sequence < feed.head.sequence {
                    ranges.append((held.head.sequence.next...feed.head.sequence, false))
                }
                if feed.low < held.low { ranges.append((feed.low...held.low.previous, true)) }
            } else {
                ranges.append((feed.low...feed.head.sequence, true))
            }
            for (range, newestFirst) in ranges {
                let query = JournalQuery.feed(
                    feed.device, range, newestFirst: newestFirst, countMax: 8, bytesMax: 1 << 20)
                guard case .entries(let entries) = nodes[other].disk.answer(query) else { continue }
                nodes[node].receive(entries.map(\.entry), by: .sync, from: UInt32(other))
            }
        }

        /// Every receipt reaches the author, as the peer of the device.
        mutating func sendReceipts() {
            for holder in nodes.indices {
                nodes[holder].wait(.milliseconds(20))
                for receipt in nodes[holder].takeReceipts() {
                    guard let author = nodes.indices.first(where: { nodes[$0].core.ownDevice == receipt.device })
                    else { continue }
                    let record = ReceiptRecord(
                        device: receipt.device, holder: Author(200 + UInt64(holder)).key.peerID, head: receipt.head)
                    nodes[author].handle(.receiptReceived(record))
                }
            }
        }
    }

    @Test("a cluster that loses half of its gossip ends with the same feeds, and everything is sent", arguments: 0..<4)
    func cluster(seed: Int) {
        var cluster = Cluster(count: 5, seed: UInt64(seed))
        for round in 0..<10 {
            for node in cluster.nodes.indices where (round + node) % 2 == 0 {
                cluster.nodes[node].append("round \(round)", "of \(node)")
            }
            cluster.gossip(loss: 0.5)
            cluster.repair()
            cluster.sendReceipts()
        }
        for _ in 0..<20 {
            cluster.repair()
            cluster.sendReceipts()
        }
        #expect(Set(cluster.nodes.map { Digest($0) }).count == 1)
        #expect(cluster.nodes.map(\.disk.entries.count) == Array(repeating: 50, count: 5))
        #expect(cluster.nodes.map(\.core.sentThrough.value) == Array(repeating: 10, count: 5))
        #expect(cluster.nodes.flatMap(\.violations).isEmpty && cluster.nodes.flatMap(\.core.proofs).isEmpty)
    }
}
