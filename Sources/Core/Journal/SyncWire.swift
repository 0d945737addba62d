// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
import TuttiIdentity

package import struct NIOCore.ByteBuffer

/// The messages of `/tutti/sync/1` as bytes (docs/protocols/sync.md), without the length before each.
///
/// Numbers are varints, counts stand before lists. Each message has one encoding: what can be read is what would be
/// written, and nothing may follow it.
package enum SyncWire {
    // MARK: Requests

    package static func encode(_ request: SyncRequest, into buffer: inout ByteBuffer) {
        switch request {
        case .hello(let hello):
            buffer.writeInteger(UInt8(1))
            encode(hello, into: &buffer)
        case .roots(let roots):
            buffer.writeInteger(UInt8(2))
            encode(roots, into: &buffer)
        case .parts(let parts):
            buffer.writeInteger(UInt8(3))
            encode(parts, into: &buffer)
        case .feeds(let devices):
            buffer.writeInteger(UInt8(4))
            buffer.writeList(devices.map(\.bytes))
        case .entries(let ranges, let bytesMax, let withBodies):
            buffer.writeInteger(UInt8(5))
            buffer.writeNumber(bytesMax)
            buffer.writeInteger(UInt8(withBodies ? 1 : 0))
            buffer.writeNumber(ranges.count)
            for range in ranges { encode(range, into: &buffer) }
        case .governance(let after, let countMax, let bytesMax):
            buffer.writeInteger(UInt8(6))
            buffer.writeInteger(after)
            buffer.writeNumber(countMax)
            buffer.writeNumber(bytesMax)
        case .named(let ids, let bytesMax):
            buffer.writeInteger(UInt8(7))
            buffer.writeNumber(bytesMax)
            buffer.writeList(ids.map(\.bytes))
        case .proofs(let devices):
            buffer.writeInteger(UInt8(8))
            buffer.writeList(devices.map(\.bytes))
        case .receipts(let receipts):
            buffer.writeInteger(UInt8(9))
            buffer.writeNumber(receipts.count)
            for receipt in receipts {
                buffer.writeBytes32(receipt.device.bytes)
                buffer.writeVarint(receipt.head.value)
            }
        }
    }

    package static func decodeRequest(
        _ message: ByteBuffer, limits: SyncLimits = SyncLimits()
    ) throws(DecodeError) -> SyncRequest {
        var buffer = try checked(message, limits)
        guard let kind: UInt8 = buffer.readInteger() else { throw .truncated("sync request") }
        let request: SyncRequest
        switch kind {
        case 1: request = .hello(try hello(&buffer))
        case 2: request = .roots(try roots(&buffer))
        case 3: request = .parts(try parts(&buffer, limits))
        case 4: request = .feeds(try buffer.readList(max: limits.devicesPerRequestMax).map { DeviceID($0) })
        case 5:
            let bytesMax = try buffer.readNumber(max: limits.messageBytesMax)
            let withBodies = try buffer.readFlag()
            let count = try buffer.readCount(max: limits.rangesPerRequestMax, bytesEach: 36)
            var ranges: [SyncRange] = []
            for _ in 0..<count { ranges.append(try range(&buffer, limits)) }
            request = .entries(ranges, bytesMax: bytesMax, withBodies: withBodies)
        case 6:
            guard let after: UInt64 = buffer.readInteger() else { throw .truncated("sync place") }
            let countMax = try buffer.readNumber(max: limits.entriesPerRangeMax)
            request = .governance(
                after: after, countMax: countMax, bytesMax: try buffer.readNumber(max: limits.messageBytesMax))
        case 7:
            let bytesMax = try buffer.readNumber(max: limits.messageBytesMax)
            let ids = try buffer.readList(max: limits.idsPerRequestMax)
            request = .named(ids.map { EntryID($0) }, bytesMax: bytesMax)
        case 8: request = .proofs(try buffer.readList(max: limits.devicesPerRequestMax).map { DeviceID($0) })
        case 9:
            let count = try buffer.readCount(max: limits.receiptsPerMessageMax, bytesEach: 33)
            var receipts: [SyncReceipt] = []
            for _ in 0..<count {
                let device = DeviceID(try buffer.readKey())
                receipts.append(SyncReceipt(device: device, head: try buffer.readSequence()))
            }
            request = .receipts(receipts)
        default: throw .unsupported("sync request")
        }
        guard buffer.readableBytes == 0 else { throw .malformed("sync request (something follows)") }
        return request
    }

    // MARK: Answers

    package static func encode(_ answer: SyncAnswer, into buffer: inout ByteBuffer) {
        switch answer {
        case .accepted: buffer.writeInteger(UInt8(1))
        case .refused(let refusal):
            buffer.writeInteger(UInt8(2))
            buffer.writeInteger(refusal.rawValue)
        case .roots(let roots, let parts):
            buffer.writeInteger(UInt8(3))
            encode(roots, into: &buffer)
            encode(parts, into: &buffer)
        case .parts(let parts):
            buffer.writeInteger(UInt8(4))
            encode(parts, into: &buffer)
        case .feeds(let feeds):
            buffer.writeInteger(UInt8(5))
            buffer.writeNumber(feeds.count)
            for feed in feeds { feed.encode(into: &buffer) }
        case .entries(let pages):
            buffer.writeInteger(UInt8(6))
            buffer.writeNumber(pages.count)
            for page in pages { encode(page, into: &buffer) }
        case .governance(let entries, let next, let isEnd):
            buffer.writeInteger(UInt8(7))
            buffer.writeInteger(next)
            buffer.writeInteger(UInt8(isEnd ? 1 : 0))
            encode(entries, into: &buffer)
        case .named(let entries):
            buffer.writeInteger(UInt8(8))
            encode(entries, into: &buffer)
        case .proofs(let proofs):
            buffer.writeInteger(UInt8(9))
            buffer.writeNumber(proofs.count)
            for proof in proofs {
                proof.first.encode(into: &buffer)
                proof.second.encode(into: &buffer)
            }
        }
    }

    package static func decodeAnswer(
        _ message: ByteBuffer, limits: SyncLimits = SyncLimits()
    ) throws(DecodeError) -> SyncAnswer {
        var buffer = try checked(message, limits)
        guard let kind: UInt8 = buffer.readInteger() else { throw .truncated("sync answer") }
        let answer: SyncAnswer
        switch kind {
        case 1: answer = .accepted
        case 2:
            guard let code: UInt8 = buffer.readInteger() else { throw .truncated("sync refusal") }
            guard let refusal = SyncRefusal(rawValue: code) else { throw .unsupported("sync refusal") }
            answer = .refused(refusal)
        case 3:
            let roots = try roots(&buffer)
            answer = .roots(roots, try parts(&buffer, limits))
        case 4: answer = .parts(try parts(&buffer, limits))
        case 5:
            let count = try buffer.readCount(max: limits.devicesPerRequestMax, bytesEach: 34)
            var feeds: [SyncFeed] = []
            for _ in 0..<count { feeds.append(try SyncFeed(from: &buffer)) }
            answer = .feeds(feeds)
        case 6:
            let count = try buffer.readCount(max: limits.rangesPerRequestMax, bytesEach: 1)
            var pages: [[Entry]] = []
            for _ in 0..<count { pages.append(try entries(&buffer, max: limits.entriesPerRangeMax)) }
            answer = .entries(pages)
        case 7:
            guard let next: UInt64 = buffer.readInteger() else { throw .truncated("sync place") }
            let isEnd = try buffer.readFlag()
            answer = .governance(
                try entries(&buffer, max: limits.entriesPerRangeMax), next: next, isEnd: isEnd)
        case 8: answer = .named(try entries(&buffer, max: limits.idsPerRequestMax))
        case 9:
            let count = try buffer.readCount(max: limits.proofsPerAnswerMax, bytesEach: 500)
            var proofs: [FaultProof] = []
            for _ in 0..<count { proofs.append(try proof(&buffer)) }
            answer = .proofs(proofs)
        default: throw .unsupported("sync answer")
        }
        guard buffer.readableBytes == 0 else { throw .malformed("sync answer (something follows)") }
        return answer
    }

    private static func checked(_ message: ByteBuffer, _ limits: SyncLimits) throws(DecodeError) -> ByteBuffer {
        guard message.readableBytes <= limits.messageBytesMax else {
            throw .tooLarge("sync message", limit: limits.messageBytesMax)
        }
        return message
    }

    // MARK: Parts of messages

    private static func encode(_ hello: SyncHello, into buffer: inout ByteBuffer) {
        buffer.writeBytes32(hello.community.bytes)
        buffer.writeBytes32(hello.device.bytes)
        buffer.writeBytes(hello.signature)
        buffer.writeInteger(UInt8(hello.join == nil ? 0 : 1))
        hello.join?.encode(into: &buffer)
    }

    private static func hello(_ buffer: inout ByteBuffer) throws(DecodeError) -> SyncHello {
        let community = CommunityID(try buffer.readKey())
        let device = DeviceID(try buffer.readKey())
        guard let signature = buffer.readBytes(length: Entry.signatureBytesCount) else {
            throw .truncated("sync hello")
        }
        let join = try buffer.readFlag() ? try Entry(from: &buffer) : nil
        return SyncHello(community: community, device: device, signature: signature, join: join)
    }

    private static func encode(_ roots: SyncRoots, into buffer: inout ByteBuffer) {
        buffer.writeInteger(roots.stamp)
        buffer.writeBytes32(roots.governance)
        buffer.writeNumber(roots.governanceCount)
        buffer.writeBytes32(roots.feeds)
        buffer.writeNumber(roots.feedCount)
    }

    private static func roots(_ buffer: inout ByteBuffer) throws(DecodeError) -> SyncRoots {
        guard let stamp: UInt64 = buffer.readInteger() else { throw .truncated("sync stamp") }
        let governance = try buffer.readKey()
        let governanceCount = try buffer.readNumber(max: Int(Int32.max))
        let feeds = try buffer.readKey()
        return SyncRoots(
            stamp: stamp, feeds: feeds, feedCount: try buffer.readNumber(max: Int(Int32.max)), governance: governance,
            governanceCount: governanceCount)
    }

    private static func encode(_ parts: SyncParts, into buffer: inout ByteBuffer) {
        buffer.writeInteger(parts.stamp)
        buffer.writeNumber(parts.deferredCount)
        buffer.writeNumber(parts.governance.count)
        for part in parts.governance { part.encode(into: &buffer) }
        buffer.writeNumber(parts.feeds.count)
        for part in parts.feeds { part.encode(into: &buffer) }
    }

    private static func parts(_ buffer: inout ByteBuffer, _ limits: SyncLimits) throws(DecodeError) -> SyncParts {
        guard let stamp: UInt64 = buffer.readInteger() else { throw .truncated("sync stamp") }
        var parts = SyncParts(stamp: stamp)
        parts.deferredCount = try buffer.readNumber(max: limits.partsMax)
        var leavesLeft = limits.leavesMax
        for _ in 0..<(try buffer.readCount(max: limits.partsMax, bytesEach: 3)) {
            parts.governance.append(try SyncPart(from: &buffer, leavesLeft: &leavesLeft))
        }
        for _ in 0..<(try buffer.readCount(max: limits.partsMax, bytesEach: 3)) {
            parts.feeds.append(try SyncPart(from: &buffer, leavesLeft: &leavesLeft))
        }
        return parts
    }

    private static func encode(_ range: SyncRange, into buffer: inout ByteBuffer) {
        buffer.writeBytes32(range.device.bytes)
        buffer.writeVarint(range.sequences.lowerBound.value)
        buffer.writeVarint(range.sequences.upperBound.value &- range.sequences.lowerBound.value)
        buffer.writeInteger(UInt8(range.isNewestFirst ? 1 : 0))
        buffer.writeNumber(range.countMax)
    }

    private static func range(_ buffer: inout ByteBuffer, _ limits: SyncLimits) throws(DecodeError) -> SyncRange {
        let device = DeviceID(try buffer.readKey())
        let lower = try buffer.readSequence()
        let length = UInt64(try buffer.readNumber(max: Int(EntrySequence.max.value - lower.value)))
        let isNewestFirst = try buffer.readFlag()
        let countMax = try buffer.readNumber(max: limits.entriesPerRangeMax)
        guard countMax > 0 else { throw .malformed("sync range") }
        return SyncRange(
            device: device, sequences: lower...EntrySequence(lower.value + length), isNewestFirst: isNewestFirst,
            countMax: countMax)
    }

    private static func encode(_ entries: [Entry], into buffer: inout ByteBuffer) {
        buffer.writeNumber(entries.count)
        for entry in entries { entry.encode(into: &buffer) }
    }

    private static func entries(_ buffer: inout ByteBuffer, max: Int) throws(DecodeError) -> [Entry] {
        let count = try buffer.readCount(max: max, bytesEach: 250)
        var entries: [Entry] = []
        entries.reserveCapacity(count)
        for _ in 0..<count { entries.append(try Entry(from: &buffer)) }
        return entries
    }

    private static func proof(_ buffer: inout ByteBuffer) throws(DecodeError) -> FaultProof {
        let (one, other) = (try Entry(from: &buffer), try Entry(from: &buffer))
        guard let proof = FaultProof(one, other), proof.first == one, proof.second == other else {
            throw .malformed("fault proof")
        }
        return proof
    }
}

