// SPDX-License-Identifier: Apache-2.0
import FuzzSupport
import TuttiBase
import TuttiIdentity
import TuttiPeers
import TuttiTransport

import struct NIOCore.ByteBuffer

/// What the local network says (mDNS), what the file of peers holds, and the core that chooses whom to dial. The first
/// byte chooses.
@_cdecl("LLVMFuzzerTestOneInput")
func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var source = ByteSource(start, count)
    switch source.byte() % 8 {
    case 0: fuzzMessage(source.rest())
    case 1: fuzzMessage(source.mutate(genuineResponse(&source)))
    case 2: fuzzSnapshot(&source)
    case 3, 4:
        var lan = LocalNetwork(&source)
        lan.run(&source)
    default:
        var search = Neighbourhood(&source)
        search.run(&source)
    }
    return 0
}

@_cdecl("Discovery_main")
func start(_ count: CInt, _ arguments: Arguments?) -> CInt {
    fuzz(count, arguments) { testOneInput($0, $1) }
}

let keys = (0..<8).map { KeyPair(seed: Bytes32(words: (UInt64($0), 2, 3, 4))) }

func peer(_ source: inout ByteSource) -> PeerID {
    keys[source.below(keys.count)].peerID
}

func address(_ source: inout ByteSource) -> Multiaddr {
    let host: Multiaddr.Component =
        switch source.byte() % 4 {
        case 0: .ip4(0xC0A8_0100 | UInt32(source.byte()))
        case 1: .ip4(source.boundary32(around: 0x7F00_0001))
        case 2: .dns4("example.org")
        default: .ip4(0x0A00_0000 | UInt32(source.word16()))
        }
    return Multiaddr(components: [host, .tcp(source.word16())])
}

// MARK: mDNS as bytes

func genuineResponse(_ source: inout ByteSource) -> [UInt8] {
    let addresses = (0..<source.below(12)).map { _ in address(&source).appending(.p2p(peer(&source))) }
    return Array(MulticastDNSMessage.response(peerName: "abc123", addresses: addresses).readableBytesView)
}

func fuzzMessage(_ bytes: [UInt8]) {
    guard let message = try? MulticastDNSMessage(ByteBuffer(bytes: bytes)) else { return }
    require(bytes.count <= MulticastDNSMessage.messageBytesMax, "a message is limited")
    require(message.questions.count <= MulticastDNSMessage.questionsMax, "questions are limited")
    require(message.records.count <= MulticastDNSMessage.recordsMax, "records are limited")
    for record in message.records {
        guard case .texts(let texts) = record.content else { continue }
        require(texts.count <= MulticastDNSMessage.textsMax, "texts are limited")
        require(texts.allSatisfy { !$0.isEmpty && $0.count <= 255 }, "a text is limited")
    }
    var shifted = ByteBuffer(bytes: [0, 1, 2] + bytes)
    shifted.moveReaderIndex(forwardBy: 3)
    require((try? MulticastDNSMessage(shifted)) == message, "a message doesn't depend on its place")
}

// MARK: The file of peers

func fuzzSnapshot(_ source: inout ByteSource) {
    var snapshot = PeerStoreSnapshot()
    for _ in 0..<source.below(4) {
        let addresses = (0..<source.below(4)).map { _ in address(&source) }
        snapshot.peers.append(
            PeerStoreSnapshot.Peer(
                id: peer(&source), addresses: addresses, record: source.take(source.below(40)),
                lastGood: source.bool() ? address(&source) : nil))
    }
    snapshot.table = (0..<source.below(4)).map { _ in peer(&source) }
    snapshot.anchors = (0..<source.below(4)).map { _ in peer(&source) }
    let file = Array(snapshot.encoded().readableBytesView)
    require((try? PeerStoreSnapshot(ByteBuffer(bytes: file))) == snapshot, "what is kept is read again")
    if source.bool() {
        let damaged = source.mutate(file)
        require(
            damaged == file || (try? PeerStoreSnapshot(ByteBuffer(bytes: damaged))) == nil, "damage is noticed")
        return
    }
    // Whoever can write the file can make its checksum as well.
    let body = source.bool() ? source.mutate(Array(file.dropLast(32))) : Array(file.prefix(8)) + source.rest()
    let forged = body + KeyDerivation.sha256(body).bytes
    guard let read = try? PeerStoreSnapshot(ByteBuffer(bytes: forged)) else { return }
    require(read.peers.count <= PeerStoreSnapshot.peersMax, "peers are limited")
    require(
        read.peers.allSatisfy {
            $0.addresses.count <= PeerStoreSnapshot.addressesPerPeerMax
                && $0.record.count <= PeerStoreSnapshot.recordBytesMax
        }, "what is kept of a peer is limited")
    require((try? PeerStoreSnapshot(read.encoded())) == read, "what was read can be kept")
}
