// SPDX-License-Identifier: Apache-2.0
import FuzzSupport
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal

import struct NIOCore.ByteBuffer

/// Everything sealed, the keys behind it, and chat. The first byte chooses.
@_cdecl("LLVMFuzzerTestOneInput")
func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var source = ByteSource(start, count)
    switch source.byte() % 12 {
    case 0: fuzzCode(&source)
    case 1: fuzzMemberKey(&source)
    case 2: fuzzBody(source.rest())
    case 3, 4: fuzzDamage(&source)
    case 5: fuzzMailboxCodecs(source.rest())
    case 6: fuzzKeyring(&source)
    case 7, 8: fuzzChatCodecs(source.rest())
    case 9: fuzzFold(&source)
    default: fuzzKeys(&source)
    }
    return 0
}

@_cdecl("Sealed_main")
func start(_ count: CInt, _ arguments: Arguments?) -> CInt {
    fuzz(count, arguments) { testOneInput($0, $1) }
}

func bytes32(_ byte: UInt8) -> Bytes32 {
    let word = UInt64(byte) &* 0x0101_0101_0101_0101
    return Bytes32(words: (word, word, word, word))
}

func seeded(_ seed: UInt8) -> KeySource { .seeded(SeededGenerator(seed: UInt64(seed))) }

let community = CommunityID(bytes32(0xC0))
let place = SealedPlace(community: community, device: DeviceID(bytes32(1)), sequence: .first)
let author = SealingKeyPair(privateBytes: bytes32(1))
let reader = SealingKeyPair(privateBytes: bytes32(2))

// MARK: Codes and keys

func fuzzCode(_ source: inout ByteSource) {
    if source.bool() {
        let text = String(decoding: source.rest(), as: UTF8.self)
        guard let code = try? RecoveryCode(parsing: text) else { return }
        return require((try? RecoveryCode(parsing: code.page)) == code, "a code that was read is printed the same")
    }
    guard let code = RecoveryCode(secret: source.take(16) + [UInt8](repeating: 0, count: max(0, 16 - source.count)))
    else { return }
    var words = code.words
    let changes = 1 + source.below(3)
    for _ in 0..<changes {
        words[source.below(15)] = RecoveryCode(secret: Array(0..<16))?.words[source.below(15)] ?? ""
    }
    let read = try? RecoveryCode(parsing: words.joined(separator: " "))
    require(read == nil || words == code.words, "up to three wrong words are noticed")
}

func fuzzMemberKey(_ source: inout ByteSource) {
    guard let code = RecoveryCode(secret: Array(0..<16)) else { return }
    var keys = seeded(1)
    let device = KeyPair(seed: bytes32(6))
    let sealed = SealedMemberKey(
        sealing: KeyPair(seed: bytes32(5)), under: code, in: community, by: device.device, from: &keys)
    if source.bool() { return fuzzRecovery(&source, sealed, by: device, code) }
    let bytes = sealed.bytes
    let changed = source.bool() ? source.mutate(bytes) : source.rest()
    guard let read = try? SealedMemberKey(bytes: changed) else { return }
    require(read.bytes == changed, "a sealed member key survives its encoding")
    let isSigned = read.isSignatureValid(in: community, by: device.device)
    require(!isSigned || changed == bytes, "only what was sealed is signed")
    let opened = try? read.open(with: code, in: community)
    require(opened == nil || opened?.seed == bytes32(5), "only what was sealed opens")
}

func fuzzRecovery(_ source: inout ByteSource, _ sealed: SealedMemberKey, by device: KeyPair, _ code: RecoveryCode) {
    let draft = MemberKeyEntry.draft(sealed, parents: [EntryID(bytes32(1))], head: EntryID(bytes32(1)))
    let content = Entry.Content(salt: bytes32(2), body: draft.body)
    let header = EntryHeader(
        kind: .memberKey, isCritical: false, retention: .permanent, bodyBytesCount: draft.body.count, sequence: .first,
        time: HybridTime(milliseconds: 1), community: community, device: device.device, previous: .none,
        governance: draft.governance, bodyDigest: content.digest)
    let entry = Entry(signing: header, content: content, with: device)
    var bytes = ByteBuffer()
    RecoveryAnswer(entry: entry, entryPoints: []).encode(into: &bytes)
    let changed = source.bool() ? source.mutate(Array(bytes.readableBytesView)) : source.rest()
    guard let read = try? RecoveryAnswer(ByteBuffer(bytes: changed)) else { return }
    var again = ByteBuffer()
    read.encode(into: &again)
    require((try? RecoveryAnswer(again)) == read, "an answer survives its encoding")
    guard (try? read.open(with: code)) != nil else { return }
    require(read.entry.id == entry.id, "only the entry that was written opens")
}

