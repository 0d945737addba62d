// SPDX-License-Identifier: Apache-2.0
import Foundation
import TuttiBase
import TuttiIdentity
package import TuttiJournal

import struct NIOCore.ByteBuffer

/// What is wrong with an export, and in which line (the first is 1).
package struct JournalImportError: Error, Hashable, Sendable, CustomStringConvertible {
    package let line: Int
    package let reason: String

    package var description: String { "line \(line): \(reason)" }
}

/// Reads an export and trusts nothing in it: forms, signatures, chains, proofs, order, count and digest.
///
/// The file is read twice, so that nothing is written of one that isn't whole.
package enum JournalImport {
    /// A body of 64 KiB in base64 and the rest of its line.
    static let lineBytesMax = 90_000
    private static let batchCount = 512

    /// - Returns: the community and what the export holds. Entries that the journal has already are left as they are.
    package static func run(
        path: String, into journal: SQLiteJournal
    ) throws -> (community: CommunityID, JournalExportReport) {
        let found = try read(path, verify: true) { _ in }
        var batch = JournalBatch()
        _ = try read(path, verify: false) { item in
            switch item {
            case .entry(let entry): batch.entries.append(entry)
            case .proof(let proof): batch.proofs.append(proof)
            }
            guard batch.entries.count + batch.proofs.count >= batchCount else { return }
            try journal.write(batch)
            batch = JournalBatch()
        }
        try journal.write(batch)
        try journal.deriveFeeds()
        return found
    }

    private enum Item {
        case entry(StoredEntry)
        case proof(FaultProof)
    }

    private static func read(
        _ path: String, verify: Bool, _ take: (Item) throws -> Void
    ) throws -> (community: CommunityID, JournalExportReport) {
        var reader = try ExportReader(path: path)
        guard let first = try reader.next(), let community = firstLine(first) else {
            throw JournalImportError(line: 1, reason: "not the first line of an export")
        }
        var (report, digest, number) = (JournalExportReport(), ExportLine.digest(.zero, first), 1)
        var (last, lastProof): (StoredEntry?, FaultProof?)
        while let line = try reader.next() {
            number += 1
            func refuse(_ reason: String) -> JournalImportError { JournalImportError(line: number, reason: reason) }
            if line == ExportLine.last(entries: report.entries, proofs: report.proofs, digest: digest) {
                guard try reader.next() == nil else { throw refuse("something stands after the last line") }
                return (community, report)
            }
            digest = ExportLine.digest(digest, line)
            if let stored = entryLine(line) {
                guard lastProof == nil else { throw refuse("an entry after a proof") }
                if let problem = problem(stored, after: last, of: community, verify: verify) {
                    throw refuse(problem)
                }
                last = stored
                report.entries += 1
                try take(.entry(stored))
            } else if let proof = proofLine(line) {
                guard proof.first.header.community == community else { throw refuse("a proof of another community") }
                if let lastProof, proof.device <= lastProof.device { throw refuse("proofs out of order") }
                guard !verify || proof.first.isSignatureValid && proof.second.isSignatureValid else {
                    throw refuse("a wrong signature")
                }
                lastProof = proof
                report.proofs += 1
                try take(.proof(proof))
            } else {
                throw refuse("neither an entry nor a proof nor the end that belongs here")
            }
        }
        throw JournalImportError(line: number + 1, reason: "the last line is missing")
    }

    private static func problem(
        _ stored: StoredEntry, after last: StoredEntry?, of community: CommunityID, verify: Bool
    ) -> String? {
        let entry = stored.entry
        guard entry.header.community == community else { return "an entry of another community" }
        if let last, last.isBeside || stored.isBeside {
            guard stored.isBeside else { return "entries out of order" }
            let (a, b) = (last.entry.header, entry.header)
            let isLater = (a.device, a.sequence, last.entry.id) < (b.device, b.sequence, entry.id)
            if last.isBeside, !isLater { return "entries out of order" }
        } else if let last = last?.entry {
            let (a, b) = (last.header, entry.header)
            guard (a.device, a.sequence) < (b.device, b.sequence) else { return "entries out of order" }
            if a.device == b.device, a.sequence.next == b.sequence, b.previous != last.id { return "a broken feed" }
        }
        return verify && !entry.isSignatureValid ? "a wrong signature" : nil
    }

    // MARK: Lines

    private static func firstLine(_ line: String) -> CommunityID? {
        let parts = parts(of: line)
        guard parts.count > 7, let bytes = bytes(parts[7]), let name = Bytes32(bytes) else { return nil }
        return ExportLine.first(CommunityID(name)) == line ? CommunityID(name) : nil
    }

    private static func entryLine(_ line: String) -> StoredEntry? {
        let parts = parts(of: line)
        guard parts.count >= 7, parts[1] == "envelope" || parts[1] == "evidence", let envelope = bytes(parts[3]),
            let seen = parts.last,
            let time = UInt64(seen.dropFirst().prefix { $0 != "}" })
        else { return nil }
        var content: Entry.Content?
        if parts.count == 15 {
            guard let salt = bytes(parts[7]).flatMap({ Bytes32($0) }), let body = bytes(parts[11]) else { return nil }
            content = Entry.Content(salt: salt, body: body)
        }
        guard let entry = entry(envelope, content) else { return nil }
        let stored = StoredEntry(entry, firstSeen: HybridTime(time), isBeside: parts[1] == "evidence")
        return ExportLine.entry(stored) == line ? stored : nil
    }

    private static func proofLine(_ line: String) -> FaultProof? {
        let parts = parts(of: line)
        guard parts.count == 7, parts[1] == "proof", let one = bytes(parts[3]), let other = bytes(parts[5]),
            let first = entry(one, nil), let second = entry(other, nil), let proof = FaultProof(first, second)
        else { return nil }
        return ExportLine.proof(proof) == line ? proof : nil
    }

    /// What stands between quotation marks, and what stands around it.
    private static func parts(of line: String) -> [Substring] {
        line.utf8.split(separator: UInt8(ascii: "\""), omittingEmptySubsequences: false).map { Substring($0) }
    }

    private static func bytes(_ text: Substring) -> [UInt8]? { Data(base64Encoded: String(text)).map(Array.init) }

    /// The envelope is taken apart where the canonical one has its parts; whether it is canonical, the whole line's
    /// comparison tells.
    private static func entry(_ envelope: [UInt8], _ content: Entry.Content?) -> Entry? {
        let signatureCount = Entry.signatureBytesCount
        let headerStart = envelope.count - signatureCount - 2 - EntryHeader.bytesCount
        guard headerStart > 0 else { return nil }
        var compact = ByteBuffer()
        compact.writeInteger(UInt8(content == nil ? 0 : 1))
        compact.writeBytes(envelope[headerStart..<(headerStart + EntryHeader.bytesCount)])
        compact.writeBytes(envelope.suffix(signatureCount))
        if let content {
            compact.writeBytes(content.salt.bytes)
            compact.writeBytes(content.body)
        }
        guard let entry = try? Entry(from: &compact), compact.readableBytes == 0 else { return nil }
        return entry
    }
}

