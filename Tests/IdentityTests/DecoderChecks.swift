// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase

import struct NIOCore.ByteBuffer

/// Each proper prefix of a complete value is refused.
func expectEveryCutRefused<Value>(
    _ bytes: [UInt8], _ decode: ([UInt8]) throws -> Value, sourceLocation: SourceLocation = #_sourceLocation
) {
    for count in 0..<bytes.count {
        #expect(throws: DecodeError.self, "cut to \(count) bytes", sourceLocation: sourceLocation) {
            _ = try decode(Array(bytes[..<count]))
        }
    }
}

/// What a decoder accepts of damaged bytes, it writes back as exactly those bytes; everything else it refuses with a
/// DecodeError. A trap would end the test run.
func expectDamageRefusedOrKept<Value>(
    _ bytes: [UInt8], seed: UInt64, rounds: Int = 2_000, _ decode: ([UInt8]) throws -> Value,
    _ encode: (Value) -> [UInt8], sourceLocation: SourceLocation = #_sourceLocation
) {
    var generator = SeededGenerator(seed: seed)
    for _ in 0..<rounds {
        let damaged = damage(bytes, &generator)
        do {
            let value = try decode(damaged)
            #expect(encode(value) == damaged, sourceLocation: sourceLocation)
        } catch {
            #expect(error is DecodeError, sourceLocation: sourceLocation)
        }
    }
}

/// One to four changes: a byte replaced, removed, inserted, or the end cut off.
func damage(_ bytes: [UInt8], _ generator: inout SeededGenerator) -> [UInt8] {
    var result = bytes
    for _ in 0..<Int.random(in: 1...4, using: &generator) {
        let index = Int.random(in: 0...max(0, result.count - 1), using: &generator)
        let byte: UInt8 =
            [0, 1, 0x7F, 0x80, 0xFF, UInt8.random(in: 0...255, using: &generator)]
            .randomElement(using: &generator) ?? 0
        switch Int.random(in: 0..<8, using: &generator) {
        case 0 where !result.isEmpty: result.remove(at: index)
        case 1: result.insert(byte, at: min(index, result.count))
        case 2: result.removeLast(min(result.count, Int.random(in: 0...8, using: &generator)))
        default: if !result.isEmpty { result[index] = byte }
        }
    }
    return result
}

func buffer(_ bytes: [UInt8]) -> ByteBuffer { ByteBuffer(bytes: bytes) }

func bytes(_ buffer: ByteBuffer) -> [UInt8] { Array(buffer.readableBytesView) }
