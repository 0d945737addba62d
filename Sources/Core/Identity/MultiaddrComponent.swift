// SPDX-License-Identifier: Apache-2.0
import TuttiBase

import struct NIOCore.ByteBuffer

// The binary form of a component: the protocol's code, then its value; values without a fixed size are behind a
// varint length. Codes are those of multiformats/multiaddr, protocols.csv.
extension Multiaddr.Component {
    private enum Code {
        static let ip4: UInt64 = 4
        static let tcp: UInt64 = 6
        static let ip6: UInt64 = 41
        static let ip6zone: UInt64 = 42
        static let dns: UInt64 = 53
        static let dns4: UInt64 = 54
        static let dns6: UInt64 = 55
        static let dnsaddr: UInt64 = 56
        static let udp: UInt64 = 273
        static let webrtcDirect: UInt64 = 280
        static let p2pCircuit: UInt64 = 290
        static let unix: UInt64 = 400
        static let p2p: UInt64 = 421
        static let tls: UInt64 = 448
        static let sni: UInt64 = 449
        static let noise: UInt64 = 454
        static let quic: UInt64 = 460
        static let quicV1: UInt64 = 461
        static let webtransport: UInt64 = 465
        static let certhash: UInt64 = 466
        static let ws: UInt64 = 477
        static let wss: UInt64 = 478
        static let http: UInt64 = 480
        static let memory: UInt64 = 777
    }

    /// Consumes one component.
    init(from buffer: inout ByteBuffer) throws(DecodeError) {
        guard let code = try buffer.readVarint() else { throw .truncated("multiaddr protocol") }
        switch code {
        case Code.ip4: self = .ip4(try Self.integer(&buffer))
        case Code.ip6: self = .ip6(high: try Self.integer(&buffer), low: try Self.integer(&buffer))
        case Code.tcp: self = .tcp(try Self.integer(&buffer))
        case Code.udp: self = .udp(try Self.integer(&buffer))
        case Code.memory: self = .memory(try Self.integer(&buffer))
        case Code.ip6zone: self = .ip6zone(try Self.name(&buffer))
        case Code.dns: self = .dns(try Self.name(&buffer))
        case Code.dns4: self = .dns4(try Self.name(&buffer))
        case Code.dns6: self = .dns6(try Self.name(&buffer))
        case Code.dnsaddr: self = .dnsaddr(try Self.name(&buffer))
        case Code.sni: self = .sni(try Self.name(&buffer))
        case Code.p2p:
            let bytes = try Self.value(&buffer, "multiaddr peer id", bytesMax: IdentityLimits.inlineKeyBytesMax + 2)
            self = .p2p(try PeerID(multihash: bytes.readableBytesView))
        case Code.certhash:
            let bytesMax = IdentityLimits.multihashDigestBytesMax + 2 * Varint.bytesMax
            let bytes = try Self.value(&buffer, "multiaddr certificate hash", bytesMax: bytesMax)
            self = .certhash(try Multihash(bytes: bytes.readableBytesView).bytes)
        case Code.unix:
            let bytes = try Self.value(&buffer, "multiaddr path", bytesMax: IdentityLimits.unixPathBytesMax)
            guard let path = String(validating: bytes.readableBytesView, as: UTF8.self), Self.isPath(path),
                buffer.readableBytes == 0
            else { throw .malformed("multiaddr path") }
            self = .unix(path)
        case Code.quic: self = .quic
        case Code.quicV1: self = .quicV1
        case Code.ws: self = .ws
        case Code.wss: self = .wss
        case Code.tls: self = .tls
        case Code.noise: self = .noise
        case Code.http: self = .http
        case Code.p2pCircuit: self = .p2pCircuit
        case Code.webtransport: self = .webtransport
        case Code.webrtcDirect: self = .webrtcDirect
        default: throw .unsupported("multiaddr protocol")
        }
    }