// MARK: Bodies

func open(_ body: SealedBody, with key: SealingKeyPair) -> SealedOpening? {
    var reader = SealedReader(keys: [key])
    return try? reader.open(body, at: place)
}

func fuzzBody(_ bytes: [UInt8]) {
    guard let body = try? SealedBody(bytes: bytes) else { return }
    require(body.bytes == bytes, "a body survives its encoding")
    require(open(body, with: reader) == nil, "nobody forges")
}

func fuzzDamage(_ source: inout ByteSource) {
    var keys = seeded(source.byte())
    let payload = source.blob(countMax: 700)
    let content = SealedContent(kind: SealedKind(source.word16()), payload: payload)
    guard
        let body = try? SealedBody(sealing: content, to: [reader.publicKey], as: author, at: place, from: &keys)
    else { return require(false, "what is small is sealed") }
    require(open(body, with: reader)?.content == content, "what was sealed opens")
    require(open(body, with: author) == nil, "only for its recipients")
    let changed = source.mutate(body.bytes)
    guard changed != body.bytes, let other = try? SealedBody(bytes: changed) else { return }
    require(open(other, with: reader) == nil, "nothing that was changed opens")
}

// MARK: Mailbox

func fuzzMailboxCodecs(_ bytes: [UInt8]) {
    if let read = try? MailboxAnnouncement(bytes: bytes) { require(read.bytes == bytes, "announcements survive") }
    if let read = try? MailboxKeyPass(bytes: bytes) { require(read.bytes == bytes, "passes survive") }
}

func fuzzKeyring(_ source: inout ByteSource) {
    var keys = seeded(source.byte())
    let key = KeyPair(seed: bytes32(7))
    var mailbox = MailboxKeys(device: DeviceID(bytes32(1)), from: &keys)
    mailbox.handleTimeout(at: HybridTime(milliseconds: 5), from: &keys)
    let ring = mailbox.keyring(for: key, from: &keys)
    let changed = source.bool() ? source.mutate(ring) : source.rest()
    let read = try? MailboxKeys(keyring: changed, of: DeviceID(bytes32(1)), for: key)
    require(read == nil || changed == ring, "a damaged keyring is noticed")
}

func fuzzKeys(_ source: inout ByteSource) {
    var keys = seeded(source.byte())
    var mailbox = MailboxKeys(device: DeviceID(bytes32(source.byte() & 7)), from: &keys)
    var now: UInt64 = 1_000
    var steps = 0
    while !source.isEmpty, steps < 300 {
        steps += 1
        let device = DeviceID(bytes32(source.byte() & 7))
        let time = HybridTime(milliseconds: now)
        switch source.byte() % 7 {
        case 0:
            let fellows = (0..<source.below(5)).map { _ in
                MailboxFellow(
                    device: DeviceID(bytes32(source.byte() & 7)), key: SealingPublicKey(bytes32(source.byte())),
                    epoch: MailboxEpoch(source.boundary32(around: 1 << 31)) ?? .first)
            }
            mailbox.handle(.fellowsChanged(fellows), at: time, from: &keys)
        case 1: mailbox.handle(.fellowClosed(device), at: time, from: &keys)
        case 2:
            let key = source.bool() ? SealingPublicKey(bytes32(source.byte())) : nil
            mailbox.handle(.recoveryKeyChanged(key), at: time, from: &keys)
        case 3:
            var bytes: [UInt8] = [1, 1, 0] + bytes32(source.byte() & 7).bytes + [1]
            bytes += [0, 0, 0, source.byte()] + source.take(8)
            bytes += [UInt8](repeating: source.byte(), count: 32)
            guard let pass = try? MailboxKeyPass(bytes: bytes) else { continue }
            mailbox.handle(.keysPassed(pass, by: device), at: time, from: &keys)
        case 4: mailbox.handle(.rotationRequested, at: time, from: &keys)
        case 5: now -= min(now, UInt64(source.byte()))
        default:
            // Times end at 2^48.
            now = min(1 << 46, now + UInt64(source.word16()) << UInt64(source.byte() & 15))
            mailbox.handleTimeout(at: HybridTime(milliseconds: now), from: &keys)
            require(mailbox.nextTimeout.map { $0.milliseconds > now } ?? true, "a timeout moves on")
        }
        require(mailbox.keysCount <= MailboxLimits.keysMax, "keys are limited")
        var effects = 0
        while let effect = mailbox.nextEffect() {
            effects += 1
            require(effects < 100, "effects end")
            guard case .pass(let pass, let recipients) = effect else { continue }
            require(recipients.count <= SealedLimits.recipientsMax, "a pass can be sealed")
            require((try? MailboxKeyPass(bytes: pass.bytes))?.bytes == pass.bytes, "a pass survives its encoding")
        }
    }
}

