// SPDX-License-Identifier: Apache-2.0
import FuzzSupport
import TuttiBase
import TuttiConnection
import TuttiIdentity
import TuttiPeers
import TuttiTransport

import struct NIOCore.ByteBuffer

/// identify's and AutoNAT's messages, DNS, AutoNAT's client, and all decisions about connections under any order of inputs.
/// The first byte chooses.
@_cdecl("LLVMFuzzerTestOneInput")
func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    var source = ByteSource(start, count)
    let choice = source.byte()
    switch choice % 8 {
    case _ where choice >= 248: fuzzAutoNATMessage(&source)
    case _ where choice >= 236: fuzzAutoNATClient(&source)
    case 0: fuzzIdentify(&source)
    case 1: fuzzDNSAnswer(&source)
    case 2: fuzzDNSQuery(&source)
    default:
        let world = World(&source)
        world.run(&source)
    }
    return 0
}

@_cdecl("Peers_main")
func start(_ count: CInt, _ arguments: Arguments?) -> CInt {
    fuzz(count, arguments) { testOneInput($0, $1) }
}

// MARK: Messages

func fuzzIdentify(_ source: inout ByteSource) {
    let limits = NodeLimits.internet
    guard var message = try? IdentifyMessage(ByteBuffer(bytes: source.blob(countMax: 8_192)), limits: limits) else {
        return
    }
    checkIdentify(message, limits)
    if let part = try? IdentifyMessage(ByteBuffer(bytes: source.rest()), limits: limits) {
        message.merge(part, limits: limits)
        checkIdentify(message, limits)
    }
}

func checkIdentify(_ message: IdentifyMessage, _ limits: NodeLimits) {
    require(message.listenAddresses.count <= limits.addressesPerPeerMax, "addresses are limited")
    require(message.protocols.count <= limits.protocolsPerPeerMax, "protocols are limited")
    let encoded = message.encoded
    let bytesMax = message.signedRecord == nil ? limits.identifyPartBytesMax : limits.identifySignedBytesMax
    guard encoded.readableBytes <= bytesMax else { return }
    require((try? IdentifyMessage(encoded, limits: limits)) == message, "a message survives its encoding")
}

func fuzzDNSAnswer(_ source: inout ByteSource) {
    let name = "_dnsaddr.example.org"
    var bytes: [UInt8]
    if source.bool() {
        bytes = [0, 7, 0x81, 0x80, 0, 1, 0, source.byte() & 7, 0, 0, 0, 0] + source.rest()
    } else {
        let text = String(decoding: source.blob(countMax: 600), as: UTF8.self)
        guard let genuine = DNSMessage.response(id: 7, name: name, texts: [text, "dnsaddr=/ip4/192.0.2.1/tcp/1"]) else {
            return
        }
        bytes = Array(genuine.readableBytesView)
        for _ in 0..<source.below(4) { bytes = source.mutate(bytes) }
    }
    // A datagram may lie anywhere in its buffer.
    var buffer = ByteBuffer(repeating: 0xC0, count: 5)
    buffer.writeBytes(bytes)
    buffer.moveReaderIndex(forwardBy: 5)
    let answer = try? DNSMessage.answer(buffer, to: name)
    require(
        answer == (try? DNSMessage.answer(ByteBuffer(bytes: bytes), to: name)), "an answer doesn't depend on its place")
    guard let answer else { return }
    let size = answer.texts.reduce(0) { $0 + $1.count }
    require(size <= bytes.count && answer.texts.count <= DNSMessage.recordsMax, "texts are no longer than the answer")
}

func fuzzDNSQuery(_ source: inout ByteSource) {
    let texts = (0..<source.below(4)).map { _ in String(decoding: source.blob(countMax: 400), as: UTF8.self) }
    let name = String(decoding: source.rest(), as: UTF8.self)
    guard let query = DNSMessage.query(id: 9, name: name) else {
        return require(DNSMessage.response(id: 9, name: name, texts: []) == nil, "no name, no answer")
    }
    require((try? DNSMessage.answer(query, to: name)) == nil, "a question is no answer")
    guard let response = DNSMessage.response(id: 9, name: name, texts: texts),
        response.readableBytes <= DNSMessage.messageBytesMax
    else { return }
    let answer = try? DNSMessage.answer(response, to: name)
    require(answer?.id == 9 && answer?.texts == texts.map { Array($0.utf8) }, "an answer is what was answered: \(name)")
}
