// SPDX-License-Identifier: Apache-2.0
package import struct NIOCore.ByteBuffer

/// Reads a fuzzer's input as a list of choices. When it is used up every choice is the first one, so a run always ends.
package struct ByteSource {
    private var bytes: ArraySlice<UInt8>

    package init(_ bytes: [UInt8]) {
        self.bytes = bytes[...]
    }

    package init(_ start: UnsafePointer<UInt8>?, _ count: Int) {
        self.init(Array(UnsafeBufferPointer(start: start, count: count)))
    }

    package var isEmpty: Bool { bytes.isEmpty }
    package var count: Int { bytes.count }

    package mutating func byte() -> UInt8 {
        bytes.popFirst() ?? 0
    }

    package mutating func bool() -> Bool {
        byte() & 1 == 1
    }

    /// Below `end`, which is at least 1.
    package mutating func below(_ end: Int) -> Int {
        guard end > 1 else { return 0 }
        if end <= 256 { return Int(byte()) % end }
        return Int(word16()) % end
    }

    package mutating func word16() -> UInt16 {
        UInt16(byte()) << 8 | UInt16(byte())
    }

    package mutating func word32() -> UInt32 {
        UInt32(word16()) << 16 | UInt32(word16())
    }

    package mutating func word64() -> UInt64 {
        UInt64(word32()) << 32 | UInt64(word32())
    }

    package mutating func pick<T>(_ choices: [T]) -> T {
        choices[below(choices.count)]
    }

    /// Where arithmetic goes wrong: zero, one, the ends, the sign bit, limits and their neighbours.
    package mutating func boundary32(around limit: UInt32) -> UInt32 {
        switch byte() % 12 {
        case 0: 0
        case 1: 1
        case 2: .max
        case 3: .max - 1
        case 4: 0x8000_0000
        case 5: 0x7FFF_FFFF
        case 6: limit
        case 7: limit &- 1
        case 8: limit &+ 1
        case 9: UInt32(byte())
        case 10: UInt32(word16())
        default: word32()
        }
    }

    package mutating func take(_ count: Int) -> [UInt8] {
        let part = bytes.prefix(max(0, count))
        bytes = bytes.dropFirst(part.count)
        return Array(part)
    }

    package mutating func rest() -> [UInt8] {
        take(bytes.count)
    }

    /// A length byte (or two, for every eighth) and as many bytes as are there.
    package mutating func blob(countMax: Int) -> [UInt8] {
        let short = Int(byte())
        let count = short >= 224 ? (short - 224) << 8 | Int(byte()) : short
        return take(min(count, countMax))
    }

    /// `bytes` cut into pieces whose sizes the input chooses.
    package mutating func pieces(of bytes: ByteBuffer) -> [ByteBuffer] {
        var rest = bytes
        var pieces: [ByteBuffer] = []
        while rest.readableBytes > 0 {
            let wanted = isEmpty || pieces.count >= 64 ? rest.readableBytes : pieceSize()
            guard let piece = rest.readSlice(length: min(max(1, wanted), rest.readableBytes)) else { break }
            // A copy, as a socket would make it.
            pieces.append(ByteBuffer(bytes: piece.readableBytesView))
        }
        return pieces
    }

    private mutating func pieceSize() -> Int {
        let size = Int(byte())
        return size < 128 ? size : size < 192 ? (size - 127) * 64 : .max / 2
    }

    /// Damages `bytes` in one of the ways in which streams are damaged or forged.
    package mutating func mutate(_ bytes: [UInt8]) -> [UInt8] {
        guard !bytes.isEmpty else { return take(Int(byte() & 15)) }
        var bytes = bytes
        let position = Int(word16()) % bytes.count
        switch byte() % 8 {
        case 0: bytes[position] ^= 1 << (byte() & 7)
        case 1: bytes[position] = byte()
        case 2: bytes.removeSubrange(position...)
        case 3: bytes.remove(at: position)
        case 4: bytes.insert(contentsOf: take(Int(byte() & 31)), at: position)
        case 5:
            for (offset, value) in take(Int(byte() & 15)).enumerated() where position + offset < bytes.count {
                bytes[position + offset] = value
            }
        case 6: bytes.insert(contentsOf: bytes[position...].prefix(Int(byte())), at: position)
        default: bytes.swapAt(position, Int(word16()) % bytes.count)
        }
        return bytes
    }
}

/// A property does not hold. Ends the process, as the fuzzer expects of a finding, and says which one.
package func require(
    _ holds: @autoclosure () -> Bool, _ property: @autoclosure () -> String, file: StaticString = #fileID,
    line: UInt = #line
) {
    if !holds() { fatalError("does not hold: \(property())", file: file, line: line) }
}