/// What stands in the lists of parts.
private protocol SyncWireLeaf: HashTreeLeaf {
    static var bytesCountMin: Int { get }
    init(from buffer: inout ByteBuffer) throws(DecodeError)
    func encode(into buffer: inout ByteBuffer)
}

extension SyncFeed: SyncWireLeaf {
    fileprivate static var bytesCountMin: Int { 34 }

    fileprivate func encode(into buffer: inout ByteBuffer) {
        buffer.writeBytes32(device.bytes)
        switch state {
        case .held(let low, let head):
            buffer.writeInteger(UInt8(0))
            buffer.writeVarint(head.sequence.value)
            buffer.writeVarint(head.sequence.next.value &- low.value)
            buffer.writeBytes32(head.id.bytes)
        case .frozen(let sequence):
            buffer.writeInteger(UInt8(1))
            buffer.writeVarint(sequence.value)
        }
    }

    fileprivate init(from buffer: inout ByteBuffer) throws(DecodeError) {
        let device = DeviceID(try buffer.readKey())
        guard try buffer.readFlag() else {
            let head = try buffer.readSequence()
            let count = UInt64(try buffer.readNumber(max: Int(head.value)))
            let point = FeedPoint(sequence: head, id: EntryID(try buffer.readKey()))
            self.init(device: device, state: .held(low: EntrySequence(head.value + 1 - count), head: point))
            return
        }
        self.init(device: device, state: .frozen(at: try buffer.readSequence()))
    }
}

