// SPDX-License-Identifier: Apache-2.0

extension JournalBatch {
    /// About what the batch takes in memory and on a disk.
    package var bytesCount: Int {
        var bytes =
            256 + 64 * ends.count + 600 * proofs.count + 64 * (feeds.count + receipts.count + bodiesDropped.count)
        for key in slotsDropped { bytes += 64 + key.bytes.count }
        for slot in slots { bytes += slot.bytesCount }
        for entry in entries { bytes += entry.entry.encodedBytesCount }
        for row in rows {
            switch row {
            case .message(let message): bytes += 192 + message.text.utf8.count
            case .document(let document): bytes += 128 + document.title.utf8.count + document.text.utf8.count
            case .opened(let opened): bytes += 160 + opened.payload.count
            case .listing(let listing): bytes += 320 + listing.title.utf8.count + listing.text.utf8.count
            case .removed: bytes += 32
            }
        }
        return settings.reduce(bytes) { $0 + $1.key.utf8.count + $1.value.count }
    }
}
