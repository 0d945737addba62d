// SPDX-License-Identifier: Apache-2.0
package import Foundation

/// Reads comma-separated values (RFC 4180) as programs really write them: with or without a byte order mark, lines that
/// end in CR LF, LF or CR, semicolons or tabs in place of commas, blank lines, and quotes inside of unquoted fields.
package struct CSVReader {
    package struct Record: Hashable {
        /// On which it begins, from 1.
        package let line: Int
        package let fields: [String]
    }

    package static let bytesMax = 32 << 20
    package static let recordsMax = 20_000
    package static let fieldsMax = 256

    private let bytes: [UInt8]
    private let separator: UInt8
    private var place = 0
    private var line = 1

    /// All records, the header first.
    package static func records(_ data: Data) throws -> [Record] {
        guard data.count <= bytesMax else {
            throw CommunityError(.tooLarge, "the file has more than \(bytesMax >> 20) MiB: import it in parts")
        }
        var bytes = [UInt8](data)
        if bytes.starts(with: [0xEF, 0xBB, 0xBF]) { bytes.removeFirst(3) }
        if bytes.starts(with: [0xFF, 0xFE]) || bytes.starts(with: [0xFE, 0xFF]) {
            throw CommunityError(.invalidInput, "the file is UTF-16: save it as CSV in UTF-8")
        }
        guard String(validating: bytes, as: UTF8.self) != nil else {
            throw CommunityError(
                .invalidInput, "line \(badLine(bytes)) is not UTF-8: save the file as CSV in UTF-8")
        }
        var reader = CSVReader(bytes: bytes, separator: separator(of: bytes))
        var records: [Record] = []
        while let record = try reader.next() {
            guard records.count < recordsMax else {
                throw CommunityError(.tooLarge, "the file has more than \(recordsMax) rows: import it in parts")
            }
            records.append(record)
        }
        return records
    }

    private init(bytes: [UInt8], separator: UInt8) {
        self.bytes = bytes
        self.separator = separator
    }

    private static func badLine(_ bytes: [UInt8]) -> Int {
        let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        return (lines.firstIndex { String(validating: $0, as: UTF8.self) == nil } ?? 0) + 1
    }

    /// The one that the header has most of.
    private static func separator(of bytes: [UInt8]) -> UInt8 {
        var counts = [UInt8(ascii: ","): 0, UInt8(ascii: ";"): 0, UInt8(ascii: "\t"): 0]
        var isQuoted = false
        for byte in bytes.drop(while: isLineEnd) {
            if byte == UInt8(ascii: "\"") { isQuoted.toggle() }
            if isQuoted { continue }
            if isLineEnd(byte) { break }
            counts[byte]? += 1
        }
        return [",", ";", "\t"].map { UInt8(ascii: $0) }.max { counts[$0, default: 0] < counts[$1, default: 0] }
            ?? UInt8(ascii: ",")
    }

    private static func isLineEnd(_ byte: UInt8) -> Bool { byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r") }

    // MARK: Records

    /// Nil at the end.
    private mutating func next() throws -> Record? {
        while place < bytes.count, Self.isLineEnd(bytes[place]) { endLine() }
        guard place < bytes.count else { return nil }
        let first = line
        var fields = [try field()]
        while place < bytes.count, bytes[place] == separator {
            place += 1
            guard fields.count < Self.fieldsMax else {
                throw CommunityError(.tooLarge, "line \(first) has more than \(Self.fieldsMax) fields")
            }
            fields.append(try field())
        }
        if place < bytes.count { endLine() }
        return Record(line: first, fields: fields)
    }

    /// CR LF counts as one.
    private mutating func endLine() {
        let isPair =
            bytes[place] == UInt8(ascii: "\r") && place + 1 < bytes.count && bytes[place + 1] == UInt8(ascii: "\n")
        place += isPair ? 2 : 1
        line += 1
    }

    private mutating func field() throws -> String {
        if place < bytes.count, bytes[place] == UInt8(ascii: "\"") { return try quotedField() }
        let start = place
        while place < bytes.count, bytes[place] != separator, !Self.isLineEnd(bytes[place]) { place += 1 }
        return String(decoding: bytes[start..<place], as: UTF8.self)
    }

    /// Line ends within become line feeds.
    private mutating func quotedField() throws -> String {
        let first = line
        var text: [UInt8] = []
        place += 1
        while place < bytes.count {
            let byte = bytes[place]
            if Self.isLineEnd(byte) {
                endLine()
                text.append(UInt8(ascii: "\n"))
                continue
            }
            place += 1
            guard byte == UInt8(ascii: "\"") else {
                text.append(byte)
                continue
            }
            if place < bytes.count, bytes[place] == UInt8(ascii: "\"") {
                text.append(byte)
                place += 1
                continue
            }
            guard place == bytes.count || bytes[place] == separator || Self.isLineEnd(bytes[place]) else {
                throw CommunityError(
                    .invalidInput,
                    "line \(line): text follows a closing quote: write quotes inside of a quoted field twice")
            }
            return String(decoding: text, as: UTF8.self)
        }
        throw CommunityError(.invalidInput, "line \(first): a quote is opened there and never closed")
    }

    // MARK: Writing

    /// One record with its line end, as RFC 4180 has it.
    package static func line(_ fields: [String]) -> String {
        fields.map { field in
            let isPlain = field.utf8.allSatisfy { byte in
                byte != UInt8(ascii: ",") && byte != UInt8(ascii: ";") && byte != UInt8(ascii: "\t")
                    && byte != UInt8(ascii: "\"") && !isLineEnd(byte)
            }
            return isPlain ? field : "\"\(field.replacing("\"", with: "\"\""))\""
        }.joined(separator: ",") + "\r\n"
    }
}
