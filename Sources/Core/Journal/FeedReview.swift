// SPDX-License-Identifier: Apache-2.0
import TuttiBase

/// Keeps held feeds in line with the roster: beyond a cut nothing is held, and a fork that a cut answers freezes nothing.
///
/// The entries beyond stay on disk, beside their feed; the record no longer covers them, so nobody is told of them and all
/// replicas agree again.
struct FeedReview: Sendable {
    private var asked: [RequestID: DeviceID] = [:]

    mutating func review(
        _ devices: [DeviceID], _ writer: inout BatchMachine, _ holdings: inout JournalHoldings
    ) {
        for device in devices { review(device, &writer, &holdings) }
    }

    private mutating func review(
        _ device: DeviceID, _ writer: inout BatchMachine, _ holdings: inout JournalHoldings
    ) {
        guard let state = holdings.feeds.states[device] else { return }
        var right = state
        right.isFrozen = holdings.isFrozen(by: holdings.feeds.proofs[device])
        let cut = holdings.roster.devices[device]?.cut
        let isEmpty = state.low > state.head.sequence
        if isEmpty, !state.isNothing, cut != state.head {
            // The cut that left nothing is no more.
            let isFrozen = right.isFrozen
            right = .nothing
            right.isFrozen = isFrozen
        } else if let cut, !isEmpty {
            if cut.sequence < state.low {
                right = Self.emptied(at: cut, isFrozen: right.isFrozen)
            } else if cut.sequence < state.head.sequence || (cut.sequence == state.head.sequence && cut != state.head) {
                ask(device, cut.sequence, &holdings)
            }
        }
        writer.restate(right == state ? nil : right, of: device)
    }

    /// What stood alone has no place beyond a cut, whether or not more of the feed is held.
    func reviewAlone(
        _ devices: some Sequence<DeviceID>, _ writer: inout BatchMachine, _ holdings: JournalHoldings
    ) {
        for device in devices {
            guard let cut = holdings.roster.devices[device]?.cut, holdings.feeds.hasSparse(of: device, beyond: cut)
            else { continue }
            writer.end(FeedEnd(device: device, point: cut))
        }
    }

    private mutating func ask(_ device: DeviceID, _ sequence: EntrySequence, _ holdings: inout JournalHoldings) {
        guard !asked.values.contains(device) else { return }
        let id = holdings.request()
        asked[id] = device
        let query = JournalQuery.feed(
            device, sequence...sequence, newestFirst: false, countMax: 2, bytesMax: 2 * Entry.bytesMax)
        holdings.emit(.load(query, id))
    }

    /// False if it is the answer to somebody else's question.
    mutating func loaded(
        _ id: RequestID, _ answer: JournalAnswer, _ writer: inout BatchMachine, _ holdings: inout JournalHoldings
    ) -> Bool {
        guard let device = asked.removeValue(forKey: id) else { return false }
        guard var state = holdings.feeds.states[device], let cut = holdings.roster.devices[device]?.cut,
            state.holds(cut.sequence)
        else { return true }
        state.isFrozen = holdings.isFrozen(by: holdings.feeds.proofs[device])
        let entries = answer.storedEntries.map(\.entry).filter {
            $0.header.device == device && $0.header.sequence == cut.sequence
        }
        guard let entry = entries.first(where: { $0.id == cut.id }) ?? entries.first else { return true }
        if entry.id == cut.id {
            state.head = cut
        } else if cut.sequence > state.low {
            state.head = FeedPoint(sequence: cut.sequence.previous, id: entry.header.previous)
        } else {
            let last = FeedPoint(sequence: cut.sequence.previous, id: entry.header.previous)
            state = Self.emptied(at: last, isFrozen: state.isFrozen)
        }
        writer.restate(state, of: device)
        return true
    }

    /// Nothing is held, and this is what the range would begin with from above.
    private static func emptied(at point: FeedPoint, isFrozen: Bool) -> FeedState {
        guard point.sequence > .none else {
            var state = FeedState.nothing
            state.isFrozen = isFrozen
            return state
        }
        return FeedState(low: point.sequence.next, head: point, before: point.id, isFrozen: isFrozen)
    }
}