extension EntryID: SyncWireLeaf {
    fileprivate static var bytesCountMin: Int { Bytes32.count }
    fileprivate func encode(into buffer: inout ByteBuffer) { buffer.writeBytes32(bytes) }
    fileprivate init(from buffer: inout ByteBuffer) throws(DecodeError) { self.init(try buffer.readKey()) }
}

extension SyncPart where Leaf: SyncWireLeaf {
    fileprivate func encode(into buffer: inout ByteBuffer) {
        buffer.writeInteger(UInt8(clamping: prefix.count))
        buffer.writeBytes(prefix.bytes.bytes.prefix((prefix.count + 1) / 2))
        switch content {
        case .children(let children):
            buffer.writeInteger(UInt8(0))
            buffer.writeInteger(children.bitmap)
            for digest in children.digests {
                buffer.writeInteger(digest.high)
                buffer.writeInteger(digest.low)
            }
        case .leaves(let leaves):
            buffer.writeInteger(UInt8(1))
            buffer.writeNumber(leaves.count)
            for leaf in leaves { leaf.encode(into: &buffer) }
        case .told(let leaves):
            buffer.writeInteger(UInt8(2))
            buffer.writeNumber(leaves.count)
            for leaf in leaves { leaf.encode(into: &buffer) }
        }
    }

