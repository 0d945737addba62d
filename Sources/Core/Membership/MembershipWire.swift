// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity

package import struct NIOCore.ByteBuffer

/// A peer as messages name it.
package struct NamedPeer: Hashable, Sendable {
    package var id: PeerID
    package var addresses: [Multiaddr]
    /// Its signed peer record, unchecked.
    package var record: ByteBuffer?

    package init(id: PeerID, addresses: [Multiaddr] = [], record: ByteBuffer? = nil) {
        self.id = id
        self.addresses = addresses
        self.record = record
    }
}

/// The messages of `/tutti/mesh/1` as protobuf (docs/protocols/mesh.md), without the length before each.
///
/// Peers stand in one list; everything else names them by their place in it. What a place means is the caller's: it
/// translates between `PeerIndex` and id and addresses.
package enum MembershipWire {
    package static let protocolID: ProtocolID = "/tutti/mesh/1"

    fileprivate enum Kind: UInt64 {
        case join = 1
        case forwardJoin = 2
        case neighbour = 3
        case neighbourAnswer = 4
        case disconnect = 5
        case shuffle = 6
        case shuffleAnswer = 7
        case probe = 8
        case ack = 9
        case nack = 10
        case indirectProbe = 11
        case updates = 12
        case query = 13
        case hit = 14
        case walkCheck = 15
        case walkCheckAnswer = 16
        case payload = 17
        case announce = 18
        case graft = 19
        case prune = 20
    }

    /// - Parameter named: a peer's id and, when the receiver may have to dial it, its addresses or record.
    /// - Returns: nil when the message is about a peer that can't be named. Of a list only that peer is left out.
    package static func encode(
        _ message: MembershipMessage, limits: MembershipLimits,
        named: (PeerIndex, _ isDialled: Bool) -> NamedPeer?
    ) -> ByteBuffer? {
        var writer = MembershipWriter(limits: limits)
        return writer.write(message, named: named) ? writer.finished() : nil
    }

    /// - Parameter index: the number of a peer; nil when there is none to give.
    /// - Returns: nil for a kind of message that this version does not know, and for one about a peer without a number.
    package static func decode(
        _ bytes: ByteBuffer, limits: MembershipLimits, index: (NamedPeer) -> PeerIndex?
    ) throws(DecodeError) -> MembershipMessage? {
        guard bytes.readableBytes <= limits.messageBytesMax else {
            throw .tooLarge("mesh message", limit: limits.messageBytesMax)
        }
        var fields = MembershipFields()
        try fields.read(bytes, limits)
        guard let kind = Kind(rawValue: fields.kind) else {
            guard fields.kind != 0 else { throw .truncated("mesh message kind") }
            return nil
        }
        return try fields.message(kind, index)
    }
}

// MARK: Writing

private struct MembershipWriter {
    private let limits: MembershipLimits
    private var head = ByteBuffer()
    private var body = ByteBuffer()
    private var places: [PeerIndex] = []

    init(limits: MembershipLimits) { self.limits = limits }

    /// Kind, then the peers, then what refers to them: a reader needs no second pass.
    func finished() -> ByteBuffer {
        var bytes = head
        bytes.writeImmutableBuffer(body)
        return bytes
    }

