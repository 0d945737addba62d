// SPDX-License-Identifier: Apache-2.0
import FuzzSupport
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal

/// Invite links, charters and governance bodies as bytes; CommunityCore with any of them, in two orders. The first byte
/// chooses.
@_cdecl("LLVMFuzzerTestOneInput")
func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var source = ByteSource(start, count)
    switch source.byte() % 8 {
    case 0: fuzzLinkText(&source)
    case 1: fuzzLinkBytes(&source)
    case 2: fuzzCharter(&source)
    case 3, 4: fuzzMessage(&source)
    default: fuzzFold(&source)
    }
    return 0
}

@_cdecl("Community_main")
func start(_ count: CInt, _ arguments: Arguments?) -> CInt {
    fuzz(count, arguments) { testOneInput($0, $1) }
}

// MARK: Genuine things

func bytes32(_ number: UInt64) -> Bytes32 { Bytes32(words: (number, number, number, number)) }

let members = (1...4).map { KeyPair(seed: bytes32(UInt64($0))) }
let devices = (11...14).map { KeyPair(seed: bytes32(UInt64($0))) }
let standard = Charter.standard(name: "Fuzz", founder: members[0].member)
let founded = try? CommunityCore.founding(
    charter: standard, nonce: bytes32(9), nickname: "founder", memberKey: members[0], device: devices[0].device)
let community = founded?.0 ?? CommunityID(.zero)

/// Signatures are not CommunityCore's affair: none is made.
func entry(_ kind: EntryKind, _ body: [UInt8], by device: Int, _ sequence: UInt64, governance: EntryID) -> StoredEntry {
    let content = Entry.Content(salt: .zero, body: body)
    let header = EntryHeader(
        kind: kind, isCritical: true, retention: .permanent, bodyBytesCount: body.count,
        sequence: EntrySequence(sequence), time: HybridTime(milliseconds: sequence), community: community,
        device: devices[device].device, previous: sequence == 1 ? .none : EntryID(bytes32(sequence)),
        governance: governance, bodyDigest: content.digest)
    let entry = Entry(stored: header, signature: [UInt8](repeating: 0, count: 64), content: content)
    return StoredEntry(entry, firstSeen: HybridTime(0))
}

// MARK: Bytes

func fuzzLinkText(_ source: inout ByteSource) {
    let text = InviteLink.scheme + String(decoding: source.rest(), as: UTF8.self)
    guard let link = try? InviteLink(text: text) else { return }
    require((try? InviteLink(text: link.text)) == link, "a link that was read is printed the same")
}

func fuzzLinkBytes(_ source: inout ByteSource) {
    let bytes = source.rest()
    guard let link = try? InviteLink(bytes: bytes) else { return }
    require((try? InviteLink(bytes: link.bytes)) == link, "a link survives its encoding")
}

func fuzzCharter(_ source: inout ByteSource) {
    let isGenuine = source.bool()
    let bytes = isGenuine ? source.mutate(standard.encoded) : source.rest()
    guard let charter = try? Charter(bytes) else { return }
    require(charter.encoded == bytes, "a charter has one encoding")
}

func fuzzMessage(_ source: inout ByteSource) {
    let kind = EntryKind(UInt16(source.byte()))
    let bytes = source.rest()
    guard let message = try? GovernanceMessage(kind: kind, bytes: bytes) else { return }
    if case .unknown = message.body { return }
    require(message.encoded == bytes, "a body has one encoding")
}

// MARK: The fold

func fuzzFold(_ source: inout ByteSource) {
    guard let founded else { return }
    let first = entry(.founding, founded.1.body, by: 0, 1, governance: .none)
    var entries = [first]
    var points: [DeviceID: UInt64] = [devices[0].device: 1]
    var writer = CommunityCore(community: community)
    _ = writer.insert([first])
    for _ in 0..<(1 + source.below(12)) {
        let by = source.below(4)
        let device = devices[by].device
        let subject = members[source.below(4)].member
        let role = Role.allCases[source.below(Role.allCases.count)]
        let known = entries[source.below(entries.count)].entry.id
        let cut = FeedCut(
            device: devices[source.below(4)].device,
            point: FeedPoint(sequence: EntrySequence(UInt64(source.below(4))), id: known))
        let body: GovernanceBody
        let kind: EntryKind
        switch source.below(10) {
        case 0, 1:
            (kind, body) = (
                .invite,
                .invite(InviteBody(key: members[3].device.bytes, uses: 1 + source.below(3), expiry: .max, note: ""))
            )
        case 2, 3, 4:
            let join = JoinBody(
                invite: known, in: community,
                certificate: DeviceCertificate(of: device, at: community.bytes, by: members[by]), nickname: "n",
                inviteKey: members[3])
            (kind, body) = (.join, .join(join))
        case 5: (kind, body) = (.roleGrant, .roleGrant(RoleGrantBody(member: subject, role: role)))
        case 6:
            (kind, body) = (
                .roleRemoval,
                .roleRemoval(RoleRemovalBody(member: subject, role: role, cuts: [cut], reason: "r"))
            )
        case 7:
            (kind, body) = (
                .memberRemoval, .memberRemoval(MemberRemovalBody(member: subject, cuts: [cut], reason: "r"))
            )
        case 8: (kind, body) = (.admit, .admit(known))
        default: (kind, body) = (.acknowledgement, .acknowledgement)
        }
        let parents = source.bool() ? writer.parents : [known]
        guard let head = parents.first else { continue }
        points[device, default: 0] += source.below(8) == 0 ? 0 : 1
        let made = entry(
            kind, GovernanceMessage(parents: parents, body: body).encoded, by: by, max(1, points[device] ?? 1),
            governance: head)
        entries.append(made)
        _ = writer.insert([made])
    }
    var other = CommunityCore(community: community)
    var rest = entries
    while !rest.isEmpty { _ = other.insert([rest.remove(at: source.below(rest.count))]) }
    require(other.state.digest == writer.state.digest, "two orders of the same entries make the same community")
    require(other.roster == writer.roster, "and the same roster")
}
