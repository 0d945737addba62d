// SPDX-License-Identifier: Apache-2.0
import FuzzSupport
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal

import struct NIOCore.ByteBuffer

/// A whole NodeCore with the replica of a community, before three peers that open streams, ask, answer and gossip whatever
/// they like: one with the keys of a member, one of a newcomer, one of nobody. The disk and the verifiers answer late, in
/// any order, or refuse.
@_cdecl("LLVMFuzzerTestOneInput")
func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var source = ByteSource(start, count)
    var world = World(&source)
    var steps = 0
    while !source.isEmpty, steps < 600 {
        steps += 1
        world.step(&source)
    }
    world.end()
    return 0
}

@_cdecl("Node_main")
func start(_ count: CInt, _ arguments: Arguments?) -> CInt {
    fuzz(count, arguments) { testOneInput($0, $1) }
}

// MARK: The community

let epoch: UInt64 = 1_800_000_000_000

func key(_ number: UInt64) -> KeyPair { KeyPair(seed: Bytes32(words: (number, 7, 7, 7))) }

/// What a device has signed, in order.
struct Pen {
    let key: KeyPair
    var head = FeedPoint.start

    func next(_ draft: EntryDraft, after point: FeedPoint? = nil, as device: DeviceID? = nil) -> Entry {
        let before = point ?? head
        let content = Entry.Content(salt: .zero, body: draft.body)
        let header = EntryHeader(
            kind: draft.kind, isCritical: draft.isCritical, retention: draft.retention,
            bodyBytesCount: draft.body.count, sequence: before.sequence.next, time: HybridTime(milliseconds: epoch),
            community: founded.community, device: device ?? key.device, previous: before.id,
            governance: draft.governance, bodyDigest: content.digest)
        return signed(header, content, key)
    }
}

/// Signatures are the real ones; each is made once.
private struct Drawn: Hashable {
    let header: EntryHeader
    let signer: DeviceID
}

nonisolated(unsafe) private var signatures: [Drawn: Entry] = [:]
nonisolated(unsafe) private var verdicts: [Entry: Bool] = [:]

func signed(_ header: EntryHeader, _ content: Entry.Content, _ key: KeyPair) -> Entry {
    let drawn = Drawn(header: header, signer: key.device)
    if let known = signatures[drawn] { return known }
    let entry = Entry(signing: header, content: content, with: key)
    if signatures.count < 20_000 { signatures[drawn] = entry }
    return entry
}

func isAuthentic(_ entry: Entry) -> Bool {
    if let known = verdicts[entry] { return known }
    let verdict = GovernanceEntry.isAuthentic(entry)
    if verdicts.count < 20_000 { verdicts[entry] = verdict }
    return verdict
}

/// A founder's feed (founding and an invite) and a member's (its join), the same in all runs.
struct Founded {
    let community: CommunityID
    let founder = key(1)
    let link: InviteLink
    let entries: [Entry]
    let member = key(3)
    let join: Entry
    let newcomer = key(5)
    let newcomerJoin: Entry
}

let founded: Founded = {
    do { return try found() } catch { fatalError("the community can be founded: \(error)") }
}()

private func found() throws -> Founded {
    let (founder, person) = (key(1), key(2))
    let (community, founding) = try CommunityCore.founding(
        charter: .standard(name: "fuzz", founder: person.member), nonce: Bytes32(words: (9, 9, 9, 9)),
        nickname: "founder", memberKey: person, device: founder.device)
    func entry(_ draft: EntryDraft, _ key: KeyPair, after point: FeedPoint) -> Entry {
        let content = Entry.Content(salt: .zero, body: draft.body)
        let header = EntryHeader(
            kind: draft.kind, isCritical: draft.isCritical, retention: draft.retention,
            bodyBytesCount: draft.body.count, sequence: point.sequence.next, time: HybridTime(milliseconds: epoch),
            community: community, device: key.device, previous: point.id, governance: draft.governance,
            bodyDigest: content.digest)
        return Entry(signing: header, content: content, with: key)
    }
    let first = entry(founding, founder, after: .start)
    var core = CommunityCore(community: community)
    _ = core.insert([StoredEntry(first, firstSeen: HybridTime(milliseconds: epoch))])
    let inviteSeed = Bytes32(words: (8, 8, 8, 8))
    let invite = entry(
        try core.invite(
            key: KeyPair(seed: inviteSeed), uses: 2, expiry: epoch * 2, note: "", by: founder.device), founder,
        after: first.point)
    let link = try InviteLink(
        community: community, invite: invite.id, seed: inviteSeed, name: "fuzz",
        entryPoints: [Multiaddr(components: [.ip4(0x7F00_0001), .tcp(1), .p2p(founder.peerID)])])
    func join(_ device: KeyPair, _ person: KeyPair) throws -> Entry {
        entry(
            try CommunityCore.join(link, nickname: "m", memberKey: person, device: device.device), device,
            after: .start)
    }
    return Founded(
        community: community, link: link, entries: [first, invite], join: try join(key(3), key(4)),
        newcomerJoin: try join(key(5), key(6)))
}
