// SPDX-License-Identifier: Apache-2.0
import Foundation
import TuttiBase
import TuttiJournal

import struct NIOCore.ByteBuffer

/// Finds the entries in a damaged file, without SQLite: every page of the file and of its log that looks like a leaf of
/// a table is searched for rows of `entries`, and each row found must check as on any read. So what is lost is what
/// stood on the damaged pages themselves, whatever happened to the pages above them.
///
/// Follows the SQLite file format (sqlite.org/fileformat2.html), sections 1.6, 2.1 and 4.1. Everything read is taken for
/// hostile: numbers are checked before they are used.
///
/// It does not: look at other tables, tell current pages from outdated ones. An outdated page may bring back a body that
/// was dropped; its time being over, it is dropped again.
struct PageSalvage {
    private static let pageBytes = JournalSchema.pageBytes
    private static let logHeaderBytes = 32
    private static let frameHeaderBytes = 24
    private static let leafOfTable: UInt8 = 0x0D
    /// Columns of `entries`: the last is the entry, the first (the row's own number) is stored as null.
    private static let columnsCount = 10

    private let file: FileHandle
    private let log: FileHandle?
    private let pagesCount: Int
    private let framesCount: Int
    /// Page number to the last frame that holds it.
    private var frames: [UInt32: Int] = [:]

    init(path: String) throws {
        file = try Self.open(path)
        log = FileManager.default.fileExists(atPath: path + "-wal") ? try Self.open(path + "-wal") : nil
        pagesCount = Int(try file.seekToEnd()) / Self.pageBytes
        let logBytes = Int(try log?.seekToEnd() ?? 0)
        framesCount = max(0, logBytes - Self.logHeaderBytes) / (Self.frameHeaderBytes + Self.pageBytes)
        for frame in 0..<framesCount {
            if let number = try logPart(frame, from: 0, count: 4).map({ Self.integer($0, 0, 4) }) {
                frames[UInt32(truncatingIfNeeded: number)] = frame
            }
        }
    }

    private static func open(_ path: String) throws -> FileHandle {
        guard let handle = FileHandle(forReadingAtPath: path) else {
            throw JournalStorageError.failed("can't read \(path)")
        }
        return handle
    }

    /// With the number of its row. The same entry may come more than once.
    func forEachEntry(_ body: (StoredEntry, Int64) throws -> Void) throws {
        for number in 0..<pagesCount {
            guard let page = try filePage(UInt32(clamping: number + 1)) else { continue }
            try search(page, start: number == 0 ? 100 : 0, body)
        }
        for frame in 0..<framesCount {
            guard let page = try logPart(frame, from: Self.frameHeaderBytes, count: Self.pageBytes) else { continue }
            try search(page, start: 0, body)
        }
    }

    // MARK: Pages

    private func filePage(_ number: UInt32) throws -> [UInt8]? {
        guard number > 0 else { return nil }
        try file.seek(toOffset: UInt64(number - 1) * UInt64(Self.pageBytes))
        guard let data = try file.read(upToCount: Self.pageBytes), data.count == Self.pageBytes else { return nil }
        return Array(data)
    }

    private func logPart(_ frame: Int, from: Int, count: Int) throws -> [UInt8]? {
        guard let log else { return nil }
        try log.seek(
            toOffset: UInt64(Self.logHeaderBytes + frame * (Self.frameHeaderBytes + Self.pageBytes) + from))
        guard let data = try log.read(upToCount: count), data.count == count else { return nil }
        return Array(data)
    }

    /// As the log has it, or else the file.
    private func page(_ number: UInt32, withLog: Bool) throws -> [UInt8]? {
        if withLog, let frame = frames[number] {
            return try logPart(frame, from: Self.frameHeaderBytes, count: Self.pageBytes)
        }
        return try filePage(number)
    }

    private func search(_ page: [UInt8], start: Int, _ body: (StoredEntry, Int64) throws -> Void) throws {
        guard page[start] == Self.leafOfTable else { return }
        let count = Int(Self.integer(page, start + 3, 2))
        guard start + 8 + 2 * count <= page.count else { return }
        for index in 0..<count {
            let at = Int(Self.integer(page, start + 8 + 2 * index, 2))
            if let (entry, arrival) = try cell(page, at) { try body(entry, arrival) }
        }
    }

