// SPDX-License-Identifier: Apache-2.0
import FuzzSupport
import TuttiBase
import TuttiConnection
import TuttiIdentity

import struct NIOCore.ByteBuffer

/// Every codec of Base and Identity, multistream-select and Noise's payload. The first byte chooses.
@_cdecl("LLVMFuzzerTestOneInput")
func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var source = ByteSource(start, count)
    switch source.byte() % 20 {
    case 0: fuzzVarint(source.rest())
    case 1: fuzzProtobuf(ByteBuffer(bytes: source.rest()), depth: 0)
    case 2: fuzzNegotiation(&source)
    case 3: fuzzPeerID(source.rest())
    case 4: fuzzPeerIDText(String(decoding: source.rest(), as: UTF8.self))
    case 5: fuzzCID(source.rest())
    case 6: fuzzCIDText(String(decoding: source.rest(), as: UTF8.self))
    case 7: fuzzMultihash(source.rest())
    case 8: fuzzMultibaseText(String(decoding: source.rest(), as: UTF8.self))
    case 9: fuzzMultibaseBytes(source.rest())
    case 10: fuzzPublicKey(&source)
    case 11: fuzzEnvelope(&source)
    case 12: fuzzPeerRecordPayload(ByteBuffer(bytes: source.rest()))
    case 13: fuzzSealedKey(&source)
    case 14: fuzzMultiaddrBinary(source.rest())
    case 15: fuzzMultiaddrText(String(decoding: source.rest(), as: UTF8.self))
    case 16: fuzzMultiaddrComponents(&source)
    case 17: fuzzIPAddress(&source)
    case 18: fuzzNoisePayload(ByteBuffer(bytes: source.rest()))
    default: fuzzDelimited(&source)
    }
    return 0
}

// MARK: Base

func fuzzVarint(_ bytes: [UInt8]) {
    var buffer = ByteBuffer(bytes: bytes)
    guard let value = try? buffer.readVarint() else { return }
    let count = bytes.count - buffer.readableBytes
    var again = ByteBuffer()
    again.writeVarint(value)
    require(Array(again.readableBytesView) == Array(bytes.prefix(count)), "a varint has one encoding")
    require(Varint.encodedCount(value) == count, "the count of a varint's bytes")
}

func fuzzDelimited(_ source: inout ByteSource) {
    let bytesMax = source.below(300)
    let bytes = source.rest()
    var buffer = ByteBuffer(bytes: bytes)
    while true {
        let before = buffer.readableBytes
        do throws(DecodeError) {
            guard let message = try buffer.readDelimited("message", bytesMax: bytesMax) else {
                return require(buffer.readableBytes == before, "an incomplete message consumes nothing")
            }
            require(message.readableBytes <= bytesMax, "a message is within its limit")
            var again = ByteBuffer()
            again.writeDelimited(message)
            require(before - buffer.readableBytes == again.readableBytes, "a message's whole length is consumed")
        } catch {
            return
        }
    }
}

func fuzzProtobuf(_ message: ByteBuffer, depth: Int) {
    var reader = ProtobufReader(message)
    var again = ByteBuffer()
    var values: [UInt64] = []
    var parts: [ByteBuffer] = []
    var isComplete = false
    do throws(DecodeError) {
        while let field = try reader.next() {
            _ = try? field.bool("field")
            _ = try? field.string("field", bytesMax: 64)
            switch field.value {
            case .varint(let value):
                values.append(value)
                again.writeProtobuf(field.number, varint: value)
            case .bytes(let part):
                parts.append(part)
                again.writeProtobuf(field.number, message: part)
                if depth < 4 { fuzzProtobuf(part, depth: depth + 1) }
            case .fixed32, .fixed64:
                continue
            }
        }
        isComplete = true
    } catch {}
    guard isComplete else { return }
    var second = ProtobufReader(again)
    var index = (value: 0, part: 0)
    while let field = try? second.next() {
        switch field.value {
        case .varint(let value):
            require(value == values[index.value], "a varint field survives its encoding")
            index.value += 1
        case .bytes(let part):
            require(part == parts[index.part], "a bytes field survives its encoding")
            index.part += 1
        case .fixed32, .fixed64:
            require(false, "a field keeps its wire type")
        }
    }
    require(index == (values.count, parts.count), "every field survives its encoding")
}

// MARK: multistream-select

/// The same bytes, whole and in pieces, lead to the same answers, the same end and the same leftover.
func fuzzNegotiation(_ source: inout ByteSource) {
    let names: [ProtocolID] = ["/noise", "/tls/1.0.0", "/yamux/1.0.0", "/ipfs/ping/1.0.0", "na", "ls"]
    let isDialer = source.bool()
    let accepted = [source.pick(names), source.pick(names)]
    let proposals = (0..<(1 + source.below(3))).map { _ in source.pick(names) }
    var input = ByteBuffer()
    for _ in 0..<source.below(8) {
        var bytes: [UInt8]
        switch source.byte() % 6 {
        case 0: bytes = Array("/multistream/1.0.0\n".utf8)
        case 1: bytes = Array("na\n".utf8)
        case 2, 3: bytes = Array((source.pick(names).name + "\n").utf8)
        case 4: bytes = source.blob(countMax: 1_100)
        default: bytes = source.mutate(Array("/multistream/1.0.0\n".utf8))
        }
        input.writeVarint(UInt64(bytes.count))
        input.writeBytes(bytes)
    }
    if source.bool() { input = ByteBuffer(bytes: source.mutate(Array(input.readableBytesView))) }
    func machine() -> NegotiationMachine {
        isDialer ? NegotiationMachine(proposing: proposals) : NegotiationMachine(listeningFor: 4)
    }
    let whole = negotiate(machine(), [input], accepted)
    let inPieces = negotiate(machine(), source.pieces(of: input), accepted)
    require(whole == inPieces, "a negotiation doesn't depend on how its bytes were cut: \(whole), \(inPieces)")
    if case .agreed(let name)? = whole.outcome {
        require((isDialer ? proposals : accepted).contains(name), "only what is known is agreed on")
    }
}

struct NegotiationResult: Equatable {
    var outcome: NegotiationMachine.OnReceive?
    var error: DecodeError?
    var answers: [UInt8] = []
    var leftover: [UInt8] = []
}

func negotiate(_ machine: NegotiationMachine, _ pieces: [ByteBuffer], _ accepted: [ProtocolID]) -> NegotiationResult {
    var machine = machine
    var result = NegotiationResult()
    var answers = ByteBuffer()
    var input = ByteBuffer()
    for var piece in pieces {
        input.writeBuffer(&piece)
        guard result.outcome == nil else { continue }
        do throws(DecodeError) {
            let outcome = try machine.receive(&input, into: &answers, accepting: accepted)
            if outcome != .needsMoreBytes { result.outcome = outcome }
        } catch {
            result.error = error
            break
        }
    }
    result.answers = Array(answers.readableBytesView)
    if result.error == nil { result.leftover = Array(input.readableBytesView) }
    return result
}

@_cdecl("Wire_main")
func start(_ count: CInt, _ arguments: Arguments?) -> CInt {
    fuzz(count, arguments) { testOneInput($0, $1) }
}
