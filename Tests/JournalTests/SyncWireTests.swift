// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity
import TuttiJournal

import struct NIOCore.ByteBuffer

struct SyncWireTests {
    private static let device = syncDevice(1)
    private static let other = syncDevice(2)
    private static let chain = syncChain(device, count: 3)

    private static var parts: SyncParts {
        var parts = SyncParts(stamp: 0x0102_0304_0506_0708)
        parts.deferredCount = 3
        let digest = TreeDigest(high: 1, low: 2)
        if let children = TreeChildren(bitmap: 0x8001, digests: [digest, digest]),
            let nibble = SyncPrefix.root.appending(0xA), let deeper = nibble.appending(3)
        {
            parts.governance = [
                SyncPart(prefix: .root, content: .children(children)),
                SyncPart(prefix: nibble, content: .told([])), SyncPart(prefix: deeper, content: .children(children)),
            ]
        }
        let feeds = [
            SyncFeed(device: device, state: .held(low: EntrySequence(2), head: chain[2].point)),
            SyncFeed(device: other, state: .frozen(at: EntrySequence(300))),
        ]
        parts.feeds = [SyncPart(prefix: .root, content: .leaves(feeds.sorted { $0.device < $1.device }))]
        return parts
    }

    private static let roots = SyncRoots(
        stamp: 9, feeds: Bytes32(words: (1, 2, 3, 4)), feedCount: 2_000, governance: .zero, governanceCount: 0)

    static let requests: [SyncRequest] = [
        .hello(SyncHello(community: syncCommunity, device: device, signature: falseSignature, join: nil)),
        .hello(SyncHello(community: syncCommunity, device: device, signature: goodSignature, join: chain[0])),
        .roots(roots), .parts(parts), .parts(SyncParts(stamp: 0)), .feeds([device, other]), .feeds([]),
        .entries(
            [
                SyncRange(
                    device: device, sequences: .first ... .max, isNewestFirst: true, countMax: 256),
                SyncRange(
                    device: other, sequences: EntrySequence(300)...EntrySequence(300), isNewestFirst: false, countMax: 1
                ),
            ], bytesMax: 524_288, withBodies: true),
        .governance(after: .max, countMax: 256, bytesMax: 1), .named([chain[0].id], bytesMax: 9),
        .proofs([device]), .receipts([SyncReceipt(device: device, head: .max)]),
    ]

    static let answers: [SyncAnswer] = {
        let fork = syncChain(device, count: 3, body: [9])
        let proofs = [FaultProof(chain[1], fork[1])].compactMap { $0 }
        return [
            .accepted, .refused(.busy), .roots(roots, parts), .parts(parts),
            .feeds([
                SyncFeed(device: device, state: .held(low: .first, head: FeedPoint(sequence: .max, id: .none))),
                SyncFeed(
                    device: other,
                    state: .held(low: EntrySequence(4), head: FeedPoint(sequence: EntrySequence(3), id: .none))),
            ]),
            .entries([chain, [], [chain[0].withoutBody]]), .governance(chain, next: 77, isEnd: false),
            .governance([], next: 0, isEnd: true), .named([chain[0]]), .proofs(proofs),
        ]
    }()

    private func bytes(_ request: SyncRequest) -> ByteBuffer {
        var buffer = ByteBuffer()
        SyncWire.encode(request, into: &buffer)
        return buffer
    }

    private func bytes(_ answer: SyncAnswer) -> ByteBuffer {
        var buffer = ByteBuffer()
        SyncWire.encode(answer, into: &buffer)
        return buffer
    }

