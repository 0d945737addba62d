// SPDX-License-Identifier: Apache-2.0
import Tutti
package import TuttiJournal
import TuttiNodeCore

/// What was taken, and what was refused and why, since the node started.
extension CommunityNode {
    package func counts() async throws -> [JournalCount] {
        let register = try await node.readRegister { $0.counts } ?? []
        return try await read { $0.counts } + register
    }

    func countSummaries() async throws -> [CountSummary] {
        let disk = host.writer.stats
        let counts = try await counts().map { CountSummary(group: $0.group.rawValue, name: $0.name, count: $0.count) }
        return counts + [
            CountSummary(group: "disk", name: "batches", count: disk.batches),
            CountSummary(group: "disk", name: "transactions", count: disk.transactions),
            CountSummary(group: "disk", name: "failed", count: disk.failed),
            CountSummary(group: "disk", name: "refused", count: disk.refused),
        ]
    }

    /// What the disk holds of a device's feed, oldest first.
    package func entries(of device: DeviceID) async throws -> [Entry] {
        let query = JournalQuery.feed(
            device, EntrySequence.first...EntrySequence.max, newestFirst: false, countMax: .max, bytesMax: .max)
        switch await host.writer.answer(query) {
        case .entries(let stored): return stored.map(\.entry)
        case .failed(let error): throw CommunityError(storage: error)
        default: return []
        }
    }
}
