// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity

package import struct NIOCore.ByteBuffer

/// What a node keeps of its peers over a restart, as bytes: docs/protocols/peer-store.md.
///
/// The file is our own, yet it is read as if a stranger had written it: everything is bounded before it is read, and a
/// checksum tells damage from contents. Signed records are checked anew by whoever takes them in.
package struct PeerStoreSnapshot: Hashable, Sendable {
    package static let version: UInt8 = 1
    /// The whole file. Over it: refused, and never written.
    package static let bytesMax = 16 * 1_024 * 1_024
    package static let peersMax = 1_024
    package static let tableMax = 4_096
    package static let anchorsMax = 16
    package static let addressesPerPeerMax = 16
    package static let recordBytesMax = 8 * 1_024
    private static let magic = Array("TUTTIPS".utf8)
    private static let checksumBytes = 32

    package struct Peer: Hashable, Sendable {
        package let id: PeerID
        package var addresses: [Multiaddr]
        /// The envelope as it came; empty: none.
        package var record: [UInt8]
        package var lastGood: Multiaddr?

        package init(id: PeerID, addresses: [Multiaddr], record: [UInt8] = [], lastGood: Multiaddr? = nil) {
            self.id = id
            self.addresses = addresses
            self.record = record
            self.lastGood = lastGood
        }
    }

    /// Most useful first.
    package var peers: [Peer] = []
    /// Peers of Kademlia's table, in its order.
    package var table: [PeerID] = []
    /// Those that we dialled and were connected to longest.
    package var anchors: [PeerID] = []

    package init() {}

    // MARK: Encoding

    /// What is over a limit is left out, from the end.
    package func encoded() -> ByteBuffer {
        var body = ByteBuffer()
        for id in anchors.prefix(Self.anchorsMax) { body.writeProtobuf(3, bytes: id.bytes) }
        for id in table.prefix(Self.tableMax) { body.writeProtobuf(2, bytes: id.bytes) }
        for peer in peers.prefix(Self.peersMax) {
            var message = ByteBuffer()
            message.writeProtobuf(1, bytes: peer.id.bytes)
            for address in peer.addresses.prefix(Self.addressesPerPeerMax) {
                message.writeProtobuf(2, bytes: address.binary)
            }
            if !peer.record.isEmpty, peer.record.count <= Self.recordBytesMax {
                message.writeProtobuf(3, bytes: peer.record)
            }
            if let lastGood = peer.lastGood { message.writeProtobuf(4, bytes: lastGood.binary) }
            guard body.readableBytes + message.readableBytes + 256 <= Self.bytesMax else { break }
            body.writeProtobuf(1, message: message)
        }
        var file = ByteBuffer()
        file.writeBytes(Self.magic)
        file.writeInteger(Self.version)
        file.writeBuffer(&body)
        file.writeBytes(Self.checksum(file))
        return file
    }

    // MARK: Decoding

    /// - Throws: `.unsupported` for a version that we don't know, else for damage. Nothing of a damaged file is used.
    package init(_ file: ByteBuffer) throws(DecodeError) {
        guard file.readableBytes <= Self.bytesMax else { throw .tooLarge("peer file", limit: Self.bytesMax) }
        var rest = file
        let headBytes = Self.magic.count + 1
        guard rest.readableBytes >= headBytes + Self.checksumBytes else { throw .truncated("peer file") }
        guard rest.readBytes(length: Self.magic.count) == Self.magic else { throw .malformed("peer file") }
        guard rest.readInteger(as: UInt8.self) == Self.version else { throw .unsupported("peer file version") }
        guard let body = rest.readSlice(length: rest.readableBytes - Self.checksumBytes),
            let checksum = rest.readBytes(length: Self.checksumBytes),
            let covered = file.getSlice(
                at: file.readerIndex, length: file.readableBytes - Self.checksumBytes)
        else { throw .truncated("peer file") }
        guard Self.checksum(covered) == checksum else { throw .malformed("peer file checksum") }
        try read(body)
    }

    private static func checksum(_ bytes: ByteBuffer) -> [UInt8] {
        KeyDerivation.sha256(Array(bytes.readableBytesView)).bytes
    }

    private mutating func read(_ body: ByteBuffer) throws(DecodeError) {
        var reader = ProtobufReader(body)
        while let field = try reader.next() {
            switch field.number {
            case 1:
                guard peers.count < Self.peersMax else { throw .tooLarge("peer file peers", limit: Self.peersMax) }
                peers.append(try Self.peer(try field.bytes("peer file peer")))
            case 2:
                guard table.count < Self.tableMax else { throw .tooLarge("peer file table", limit: Self.tableMax) }
                table.append(try PeerID(multihash: try field.bytes("peer file id").readableBytesView))
            case 3:
                guard anchors.count < Self.anchorsMax else {
                    throw .tooLarge("peer file anchors", limit: Self.anchorsMax)
                }
                anchors.append(try PeerID(multihash: try field.bytes("peer file id").readableBytesView))
            default: break
            }
        }
    }

    private static func peer(_ message: ByteBuffer) throws(DecodeError) -> Peer {
        var id: PeerID?
        var addresses: [Multiaddr] = []
        var record: [UInt8] = []
        var lastGood: Multiaddr?
        var reader = ProtobufReader(message)
        while let field = try reader.next() {
            switch field.number {
            case 1: id = try PeerID(multihash: try field.bytes("peer file id").readableBytesView)
            case 2:
                guard addresses.count < addressesPerPeerMax else {
                    throw .tooLarge("peer file addresses", limit: addressesPerPeerMax)
                }
                addresses.append(try Multiaddr(binary: try field.bytes("peer file address")))
            case 3:
                let bytes = try field.bytes("peer file record")
                guard bytes.readableBytes <= recordBytesMax else {
                    throw .tooLarge("peer file record", limit: recordBytesMax)
                }
                record = Array(bytes.readableBytesView)
            case 4: lastGood = try Multiaddr(binary: try field.bytes("peer file address"))
            default: break
            }
        }
        guard let id else { throw .truncated("peer file peer") }
        return Peer(id: id, addresses: addresses, record: record, lastGood: lastGood)
    }
}
