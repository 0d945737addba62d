// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

package import struct NIOCore.ByteBuffer

/// The protobuf `RPC` of pubsub with the control messages of GossipSub 1.0 to 1.2. The bytes are in
/// docs/protocols/gossip.md. The length before an RPC is the stream's affair.
///
/// Messages stay slices of what was read; only the places of their fields are noted.
package enum GossipWire {
    /// Lists are cut at their limits and ids or topics over theirs are passed over, for both may be honest; everything
    /// that breaks the format is an error, also a field of a message that comes twice: whoever reads another one of the
    /// two than we do would see another message under the same id.
    package static func decode(_ buffer: ByteBuffer, limits: GossipLimits) throws(DecodeError) -> GossipRPC {
        guard buffer.readableBytes <= limits.rpcBytesMax else {
            throw .tooLarge("gossip RPC", limit: limits.rpcBytesMax)
        }
        let result: Result<GossipRPC, DecodeError> = buffer.withUnsafeReadableBytes { bytes in
            var decoder = GossipDecoder(buffer: buffer, bytes: bytes, limits: limits)
            do throws(DecodeError) {
                try decoder.decodeRPC()
                return .success(decoder.rpc)
            } catch {
                return .failure(error)
            }
        }
        return try result.get()
    }

    /// Appends the RPC. - Parameter exchanged: id and signed record of a peer that a PRUNE names; nil leaves it out.
    package static func encode(
        _ rpc: GossipRPC, into buffer: inout ByteBuffer,
        exchanged: (PeerIndex) -> (id: [UInt8], record: [UInt8])?
    ) {
        for (topic, isSubscribed) in rpc.subscriptions {
            let name = topic.name.utf8
            buffer.writeInteger(0x0A as UInt8)
            buffer.writeVarint(UInt64(2 + size(of: name.count)))
            buffer.writeInteger(0x0800 | (isSubscribed ? 1 : 0) as UInt16)
            write(name, tag: 0x12, to: &buffer)
        }
        for message in rpc.messages {
            buffer.writeInteger(0x12 as UInt8)
            buffer.writeDelimited(message.encoded)
        }
        guard hasControl(rpc) else { return }
        let (ihave, prune) = (rpc.ihave.map(size(of:)), rpc.prune.map { encoded($0, exchanged) })
        var count = size(ofIDs: rpc.iwant) + size(ofIDs: rpc.idontwant)
        for size in ihave { count += self.size(of: size) }
        for topic in rpc.graft { count += size(of: size(of: topic.name.utf8.count)) }
        for prune in prune { count += size(of: prune.readableBytes) }
        buffer.reserveCapacity(minimumWritableBytes: count + 6)
        buffer.writeInteger(0x1A as UInt8)
        buffer.writeVarint(UInt64(count))
        for (entry, size) in zip(rpc.ihave, ihave) {
            buffer.writeInteger(0x0A as UInt8)
            buffer.writeVarint(UInt64(size))
            write(entry.topic.name.utf8, tag: 0x0A, to: &buffer)
            for id in entry.ids { write(id, tag: 0x12, to: &buffer) }
        }
        writeIDs(rpc.iwant, tag: 0x12, to: &buffer)
        for topic in rpc.graft {
            buffer.writeInteger(0x1A as UInt8)
            buffer.writeVarint(UInt64(size(of: topic.name.utf8.count)))
            write(topic.name.utf8, tag: 0x0A, to: &buffer)
        }
        for prune in prune { buffer.writeProtobuf(4, message: prune) }
        writeIDs(rpc.idontwant, tag: 0x2A, to: &buffer)
    }

    private static func hasControl(_ rpc: GossipRPC) -> Bool {
        !(rpc.ihave.isEmpty && rpc.iwant.isEmpty && rpc.graft.isEmpty && rpc.prune.isEmpty && rpc.idontwant.isEmpty)
    }

    private static func encoded(
        _ prune: GossipRPC.Prune, _ exchanged: (PeerIndex) -> (id: [UInt8], record: [UInt8])?
    ) -> ByteBuffer {
        var buffer = ByteBuffer()
        buffer.writeProtobuf(1, string: prune.topic.name)
        for peer in prune.exchanged {
            let known: (id: [UInt8], record: [UInt8])?
            switch peer {
            case .known(let index): known = exchanged(index)
            case .heard(let id, let record): known = (id, record)
            }
            guard let (id, record) = known else { continue }
            var entry = ByteBuffer()
            entry.writeProtobuf(1, bytes: id)
            if !record.isEmpty { entry.writeProtobuf(2, bytes: record) }
            buffer.writeProtobuf(2, message: entry)
        }
        if let seconds = prune.backoffSeconds { buffer.writeProtobuf(3, varint: seconds) }
        return buffer
    }

    private static func writeIDs(_ ids: [MessageID], tag: UInt8, to buffer: inout ByteBuffer) {
        guard !ids.isEmpty else { return }
        buffer.writeInteger(tag)
        buffer.writeVarint(UInt64(ids.reduce(0) { $0 + size(of: $1.count) }))
        for id in ids { write(id, tag: 0x0A, to: &buffer) }
    }

    private static func write(_ id: MessageID, tag: UInt8, to buffer: inout ByteBuffer) {
        buffer.writeInteger(UInt16(tag) << 8 | UInt16(truncatingIfNeeded: id.count))
        id.withBytes { _ = buffer.writeBytes($0) }
    }

    private static func write(_ text: String.UTF8View, tag: UInt8, to buffer: inout ByteBuffer) {
        buffer.writeInteger(tag)
        buffer.writeVarint(UInt64(text.count))
        buffer.writeBytes(text)
    }

    /// A field with a one-byte key around `count` bytes.
    static func size(of count: Int) -> Int { 1 + Varint.encodedCount(UInt64(count)) + count }

    private static func size(of entry: (topic: Topic, ids: [MessageID])) -> Int {
        entry.ids.reduce(size(of: entry.topic.name.utf8.count)) { $0 + size(of: $1.count) }
    }

    private static func size(ofIDs ids: [MessageID]) -> Int {
        ids.isEmpty ? 0 : size(of: ids.reduce(0) { $0 + size(of: $1.count) })
    }
}

