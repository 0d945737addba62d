// SPDX-License-Identifier: Apache-2.0

/// An RPC that has grown over what one may take is sent in parts.
extension GossipRPC {
    /// At least the encoded size.
    var byteCountEstimate: Int {
        var count = 32
        for entry in subscriptions { count += entry.topic.name.utf8.count + 12 }
        for message in messages { count += message.byteCount + 6 }
        for entry in ihave { count += entry.topic.name.utf8.count + 16 + entry.ids.count * (MessageID.bytesMax + 2) }
        count += (iwant.count + idontwant.count) * (MessageID.bytesMax + 2)
        for topic in graft { count += topic.name.utf8.count + 12 }
        for entry in prune { count += entry.byteCountEstimate }
        return count
    }

    /// Takes from the front what fits: subscriptions, messages, then control messages. At least one thing, for nothing
    /// alone is larger than an RPC may be.
    mutating func splitOff(bytesMax: Int) -> GossipRPC {
        var part = GossipRPC()
        var room = bytesMax - 32
        take(\.subscriptions, into: &part, &room) { $0.topic.name.utf8.count + 12 }
        take(\.messages, into: &part, &room) { $0.byteCount + 6 }
        take(\.graft, into: &part, &room) { $0.name.utf8.count + 12 }
        take(\.prune, into: &part, &room) { $0.byteCountEstimate }
        take(\.idontwant, into: &part, &room) { $0.count + 4 }
        take(\.iwant, into: &part, &room) { $0.count + 4 }
        while let entry = ihave.first, room > 0 {
            room -= entry.topic.name.utf8.count + 16
            let fitting = max(part.isEmpty ? 1 : 0, min(entry.ids.count, room / (MessageID.bytesMax + 2)))
            guard fitting > 0 else { break }
            room -= fitting * (MessageID.bytesMax + 2)
            part.ihave.append((entry.topic, Array(entry.ids.prefix(fitting))))
            if fitting == entry.ids.count {
                ihave.removeFirst()
            } else {
                ihave[0].ids.removeFirst(fitting)
            }
        }
        return part
    }

    private mutating func take<Element>(
        _ list: WritableKeyPath<GossipRPC, [Element]>, into part: inout GossipRPC, _ room: inout Int,
        size: (Element) -> Int
    ) {
        var count = 0
        for element in self[keyPath: list] {
            let size = size(element)
            guard size <= room || part.isEmpty && count == 0 else { break }
            room -= size
            count += 1
        }
        guard count > 0 else { return }
        part[keyPath: list] = Array(self[keyPath: list].prefix(count))
        self[keyPath: list].removeFirst(count)
        // What comes later in the order must not overtake within its kind, but kinds are independent.
        if !self[keyPath: list].isEmpty { room = 0 }
    }
}

extension GossipRPC.Prune {
    /// An id takes at most 44 bytes; a record is the embedder's, at most as large as we would read one.
    var byteCountEstimate: Int {
        topic.name.utf8.count + 32 + exchanged.count * (GossipLimits.exchangedBytesMax)
    }
}
