// SPDX-License-Identifier: Apache-2.0
package import struct NIOCore.ByteBuffer

/// The twelve bytes before every Yamux frame: version, type, flags, stream, length (libp2p/specs, yamux/README.md).
package struct YamuxHeader: Hashable, Sendable {
    package enum Kind: UInt8, Sendable {
        case data = 0
        case windowUpdate = 1
        case ping = 2
        case goAway = 3
    }

    package struct Flags: OptionSet, Hashable, Sendable {
        package let rawValue: UInt16
        package init(rawValue: UInt16) { self.rawValue = rawValue }
        package static let syn = Flags(rawValue: 1)
        package static let ack = Flags(rawValue: 2)
        package static let fin = Flags(rawValue: 4)
        package static let rst = Flags(rawValue: 8)
    }

    package static let bytes = 12

    package var kind: Kind
    package var flags: Flags
    package var stream: UInt32
    /// Bytes that follow (data), a delta (window update), an opaque value (ping) or a code (go away).
    package var length: UInt32

    package init(_ kind: Kind, _ flags: Flags, stream: UInt32, length: UInt32) {
        self.kind = kind
        self.flags = flags
        self.stream = stream
        self.length = length
    }

    /// Nil when fewer than twelve bytes are there; then nothing was consumed.
    package init?(from input: inout ByteBuffer) throws(ConnectionViolation) {
        guard let words = input.readMultipleIntegers(as: (UInt32, UInt32, UInt32).self) else { return nil }
        guard words.0 >> 24 == 0 else { throw .multiplexer("a frame of an unknown version") }
        guard let kind = Kind(rawValue: UInt8(truncatingIfNeeded: words.0 >> 16)) else {
            throw .multiplexer("a frame of an unknown type")
        }
        self.kind = kind
        flags = Flags(rawValue: UInt16(truncatingIfNeeded: words.0))
        stream = words.1
        length = words.2
    }

    package func write(into output: inout ByteBuffer) {
        let first = UInt32(kind.rawValue) << 16 | UInt32(flags.rawValue)
        output.writeMultipleIntegers(first, stream, length)
    }
}

/// The codes of a go-away frame.
package enum YamuxGoAway: UInt32, Sendable {
    case normal = 0
    case protocolError = 1
    case internalError = 2
}