    mutating func write(_ message: MembershipMessage, named: (PeerIndex, Bool) -> NamedPeer?) -> Bool {
        head.writeProtobuf(1, varint: message.kind.rawValue)
        switch message {
        case .join, .disconnect, .prune: break
        case .forwardJoin(let peer, let timeToLive):
            guard add(peer, isDialled: true, named) != nil else { return false }
            body.writeProtobuf(4, varint: UInt64(timeToLive))
        case .neighbour(let flag), .neighbourAnswer(let flag): body.writeProtobuf(5, varint: flag ? 1 : 0)
        case .shuffle(let origin, let peers, let timeToLive):
            guard add(origin, isDialled: true, named) != nil else { return false }
            for peer in peers.prefix(limits.peersPerMessageMax - 1) { _ = add(peer, isDialled: true, named) }
            body.writeProtobuf(4, varint: UInt64(timeToLive))
        case .shuffleAnswer(let peers):
            for peer in peers.prefix(limits.peersPerMessageMax) { _ = add(peer, isDialled: true, named) }
        case .probe(let sequence, let updates), .ack(let sequence, let updates):
            body.writeProtobuf(3, varint: UInt64(sequence))
            write(updates, named)
        case .nack(let sequence): body.writeProtobuf(3, varint: UInt64(sequence))
        case .indirectProbe(let sequence, let peer, let updates):
            guard add(peer, isDialled: true, named) != nil else { return false }
            body.writeProtobuf(3, varint: UInt64(sequence))
            write(updates, named)
        case .updates(let updates): write(updates, named)
        case .query(let query):
            guard add(query.origin, isDialled: true, named) != nil else { return false }
            write(query)
        case .hit(let search, let peer, let answer):
            guard add(peer, isDialled: true, named) != nil else { return false }
            body.writeProtobuf(7, varint: search)
            body.writeProtobuf(10, message: answer)
        case .walkCheck(let search): body.writeProtobuf(7, varint: search)
        case .walkCheckAnswer(let search, let isOpen):
            body.writeProtobuf(7, varint: search)
            body.writeProtobuf(5, varint: isOpen ? 1 : 0)
        case .payload(let id, let hops, let payload):
            body.writeProtobuf(11, varint: id.value)
            body.writeProtobuf(8, varint: UInt64(hops))
            body.writeProtobuf(10, message: payload)
        case .announce(let announcements): write(announcements)
        case .graft(let id): if let id { body.writeProtobuf(11, varint: id.value) }
        }
        return true
    }

    private mutating func write(_ query: SearchQuery) {
        body.writeProtobuf(7, varint: query.search)
        body.writeProtobuf(9, varint: UInt64(query.kind.rawValue))
        body.writeProtobuf(4, varint: UInt64(query.timeToLive))
        body.writeProtobuf(8, varint: UInt64(query.hops))
        body.writeProtobuf(10, message: query.question)
    }

    private mutating func write(_ updates: [MemberUpdate], _ named: (PeerIndex, Bool) -> NamedPeer?) {
        for update in updates.prefix(limits.updatesPerMessageMax) {
            guard let place = add(update.peer, isDialled: false, named),
                let accuser = add(update.accuser, isDialled: false, named)
            else { continue }
            var item = ByteBuffer()
            item.writeProtobuf(1, varint: UInt64(place))
            item.writeProtobuf(2, varint: UInt64(update.incarnation))
            item.writeProtobuf(3, varint: UInt64(update.state.rawValue))
            if accuser != place { item.writeProtobuf(4, varint: UInt64(accuser)) }
            body.writeProtobuf(6, message: item)
        }
    }

    private mutating func write(_ announcements: [Announcement]) {
        for announcement in announcements.prefix(limits.announcementsPerMessageMax) {
            var item = ByteBuffer()
            item.writeProtobuf(1, varint: announcement.id.value)
            item.writeProtobuf(2, varint: UInt64(announcement.hops))
            body.writeProtobuf(12, message: item)
        }
    }

    /// The place of the peer in the list; nil when it can't be named or the list is full.
    private mutating func add(_ peer: PeerIndex, isDialled: Bool, _ named: (PeerIndex, Bool) -> NamedPeer?) -> Int? {
        if let place = places.firstIndex(of: peer) { return place }
        guard places.count < limits.peersNamedMax, let name = named(peer, isDialled) else { return nil }
        var item = ByteBuffer()
        item.writeProtobuf(1, bytes: name.id.bytes)
        if isDialled {
            if let record = name.record, record.readableBytes <= limits.recordBytesMax {
                item.writeProtobuf(3, message: record)
            } else {
                var count = 0
                for address in name.addresses.lazy.map(\.binary) where address.count <= limits.addressBytesMax {
                    guard count < limits.addressesPerPeerMax else { break }
                    item.writeProtobuf(2, bytes: address)
                    count += 1
                }
            }
        }
        head.writeProtobuf(2, message: item)
        places.append(peer)
        return places.count - 1
    }
}

extension MembershipMessage {
    fileprivate var kind: MembershipWire.Kind {
        switch self {
        case .join: .join
        case .forwardJoin: .forwardJoin
        case .neighbour: .neighbour
        case .neighbourAnswer: .neighbourAnswer
        case .disconnect: .disconnect
        case .shuffle: .shuffle
        case .shuffleAnswer: .shuffleAnswer
        case .probe: .probe
        case .ack: .ack
        case .nack: .nack
        case .indirectProbe: .indirectProbe
        case .updates: .updates
        case .query: .query
        case .hit: .hit
        case .walkCheck: .walkCheck
        case .walkCheckAnswer: .walkCheckAnswer
        case .payload: .payload
        case .announce: .announce
        case .graft: .graft
        case .prune: .prune
        }
    }
}

