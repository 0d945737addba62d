// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity

package import struct NIOCore.ByteBuffer

/// AutoNAT v2: "can you reach me there?" (libp2p specs autonat/autonat-v2.md). Messages of the dial-request stream; the
/// two of the dial-back stream are functions beside them.
package enum AutoNATMessage: Hashable, Sendable {
    package static let requestProtocolID: ProtocolID = "/libp2p/autonat/2/dial-request"
    package static let dialBackProtocolID: ProtocolID = "/libp2p/autonat/2/dial-back"
    /// One message. The largest honest ones carry 4,096 bytes of data.
    package static let messageBytesMax = 8 * 1_024
    package static let addressesMax = 50
    package static let dataBytesMax = 4_096

    package enum ResponseStatus: UInt64, Hashable, Sendable {
        case internalError = 0
        case rejected = 100
        case dialRefused = 101
        case ok = 200
    }

    package enum DialStatus: UInt64, Hashable, Sendable {
        case unused = 0
        case dialError = 100
        case dialBackError = 101
        case ok = 200
    }

    /// Nil stands for an address that this node can't read: the places of the others count.
    case dialRequest(addresses: [Multiaddr?], nonce: UInt64)
    case dialResponse(ResponseStatus, index: Int, DialStatus)
    case dialDataRequest(index: Int, bytes: UInt64)
    /// Only how much it was counts.
    case dialDataResponse(bytes: Int)

    // MARK: Decoding

    package init(_ message: ByteBuffer) throws(DecodeError) {
        guard message.readableBytes <= Self.messageBytesMax else {
            throw .tooLarge("AutoNAT message", limit: Self.messageBytesMax)
        }
        var reader = ProtobufReader(message)
        var found: AutoNATMessage?
        while let field = try reader.next() {
            guard (1...4).contains(field.number) else { continue }
            guard found == nil else { throw .malformed("AutoNAT message (two in one)") }
            let bytes = try field.bytes("AutoNAT message")
            switch field.number {
            case 1: found = try Self.request(bytes)
            case 2: found = try Self.response(bytes)
            case 3: found = try Self.dataRequest(bytes)
            default: found = try Self.data(bytes)
            }
        }
        guard let found else { throw .truncated("AutoNAT message") }
        self = found
    }

    private static func request(_ message: ByteBuffer) throws(DecodeError) -> AutoNATMessage {
        var addresses: [Multiaddr?] = []
        var nonce: UInt64?
        var reader = ProtobufReader(message)
        while let field = try reader.next() {
            switch field.number {
            case 1:
                guard addresses.count < addressesMax else { throw .tooLarge("AutoNAT addresses", limit: addressesMax) }
                let bytes = try field.bytes("AutoNAT address")
                do throws(DecodeError) {
                    addresses.append(try Multiaddr(binary: bytes))
                } catch {
                    addresses.append(nil)
                }
            case 2: nonce = try fixed64(field)
            default: break
            }
        }
        return .dialRequest(addresses: addresses, nonce: nonce ?? 0)
    }

    private static func response(_ message: ByteBuffer) throws(DecodeError) -> AutoNATMessage {
        var (status, index, dial) = (UInt64(0), 0, UInt64(0))
        var reader = ProtobufReader(message)
        while let field = try reader.next() {
            switch field.number {
            case 1: status = try field.varint("AutoNAT status")
            case 2: index = Int(clamping: try field.varint("AutoNAT index"))
            case 3: dial = try field.varint("AutoNAT dial status")
            default: break
            }
        }
        // Responses with a status that one doesn't know must be discarded.
        guard let status = ResponseStatus(rawValue: status), let dial = DialStatus(rawValue: dial) else {
            throw .unsupported("AutoNAT status")
        }
        return .dialResponse(status, index: index, dial)
    }

    private static func dataRequest(_ message: ByteBuffer) throws(DecodeError) -> AutoNATMessage {
        var (index, bytes) = (0, UInt64(0))
        var reader = ProtobufReader(message)
        while let field = try reader.next() {
            switch field.number {
            case 1: index = Int(clamping: try field.varint("AutoNAT index"))
            case 2: bytes = try field.varint("AutoNAT byte count")
            default: break
            }
        }
        return .dialDataRequest(index: index, bytes: bytes)
    }

    private static func data(_ message: ByteBuffer) throws(DecodeError) -> AutoNATMessage {
        var count = 0
        var reader = ProtobufReader(message)
        while let field = try reader.next() {
            guard field.number == 1 else { continue }
            count = try field.bytes("AutoNAT data").readableBytes
        }
        guard count <= dataBytesMax else { throw .tooLarge("AutoNAT data", limit: dataBytesMax) }
        return .dialDataResponse(bytes: count)
    }

    private static func fixed64(_ field: ProtobufReader.Field) throws(DecodeError) -> UInt64 {
        guard case .fixed64(let value) = field.value else { throw .malformed("AutoNAT nonce") }
        return value
    }

    /// The nonce of a dial-back.
    package static func dialBackNonce(_ message: ByteBuffer) throws(DecodeError) -> UInt64 {
        var nonce: UInt64?
        var reader = ProtobufReader(message)
        while let field = try reader.next() {
            guard field.number == 1 else { continue }
            nonce = try fixed64(field)
        }
        guard let nonce else { throw .truncated("AutoNAT dial-back") }
        return nonce
    }

    // MARK: Encoding

    /// Addresses of a request that can't be named are left out.
    package func encoded() -> ByteBuffer {
        var inner = ByteBuffer()
        let field: Int
        switch self {
        case .dialRequest(let addresses, let nonce):
            field = 1
            for case let address? in addresses.prefix(Self.addressesMax) {
                inner.writeProtobuf(1, bytes: address.binary)
            }
            inner.writeFixed64(2, nonce)
        case .dialResponse(let status, let index, let dial):
            field = 2
            if status != .internalError { inner.writeProtobuf(1, varint: status.rawValue) }
            if index != 0 { inner.writeProtobuf(2, varint: UInt64(clamping: index)) }
            if dial != .unused { inner.writeProtobuf(3, varint: dial.rawValue) }
        case .dialDataRequest(let index, let bytes):
            field = 3
            if index != 0 { inner.writeProtobuf(1, varint: UInt64(clamping: index)) }
            inner.writeProtobuf(2, varint: bytes)
        case .dialDataResponse(let bytes):
            field = 4
            inner.writeProtobuf(1, bytes: [UInt8](repeating: 0, count: min(max(bytes, 0), Self.dataBytesMax)))
        }
        var message = ByteBuffer()
        message.writeProtobuf(field, message: inner)
        return message
    }

    package static func dialBack(nonce: UInt64) -> ByteBuffer {
        var message = ByteBuffer()
        message.writeFixed64(1, nonce)
        return message
    }

    /// Status OK, which is what an empty message says too.
    package static let dialBackResponse = ByteBuffer(bytes: [0x08, 0x00])
}

extension ByteBuffer {
    fileprivate mutating func writeFixed64(_ field: Int, _ value: UInt64) {
        writeVarint(UInt64(field) << 3 | 1)
        writeInteger(value, endianness: .little)
    }
}
