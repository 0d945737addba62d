// SPDX-License-Identifier: Apache-2.0
import FuzzSupport
import TuttiBase
import TuttiIdentity
import TuttiJournal

import struct NIOCore.ByteBuffer

/// Headers, entries and fault proofs as bytes, genuine ones with damage, and JournalCore under any order of inputs of a
/// driver that keeps its contract. The first byte chooses.
@_cdecl("LLVMFuzzerTestOneInput")
func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var source = ByteSource(start, count)
    switch source.byte() % 4 {
    case 0: fuzzMessage(source.rest())
    case 1: fuzzDamage(&source)
    default:
        var journal = Journal(&source)
        journal.run(&source)
    }
    return 0
}

@_cdecl("Entry_main")
func start(_ count: CInt, _ arguments: Arguments?) -> CInt {
    fuzz(count, arguments) { testOneInput($0, $1) }
}

func encoded(_ message: JournalMessage) -> [UInt8] {
    var buffer = ByteBuffer()
    message.encode(into: &buffer)
    return Array(buffer.readableBytesView)
}

/// There is one encoding only: what is read is written as it was.
func fuzzMessage(_ bytes: [UInt8]) {
    guard let message = try? JournalMessage(ByteBuffer(bytes: bytes)) else { return }
    require(encoded(message) == bytes, "a message survives")
    switch message {
    case .entry(let entry):
        require(entry.encodedBytesCount == bytes.count, "the size is known before")
        require(entry.header.sequence >= .first && entry.header.sequence <= .max, "sequences are limited")
        require((entry.content?.body.count ?? 0) <= JournalLimits.bodyBytesMax, "bodies are limited")
        _ = entry.envelope
        _ = entry.isSignatureValid
    case .proof(let proof):
        require(FaultProof(proof.second, proof.first) == proof, "a proof has one order")
        require(!proof.precedes(proof), "no proof precedes itself")
    }
}

/// Nobody makes another valid entry out of a genuine one.
func fuzzDamage(_ source: inout ByteSource) {
    let author = Writer(UInt64(source.below(3)))
    let entry = author.entry(UInt64(1 + source.below(3)), previous: EntryID(.zero), body: source.blob(countMax: 64))
    let genuine = encoded(.entry(entry))
    let damaged = source.mutate(genuine)
    fuzzMessage(damaged)
    guard damaged != genuine, case .entry(let read) = try? JournalMessage(ByteBuffer(bytes: damaged)) else { return }
    // Only the body may be left out.
    require(!read.isSignatureValid || read == entry.withoutBody, "damage shows")
}

/// Signs whatever it is told to.
struct Writer {
    static let community = CommunityID(.zero)
    let key: KeyPair
    let device: DeviceID

    init(_ seed: UInt64) {
        key = KeyPair(seed: Bytes32(words: (1, 1, 1, seed)))
        device = DeviceID(Bytes32(key.publicKey.raw) ?? .zero)
    }

    func entry(
        _ sequence: UInt64, previous: EntryID, kind: UInt16 = 0x200, retention: RetentionClass = .permanent,
        milliseconds: UInt64 = 0, community: CommunityID = Self.community, body: [UInt8]
    ) -> Entry {
        let content = Entry.Content(salt: .zero, body: body)
        let header = EntryHeader(
            kind: EntryKind(kind), isCritical: false, retention: kind < 0x100 ? .permanent : retention,
            bodyBytesCount: body.count, sequence: EntrySequence(sequence),
            time: HybridTime(milliseconds: milliseconds), community: community, device: device,
            previous: sequence == 1 ? .none : previous, governance: .none, bodyDigest: content.digest)
        return Entry(signing: header, content: content, with: key)
    }
}
