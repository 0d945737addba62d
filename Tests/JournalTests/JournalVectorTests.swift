// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import TuttiBase
import TuttiIdentity
import TuttiJournal

import struct NIOCore.ByteBuffer

/// `docs/protocols/journal/*.json`, for other implementations. Run with TUTTI_WRITE_VECTORS=1 to write them anew.
@Suite(.timeLimit(.minutes(1))) struct JournalVectorTests {
    struct EntryVector: Codable {
        let name: String
        let seed: String
        let kind: Int
        let isCritical: Bool
        let retention: Int
        let sequence: UInt64
        let time: UInt64
        let community: String
        let device: String
        let previous: String
        let governance: String
        let salt: String
        let body: String
        let bodyDigest: String
        let header: String
        let signed: String
        let id: String
        let signature: String
        let compact: String
        let compactWithoutBody: String
        let envelope: String
    }

    struct RefusedVector: Codable {
        let name: String
        let bytes: String
        /// "form": no decoder takes it. "signature": it is an entry, and not its author's.
        let fails: String
    }

    struct FaultVector: Codable {
        let name: String
        let bytes: String
        let id: String
        let device: String
        let sequence: UInt64
    }

    static func hex(_ bytes: some Sequence<UInt8>) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    static func feed() -> Author {
        var author = Author(1)
        author.write("first", kind: .join)
        author.write("Grüße", kind: EntryKind(0x1234), isCritical: true, retention: .month)
        author.write("", retention: .day, milliseconds: startMilliseconds + 1)
        author.write(String(repeating: "x", count: 300), retention: .year, milliseconds: (1 << 48) - 1)
        return author
    }

    static func vector(_ name: String, _ entry: Entry) throws -> EntryVector {
        let content = try #require(entry.content)
        let header = entry.header
        return EntryVector(
            name: name, seed: hex(Author(1).key.seed.bytes), kind: Int(header.kind.rawValue),
            isCritical: header.isCritical, retention: Int(header.retention.rawValue), sequence: header.sequence.value,
            time: header.time.value, community: hex(header.community.bytes.bytes),
            device: hex(header.device.bytes.bytes), previous: hex(header.previous.bytes.bytes),
            governance: hex(header.governance.bytes.bytes), salt: hex(content.salt.bytes), body: hex(content.body),
            bodyDigest: hex(header.bodyDigest.bytes), header: hex(header.bytes),
            signed: hex(Entry.signedBytes(header.bytes)), id: hex(entry.id.bytes.bytes),
            signature: hex(entry.signature), compact: hex(EntryCodingTests.encoded(entry)),
            compactWithoutBody: hex(EntryCodingTests.encoded(entry, withBody: false)),
            envelope: hex(entry.envelope.readableBytesView))
    }

    static func refused() -> [RefusedVector] {
        let entry = feed().entries[1]
        let good = EntryCodingTests.encoded(entry)
        func changed(_ name: String, _ place: Int, _ value: UInt8) -> RefusedVector {
            var bytes = good
            bytes[place] = value
            return RefusedVector(name: name, bytes: hex(bytes), fails: "form")
        }
        func signed(_ name: String, _ change: (inout [UInt8]) -> Void) -> RefusedVector {
            var bytes = good
            change(&bytes)
            return RefusedVector(name: name, bytes: hex(bytes), fails: "signature")
        }
        let governance = Author(1).next("x", kind: EntryKind(0x00FF), retention: .year)
        return [
            changed("a form that doesn't exist", 0, 2), changed("version 2", 1, 2), changed("an unknown flag", 2, 2),
            changed("an unknown retention class", 5, 5), changed("a body over the limit", 6, 1),
            changed("a sequence over the limit", 10, 2), changed("sequence zero", 17, 0),
            changed("the first with a predecessor", 17, 1), changed("another salt", 250, 0xFF),
            changed("another body", 282, 0xFF),
            RefusedVector(
                name: "governance that is dropped", bytes: hex(EntryCodingTests.encoded(governance)), fails: "form"),
            RefusedVector(name: "the last byte missing", bytes: hex(good.dropLast()), fails: "form"),
            signed("another time") { $0[18] ^= 1 },
            signed("another signature") { $0[200] ^= 1 },
            signed("signed for another domain") { bytes in
                let other = SignedEnvelope.signedBytes(
                    domain: "libp2p-peer-record", payloadType: Entry.payloadType,
                    payload: ByteBuffer(bytes: entry.header.bytes))
                bytes.replaceSubrange(186..<250, with: Author(1).key.sign(other))
            },
            signed("the header signed alone") { bytes in
                bytes.replaceSubrange(186..<250, with: Author(1).key.sign(entry.header.bytes))
            },
            signed("S not reduced") { bytes in
                let order: [UInt8] =
                    [0xED, 0xD3, 0xF5, 0x5C, 0x1A, 0x63, 0x12, 0x58, 0xD6, 0x9C, 0xF7, 0xA2, 0xDE, 0xF9, 0xDE, 0x14]
                    + Array(repeating: 0, count: 15) + [0x10]
                var carry: UInt16 = 0
                for place in 0..<32 {
                    let sum = UInt16(bytes[218 + place]) + UInt16(order[place]) + carry
                    bytes[218 + place] = UInt8(truncatingIfNeeded: sum)
                    carry = sum >> 8
                }
            },
            signed("a device of small order, R neutral, S zero") { bytes in
                bytes.replaceSubrange(58..<90, with: [1] + Array(repeating: 0, count: 31))
                bytes.replaceSubrange(186..<250, with: [1] + Array(repeating: 0, count: 63))
            },
            signed("a device that is no reduced coordinate") { bytes in
                bytes.replaceSubrange(58..<90, with: [0xEE] + Array(repeating: 0xFF, count: 30) + [0x7F])
            },
        ]
    }

    static func faults() throws -> [FaultVector] {
        let feed = feed()
        let branch = feed.branch(after: 2)
        let fork = try #require(FaultProof(feed.entries[2], branch.next("other")))
        let broken = feed.entry(at: EntrySequence(4), previous: feed.entries[0].id, "broken")
        let link = try #require(FaultProof(feed.entries[2], broken))
        return [("two at one place", fork), ("a broken link", link)].map { name, proof in
            FaultVector(
                name: name, bytes: hex(EntryCodingTests.encoded(proof)), id: hex(proof.id.bytes),
                device: hex(proof.device.bytes.bytes), sequence: proof.sequence.value)
        }
    }

    static func check(_ name: String, _ vectors: some Encodable) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        let text = String(decoding: try encoder.encode(vectors), as: UTF8.self) + "\n"
        let path = URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "../../docs/protocols/journal/\(name).json").standardizedFileURL
        if ProcessInfo.processInfo.environment["TUTTI_WRITE_VECTORS"] == "1" {
            try Data(text.utf8).write(to: path)
        }
        #expect(try String(contentsOf: path, encoding: .utf8) == text)
    }

    @Test("entries.json is what this code makes")
    func entries() throws {
        let names = ["governance, the first of its feed", "critical", "an empty body", "the latest time there is"]
        try Self.check("entries", try zip(names, Self.feed().entries).map { try Self.vector($0, $1) })
    }

    @Test("refused.json is refused as it says")
    func refusedEntries() throws {
        let vectors = Self.refused()
        try Self.check("refused", vectors)
        for vector in vectors {
            let bytes = stride(from: 0, to: vector.bytes.count, by: 2).compactMap { place in
                UInt8(vector.bytes.dropFirst(place).prefix(2), radix: 16)
            }
            var buffer = ByteBuffer(bytes: bytes)
            if let entry = try? Entry(from: &buffer) {
                #expect(vector.fails == "signature" && !entry.isSignatureValid, "\(vector.name)")
            } else {
                #expect(vector.fails == "form", "\(vector.name)")
            }
        }
    }

    @Test("faults.json is what this code makes")
    func faultProofs() throws {
        try Self.check("faults", try Self.faults())
    }
}
