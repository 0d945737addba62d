// SPDX-License-Identifier: Apache-2.0
import TuttiBase

/// What a replica holds of one feed: every entry from `low` to `head`.
struct FeedState: Hashable, Sendable {
    var low: EntrySequence
    var head: FeedPoint
    /// The id that stands before `low`; nil while the disk was not asked.
    var before: EntryID?
    var isFrozen = false

    static let nothing = FeedState(low: .first, head: .start, before: EntryID.none)

    var isNothing: Bool { head.sequence == .none }

    func holds(_ sequence: EntrySequence) -> Bool { low <= sequence && sequence <= head.sequence }

    func record(of device: DeviceID) -> FeedRecord {
        FeedRecord(device: device, low: low, head: head, isFrozen: isFrozen)
    }
}

/// A governance entry that is held without what lies between it and the held range.
struct SparseEntry: Hashable, Sendable {
    var id: EntryID
    var previous: EntryID
}

/// What an entry is to a feed as it stands.
enum FeedDecision: Hashable, Sendable {
    /// It touches the held range, which then is this.
    case attach(FeedState)
    /// Governance that is held without its neighbours.
    case alone
    /// The very entry is held.
    case known
    /// Something else may stand there: the disk has to say what it holds at this place.
    case ask(EntrySequence)
    /// It doesn't touch what is held.
    case apart
    case frozen
}

/// The feeds of a community as far as this node has them on disk.
struct FeedTable: Sendable {
    private(set) var states: [DeviceID: FeedState] = [:]
    /// In order: what others see must not depend on hashing.
    private(set) var devices: [DeviceID] = []
    /// Canonical: against one device all nodes keep the same.
    private(set) var proofs: [DeviceID: FaultProof] = [:]
    private var sparse: [DeviceID: [EntrySequence: SparseEntry]] = [:]
    private(set) var sparseCount = 0
    /// Governance entries beside their feeds.
    var besideCount = 0

    init(opening: JournalOpening) {
        for record in opening.feeds {
            set(
                FeedState(
                    low: record.low, head: record.head, before: record.low <= .first ? EntryID.none : nil,
                    isFrozen: record.isFrozen),
                of: record.device)
        }
        for proof in opening.proofs { take(proof) }
    }

    var isFull: Bool { devices.count >= JournalLimits.feedsMax }
    var records: [FeedRecord] { devices.compactMap { device in states[device]?.record(of: device) } }
    var orderedProofs: [FaultProof] { proofs.values.sorted { $0.device < $1.device } }

    func sparseEntry(_ device: DeviceID, _ sequence: EntrySequence) -> SparseEntry? { sparse[device]?[sequence] }

    mutating func set(_ state: FeedState, of device: DeviceID) {
        if states.updateValue(state, forKey: device) == nil {
            devices.insert(device, at: devices.firstPlace(notBelow: device))
        }
        guard let alone = sparse[device] else { return }
        let left = alone.filter { !state.holds($0.key) }
        sparseCount += left.count - alone.count
        sparse[device] = left.isEmpty ? nil : left
    }

    mutating func setBefore(_ id: EntryID, low: EntrySequence, of device: DeviceID) {
        guard states[device]?.low == low else { return }
        states[device]?.before = id
    }

    mutating func addSparse(_ entry: SparseEntry, _ device: DeviceID, _ sequence: EntrySequence) {
        guard states[device]?.holds(sequence) != true else { return }
        if sparse[device, default: [:]].updateValue(entry, forKey: sequence) == nil { sparseCount += 1 }
    }

    /// Whether something is held alone that a cut voids.
    func hasSparse(of device: DeviceID, beyond cut: FeedPoint) -> Bool {
        sparse[device]?.contains { FeedPoint(sequence: $0.key, id: $0.value.id).isBeyond(cut) } ?? false
    }

    /// What was held alone behind it stands beside from now on.
    mutating func end(_ end: FeedEnd) {
        guard let alone = sparse[end.device] else { return }
        let left = alone.filter { !FeedPoint(sequence: $0.key, id: $0.value.id).isBeyond(end.point) }
        sparseCount += left.count - alone.count
        besideCount += alone.count - left.count
        sparse[end.device] = left.isEmpty ? nil : left
    }

    /// False if the one that is held stands.
    @discardableResult
    mutating func take(_ proof: FaultProof) -> Bool {
        if let held = proofs[proof.device], !proof.precedes(held) { return false }
        proofs[proof.device] = proof
        return true
    }
}