// MARK: Chat

func fuzzChatCodecs(_ bytes: [UInt8]) {
    if let read = try? ChatBody(bytes: bytes) {
        require(read.bytes == bytes, "chat survives its encoding")
        require(ChatBody(place: read.place, act: read.act)?.bytes == bytes, "what can be read can be written")
    }
    if let read = try? ChannelBody(bytes: bytes) {
        require(read.bytes == bytes, "channels survive their encoding")
        require(ChannelBody(name: read.name, purpose: read.purpose)?.bytes == bytes, "what can be read can be opened")
    }
}

func arrival(_ source: inout ByteSource, _ ids: [EntryID], _ number: UInt64) -> ChatArrival? {
    let spot = ChatPlace.channel(bytes32(1 + (source.byte() & 1)))
    let target = ids.isEmpty ? EntryID(bytes32(source.byte())) : source.pick(ids)
    let text = String(UnicodeScalar(97 + source.byte() % 26))
    let act: ChatBody.Act =
        switch source.byte() % 8 {
        case 0...2: .post(text)
        case 3...6: .edit(target, text)
        default: .deletion(target)
        }
    guard let body = ChatBody(place: spot, act: act) else { return nil }
    let content = Entry.Content(salt: bytes32(source.byte()), body: body.bytes)
    let header = EntryHeader(
        kind: .chat, isCritical: false, retention: .year, bodyBytesCount: body.bytes.count,
        sequence: EntrySequence(number), time: HybridTime(milliseconds: UInt64(source.byte() & 7)),
        community: community,
        device: DeviceID(bytes32(1)), previous: .none, governance: .none, bodyDigest: content.digest)
    let entry = Entry(stored: header, signature: [UInt8](repeating: 0, count: 64), content: content)
    return ChatArrival(
        StoredEntry(entry, firstSeen: HybridTime(milliseconds: 4)), author: MemberID(bytes32(source.byte() & 1)),
        isSealed: false, body: body)
}

func fold(_ arrivals: [ChatArrival]) -> [MessageRow] {
    var fold = ChatFold(community: community, own: MemberID(bytes32(0)))
    var rows: [EntryID: MessageRow] = [:]
    for arrival in arrivals {
        let existing = fold.rowsNeeded(for: [arrival]).compactMap { rows[$0] }
        for row in fold.rows(for: [arrival], existing: existing) {
            switch row {
            case .message(let message): rows[message.id] = message
            case .removed(let id): rows[id] = nil
            case .document, .listing, .opened: require(false, "chat makes nothing else")
            }
        }
    }
    return rows.values.filter { $0.channel != .zero }.sorted { $0.id < $1.id }
}

func fuzzFold(_ source: inout ByteSource) {
    var arrivals: [ChatArrival] = []
    while !source.isEmpty, arrivals.count < 40 {
        if let next = arrival(&source, arrivals.map(\.id), UInt64(arrivals.count + 1)) { arrivals.append(next) }
    }
    require(fold(arrivals) == fold(arrivals.reversed()), "order doesn't matter")
    require(fold(arrivals) == fold(arrivals + arrivals), "nor does seeing things twice")
}
