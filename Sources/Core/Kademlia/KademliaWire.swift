// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity

package import struct NIOCore.ByteBuffer

/// A peer as messages name it.
package struct KademliaWirePeer: Hashable, Sendable {
    /// What the sender knows about reaching it.
    package enum Connection: UInt64, Sendable {
        case none, connected, possible, impossible
    }

    package var id: PeerID
    package var addresses: [Multiaddr]
    package var connection: Connection

    package init(id: PeerID, addresses: [Multiaddr], connection: Connection = .none) {
        self.id = id
        self.addresses = addresses
        self.connection = connection
    }
}

/// The messages of `/ipfs/kad/1.0.0` (libp2p specs, kad-dht/README.md, "RPC messages"). On the stream each stands behind
/// its length as a varint.
///
///     Message: 1 type   2 key   3 record   8 closerPeers*   9 providerPeers*   (10 clusterLevelRaw, unused)
///     Record:  1 key   2 value   5 timeReceived
///     Peer:    1 id   2 addrs*   3 connection
///
/// Ids and addresses are put in and taken out here: the caller's closures translate them from and to `PeerIndex`. A peer
/// or address that can't be read is left out; everything else that breaks the format is an error.
package enum KademliaWire {
    private enum MessageType: UInt64 {
        case putValue, getValue, addProvider, getProviders, findNode, ping
    }

    /// One message as it stands on the wire, peers still as bytes.
    private struct Message {
        var type = MessageType.putValue
        var key: [UInt8] = []
        var record: KademliaRecord?
        var recordKey: [UInt8]?
        var closer: [ByteBuffer] = []
        var providers: [ByteBuffer] = []
    }

    // MARK: Requests

    /// - Parameter own: us with our addresses, for `.addProvider`.
    package static func encode(
        _ request: KademliaRequest, own: KademliaWirePeer?, limits: KademliaLimits
    ) -> ByteBuffer {
        var buffer = ByteBuffer()
        writeHead(request, to: &buffer)
        switch request {
        case .putValue(let target, let record):
            write(record, key: target.name, to: &buffer)
        case .addProvider:
            if let own { write([own], field: 9, bytesMax: limits.sentBytesMax, limits, to: &buffer) }
        case .ping, .findNode, .getValue, .getProviders:
            break
        }
        return buffer
    }

    /// - Parameter learn: is told the addresses of a sender that provides.
    package static func decodeRequest(
        _ buffer: ByteBuffer, from sender: PeerID, limits: KademliaLimits, learn: (KademliaWirePeer) -> Void
    ) throws(DecodeError) -> KademliaRequest {
        let message = try read(buffer, limits)
        if message.type == .ping { return .ping }
        guard !message.key.isEmpty else { throw .malformed("kad key") }
        let target = KademliaNames.target(message.key)
        switch message.type {
        case .ping: return .ping
        case .findNode: return .findNode(target)
        case .getValue: return .getValue(target)
        case .getProviders: return .getProviders(target)
        case .putValue:
            guard let record = message.record, message.recordKey == message.key else { throw .malformed("kad record") }
            return .putValue(target, record)
        case .addProvider:
            for bytes in message.providers {
                guard let peer = peer(bytes, limits), peer.id == sender else { continue }
                learn(peer)
                return .addProvider(target)
            }
            throw .malformed("kad provider")
        }
    }

    // MARK: Responses

    /// - Parameter peer: who a number stands for; nil leaves it out.
    package static func encode(
        _ response: KademliaResponse, to request: KademliaRequest, limits: KademliaLimits,
        peer: (PeerIndex) -> KademliaWirePeer?
    ) -> ByteBuffer {
        var buffer = ByteBuffer()
        let target = writeHead(request, to: &buffer)
        if let record = response.record { write(record, key: target?.name ?? [], to: &buffer) }
        let closer = response.closer.prefix(limits.peersPerAnswerMax).compactMap { peer($0) }
        let providers = response.providers.prefix(limits.peersPerAnswerMax).compactMap { peer($0) }
        let bytesMax = limits.sentBytesMax / (closer.isEmpty || providers.isEmpty ? 1 : 2)
        write(closer, field: 8, bytesMax: bytesMax, limits, to: &buffer)
        write(providers, field: 9, bytesMax: bytesMax, limits, to: &buffer)
        return buffer
    }

    /// - Parameter index: the number of a peer, whose addresses it may keep; nil leaves the peer out.
    package static func decodeResponse(
        _ buffer: ByteBuffer, to request: KademliaRequest, limits: KademliaLimits,
        index: (KademliaWirePeer) -> PeerIndex?
    ) throws(DecodeError) -> KademliaResponse {
        let message = try read(buffer, limits)
        let (type, target) = head(of: request)
        guard message.type == type else { throw .malformed("kad answer's type") }
        if let key = message.recordKey, let target, key != target.name { throw .malformed("kad record's key") }
        return KademliaResponse(
            closer: message.closer.compactMap { peer($0, limits).flatMap(index) },
            providers: message.providers.compactMap { peer($0, limits).flatMap(index) }, record: message.record)
    }

    // MARK: Writing

    private static func head(of request: KademliaRequest) -> (MessageType, KademliaTarget?) {
        switch request {
        case .ping: (.ping, nil)
        case .findNode(let target): (.findNode, target)
        case .getValue(let target): (.getValue, target)
        case .putValue(let target, _): (.putValue, target)
        case .getProviders(let target): (.getProviders, target)
        case .addProvider(let target): (.addProvider, target)
        }
    }

    @discardableResult
    private static func writeHead(_ request: KademliaRequest, to buffer: inout ByteBuffer) -> KademliaTarget? {
        let (type, target) = head(of: request)
        buffer.writeProtobuf(1, varint: type.rawValue)
        if let target { buffer.writeProtobuf(2, bytes: target.name) }
        return target
    }

    private static func write(_ record: KademliaRecord, key: [UInt8], to buffer: inout ByteBuffer) {
        var inner = ByteBuffer()
        inner.writeProtobuf(1, bytes: key)
        inner.writeProtobuf(2, bytes: record.value)
        if !record.received.isEmpty { inner.writeProtobuf(5, bytes: record.received) }
        buffer.writeProtobuf(3, message: inner)
    }

    /// Each peer has its share of `bytesMax`; addresses that don't fit in it are left out.
    private static func write(
        _ peers: [KademliaWirePeer], field: Int, bytesMax: Int, _ limits: KademliaLimits, to buffer: inout ByteBuffer
    ) {
        guard !peers.isEmpty else { return }
        let share = bytesMax / peers.count
        for peer in peers {
            var inner = ByteBuffer()
            inner.writeProtobuf(1, bytes: peer.id.bytes)
            for address in peer.addresses.prefix(limits.sentAddressesPerPeerMax) {
                let bytes = address.binary
                // Two bytes each for the field's head and the peer's own, and two for its connection.
                guard inner.readableBytes + bytes.count + 8 <= share else { continue }
                inner.writeProtobuf(2, bytes: bytes)
            }
            if peer.connection != .none { inner.writeProtobuf(3, varint: peer.connection.rawValue) }
            buffer.writeProtobuf(field, message: inner)
        }
    }

    // MARK: Reading

    private static func read(_ buffer: ByteBuffer, _ limits: KademliaLimits) throws(DecodeError) -> Message {
        guard buffer.readableBytes <= limits.messageBytesMax else {
            throw .tooLarge("kad message", limit: limits.messageBytesMax)
        }
        var message = Message()
        var reader = ProtobufReader(buffer)
        while let field = try reader.next() {
            switch field.number {
            case 1:
                guard let type = MessageType(rawValue: try field.varint("kad type")) else {
                    throw .unsupported("kad type")
                }
                message.type = type
            case 2:
                message.key = try bytes(of: field, "kad key", limits.nameBytesMax)
            case 3:
                try readRecord(try field.bytes("kad record"), into: &message, limits)
            case 8:
                let peer = try field.bytes("kad closer peer")
                if message.closer.count < limits.peersPerAnswerMax { message.closer.append(peer) }
            case 9:
                let peer = try field.bytes("kad provider peer")
                if message.providers.count < limits.peersPerAnswerMax { message.providers.append(peer) }
            default:
                continue
            }
        }
        return message
    }

    private static func readRecord(
        _ buffer: ByteBuffer, into message: inout Message, _ limits: KademliaLimits
    ) throws(DecodeError) {
        var record = KademliaRecord(value: [])
        var reader = ProtobufReader(buffer)
        message.recordKey = []
        while let field = try reader.next() {
            switch field.number {
            case 1: message.recordKey = try bytes(of: field, "kad record's key", limits.nameBytesMax)
            case 2: record.value = try bytes(of: field, "kad value", limits.valueBytesMax)
            case 5: record.received = try bytes(of: field, "kad time", receivedBytesMax)
            default: continue
            }
        }
        message.record = record
    }

    /// A time as RFC 3339 writes it, with nanoseconds and a zone.
    private static let receivedBytesMax = 64

    private static func bytes(
        of field: ProtobufReader.Field, _ what: StaticText, _ bytesMax: Int
    ) throws(DecodeError) -> [UInt8] {
        let bytes = try field.bytes(what)
        guard bytes.readableBytes <= bytesMax else { throw .tooLarge(what, limit: bytesMax) }
        return Array(bytes.readableBytesView)
    }

    /// Nil when the peer can't be read: the others of its message still count.
    private static func peer(_ buffer: ByteBuffer, _ limits: KademliaLimits) -> KademliaWirePeer? {
        do throws(DecodeError) {
            var id: PeerID?
            var addresses: [Multiaddr] = []
            var connection = KademliaWirePeer.Connection.none
            var reader = ProtobufReader(buffer)
            while let field = try reader.next() {
                switch field.number {
                case 1:
                    id = try PeerID(multihash: try field.bytes("kad peer id").readableBytesView)
                case 2:
                    let bytes = try field.bytes("kad address")
                    guard addresses.count < limits.addressesPerPeerMax, let address = address(bytes) else { continue }
                    addresses.append(address)
                case 3:
                    connection = .init(rawValue: try field.varint("kad connection")) ?? .none
                default:
                    continue
                }
            }
            return id.map { KademliaWirePeer(id: $0, addresses: addresses, connection: connection) }
        } catch {
            return nil
        }
    }

    private static func address(_ bytes: ByteBuffer) -> Multiaddr? {
        do throws(DecodeError) { return try Multiaddr(binary: bytes) } catch { return nil }
    }
}