    /// - Parameter leavesLeft: of the message.
    fileprivate init(from buffer: inout ByteBuffer, leavesLeft: inout Int) throws(DecodeError) {
        guard let count: UInt8 = buffer.readInteger() else { throw .truncated("sync prefix") }
        guard count <= SyncPrefix.nibblesMax else { throw .malformed("sync prefix") }
        guard let start = buffer.readBytes(length: (Int(count) + 1) / 2) else { throw .truncated("sync prefix") }
        guard let bytes = Bytes32(start + Array(repeating: 0, count: Bytes32.count - start.count)),
            let prefix = SyncPrefix(bytes, count: Int(count))
        else { throw .malformed("sync prefix") }
        guard let kind: UInt8 = buffer.readInteger() else { throw .truncated("sync part") }
        switch kind {
        case 0:
            guard let bitmap: UInt16 = buffer.readInteger() else { throw .truncated("sync children") }
            var digests: [TreeDigest] = []
            for _ in 0..<bitmap.nonzeroBitCount {
                guard let high: UInt64 = buffer.readInteger(), let low: UInt64 = buffer.readInteger() else {
                    throw .truncated("sync children")
                }
                digests.append(TreeDigest(high: high, low: low))
            }
            guard prefix.count < SyncPrefix.nibblesMax, let children = TreeChildren(bitmap: bitmap, digests: digests)
            else { throw .malformed("sync children") }
            self.init(prefix: prefix, content: .children(children))
        case 1, 2:
            let count = try buffer.readCount(max: leavesLeft, bytesEach: Leaf.bytesCountMin)
            leavesLeft -= count
            var leaves: [Leaf] = []
            leaves.reserveCapacity(count)
            for _ in 0..<count {
                let leaf = try Leaf(from: &buffer)
                guard prefix.contains(leaf.key), leaves.last.map({ $0.key < leaf.key }) ?? true else {
                    throw .malformed("sync leaves (order)")
                }
                leaves.append(leaf)
            }
            self.init(prefix: prefix, content: kind == 1 ? .leaves(leaves) : .told(leaves))
        default: throw .malformed("sync part")
        }
    }
}

