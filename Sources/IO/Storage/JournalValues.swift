// SPDX-License-Identifier: Apache-2.0
import Foundation
import GRDB
import TuttiBase
import TuttiIdentity
import TuttiJournal

import struct NIOCore.ByteBuffer

// Between rows and values. A column that isn't what was written there is damage, never a trap.

extension HybridTime {
    var stored: Int64 { Int64(bitPattern: value ^ 1 << 63) }
    init(stored: Int64) { self.init(UInt64(bitPattern: stored) ^ 1 << 63) }
}

extension Bytes32 {
    var data: Data { withUnsafeBytes { Data($0) } }
    /// The first eight bytes as a number.
    var prefix: Int64 { Int64(bitPattern: words.0) }
}

extension Row {
    func integer(_ column: Int) throws -> Int64 {
        guard case .int64(let value) = (self[column] as DatabaseValue).storage else {
            throw JournalStorageError.damaged
        }
        return value
    }

    func text(_ column: Int) throws -> String {
        guard case .string(let value) = (self[column] as DatabaseValue).storage else {
            throw JournalStorageError.damaged
        }
        return value
    }

    func optionalText(_ column: Int) throws -> String? {
        (self[column] as DatabaseValue).isNull ? nil : try text(column)
    }

    /// An empty blob may come back as one of no bytes or, from some builds, as null.
    func bytes(_ column: Int) throws -> [UInt8] {
        switch (self[column] as DatabaseValue).storage {
        case .blob(let value): return Array(value)
        case .null: return []
        default: throw JournalStorageError.damaged
        }
    }

    func bytes32(_ column: Int) throws -> Bytes32 {
        guard let value = try Bytes32(bytes(column)) else { throw JournalStorageError.damaged }
        return value
    }

    /// Eight bytes, big-endian.
    func number(_ column: Int) throws -> UInt64 {
        let value = try bytes(column)
        guard value.count == 8 else { throw JournalStorageError.damaged }
        return value.reduce(0) { $0 << 8 | UInt64($1) }
    }

    func buffer(_ column: Int) throws -> ByteBuffer {
        guard case .blob = (self[column] as DatabaseValue).storage else { throw JournalStorageError.damaged }
        return try withUnsafeData(atIndex: column) { data in ByteBuffer(bytes: data ?? Data()) }
    }
}

/// An entry as a row holds it.
struct EntryRow {
    static let columns = "arrival, id, first_seen, mark, entry, sequence"

    let arrival: Int64
    let stored: StoredEntry

    /// The columns as ``columns`` names them, from the first.
    init(_ row: Row) throws {
        arrival = try row.integer(0)
        var buffer = try row.buffer(4)
        stored = try Self.checked(
            &buffer, id: row.integer(1), firstSeen: HybridTime(stored: row.integer(2)), mark: row.integer(3),
            sequence: row.integer(5))
    }

    static func checked(
        _ buffer: inout ByteBuffer, id: Int64, firstSeen: HybridTime, mark: Int64, sequence: Int64
    ) throws -> StoredEntry {
        guard let entry = try? Entry(from: &buffer), buffer.readableBytes == 0, entry.id.bytes.prefix == id,
            Mark.of(entry, firstSeen) == mark
        else { throw JournalStorageError.damaged }
        return StoredEntry(entry, firstSeen: firstSeen, isBeside: sequence < 0)
    }

    static func data(of entry: Entry) -> Data {
        var buffer = ByteBuffer()
        buffer.reserveCapacity(entry.encodedBytesCount)
        entry.encode(into: &buffer)
        return buffer.withUnsafeReadableBytes { Data($0) }
    }

    /// Nil: nothing that a time could take away.
    static func due(_ entry: Entry, _ firstSeen: HybridTime) -> Int64? {
        guard entry.content != nil, entry.header.retention != .permanent else { return nil }
        return min(entry.header.time, firstSeen).stored
    }
}

/// Eight bytes of a digest, beside each authentic row: a bit that turned shows when the row is read.
enum Mark {
    /// Over what neither the id nor the body's digest covers.
    static func of(_ entry: Entry, _ firstSeen: HybridTime) -> Int64 {
        digest(entry.signature, firstSeen.value)
    }

    static func of(_ feed: FeedRecord) -> Int64 {
        let id = feed.head.id.bytes.bytes
        return digest(feed.device.bytes.bytes + id, feed.low.value, feed.head.sequence.value, feed.isFrozen ? 1 : 0)
    }

    static func of(_ proof: FaultProof) -> Int64 {
        digest(
            proof.first.id.bytes.bytes + proof.first.signature + proof.second.id.bytes.bytes + proof.second.signature)
    }

    static func of(_ receipt: ReceiptRecord) -> Int64 {
        digest(receipt.device.bytes.bytes + receipt.holder.bytes, receipt.head.value)
    }

    static func of(_ name: String, _ value: [UInt8]) -> Int64 { digest(Array(name.utf8) + [0] + value) }

    static func of(_ slot: SlotRecord) -> Int64 {
        digest(slot.key.bytes + slot.value, UInt64(slot.key.shelf.value), UInt64(slot.key.bytes.count))
    }

    private static func digest(_ bytes: [UInt8], _ numbers: UInt64...) -> Int64 {
        var bytes = bytes
        for number in numbers { withUnsafeBytes(of: number.bigEndian) { bytes.append(contentsOf: $0) } }
        return KeyDerivation.sha256(bytes).prefix
    }
}

extension JournalStorageError {
    init(_ error: any Error) {
        switch error {
        case let error as JournalStorageError:
            self = error
        case let error as DatabaseError:
            self.init(error)
        // A value that no column of ours holds.
        case is RowDecodingError:
            self = .damaged
        default:
            self = .failed(String(describing: error))
        }
    }

    private init(_ error: DatabaseError) {
        switch error.resultCode {
        case .SQLITE_FULL:
            self = .diskFull
        case .SQLITE_CORRUPT, .SQLITE_NOTADB:
            self = .damaged
        default:
            switch error.extendedResultCode {
            case .SQLITE_IOERR_SHMSIZE: self = .diskFull
            case .SQLITE_IOERR_SHORT_READ: self = .damaged
            // Without the statement's arguments: they may be somebody's words.
            default: self = .failed("SQLite \(error.extendedResultCode.rawValue): \(error.message ?? "no message")")
            }
        }
    }

    /// For whoever keeps the node, in one sentence.
    package var advice: String {
        switch self {
        case .diskFull:
            "The disk is full: nothing was lost; make room, and the node goes on."
        case .damaged:
            "The journal's file is damaged: stop the node and run `tutti repair`; it keeps the damaged file aside."
        case .failed(let text):
            text
        }
    }
}

/// Runs a body whose every error has a name.
func named<R>(_ body: () throws -> R) throws(JournalStorageError) -> R {
    do { return try body() } catch { throw JournalStorageError(error) }
}
