// SPDX-License-Identifier: Apache-2.0
import TuttiBase

/// Whether what came is what was asked for.
enum SyncPage {
    enum OnPage: Sendable {
        case good
        /// The peer doesn't have it.
        case nothing
        /// The first can't stand in one feed with our head: the proof of a fork. What follows it proves no more.
        case fork
    }

    static func check(
        _ page: [Entry], _ step: SyncOffers.Step, _ community: CommunityID
    ) throws(SyncViolation) -> OnPage {
        let range = step.range
        guard page.count <= range.countMax else { throw .unasked }
        guard let first = page.first else { return .nothing }
        var expected = range.isNewestFirst ? range.sequences.upperBound : range.sequences.lowerBound
        var previous: Entry?
        for entry in page {
            let header = entry.header
            guard header.device == range.device, header.community == community, header.sequence == expected,
                range.sequences.contains(header.sequence)
            else { throw .unasked }
            if let previous {
                let (upper, lower) = range.isNewestFirst ? (previous, entry) : (entry, previous)
                guard upper.header.previous == lower.id else { throw .unlinked }
            }
            if entry.content == nil, header.retention == .permanent { throw .bodyMissing }
            expected = range.isNewestFirst ? expected.previous : expected.next
            previous = entry
        }
        switch step.aim {
        case .anew, .down: return .good
        case .up(let head): return first.header.previous == head.id ? .good : .fork
        case .probe(let head):
            // The peer said that another one stands here.
            guard first.id != head.id else { throw .unlinked }
            return .fork
        }
    }
}

extension Duration {
    /// Twice as long, so many times.
    func doubled(_ times: Int, max: Duration) -> Duration {
        var time = self
        for _ in 0..<Swift.max(0, times) where time < max { time = time * 2 }
        return Swift.min(time, max)
    }
}