/// Reads fields in place: offsets into one region that never moves while it runs.
private struct GossipDecoder {
    /// What is left of one nested message.
    struct Region {
        var offset: Int
        let end: Int
        var isEmpty: Bool { offset >= end }
    }

    enum Value {
        case varint(UInt64)
        case bytes(Region)
        /// Fixed width: no field that we know has it.
        case other
    }

    let buffer: ByteBuffer
    let bytes: UnsafeRawBufferPointer
    let limits: GossipLimits
    var rpc = GossipRPC()
    private var ihaveIDs = 0

    init(buffer: ByteBuffer, bytes: UnsafeRawBufferPointer, limits: GossipLimits) {
        self.buffer = buffer
        self.bytes = bytes
        self.limits = limits
    }

    mutating func decodeRPC() throws(DecodeError) {
        var region = Region(offset: 0, end: bytes.count)
        while !region.isEmpty {
            switch try next(&region) {
            case (1, let value): try decodeSubscription(try nested(value))
            case (2, let value): try decodeMessage(try nested(value))
            case (3, let value): try decodeControl(try nested(value))
            default: continue
            }
        }
    }

    // MARK: Parts

    private mutating func decodeSubscription(_ region: Region) throws(DecodeError) {
        var region = region
        var isSubscribed = false
        var topic: Topic?
        while !region.isEmpty {
            switch try next(&region) {
            case (1, .varint(let value)): isSubscribed = value != 0
            case (1, _): throw .malformed("gossip subscription")
            case (2, let value): topic = try self.topic(value)
            default: continue
            }
        }
        guard let topic, rpc.subscriptions.count < limits.subscriptionsPerRPCMax else { return }
        rpc.subscriptions.append((topic, isSubscribed))
    }

    private mutating func decodeMessage(_ whole: Region) throws(DecodeError) {
        guard let slice = buffer.getSlice(at: buffer.readerIndex + whole.offset, length: whole.end - whole.offset)
        else { throw .truncated("gossip message") }
        var message = GossipMessage(encoded: slice)
        try Self.read(&message, bytes, whole)
        guard rpc.messages.count < limits.messagesPerRPCMax else { return }
        rpc.messages.append(message)
    }

    static func read(
        _ message: inout GossipMessage, _ bytes: UnsafeRawBufferPointer, _ whole: Region
    ) throws(DecodeError) {
        var region = whole
        var seen: UInt8 = 0
        while !region.isEmpty {
            let (number, value) = try next(&region, bytes)
            guard number <= 6 else { continue }
            guard seen & 1 << UInt8(number) == 0, case .bytes(let field) = value else {
                throw .malformed("gossip message")
            }
            seen |= 1 << UInt8(number)
            let part = GossipMessage.Part(
                offset: UInt32(field.offset - whole.offset), count: UInt32(field.end - field.offset))
            switch number {
            case 1: message.authorPart = part
            case 2: message.dataPart = part
            case 3: message.sequencePart = part
            case 4: message.topicPart = part
            case 5: message.signaturePart = part
            default: message.keyPart = part
            }
        }
    }

