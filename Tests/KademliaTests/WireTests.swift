// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity
import TuttiKademlia

import struct NIOCore.ByteBuffer

struct WireTests {
    let limits = KademliaLimits()
    let id: PeerID
    let idBytes: [UInt8] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20] + Array(1...32)
    let target = KademliaNames.target([0x61, 0x62])
    /// /ip4/127.0.0.1/tcp/4001
    let address: [UInt8] = [0x04, 127, 0, 0, 1, 0x06, 0x0F, 0xA1]

    init() throws { id = try PeerID(multihash: idBytes) }

    var peer: KademliaWirePeer {
        get throws {
            KademliaWirePeer(
                id: id, addresses: [try Multiaddr(binary: ByteBuffer(bytes: address))], connection: .connected)
        }
    }
    /// Peer{id, addrs, connection: CONNECTED}
    var peerBytes: [UInt8] { [0x0A, 38] + idBytes + [0x12, 8] + address + [0x18, 1] }

    func bytes(_ buffer: ByteBuffer) -> [UInt8] { Array(buffer.readableBytesView) }

    @Test("Requests are these bytes")
    func goldenRequests() throws {
        func encoded(_ request: KademliaRequest) throws -> [UInt8] {
            bytes(KademliaWire.encode(request, own: try peer, limits: limits))
        }
        #expect(try encoded(.ping) == [0x08, 5])
        #expect(try encoded(.findNode(target)) == [0x08, 4, 0x12, 2, 0x61, 0x62])
        #expect(try encoded(.getValue(target)) == [0x08, 1, 0x12, 2, 0x61, 0x62])
        #expect(try encoded(.getProviders(target)) == [0x08, 3, 0x12, 2, 0x61, 0x62])
        let record = KademliaRecord(value: [9, 8, 7], received: [0x32])
        #expect(
            try encoded(.putValue(target, record)) == [
                0x08, 0, 0x12, 2, 0x61, 0x62, 0x1A, 12, 0x0A, 2, 0x61, 0x62, 0x12, 3, 9, 8, 7, 0x2A, 1, 0x32,
            ])
        #expect(
            try encoded(.addProvider(target))
                == [0x08, 2, 0x12, 2, 0x61, 0x62, 0x4A, UInt8(peerBytes.count)] + peerBytes)
    }

    @Test("An answer is these bytes and is read back")
    func goldenResponse() throws {
        var response = KademliaResponse(closer: [PeerIndex(3)], providers: [PeerIndex(4), PeerIndex(3)])
        response.record = KademliaRecord(value: [5])
        let buffer = KademliaWire.encode(response, to: .getValue(target), limits: limits) {
            $0 == PeerIndex(3) ? try? peer : nil
        }
        let expected =
            [0x08, 1, 0x12, 2, 0x61, 0x62, 0x1A, 7, 0x0A, 2, 0x61, 0x62, 0x12, 1, 5, 0x42, UInt8(peerBytes.count)]
            + peerBytes + [0x4A, UInt8(peerBytes.count)] + peerBytes
        #expect(bytes(buffer) == expected)
        var seen: [KademliaWirePeer] = []
        let decoded = try KademliaWire.decodeResponse(buffer, to: .getValue(target), limits: limits) {
            seen.append($0)
            return PeerIndex(7)
        }
        #expect(decoded.closer == [PeerIndex(7)])
        #expect(decoded.providers == [PeerIndex(7)])
        #expect(decoded.record == KademliaRecord(value: [5]))
        #expect(try seen == [peer, peer])
    }

    @Test("Requests survive their encoding; the target is the SHA-256 of the name")
    func roundTrip() throws {
        let record = KademliaRecord(value: Array(repeating: 3, count: 16_384))
        for request in [.findNode(target), .getValue(target), .putValue(target, record), .addProvider(target)]
            as [KademliaRequest]
        {
            let buffer = KademliaWire.encode(request, own: try peer, limits: limits)
            var learnt: [KademliaWirePeer] = []
            let read = try KademliaWire.decodeRequest(buffer, from: id, limits: limits) { learnt.append($0) }
            #expect(KademliaWire.encode(read, own: try peer, limits: limits) == buffer)
            if case .addProvider = request { #expect(try learnt == [peer]) } else { #expect(learnt.isEmpty) }
        }
        #expect(
            target.key.bytes.bytes.prefix(4) == [0xFB, 0x8E, 0x20, 0xFC])
    }

    @Test("Cut at any length, a message is read as less or refused, never as more")
    func cut() throws {
        let whole = bytes(KademliaWire.encode(.addProvider(target), own: try peer, limits: limits))
        for count in 0..<whole.count {
            let cut = ByteBuffer(bytes: whole.prefix(count))
            #expect(throws: DecodeError.self) {
                _ = try KademliaWire.decodeRequest(cut, from: id, limits: limits) { _ in }
            }
        }
        var response = KademliaResponse(closer: [PeerIndex(1), PeerIndex(1)])
        response.record = KademliaRecord(value: [5])
        let answer = bytes(KademliaWire.encode(response, to: .getValue(target), limits: limits) { _ in try? peer })
        for count in 0..<answer.count {
            let cut = ByteBuffer(bytes: answer.prefix(count))
            let read = try? KademliaWire.decodeResponse(cut, to: .getValue(target), limits: limits) { _ in PeerIndex(1)
            }
            #expect((read?.closer.count ?? 0) < 2)
        }
    }

    @Test("A peer that can't be read is left out, the others count; so is what nobody knows")
    func badPeers() throws {
        var buffer = ByteBuffer(bytes: [0x08, 4, 0x50, 1, 0x9A, 0x06, 1, 0xFF])
        for inner in [[0x0A, 2, 0x12, 0x20], peerBytes, [0x0A, 99], [], [0x0A, 38] + idBytes + [0x12, 1, 0xFF]] {
            buffer.writeProtobuf(8, bytes: inner)
        }
        var seen: [KademliaWirePeer] = []
        let read = try KademliaWire.decodeResponse(buffer, to: .findNode(target), limits: limits) {
            seen.append($0)
            return PeerIndex(1)
        }
        #expect(read.closer.count == 2)
        #expect(try seen == [peer, KademliaWirePeer(id: id, addresses: [])])
    }

    @Test("Twenty peers of a list count, and as many addresses as the limit says")
    func listsAreBounded() throws {
        var inner = ByteBuffer(bytes: [0x0A, 38] + idBytes)
        for _ in 0..<40 { inner.writeProtobuf(2, bytes: address) }
        var buffer = ByteBuffer(bytes: [0x08, 4])
        for _ in 0..<30 { buffer.writeProtobuf(8, message: inner) }
        var addressCount = 0
        let read = try KademliaWire.decodeResponse(buffer, to: .findNode(target), limits: limits) {
            addressCount = max(addressCount, $0.addresses.count)
            return PeerIndex(1)
        }
        #expect(read.closer.count == 20)
        #expect(addressCount == limits.addressesPerPeerMax)
    }

    @Test("What breaks the format is refused")
    func refusals() throws {
        func error(_ bytes: [UInt8], limits: KademliaLimits = KademliaLimits()) -> DecodeError? {
            do throws(DecodeError) {
                _ = try KademliaWire.decodeRequest(ByteBuffer(bytes: bytes), from: id, limits: limits) { _ in }
                return nil
            } catch { return error }
        }
        #expect(error([0x08, 6, 0x12, 1, 1]) == .unsupported("kad type"))
        #expect(error([0x08, 4]) == .malformed("kad key"))
        #expect(error([0x08, 4, 0x12, 0]) == .malformed("kad key"))
        #expect(error([0x08, 0, 0x12, 1, 1]) == .malformed("kad record"))
        // The record's key is another.
        #expect(error([0x08, 0, 0x12, 1, 1, 0x1A, 3, 0x0A, 1, 2]) == .malformed("kad record"))
        // Somebody else provides.
        var other = peerBytes
        other[10] ^= 1
        #expect(error([0x08, 2, 0x12, 1, 1, 0x4A, UInt8(other.count)] + other) == .malformed("kad provider"))
        var small = KademliaLimits()
        small.messageBytesMax = 6
        small.nameBytesMax = 1
        #expect(error([0x08, 4, 0x12, 3, 1, 1, 1], limits: small) == .tooLarge("kad message", limit: 6))
        #expect(error([0x08, 4, 0x12, 2, 1, 1], limits: small) == .tooLarge("kad key", limit: 1))
    }

    @Test("An answer to another question is refused")
    func wrongAnswer() {
        let answer = ByteBuffer(bytes: [0x08, 1, 0x12, 2, 0x61, 0x62, 0x1A, 3, 0x0A, 1, 9])
        for request in [KademliaRequest.findNode(target), .getValue(target)] {
            #expect(throws: DecodeError.self) {
                _ = try KademliaWire.decodeResponse(answer, to: request, limits: limits) { _ in nil }
            }
        }
    }

    @Test("What we send stays within its limit by leaving addresses out, never peers")
    func sentBytes() throws {
        let long = try #require(Multiaddr("/dns4/" + String(repeating: "a", count: 60) + ".example.org/tcp/4001"))
        let peer = KademliaWirePeer(id: id, addresses: Array(repeating: long, count: 40))
        var few = limits
        few.sentBytesMax = 4_096
        let all = (0..<40).map { PeerIndex($0) }
        let buffer = KademliaWire.encode(
            KademliaResponse(closer: all, providers: all), to: .getProviders(target), limits: few
        ) { _ in peer }
        #expect(buffer.readableBytes <= few.sentBytesMax + 64)
        let read = try KademliaWire.decodeResponse(buffer, to: .getProviders(target), limits: few) { _ in PeerIndex(1) }
        #expect(read.closer.count == 20)
        #expect(read.providers.count == 20)
    }
}