    func write(to buffer: inout ByteBuffer) {
        switch self {
        case .ip4(let bits):
            buffer.writeVarint(Code.ip4)
            buffer.writeInteger(bits)
        case .ip6(let high, let low):
            buffer.writeVarint(Code.ip6)
            buffer.writeInteger(high)
            buffer.writeInteger(low)
        case .tcp(let port):
            buffer.writeVarint(Code.tcp)
            buffer.writeInteger(port)
        case .udp(let port):
            buffer.writeVarint(Code.udp)
            buffer.writeInteger(port)
        case .memory(let number):
            buffer.writeVarint(Code.memory)
            buffer.writeInteger(number)
        case .ip6zone(let name): Self.write(Code.ip6zone, Array(name.utf8), to: &buffer)
        case .dns(let name): Self.write(Code.dns, Array(name.utf8), to: &buffer)
        case .dns4(let name): Self.write(Code.dns4, Array(name.utf8), to: &buffer)
        case .dns6(let name): Self.write(Code.dns6, Array(name.utf8), to: &buffer)
        case .dnsaddr(let name): Self.write(Code.dnsaddr, Array(name.utf8), to: &buffer)
        case .sni(let name): Self.write(Code.sni, Array(name.utf8), to: &buffer)
        case .unix(let path): Self.write(Code.unix, Array(path.utf8), to: &buffer)
        case .p2p(let id): Self.write(Code.p2p, id.bytes, to: &buffer)
        case .certhash(let multihash): Self.write(Code.certhash, multihash, to: &buffer)
        case .quic: buffer.writeVarint(Code.quic)
        case .quicV1: buffer.writeVarint(Code.quicV1)
        case .ws: buffer.writeVarint(Code.ws)
        case .wss: buffer.writeVarint(Code.wss)
        case .tls: buffer.writeVarint(Code.tls)
        case .noise: buffer.writeVarint(Code.noise)
        case .http: buffer.writeVarint(Code.http)
        case .p2pCircuit: buffer.writeVarint(Code.p2pCircuit)
        case .webtransport: buffer.writeVarint(Code.webtransport)
        case .webrtcDirect: buffer.writeVarint(Code.webrtcDirect)
        }
    }

    /// Printable ASCII without a slash: what resolvers, certificates and terminals all take.
    static func isName(_ name: some StringProtocol) -> Bool {
        (1...IdentityLimits.nameBytesMax).contains(name.utf8.count)
            && name.utf8.allSatisfy { (0x21...0x7E).contains($0) && $0 != 0x2F }
    }

    /// Absolute, without control characters.
    static func isPath(_ path: String) -> Bool {
        (2...IdentityLimits.unixPathBytesMax).contains(path.utf8.count) && path.hasPrefix("/")
            && path.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7F }
    }

    private static func integer<I: FixedWidthInteger>(_ buffer: inout ByteBuffer) throws(DecodeError) -> I {
        guard let value = buffer.readInteger(as: I.self) else { throw .truncated("multiaddr value") }
        return value
    }

    private static func name(_ buffer: inout ByteBuffer) throws(DecodeError) -> String {
        let bytes = try value(&buffer, "multiaddr name", bytesMax: IdentityLimits.nameBytesMax)
        guard let name = String(validating: bytes.readableBytesView, as: UTF8.self), isName(name) else {
            throw .malformed("multiaddr name")
        }
        return name
    }

    private static func value(
        _ buffer: inout ByteBuffer, _ what: StaticText, bytesMax: Int
    ) throws(DecodeError) -> ByteBuffer {
        guard let value = try buffer.readDelimited(what, bytesMax: bytesMax) else { throw .truncated(what) }
        return value
    }

    private static func write(_ code: UInt64, _ value: [UInt8], to buffer: inout ByteBuffer) {
        buffer.writeVarint(code)
        buffer.writeVarint(UInt64(value.count))
        buffer.writeBytes(value)
    }
}
