// SPDX-License-Identifier: Apache-2.0
import TuttiBase

package import struct NIOCore.ByteBuffer

/// Noise's transport messages: two bytes of length, ciphertext, tag (libp2p/specs, noise/README.md, "Wire Format").
///
/// Opens records where they lie and seals small things where they were written; a large payload is sealed straight from
/// the application's buffer into the output. Without a session (plaintext beneath TLS) bytes pass through unchanged.
package struct RecordLayer {
    /// What we put into one record: fits the first-level cache, and costs the peer at most this much to wait for.
    package static let plaintextBytes = 16 * 1024
    /// From here on a payload gets records of its own instead of being copied beside others.
    package static let directBytesMin = 4 * 1024

    private let sealing: RecordCipher?
    private let opening: RecordCipher?
    /// The beginning of a record whose rest has not arrived.
    private var partial = ByteBuffer()
    /// Where the record under construction begins in the output.
    private var recordStart: Int?

    package init(_ session: NoiseSession?) {
        sealing = session?.sealing
        opening = session?.opening
    }

    package var isInsideRecord: Bool { partial.readableBytes > 0 }

    // MARK: Opening

    /// Decrypts every whole record of `bytes` and appends their plaintexts, as slices, to `plaintexts`.
    ///
    /// The storage is overwritten in place: the caller gives the bytes up.
    package mutating func open(
        _ bytes: consuming ByteBuffer, into plaintexts: inout [ByteBuffer]
    ) throws(ConnectionViolation) {
        guard let opening else {
            plaintexts.append(bytes)
            return
        }
        var input = bytes
        while partial.readableBytes > 0, input.readableBytes > 0 {
            guard completePartial(from: &input) else { continue }
            let record = partial
            partial = ByteBuffer()
            try Self.open(record, at: record.readerIndex, with: opening, into: &plaintexts)
        }
        while let length = input.getInteger(at: input.readerIndex, as: UInt16.self),
            input.readableBytes >= 2 + Int(length)
        {
            try Self.open(input, at: input.readerIndex, with: opening, into: &plaintexts)
            input.moveReaderIndex(forwardBy: 2 + Int(length))
        }
        if input.readableBytes > 0 {
            partial = ByteBuffer()
            partial.writeImmutableBuffer(input)
        }
    }

    /// Moves what is missing of the partial record; true when it is whole.
    private mutating func completePartial(from input: inout ByteBuffer) -> Bool {
        let whole = partial.getInteger(at: partial.readerIndex, as: UInt16.self).map { 2 + Int($0) } ?? 2
        if var part = input.readSlice(length: min(whole - partial.readableBytes, input.readableBytes)) {
            partial.writeBuffer(&part)
        }
        guard let length = partial.getInteger(at: partial.readerIndex, as: UInt16.self) else { return false }
        return partial.readableBytes >= 2 + Int(length)
    }

    private static func open(
        _ buffer: ByteBuffer, at index: Int, with cipher: RecordCipher, into plaintexts: inout [ByteBuffer]
    ) throws(ConnectionViolation) {
        guard let length = buffer.getInteger(at: index, as: UInt16.self), Int(length) >= RecordCipher.tagBytes,
            index + 2 + Int(length) <= buffer.writerIndex
        else { throw .noise(.malformed("noise record")) }
        // Written through a pointer that ignores sharing: the socket's buffer pool holds a second reference, which would
        // otherwise copy the whole read for every record. Nobody else reads these bytes, the caller gave them up.
        let isGenuine = buffer.withVeryUnsafeBytes { storage in
            let record = UnsafeMutableRawBufferPointer(
                mutating: UnsafeRawBufferPointer(rebasing: storage[(index + 2)..<(index + 2 + Int(length))]))
            return cipher.open(record)
        }
        guard isGenuine else { throw .noise(.malformed("noise record")) }
        let count = Int(length) - RecordCipher.tagBytes
        if count > 0, let plaintext = buffer.getSlice(at: index + 2, length: count) {
            plaintexts.append(plaintext)
        }
    }

    // MARK: Sealing

    /// Appends `bytes` to the record under construction, beginning new ones as they fill.
    package mutating func write(_ bytes: ByteBuffer, into output: inout ByteBuffer) {
        guard sealing != nil else {
            output.writeImmutableBuffer(bytes)
            return
        }
        var rest = bytes
        while rest.readableBytes > 0 {
            let start = beginRecord(in: &output)
            let room = max(0, Self.plaintextBytes - (output.writerIndex - start - 2))
            if var part = rest.readSlice(length: min(room, rest.readableBytes)) {
                output.writeBuffer(&part)
            }
            if output.writerIndex - start - 2 >= Self.plaintextBytes { endRecord(in: &output) }
        }
    }

    /// Readies `output` for a frame header that the caller appends next, where small things go. A header may overrun the
    /// chosen record size by its few bytes; Noise's own limit is four times as far.
    package mutating func prepareForHeader(in output: inout ByteBuffer) {
        guard sealing != nil else { return }
        _ = beginRecord(in: &output)
    }

    /// Appends a payload: a large one is sealed from where it lies.
    package mutating func writePayload(_ payload: ByteBuffer, into output: inout ByteBuffer) {
        guard let sealing, payload.readableBytes >= Self.directBytesMin else {
            write(payload, into: &output)
            return
        }
        endRecord(in: &output)
        payload.withUnsafeReadableBytes { source in
            var offset = 0
            while offset < source.count {
                let count = min(Self.plaintextBytes, source.count - offset)
                let part = UnsafeRawBufferPointer(rebasing: source[offset..<(offset + count)])
                output.writeInteger(UInt16(count + RecordCipher.tagBytes))
                output.writeWithUnsafeMutableBytes(minimumWritableBytes: count + RecordCipher.tagBytes) { target in
                    sealing.seal(part, into: target)
                    return count + RecordCipher.tagBytes
                }
                offset += count
            }
        }
    }

    /// Seals the record under construction. Call before the output leaves.
    package mutating func endRecord(in output: inout ByteBuffer) {
        guard let sealing, let start = recordStart else { return }
        recordStart = nil
        let count = output.writerIndex - start - 2
        guard count > 0 else {
            output.moveWriterIndex(to: start)
            return
        }
        output.setInteger(UInt16(truncatingIfNeeded: count + RecordCipher.tagBytes), at: start)
        output.writeRepeatingByte(0, count: RecordCipher.tagBytes)
        let offset = start + 2 - output.readerIndex
        output.withUnsafeMutableReadableBytes { bytes in
            let record = UnsafeMutableRawBufferPointer(
                rebasing: bytes[offset..<(offset + count + RecordCipher.tagBytes)])
            sealing.seal(UnsafeRawBufferPointer(rebasing: record[0..<count]), into: record)
        }
    }

    private mutating func beginRecord(in output: inout ByteBuffer) -> Int {
        if let recordStart { return recordStart }
        let start = output.writerIndex
        output.writeInteger(UInt16(0))
        recordStart = start
        return start
    }
}
