// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity
import TuttiJournal

import struct NIOCore.ByteBuffer

@Suite(.timeLimit(.minutes(1))) struct EntryCodingTests {
    static func encoded(_ entry: Entry, withBody: Bool = true) -> [UInt8] {
        var buffer = ByteBuffer()
        entry.encode(into: &buffer, withBody: withBody)
        return Array(buffer.readableBytesView)
    }

    static func encoded(_ proof: FaultProof) -> [UInt8] {
        var buffer = ByteBuffer()
        proof.encode(into: &buffer)
        return Array(buffer.readableBytesView)
    }

    static func read(_ bytes: [UInt8]) -> Result<Entry, DecodeError> {
        var buffer = ByteBuffer(bytes: bytes)
        do throws(DecodeError) { return .success(try Entry(from: &buffer)) } catch { return .failure(error) }
    }

    static func entry() -> Entry {
        var author = Author(1)
        author.write("first")
        return author.write("second", kind: EntryKind(0x1234), isCritical: true, retention: .month)
    }

    @Test("the bytes of an entry are these")
    func golden() throws {
        let entry = Self.entry()
        let bytes = Self.encoded(entry)
        #expect(bytes.count == 1 + 185 + 64 + 32 + 6 && bytes.count == entry.encodedBytesCount)
        #expect(bytes[0] == 1)
        let header = Array(bytes[1..<186])
        #expect(Array(header[..<9]) == [1, 1, 0x12, 0x34, 3, 0, 0, 0, 6])
        #expect(Array(header[9..<17]) == [0, 0, 0, 0, 0, 0, 0, 2])
        #expect(Array(header[17..<25]) == [0x01, 0xA0, 0xC4, 0x50, 0x6C, 0x00, 0, 0])
        #expect(Array(header[25..<57]) == CommunityID.test.bytes.bytes)
        #expect(Array(header[57..<89]) == Author(1).key.publicKey.raw)
        #expect(Array(header[89..<121]) == entry.header.previous.bytes.bytes)
        #expect(Array(header[121..<153]) == Array(repeating: 0, count: 32))
        #expect(Array(header[153...]) == KeyDerivation.sha256(Array(bytes[250..<282]) + Array("second".utf8)).bytes)
        #expect(Array(bytes[186..<250]) == entry.signature)
        #expect(Array(bytes[282...]) == Array("second".utf8))
        #expect(entry.id.bytes == KeyDerivation.sha256(Array("tutti-entry-id".utf8) + header))
        let signed = [11] + Array("tutti-entry".utf8) + [12] + Array("/tutti/entry".utf8) + [0xB9, 0x01] + header
        #expect(Entry.signedBytes(header) == signed)
        #expect(Author(1).key.publicKey.isValidSignature(entry.signature, for: signed))
    }

    @Test("an entry survives, with its body and without")
    func roundTrip() throws {
        let entry = Self.entry()
        #expect(try Self.read(Self.encoded(entry)).get() == entry)
        #expect(try Self.read(Self.encoded(entry, withBody: false)).get() == entry.withoutBody)
        #expect(entry.withoutBody.id == entry.id && entry.withoutBody.isSignatureValid)
        #expect(JournalMessage.entry(entry).id == entry.id.bytes)
    }

    @Test("the envelope is a libp2p envelope that others verify")
    func envelope() throws {
        let entry = Self.entry()
        let envelope = try SignedEnvelope(entry.envelope, domain: "tutti-entry")
        #expect(envelope.publicKey == Author(1).key.publicKey)
        #expect(envelope.payloadType == Array("/tutti/entry".utf8))
        #expect(Array(envelope.payload.readableBytesView) == entry.header.bytes)
        let sealed = SignedEnvelope.seal(
            payloadType: Entry.payloadType, payload: ByteBuffer(bytes: entry.header.bytes), domain: "tutti-entry",
            with: Author(1).key)
        #expect(sealed.readableBytes == entry.envelope.readableBytes)
    }

    @Test("cut at any length it is no entry")
    func truncated() {
        for bytes in [Self.encoded(Self.entry()), Self.encoded(Self.entry(), withBody: false)] {
            for count in 0..<bytes.count {
                guard case .failure(.truncated) = Self.read(Array(bytes[..<count])) else {
                    Issue.record("read \(count) of \(bytes.count) bytes")
                    continue
                }
            }
        }
    }

    @Test("whatever bit is turned, the entry is refused or its signature is wrong")
    func turnedBits() {
        let bytes = Self.encoded(Self.entry())
        for bit in 0..<bytes.count * 8 {
            var turned = bytes
            turned[bit / 8] ^= 1 << UInt8(bit % 8)
            if case .entry(let entry) = try? JournalMessage(ByteBuffer(bytes: turned)) {
                #expect(!entry.isSignatureValid, "bit \(bit)")
            }
        }
    }

    @Test(
        "what an encoding must not be",
        arguments: [
            (0, 2, DecodeError.malformed("entry form")), (1, 2, .unsupported("entry version")),
            (1, 0, .unsupported("entry version")), (2, 2, .malformed("entry flags")),
            (5, 5, .malformed("entry retention class")), (6, 1, .tooLarge("entry body", limit: 65_536)),
            (10, 2, .malformed("entry sequence")), (17, 0, .malformed("entry sequence")),
            (17, 1, .malformed("entry predecessor")), (250, 0xFF, .malformed("entry body")),
            (282, 0xFF, .malformed("entry body")),
        ] as [(Int, UInt8, DecodeError)])
    func refused(_ place: Int, _ value: UInt8, _ error: DecodeError) {
        var bytes = Self.encoded(Self.entry())
        bytes[place] = value
        #expect(Self.read(bytes) == .failure(error))
    }

    @Test("governance is kept for ever, in form")
    func governance() {
        var author = Author(1)
        let entry = author.write(kind: EntryKind(0x00FF), retention: .year)
        #expect(Self.read(Self.encoded(entry)) == .failure(.malformed("entry retention class")))
    }

    @Test("the largest body fits, and the sequence of the last entry")
    func largest() throws {
        let author = Author(1)
        let body = String(repeating: "x", count: JournalLimits.bodyBytesMax)
        let entry = author.entry(at: .max, previous: EntryID(.init(words: (1, 1, 1, 1))), body)
        #expect(entry.encodedBytesCount == Entry.bytesMax)
        #expect(try Self.read(Self.encoded(entry)).get() == entry)
        let beyond = author.entry(at: EntrySequence.max.next, previous: entry.id, "x")
        #expect(Self.read(Self.encoded(beyond)) == .failure(.malformed("entry sequence")))
    }

    @Test("a signature that isn't reduced, or of a weak key, is none")
    func signatures() {
        let entry = Self.entry()
        // S + L: the same number to those who don't look.
        let order: [UInt8] =
            [
                0xED, 0xD3, 0xF5, 0x5C, 0x1A, 0x63, 0x12, 0x58, 0xD6, 0x9C, 0xF7, 0xA2, 0xDE, 0xF9, 0xDE, 0x14,
            ] + Array(repeating: 0, count: 15) + [0x10]
        var signature = entry.signature
        var carry: UInt16 = 0
        for place in 0..<32 {
            let sum = UInt16(signature[32 + place]) + UInt16(order[place]) + carry
            signature[32 + place] = UInt8(truncatingIfNeeded: sum)
            carry = sum >> 8
        }
        #expect(carry == 0 && entry.isSignatureValid)
        #expect(!Entry(stored: entry.header, signature: signature, content: nil).isSignatureValid)
    }

    @Test("a fault proof survives, and is the same whichever header comes first")
    func proofs() throws {
        let (one, other) = (Author(1).next("a"), Author(1).next("b"))
        let proof = try #require(FaultProof(one, other))
        #expect(proof == FaultProof(other, one) && proof.first.content == nil)
        let bytes = Self.encoded(proof)
        #expect(bytes.count == FaultProof.bytesCount && bytes[0] == 2)
        #expect(try JournalMessage(ByteBuffer(bytes: bytes)) == .proof(proof))
        #expect(
            proof.id
                == KeyDerivation.sha256(
                    Array("tutti-fault-id".utf8) + proof.first.id.bytes.bytes + proof.second.id.bytes.bytes))
        for count in 0..<bytes.count {
            #expect(throws: DecodeError.self) { try JournalMessage(ByteBuffer(bytes: Array(bytes[..<count]))) }
        }
        // The other way round it would be a second encoding.
        let half = FaultProof.bytesCount / 2
        let reversed = [2] + Array(bytes[(1 + half)...]) + Array(bytes[1...half])
        #expect(throws: DecodeError.malformed("fault proof")) { try JournalMessage(ByteBuffer(bytes: reversed)) }
        #expect(throws: DecodeError.malformed("journal message (more behind it)")) {
            try JournalMessage(ByteBuffer(bytes: bytes + [0]))
        }
    }

    @Test("no two entries of an honest feed prove anything, nor do those of two feeds or communities")
    func noProof() {
        var (author, other) = (Author(1), Author(2))
        author.write(count: 4)
        other.write(count: 4)
        for one in author.entries {
            for two in author.entries + other.entries { #expect(FaultProof(one, two) == nil) }
        }
        #expect(FaultProof(Author(1).next("a"), Author(1).next("b", community: CommunityID(.zero))) == nil)
    }
}