// MARK: Reading

/// The fields of a message as they stand on the wire. A single field that comes twice: the last counts, as in protobuf.
private struct MembershipFields {
    private struct Update {
        var place: UInt64 = 0
        var incarnation: UInt32 = 0
        var state: UInt64 = 0
        var accuser: UInt64?
    }

    var kind: UInt64 = 0
    private var peers: [NamedPeer] = []
    private var sequence: UInt32 = 0
    private var timeToLive: UInt8 = 0
    private var flag = false
    private var updates: [Update] = []
    private var search: UInt64 = 0
    private var hops: UInt16 = 0
    private var queryKind: UInt64 = 0
    private var content = ByteBuffer()
    private var broadcast: UInt64?
    private var announcements: [Announcement] = []

    mutating func read(_ bytes: ByteBuffer, _ limits: MembershipLimits) throws(DecodeError) {
        var reader = ProtobufReader(bytes)
        while let field = try reader.next() {
            switch field.number {
            case 1: kind = try field.varint("mesh message kind")
            case 2:
                guard peers.count < limits.peersNamedMax else {
                    throw .tooLarge("mesh peers", limit: limits.peersNamedMax)
                }
                peers.append(try Self.peer(try field.bytes("mesh peer"), limits))
            case 3: sequence = try Self.number(field, "mesh sequence")
            case 4: timeToLive = try Self.number(field, "mesh time to live")
            case 5: flag = try field.bool("mesh flag")
            case 6:
                guard updates.count < limits.updatesPerMessageMax else {
                    throw .tooLarge("mesh updates", limit: limits.updatesPerMessageMax)
                }
                updates.append(try Self.update(try field.bytes("mesh update")))
            case 7: search = try field.varint("mesh search")
            case 8: hops = try Self.number(field, "mesh hops")
            case 9: queryKind = try field.varint("mesh query kind")
            case 10: content = try field.bytes("mesh content")
            case 11: broadcast = try field.varint("mesh broadcast")
            case 12:
                guard announcements.count < limits.announcementsPerMessageMax else {
                    throw .tooLarge("mesh announcements", limit: limits.announcementsPerMessageMax)
                }
                announcements.append(try Self.announcement(try field.bytes("mesh announcement")))
            default: break
            }
        }
        let contentBytesMax = max(limits.payloadBytesMax, limits.hitBytesMax, limits.questionBytesMax)
        guard content.readableBytes <= contentBytesMax else { throw .tooLarge("mesh content", limit: contentBytesMax) }
    }

    func message(
        _ kind: MembershipWire.Kind, _ index: (NamedPeer) -> PeerIndex?
    ) throws(DecodeError) -> MembershipMessage? {
        switch kind {
        case .join: return .join
        case .forwardJoin: return try subject(index).map { .forwardJoin($0, timeToLive: timeToLive) }
        case .neighbour: return .neighbour(isHighPriority: flag)
        case .neighbourAnswer: return .neighbourAnswer(isAccepted: flag)
        case .disconnect: return .disconnect
        case .shuffle:
            guard let origin = try subject(index) else { return nil }
            return .shuffle(origin: origin, peers: peers.dropFirst().compactMap(index), timeToLive: timeToLive)
        case .shuffleAnswer: return .shuffleAnswer(peers.compactMap(index))
        case .probe: return .probe(sequence: sequence, try memberUpdates(index))
        case .ack: return .ack(sequence: sequence, try memberUpdates(index))
        case .nack: return .nack(sequence: sequence)
        case .indirectProbe:
            let updates = try memberUpdates(index)
            return try subject(index).map { .indirectProbe(sequence: sequence, $0, updates) }
        case .updates: return .updates(try memberUpdates(index))
        case .query: return try query(index)
        case .hit: return try subject(index).map { .hit(search: search, at: $0, owned) }
        case .walkCheck: return .walkCheck(search: search)
        case .walkCheckAnswer: return .walkCheckAnswer(search: search, isOpen: flag)
        case .payload:
            guard let broadcast else { throw .truncated("mesh broadcast") }
            return .payload(BroadcastID(broadcast), hops: hops, owned)
        case .announce: return .announce(announcements)
        case .graft: return .graft(broadcast.map { BroadcastID($0) })
        case .prune: return .prune
        }
    }