/// Lines of a file, each with its line feed, of bounded length.
private struct ExportReader {
    private let file: FileHandle
    private var buffer = Data()
    private var lines = 0

    init(path: String) throws {
        guard let file = FileHandle(forReadingAtPath: path) else {
            throw JournalStorageError.failed("can't read the export")
        }
        self.file = file
    }

    mutating func next() throws -> String? {
        var searched = 0
        while true {
            if let end = buffer.dropFirst(searched).firstIndex(of: 0x0A) {
                let line = buffer[...end]
                guard line.count <= JournalImport.lineBytesMax, let text = String(validating: line, as: UTF8.self)
                else {
                    throw JournalImportError(line: lines + 1, reason: "a line that is too long or no text")
                }
                buffer = buffer[(end + 1)...]
                lines += 1
                return text
            }
            searched = buffer.count
            guard searched <= JournalImport.lineBytesMax else {
                throw JournalImportError(line: lines + 1, reason: "a line that is too long")
            }
            // A new copy, so that what was read is let go.
            buffer = Data(buffer) + (try file.read(upToCount: 1 << 18) ?? Data())
            if buffer.count == searched {
                guard buffer.isEmpty else { throw JournalImportError(line: lines + 1, reason: "a line without an end") }
                return nil
            }
        }
    }
}