extension ByteBuffer {
    fileprivate mutating func writeNumber(_ value: Int) { writeVarint(UInt64(clamping: value)) }

    fileprivate mutating func writeList(_ keys: [Bytes32]) {
        writeNumber(keys.count)
        for key in keys { writeBytes32(key) }
    }

    fileprivate mutating func readNumber(max: Int) throws(DecodeError) -> Int {
        guard let value = try readVarint() else { throw .truncated("sync number") }
        guard value <= UInt64(clamping: max) else { throw .tooLarge("sync number", limit: max) }
        return Int(value)
    }

    /// Of a list whose elements take at least so many bytes: never more than can follow.
    fileprivate mutating func readCount(max: Int, bytesEach: Int) throws(DecodeError) -> Int {
        guard let value = try readVarint() else { throw .truncated("sync count") }
        guard value <= UInt64(clamping: max) else { throw .tooLarge("sync list", limit: max) }
        guard Int(value) * bytesEach <= readableBytes else { throw .truncated("sync list") }
        return Int(value)
    }

    fileprivate mutating func readList(max: Int) throws(DecodeError) -> [Bytes32] {
        let count = try readCount(max: max, bytesEach: Bytes32.count)
        var keys: [Bytes32] = []
        keys.reserveCapacity(count)
        for _ in 0..<count { keys.append(try readKey()) }
        return keys
    }

    fileprivate mutating func readKey() throws(DecodeError) -> Bytes32 {
        guard let key = readBytes32() else { throw .truncated("sync name") }
        return key
    }

    fileprivate mutating func readFlag() throws(DecodeError) -> Bool {
        guard let flag: UInt8 = readInteger() else { throw .truncated("sync flag") }
        guard flag <= 1 else { throw .malformed("sync flag") }
        return flag == 1
    }

    fileprivate mutating func readSequence() throws(DecodeError) -> EntrySequence {
        guard let value = try readVarint() else { throw .truncated("sync sequence") }
        let sequence = EntrySequence(value)
        guard sequence >= .first, sequence <= .max else { throw .malformed("sync sequence") }
        return sequence
    }
}