    /// The content outlives the buffer that it was read from.
    private var owned: ByteBuffer { ByteBuffer(bytes: content.readableBytesView) }

    /// The peer that the message is about stands first.
    private func subject(_ index: (NamedPeer) -> PeerIndex?) throws(DecodeError) -> PeerIndex? {
        guard let first = peers.first else { throw .truncated("mesh peers") }
        return index(first)
    }

    private func query(_ index: (NamedPeer) -> PeerIndex?) throws(DecodeError) -> MembershipMessage? {
        guard let kind = SearchQuery.Kind(rawValue: UInt8(clamping: queryKind)) else { return nil }
        guard let origin = try subject(index) else { return nil }
        return .query(
            SearchQuery(
                search: search, origin: origin, kind: kind, timeToLive: timeToLive, hops: UInt8(clamping: hops),
                question: owned))
    }

    private func memberUpdates(_ index: (NamedPeer) -> PeerIndex?) throws(DecodeError) -> [MemberUpdate] {
        var result: [MemberUpdate] = []
        for update in updates {
            let accuserPlace = update.accuser ?? update.place
            guard update.place < UInt64(peers.count), accuserPlace < UInt64(peers.count) else {
                throw .malformed("mesh update (of nobody)")
            }
            // A state of a later version says nothing to us.
            guard let state = MemberUpdate.State(rawValue: UInt8(clamping: update.state)) else { continue }
            guard let peer = index(peers[Int(update.place)]), let accuser = index(peers[Int(accuserPlace)]) else {
                continue
            }
            result.append(
                MemberUpdate(peer: peer, incarnation: update.incarnation, state: state, accuser: accuser))
        }
        return result
    }

    private static func number<Number: FixedWidthInteger & UnsignedInteger>(
        _ field: ProtobufReader.Field, _ what: StaticText
    ) throws(DecodeError) -> Number {
        guard let number = Number(exactly: try field.varint(what)) else { throw .malformed(what) }
        return number
    }

    private static func peer(_ bytes: ByteBuffer, _ limits: MembershipLimits) throws(DecodeError) -> NamedPeer {
        var id: PeerID?
        var addresses: [Multiaddr] = []
        var record: ByteBuffer?
        var reader = ProtobufReader(bytes)
        while let field = try reader.next() {
            switch field.number {
            case 1: id = try PeerID(multihash: try field.bytes("mesh peer id").readableBytesView)
            case 2:
                let binary = try field.bytes("mesh peer address")
                guard binary.readableBytes <= limits.addressBytesMax else {
                    throw .tooLarge("mesh peer address", limit: limits.addressBytesMax)
                }
                guard addresses.count < limits.addressesPerPeerMax else { continue }
                // An address that we can't read is of no use, and no fault.
                if let address = try? Multiaddr(binary: binary) { addresses.append(address) }
            case 3:
                let sealed = try field.bytes("mesh peer record")
                guard sealed.readableBytes <= limits.recordBytesMax else {
                    throw .tooLarge("mesh peer record", limit: limits.recordBytesMax)
                }
                record = ByteBuffer(bytes: sealed.readableBytesView)
            default: break
            }
        }
        guard let id else { throw .truncated("mesh peer id") }
        return NamedPeer(id: id, addresses: addresses, record: record)
    }

    private static func update(_ bytes: ByteBuffer) throws(DecodeError) -> Update {
        var update = Update()
        var reader = ProtobufReader(bytes)
        while let field = try reader.next() {
            switch field.number {
            case 1: update.place = try field.varint("mesh update peer")
            case 2: update.incarnation = try number(field, "mesh update incarnation")
            case 3: update.state = try field.varint("mesh update state")
            case 4: update.accuser = try field.varint("mesh update accuser")
            default: break
            }
        }
        return update
    }

    private static func announcement(_ bytes: ByteBuffer) throws(DecodeError) -> Announcement {
        var id: UInt64?
        var hops: UInt16 = 0
        var reader = ProtobufReader(bytes)
        while let field = try reader.next() {
            switch field.number {
            case 1: id = try field.varint("mesh announcement")
            case 2: hops = try number(field, "mesh announcement hops")
            default: break
            }
        }
        guard let id else { throw .truncated("mesh announcement") }
        return Announcement(id: BroadcastID(id), hops: hops)
    }
}