    private mutating func decodeControl(_ region: Region) throws(DecodeError) {
        var region = region
        while !region.isEmpty {
            switch try next(&region) {
            case (1, let value): try decodeIHave(try nested(value))
            case (2, let value): try decodeIDs(try nested(value), field: 1, into: \.iwant)
            case (3, let value): try decodeGraft(try nested(value))
            case (4, let value): try decodePrune(try nested(value))
            case (5, let value): try decodeIDs(try nested(value), field: 1, into: \.idontwant)
            default: continue
            }
        }
    }

    private mutating func decodeIHave(_ region: Region) throws(DecodeError) {
        var region = region
        var topic: Topic?
        var ids: [MessageID] = []
        while !region.isEmpty {
            switch try next(&region) {
            case (1, let value): topic = try self.topic(value)
            case (2, let value):
                let field = try nested(value)
                guard ihaveIDs < limits.idsPerRPCMax, let id = id(field) else { continue }
                ids.append(id)
                ihaveIDs += 1
            default: continue
            }
        }
        guard let topic, !ids.isEmpty, rpc.ihave.count < limits.controlEntriesPerRPCMax else { return }
        rpc.ihave.append((topic, ids))
    }

    private mutating func decodeIDs(
        _ region: Region, field number: Int, into list: WritableKeyPath<GossipRPC, [MessageID]>
    ) throws(DecodeError) {
        var region = region
        while !region.isEmpty {
            let (found, value) = try next(&region)
            guard found == number else { continue }
            let field = try nested(value)
            guard rpc[keyPath: list].count < limits.idsPerRPCMax, let id = id(field) else { continue }
            rpc[keyPath: list].append(id)
        }
    }

    private mutating func decodeGraft(_ region: Region) throws(DecodeError) {
        var region = region
        var topic: Topic?
        while !region.isEmpty {
            if case (1, let value) = try next(&region) { topic = try self.topic(value) }
        }
        guard let topic, rpc.graft.count < limits.controlEntriesPerRPCMax else { return }
        rpc.graft.append(topic)
    }

    private mutating func decodePrune(_ region: Region) throws(DecodeError) {
        var region = region
        var topic: Topic?
        var backoff: UInt64?
        var exchanged: [ExchangedPeer] = []
        while !region.isEmpty {
            switch try next(&region) {
            case (1, let value): topic = try self.topic(value)
            case (2, let value):
                let entry = try decodeExchanged(try nested(value))
                if let entry, exchanged.count < limits.exchangedPerPruneMax { exchanged.append(entry) }
            case (3, .varint(let seconds)): backoff = seconds
            case (3, _): throw .malformed("gossip prune")
            default: continue
            }
        }
        guard let topic, rpc.prune.count < limits.controlEntriesPerRPCMax else { return }
        rpc.prune.append(GossipRPC.Prune(topic: topic, backoffSeconds: backoff, exchanged: exchanged))
    }

    private mutating func decodeExchanged(_ region: Region) throws(DecodeError) -> ExchangedPeer? {
        var region = region
        var id: [UInt8] = []
        var record: [UInt8] = []
        while !region.isEmpty {
            switch try next(&region) {
            case (1, let value): id = try copy(value, bytesMax: 128)
            case (2, let value): record = try copy(value, bytesMax: limits.recordBytesMax)
            default: continue
            }
        }
        return id.isEmpty ? nil : .heard(id: id, record: record)
    }

    // MARK: Fields

    /// Nil: too long to be the name of a topic of ours.
    private func topic(_ value: Value) throws(DecodeError) -> Topic? {
        let field = try nested(value)
        guard field.end - field.offset <= limits.topicBytesMax else { return nil }
        guard let name = String(validating: bytes[field.offset..<field.end], as: UTF8.self) else {
            throw .malformed("gossip topic")
        }
        return Topic(name)
    }

    private func id(_ field: Region) -> MessageID? {
        var packer = MessageIDPacker()
        packer.append(UnsafeRawBufferPointer(rebasing: bytes[field.offset..<field.end]))
        return packer.fits && packer.count > 0 ? MessageID(packed: packer) : nil
    }

    /// Empty when it is longer.
    private func copy(_ value: Value, bytesMax: Int) throws(DecodeError) -> [UInt8] {
        let field = try nested(value)
        guard field.end - field.offset <= bytesMax else { return [] }
        return Array(bytes[field.offset..<field.end])
    }

    private func nested(_ value: Value) throws(DecodeError) -> Region {
        guard case .bytes(let region) = value else { throw .malformed("gossip field") }
        return region
    }

    private func next(_ region: inout Region) throws(DecodeError) -> (Int, Value) {
        try Self.next(&region, bytes)
    }