    // MARK: Rows

    /// A cell is: bytes of the row, its number, the row's beginning, and the first page of the rest, if any.
    private func cell(_ page: [UInt8], _ at: Int) throws -> (StoredEntry, Int64)? {
        var at = at
        guard let size = Self.varint(page, &at), let number = Self.varint(page, &at), number <= UInt64(Int64.max),
            size >= 250, size <= UInt64(Entry.bytesMax + 128)
        else { return nil }
        let (usable, size64) = (Self.pageBytes, Int(size))
        let localMax = usable - 35
        let localMin = (usable - 12) * 32 / 255 - 23
        guard size64 > localMax else {
            guard at + size64 <= page.count else { return nil }
            return Self.row(Array(page[at..<(at + size64)])).map { ($0, Int64(number)) }
        }
        let fitting = localMin + (size64 - localMin) % (usable - 4)
        let local = fitting <= localMax ? fitting : localMin
        guard at + local + 4 <= page.count else { return nil }
        let first = UInt32(truncatingIfNeeded: Self.integer(page, at + local, 4))
        let beginning = Array(page[at..<(at + local)])
        for withLog in [true, false] {
            if let whole = try follow(first, beginning, size64, withLog: withLog), let row = Self.row(whole) {
                return (row, Int64(number))
            }
        }
        return nil
    }

    private func follow(_ first: UInt32, _ beginning: [UInt8], _ size: Int, withLog: Bool) throws -> [UInt8]? {
        var (bytes, next) = (beginning, first)
        // Each page brings some bytes: a chain that runs in a circle ends.
        while bytes.count < size {
            guard next > 0, let page = try page(next, withLog: withLog) else { return nil }
            bytes.append(contentsOf: page[4..<min(page.count, 4 + size - bytes.count)])
            next = UInt32(truncatingIfNeeded: Self.integer(page, 0, 4))
        }
        return bytes
    }

    /// A row is: bytes of its head, a type for each column, the columns.
    private static func row(_ bytes: [UInt8]) -> StoredEntry? {
        var at = 0
        guard let head = varint(bytes, &at), head <= UInt64(bytes.count) else { return nil }
        var types: [Int] = []
        while at < Int(head), types.count <= columnsCount {
            guard let type = varint(bytes, &at), type <= UInt64(bytes.count) * 2 + 13 else { return nil }
            types.append(Int(type))
        }
        guard types.count == columnsCount, at == Int(head), let last = types.last, last >= 12, last % 2 == 0 else {
            return nil
        }
        var numbers: [Int64?] = []
        for type in types.dropLast() {
            let widths = [0, 1, 2, 3, 4, 6, 8]
            switch type {
            case 0:
                numbers.append(nil)
            case 8, 9:
                numbers.append(Int64(type - 8))
            case 1...6:
                guard at + widths[type] <= bytes.count else { return nil }
                let shift = 64 - 8 * widths[type]
                numbers.append(Int64(bitPattern: integer(bytes, at, widths[type]) << UInt64(shift)) >> Int64(shift))
                at += widths[type]
            default:
                return nil
            }
        }
        guard at + (last - 12) / 2 == bytes.count, let sequence = numbers[2], let id = numbers[3],
            let seen = numbers[7], let mark = numbers[8]
        else { return nil }
        var buffer = ByteBuffer(bytes: bytes[at...])
        return try? EntryRow.checked(
            &buffer, id: id, firstSeen: HybridTime(stored: seen), mark: mark, sequence: sequence)
    }

    // MARK: Numbers

    /// Big-endian; the caller has checked that the bytes are there.
    private static func integer(_ bytes: [UInt8], _ at: Int, _ count: Int) -> UInt64 {
        bytes[at..<(at + count)].reduce(0) { $0 << 8 | UInt64($1) }
    }

    /// SQLite's own: up to nine bytes, the most significant first, the ninth whole.
    private static func varint(_ bytes: [UInt8], _ at: inout Int) -> UInt64? {
        var value: UInt64 = 0
        for index in 0..<9 {
            guard at >= 0, at < bytes.count else { return nil }
            let byte = bytes[at]
            at += 1
            if index == 8 { return value << 8 | UInt64(byte) }
            value = value << 7 | UInt64(byte & 0x7F)
            if byte < 0x80 { return value }
        }
        return nil
    }
}
