// SPDX-License-Identifier: Apache-2.0
package import Foundation
import GRDB
import TuttiBase
import TuttiIdentity
package import TuttiJournal

import struct NIOCore.ByteBuffer

/// The lines of an export: JSON in one form only, so that whoever reads a line encodes it again and compares bytes.
///
/// | line | form |
/// |---|---|
/// | first | `{"format":"tutti-export-1","community":"BASE64"}` |
/// | an entry | `{"envelope":"BASE64","salt":"BASE64","body":"BASE64","seen":N}`; without salt and body when they were dropped |
/// | an entry beside its feed | the same with `evidence` in place of `envelope` |
/// | a fault proof | `{"proof":["BASE64","BASE64"]}`: two envelopes, the lower sequence first, then the lower entry id |
/// | last | `{"entries":N,"proofs":N,"digest":"BASE64"}` |
///
/// No blanks; fields in this order; base64 with padding; each line ends with one line feed. Entries are ordered by device
/// and sequence, after them those beside their feeds by device, sequence and id, then proofs by device. The digest runs over all lines before: it starts as 32 zero bytes,
/// and each line with its line feed makes it SHA-256(digest ‖ line).
enum ExportLine {
    static let format = "tutti-export-1"

    static func first(_ community: CommunityID) -> String {
        "{\"format\":\"\(format)\",\"community\":\"\(base64(community.bytes.bytes))\"}\n"
    }

    static func entry(_ stored: StoredEntry) -> String {
        var line =
            "{\"\(stored.isBeside ? "evidence" : "envelope")\":\"\(base64(stored.entry.envelope.readableBytesView))\","
        if let content = stored.entry.content {
            line += "\"salt\":\"\(base64(content.salt.bytes))\",\"body\":\"\(base64(content.body))\","
        }
        return line + "\"seen\":\(stored.firstSeen.value)}\n"
    }

    static func proof(_ proof: FaultProof) -> String {
        let envelopes = [proof.first, proof.second].map { "\"\(base64($0.envelope.readableBytesView))\"" }
        return "{\"proof\":[\(envelopes.joined(separator: ","))]}\n"
    }

    static func last(entries: Int, proofs: Int, digest: Bytes32) -> String {
        "{\"entries\":\(entries),\"proofs\":\(proofs),\"digest\":\"\(base64(digest.bytes))\"}\n"
    }

    static func digest(_ digest: Bytes32, _ line: String) -> Bytes32 {
        KeyDerivation.sha256(digest.bytes + line.utf8)
    }

    private static func base64(_ bytes: some Collection<UInt8>) -> String { Data(bytes).base64EncodedString() }
}

package struct JournalExportReport: Hashable, Sendable {
    package var entries = 0
    package var proofs = 0

    package init() {}
}

extension SQLiteJournal {
    /// Writes every entry and proof, as they are at this moment, in pieces of about 64 KiB. While it runs the log grows
    /// with what is written meanwhile.
    package func export(
        community: CommunityID, to write: (Data) throws -> Void
    ) throws(JournalStorageError) -> JournalExportReport {
        try named {
            try pool.read { db in
                var (report, digest, piece) = (JournalExportReport(), Bytes32.zero, Data())
                func add(_ line: String) throws {
                    digest = ExportLine.digest(digest, line)
                    piece.append(contentsOf: line.utf8)
                    guard piece.count >= 1 << 16 else { return }
                    try write(piece)
                    piece.removeAll(keepingCapacity: true)
                }
                try add(ExportLine.first(community))
                let rows = try Row.fetchCursor(
                    db,
                    sql: """
                        SELECT \(EntryRow.columns) FROM names CROSS JOIN entries ON device = number
                        WHERE sequence > 0 ORDER BY bytes, sequence
                        """)
                while let row = try rows.next() {
                    try add(ExportLine.entry(EntryRow(row).stored))
                    report.entries += 1
                }
                for stored in try JournalReads(db: db).evidence() {
                    try add(ExportLine.entry(stored))
                    report.entries += 1
                }
                for proof in try JournalReads(db: db).proofs() {
                    try add(ExportLine.proof(proof))
                    report.proofs += 1
                }
                piece.append(
                    contentsOf: ExportLine.last(entries: report.entries, proofs: report.proofs, digest: digest).utf8)
                try write(piece)
                return report
            }
        }
    }

    /// Into a new file, which is there only when it is whole.
    package func export(
        community: CommunityID, toFile path: String
    ) throws(JournalStorageError) -> JournalExportReport {
        try named {
            guard !FileManager.default.fileExists(atPath: path) else {
                throw JournalStorageError.failed("there is a file at this place already")
            }
            let unfinished = path + ".unfinished"
            guard
                FileManager.default.createFile(
                    atPath: unfinished, contents: nil, attributes: [.posixPermissions: 0o600]),
                let file = FileHandle(forWritingAtPath: unfinished)
            else { throw JournalStorageError.failed("can't make a file at this place") }
            let report = try export(community: community) { piece in try file.write(contentsOf: piece) }
            try file.close()
            try FileSync.rename(unfinished, to: path)
            return report
        }
    }
}
