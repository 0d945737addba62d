// SPDX-License-Identifier: Apache-2.0
import FuzzSupport
import TuttiBase
import TuttiConnection

import struct NIOCore.ByteBuffer

/// The multiplexer: raw bytes, whole and in pieces; and a session of frames and calls beside a model of it.
@_cdecl("LLVMFuzzerTestOneInput")
func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var source = ByteSource(start, count)
    switch source.byte() % 4 {
    case 0: fuzzPieces(&source)
    default:
        var session = Session(&source)
        session.run(&source)
    }
    return 0
}

func smallLimits(_ source: inout ByteSource) -> ConnectionLimits {
    var limits = ConnectionLimits()
    limits.streamsInboundMax = source.pick([1, 3, 64])
    limits.streamsOutboundMax = source.pick([1, 3, 256])
    limits.streamWindowInitial = source.pick([256 * 1_024, 64, 1_024])
    limits.streamWindowMax = source.pick([16, 2, 1]) * limits.streamWindowInitial
    limits.connectionWindowMax = source.pick([64, 4, 1]) * limits.streamWindowInitial
    limits.controlFramesMax = source.pick([64, 4])
    limits.controlBytesMax = source.pick([64 * 1_024, 240])
    return limits
}

/// A frame with any field at any boundary.
func frame(_ source: inout ByteSource, limits: ConnectionLimits) -> ByteBuffer {
    var bytes = ByteBuffer()
    let kind = source.pick([YamuxHeader.Kind.data, .windowUpdate, .data, .windowUpdate, .ping, .goAway])
    let flags = YamuxHeader.Flags(rawValue: UInt16(source.byte() & 15) | (source.byte() == 255 ? 0x8000 : 0))
    let choice = source.byte()
    let stream: UInt32 =
        choice < 200
        ? UInt32(choice % 8) + (kind == .data || kind == .windowUpdate ? 1 : 0)
        : source.boundary32(around: UInt32.max - 2)
    let length: UInt32 =
        switch source.byte() % 4 {
        case 0: 0
        case 1, 2: UInt32(source.byte())
        default: source.boundary32(around: UInt32(limits.streamWindowInitial))
        }
    YamuxHeader(kind, flags, stream: stream, length: length).write(into: &bytes)
    // Most data frames bring what they promise, as far as that is not too much to make.
    if kind == .data, length <= 2_048, source.byte() < 240 {
        bytes.writeRepeatingByte(source.byte(), count: Int(length))
    }
    return bytes
}

/// What a machine told, data of one stream joined, so that two runs can be compared.
enum Told: Equatable {
    case opened(StreamID)
    case data(StreamID, [UInt8])
    case ended(StreamID)
    case reset(StreamID)
    case credit(StreamID)
    case answered
    case goneAway
}

func fuzzPieces(_ source: inout ByteSource) {
    let limits = smallLimits(&source)
    let direction: Direction = source.bool() ? .outbound : .inbound
    var input = ByteBuffer()
    let isRaw = source.bool()
    while !source.isEmpty, input.readableBytes < 8_192 {
        if isRaw {
            input.writeBytes(source.take(Int(source.byte())))
        } else {
            var next = frame(&source, limits: limits)
            input.writeBuffer(&next)
        }
        // The last bytes choose the pieces.
        if source.count < 16 { break }
    }
    func tell(_ pieces: [ByteBuffer]) -> ([Told], ConnectionViolation?, [UInt8]) {
        var machine = YamuxMachine(direction: direction, limits: limits)
        var told: [Told] = []
        var violation: ConnectionViolation?
        do throws(ConnectionViolation) {
            for var piece in pieces {
                loop: while true {
                    switch try machine.receive(&piece, at: .zero) {
                    case .needsMoreBytes:
                        require(piece.readableBytes == 0, "a machine keeps what it can't use yet")
                        break loop
                    case .handled: continue
                    case .opened(let id): told.append(.opened(id))
                    case .data(let id, let part):
                        if case .data(id, let before)? = told.last {
                            told.removeLast(); told.append(.data(id, before + Array(part.readableBytesView)))
                        } else {
                            told.append(.data(id, Array(part.readableBytesView)))
                        }
                    case .ended(let id): told.append(.ended(id))
                    case .reset(let id):
                        told.append(.reset(id))
                        _ = machine.forget(id)
                    case .creditArrived(let id): told.append(.credit(id))
                    case .answered: told.append(.answered)
                    case .goneAway: told.append(.goneAway)
                    }
                }
            }
        } catch {
            violation = error
        }
        return (told, violation, Array(machine.control.readableBytesView))
    }
    let whole = tell(input.readableBytes > 0 ? [input] : [])
    let inPieces = tell(source.pieces(of: input))
    require(whole == inPieces, "what is told doesn't depend on how the bytes were cut")
}

@_cdecl("Yamux_main")
func start(_ count: CInt, _ arguments: Arguments?) -> CInt {
    fuzz(count, arguments) { testOneInput($0, $1) }
}
