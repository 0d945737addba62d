// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity
import TuttiJournal

@Suite(.timeLimit(.minutes(1))) struct JournalReceiptTests {
    static func holder(_ seed: UInt64) -> PeerID { Author(50 + seed).key.peerID }

    static func receipt(_ holder: UInt64, _ head: UInt64, of device: DeviceID = Author(1).device) -> JournalInput {
        .receiptReceived(ReceiptRecord(device: device, holder: Self.holder(holder), head: EntrySequence(head)))
    }

    @Test("an entry is sent when two other nodes have it on disk")
    func sent() {
        var node = Node(Author(1).key, roster: .of(Author(1).device))
        node.append("one", "two", "three")
        node.handle(Self.receipt(1, 3))
        node.handle(Self.receipt(1, 3))
        #expect(node.core.holders(of: node.published[0].point) == 1 && node.events.isEmpty)
        node.handle(Self.receipt(2, 2))
        #expect(node.events == [.sent(through: EntrySequence(2))])
        #expect(node.core.holders(of: node.published[1].point) == 2)
        #expect(node.core.holders(of: node.published[2].point) == 1)
        node.handle(Self.receipt(2, 3))
        #expect(node.events.last == .sent(through: EntrySequence(3)))
        let again = node.reopened()
        #expect(again.core.sentThrough == EntrySequence(3))
        #expect(again.core.holders(of: node.published[2].point) == 2)
    }

    @Test("receipts for what was never written, for others' feeds and backwards are ignored")
    func ignored() {
        var node = Node(Author(1).key, roster: .of(Author(1).device))
        node.append("one", "two")
        node.handle(Self.receipt(1, 3))
        node.handle(Self.receipt(1, 2, of: Author(2).device))
        node.handle(Self.receipt(1, 2))
        node.handle(Self.receipt(1, 1))
        #expect(node.core.stats.receiptsIgnored == 3 && node.core.stats.receiptsTaken == 1)
        #expect(node.core.holders(of: node.published[1].point) == 1)
    }

    @Test("receipts count once they are on disk, and survive its refusals")
    func persisted() {
        var node = Node(Author(1).key, roster: .of(Author(1).device))
        node.append("one")
        node.diskError = .diskFull
        node.handle(Self.receipt(1, 1))
        node.handle(Self.receipt(2, 1))
        #expect(node.events == [.diskFailed(.diskFull)])
        node.diskError = nil
        node.wait(.seconds(2))
        #expect(node.events.last == .sent(through: .first))
        #expect(node.disk.receipts.count == 2)
    }

    @Test("of many nodes only so many are remembered")
    func bounded() {
        var configuration = JournalConfiguration()
        configuration.limits.holdersMax = 3
        var node = Node(Author(1).key, configuration: configuration, roster: .of(Author(1).device))
        node.append("one")
        for holder in 0..<10 { node.handle(Self.receipt(UInt64(holder), 1)) }
        #expect(node.core.holders(of: node.published[0].point) == 3)
        #expect(node.core.stats.receiptsIgnored == 7)
    }

    @Test("our receipts are gathered for 20 ms, one for each feed, and not sent to who has gone")
    func gathered() {
        var (one, two) = (Author(2), Author(3))
        one.write(count: 3)
        two.write(count: 1)
        var node = Node(roster: .of(one.device, two.device))
        for (place, entry) in one.entries.enumerated() { node.receive([entry], from: UInt32(place)) }
        node.receive(two.entries, from: 9)
        node.handle(.peerDisconnected(PeerIndex(1)))
        node.wait(.milliseconds(20))
        var due = [
            JournalReceipt(device: one.device, head: EntrySequence(3), peers: [PeerIndex(0), PeerIndex(2)]),
            JournalReceipt(device: two.device, head: .first, peers: [PeerIndex(9)]),
        ]
        due.sort { $0.device < $1.device }
        #expect(node.receipts == due)
        node.wait(.seconds(1))
        #expect(node.receipts.count == 2)
    }
}