    @Test("Messages have these bytes")
    func golden() {
        func hex(_ buffer: ByteBuffer) -> String {
            buffer.readableBytesView.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        }
        #expect(hex(bytes(.accepted)) == "01")
        #expect(hex(bytes(.refused(.busy))) == "0206")
        #expect(hex(bytes(.feeds([] as [DeviceID]))) == "0400")
        #expect(hex(bytes(.governance(after: 258, countMax: 256, bytesMax: 524_288))) == "0600000000000001028002808020")
        let zeros = String(repeating: "0", count: 64)
        #expect(
            hex(
                bytes(
                    .roots(
                        SyncRoots(stamp: 1, feeds: .zero, feedCount: 300, governance: .zero, governanceCount: 2))))
                == "02" + "0000000000000001" + zeros + "02" + zeros + "ac02")
        var parts = SyncParts(stamp: 1)
        let place = SyncPrefix.root.appending(0xA).flatMap { $0.appending(0xB) }.flatMap { $0.appending(0xC) }
        if let place, let children = TreeChildren(bitmap: 0x0010, digests: [TreeDigest(high: 1, low: 2)]) {
            parts.governance = [SyncPart(prefix: place, content: .children(children))]
        }
        #expect(
            hex(bytes(SyncRequest.parts(parts)))
                == "03" + "0000000000000001" + "00" + "01" + "03abc0" + "00" + "0010"
                + "00000000000000010000000000000002"
                + "00")
        let zero = DeviceID(.zero)
        let range = SyncRange(
            device: zero, sequences: EntrySequence(5)...EntrySequence(7), isNewestFirst: true, countMax: 4)
        #expect(
            hex(bytes(.entries([range], bytesMax: 300, withBodies: true)))
                == "05" + "ac02" + "01" + "01" + zeros + "05" + "02" + "01" + "04")
        let feed = SyncFeed(
            device: zero, state: .held(low: EntrySequence(5), head: FeedPoint(sequence: EntrySequence(7), id: .none)))
        #expect(hex(bytes(SyncAnswer.feeds([feed]))) == "0501" + zeros + "00" + "07" + "03" + zeros)
        #expect(
            hex(bytes(SyncAnswer.feeds([SyncFeed(device: zero, state: .frozen(at: EntrySequence(300)))])))
                == "0501" + zeros + "01" + "ac02")
    }

    @Test("A request survives its bytes, and no part of them is a message", arguments: SyncWireTests.requests.indices)
    func requestBytes(_ place: Int) throws {
        let buffer = bytes(Self.requests[place])
        #expect(try SyncWire.decodeRequest(buffer) == Self.requests[place])
        for end in 0..<buffer.readableBytes {
            #expect(throws: DecodeError.self) {
                try SyncWire.decodeRequest(buffer.getSlice(at: 0, length: end) ?? buffer)
            }
        }
        var longer = buffer
        longer.writeInteger(UInt8(0))
        #expect(throws: DecodeError.self) { try SyncWire.decodeRequest(longer) }
    }

    @Test("An answer survives its bytes, and no part of them is a message", arguments: SyncWireTests.answers.indices)
    func answerBytes(_ place: Int) throws {
        let buffer = bytes(Self.answers[place])
        #expect(try SyncWire.decodeAnswer(buffer) == Self.answers[place])
        for end in 0..<buffer.readableBytes {
            #expect(throws: DecodeError.self) {
                try SyncWire.decodeAnswer(buffer.getSlice(at: 0, length: end) ?? buffer)
            }
        }
        var longer = buffer
        longer.writeInteger(UInt8(0))
        #expect(throws: DecodeError.self) { try SyncWire.decodeAnswer(longer) }
    }

    @Test("Another form of the same is refused: bits behind a prefix, leaves out of order, a padded number")
    func otherForms() {
        func message(_ bytes: [UInt8]) -> ByteBuffer { ByteBuffer(bytes: bytes) }
        let stamp = [UInt8](repeating: 0, count: 8)
        // One nibble, and something in the other half.
        #expect(throws: DecodeError.malformed("sync prefix")) {
            try SyncWire.decodeRequest(message([3] + stamp + [0, 1, 1, 0xAB, 1, 0, 0]))
        }
        let (low, high) = (Bytes32.zero.bytes, Bytes32(words: (1, 0, 0, 0)).bytes)
        #expect(throws: DecodeError.malformed("sync leaves (order)")) {
            try SyncWire.decodeRequest(message([3] + stamp + [0, 1, 0, 1, 2] + high + low + [0]))
        }
        #expect(throws: DecodeError.malformed("sync leaves (order)")) {
            try SyncWire.decodeRequest(message([3] + stamp + [0, 1, 0, 1, 2] + low + low + [0]))
        }
        #expect(throws: DecodeError.malformed("sync leaves (order)")) {
            try SyncWire.decodeRequest(message([3] + stamp + [0, 1, 1, 0x10, 1, 1] + low + [0]))
        }
        #expect(throws: DecodeError.self) { try SyncWire.decodeRequest(message([4, 0x80, 0])) }
        #expect(throws: DecodeError.self) { try SyncWire.decodeRequest(message([3] + stamp + [0, 1, 0, 0, 0, 0, 0])) }
    }

    @Test("Lists over their limits are refused before they are read")
    func limits() {
        var limits = SyncLimits()
        limits.devicesPerRequestMax = 1
        limits.messageBytesMax = 80
        #expect(throws: DecodeError.tooLarge("sync list", limit: 1)) {
            try SyncWire.decodeRequest(bytes(.feeds([Self.device, Self.other])), limits: limits)
        }
        #expect(throws: DecodeError.tooLarge("sync message", limit: 80)) {
            try SyncWire.decodeRequest(bytes(Self.requests[0]), limits: limits)
        }
        // A count that can't be true of what follows.
        #expect(throws: DecodeError.truncated("sync list")) {
            try SyncWire.decodeRequest(ByteBuffer(bytes: [4, 0xFF, 0x07]))
        }
    }
}