extension FeedState {
    /// - Parameters:
    ///   - mayStandAlone: governance by a door that lets it come without its neighbours.
    ///   - mayOpen: where nothing is held, a range may begin here.
    ///   - sparse: what is held alone at a place; nothing that is void.
    static func decide(
        _ header: EntryHeader, _ id: EntryID, state: FeedState?, proof: FaultProof?, mayStandAlone: Bool, mayOpen: Bool,
        sparse: (EntrySequence) -> SparseEntry?
    ) -> FeedDecision {
        let place = header.sequence
        let alone = sparse(place)
        if let alone, alone.id != id { return .ask(place) }
        let asSparse: FeedDecision? = alone != nil ? .known : mayStandAlone ? .alone : nil
        guard let state else { return mayOpen ? .attach(opened(header, id, sparse)) : asSparse ?? .apart }
        if state.isFrozen {
            guard let proof, place < proof.sequence else { return .frozen }
            return state.holds(place) ? .ask(place) : asSparse ?? .frozen
        }
        if state.isNothing { return mayOpen ? .attach(opened(header, id, sparse)) : asSparse ?? .apart }
        if state.holds(place) { return .ask(place) }
        if place == state.head.sequence.next {
            guard header.previous == state.head.id else { return .ask(state.head.sequence) }
            var grown = state
            grown.head = FeedPoint(sequence: place, id: id)
            return .attach(grown.absorbing(sparse))
        }
        if place.next == state.low {
            guard state.before == id else { return .ask(state.low) }
            var grown = state
            grown.low = place
            grown.before = header.previous
            return .attach(grown.absorbing(sparse))
        }
        return asSparse ?? .apart
    }

    private static func opened(
        _ header: EntryHeader, _ id: EntryID, _ sparse: (EntrySequence) -> SparseEntry?
    ) -> FeedState {
        let point = FeedPoint(sequence: header.sequence, id: id)
        return FeedState(low: header.sequence, head: point, before: header.previous).absorbing(sparse)
    }

    /// What was held alone and now touches becomes part of the range.
    private func absorbing(_ sparse: (EntrySequence) -> SparseEntry?) -> FeedState {
        var grown = self
        while let entry = sparse(grown.head.sequence.next), entry.previous == grown.head.id {
            grown.head = FeedPoint(sequence: grown.head.sequence.next, id: entry.id)
        }
        while grown.low > .first, let entry = sparse(grown.low.previous), entry.id == grown.before {
            grown.low = grown.low.previous
            grown.before = entry.previous
        }
        return grown
    }
}

extension [DeviceID] {
    /// Where a device stands in an ordered list, or would.
    func firstPlace(notBelow device: DeviceID) -> Int {
        var (low, high) = (0, count)
        while low < high {
            let middle = (low + high) / 2
            if self[middle] < device { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

/// Changes of the feeds that are on their way to the disk, over what the table says.
struct FeedStage: Sendable {
    private(set) var states: [DeviceID: FeedState] = [:]
    private(set) var proofs: [DeviceID: FaultProof] = [:]
    private var sparse: [DeviceID: [EntrySequence: SparseEntry]] = [:]
    private(set) var sparseCount = 0
    private(set) var opened = 0
    var besideCount = 0

    var isEmpty: Bool { states.isEmpty && proofs.isEmpty }
    var devices: [DeviceID] { states.keys.sorted() }
    var orderedProofs: [FaultProof] { proofs.values.sorted { $0.device < $1.device } }
    /// Ordered by device.
    var records: [FeedRecord] { devices.compactMap { device in states[device]?.record(of: device) } }

    func state(_ device: DeviceID, over table: FeedTable) -> FeedState? { states[device] ?? table.states[device] }
    func proof(_ device: DeviceID, over table: FeedTable) -> FaultProof? { proofs[device] ?? table.proofs[device] }

    func sparseEntry(_ device: DeviceID, _ sequence: EntrySequence, over table: FeedTable) -> SparseEntry? {
        sparse[device]?[sequence] ?? table.sparseEntry(device, sequence)
    }

    mutating func set(_ state: FeedState, of device: DeviceID, over table: FeedTable) {
        if states.updateValue(state, forKey: device) == nil, table.states[device] == nil { opened += 1 }
    }

    mutating func set(_ proof: FaultProof) { proofs[proof.device] = proof }

    mutating func addSparse(_ entry: SparseEntry, _ device: DeviceID, _ sequence: EntrySequence) {
        if sparse[device, default: [:]].updateValue(entry, forKey: sequence) == nil { sparseCount += 1 }
    }

    func commit(to table: inout FeedTable) {
        table.besideCount += besideCount
        for (device, entries) in sparse {
            for (sequence, entry) in entries { table.addSparse(entry, device, sequence) }
        }
        for device in devices {
            if let state = states[device] { table.set(state, of: device) }
        }
        for proof in orderedProofs { table.take(proof) }
    }
}