    private static func next(
        _ region: inout Region, _ bytes: UnsafeRawBufferPointer
    ) throws(DecodeError) -> (Int, Value) {
        let key = try varint(&region, bytes)
        guard key >> 3 >= 1, key >> 3 < 1 << 29 else { throw .malformed("protobuf field number") }
        let number = Int(key >> 3)
        switch key & 7 {
        case 0: return (number, .varint(try varint(&region, bytes)))
        case 2:
            let length = try varint(&region, bytes)
            guard length <= UInt64(region.end - region.offset) else { throw .truncated("protobuf bytes") }
            let start = region.offset
            region.offset += Int(length)
            return (number, .bytes(Region(offset: start, end: region.offset)))
        case 1, 5:
            let width = key & 7 == 1 ? 8 : 4
            guard region.end - region.offset >= width else { throw .truncated("protobuf fixed") }
            region.offset += width
            return (number, .other)
        default: throw .malformed("protobuf wire type")
        }
    }

    private static func varint(
        _ region: inout Region, _ bytes: UnsafeRawBufferPointer
    ) throws(DecodeError) -> UInt64 {
        var value: UInt64 = 0
        for position in 0..<10 {
            guard region.offset < region.end else { throw .truncated("protobuf varint") }
            let byte = bytes[region.offset]
            region.offset += 1
            if position == 9, byte > 1 { throw .malformed("protobuf varint") }
            value |= UInt64(byte & 0x7F) << UInt64(7 * position)
            if byte < 0x80 { return value }
        }
        throw .malformed("protobuf varint")
    }
}

extension GossipMessage {
    /// Reads one `Message`. The slice is kept.
    package init(decoding encoded: ByteBuffer) throws(DecodeError) {
        var message = GossipMessage(encoded: encoded)
        let result: Result<Void, DecodeError> = encoded.withUnsafeReadableBytes { bytes in
            do throws(DecodeError) {
                try GossipDecoder.read(&message, bytes, GossipDecoder.Region(offset: 0, end: bytes.count))
                return .success(())
            } catch {
                return .failure(error)
            }
        }
        try result.get()
        self = message
    }

    /// Makes a message; empty parts are left out.
    package init(
        topic: Topic, data: ByteBuffer, author: [UInt8] = [], sequence: [UInt8] = [], signature: [UInt8] = [],
        key: [UInt8] = []
    ) {
        self.init(encoded: ByteBuffer())
        var encoded = ByteBuffer()
        // Room for a signature that comes later.
        encoded.reserveCapacity(
            data.readableBytes + topic.name.utf8.count + author.count + signature.count + key.count + 104)
        func part(_ field: Int, _ count: Int) -> Part {
            encoded.writeVarint(UInt64(field) << 3 | 2)
            encoded.writeVarint(UInt64(count))
            return Part(offset: UInt32(encoded.readableBytes), count: UInt32(truncatingIfNeeded: count))
        }
        if !author.isEmpty {
            authorPart = part(1, author.count)
            encoded.writeBytes(author)
        }
        if data.readableBytes > 0 {
            dataPart = part(2, data.readableBytes)
            encoded.writeImmutableBuffer(data)
        }
        if !sequence.isEmpty {
            sequencePart = part(3, sequence.count)
            encoded.writeBytes(sequence)
        }
        topicPart = part(4, topic.name.utf8.count)
        encoded.writeString(topic.name)
        if !signature.isEmpty {
            signaturePart = part(5, signature.count)
            encoded.writeBytes(signature)
        }
        if !key.isEmpty {
            keyPart = part(6, key.count)
            encoded.writeBytes(key)
        }
        self.encoded = encoded
    }

    /// Appends the signature to a message that has none.
    mutating func sign(with signature: [UInt8]) {
        encoded.writeProtobuf(5, bytes: signature)
        signaturePart = Part(
            offset: UInt32(encoded.readableBytes - signature.count), count: UInt32(signature.count))
    }

    /// Everything but signature and key, as it is signed: both are left out by go-libp2p and rust-libp2p too, although
    /// the specification speaks of the signature alone. Unknown fields count.
    func forEachSignedSpan(_ body: (UnsafeRawBufferPointer) -> Void) {
        encoded.withUnsafeReadableBytes { bytes in
            // The spans that fields 5 and 6 take with their keys and lengths, in order.
            var gaps = [signaturePart, keyPart].filter { $0.count > 0 }.map { part in
                let end = Int(part.offset) + Int(part.count)
                let header = 1 + Varint.encodedCount(UInt64(part.count))
                return max(0, Int(part.offset) - header)..<end
            }
            gaps.sort { $0.lowerBound < $1.lowerBound }
            var offset = 0
            for gap in gaps where gap.lowerBound >= offset && gap.upperBound <= bytes.count {
                body(UnsafeRawBufferPointer(rebasing: bytes[offset..<gap.lowerBound]))
                offset = gap.upperBound
            }
            body(UnsafeRawBufferPointer(rebasing: bytes[offset...]))
        }
    }
}
