// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiJournal

/// The governance entries held, each with all that it builds on. One that lacks something waits, and counts for nothing.
///
/// Edges are the parents and whatever else the body speaks of. What an entry builds on is therefore fixed by the entry
/// itself, and a verdict that rests on that alone never changes.
struct GovernanceGraph: Sendable {
    struct Node: Sendable {
        let entry: GovernanceEntry
        let edges: [Int]
        /// Length of the longest way to the founding.
        let depth: Int
        let past: GovernancePast
        let device: Int
    }

    struct Device: Sendable {
        let id: DeviceID
        /// Places, in the order of their arrival.
        var nodes: [Int] = []
        /// Entries by which a member takes the device as its own.
        var certificates: [Int] = []
        var revocations: [Int] = []
        /// The lowest place at which the device is known to have signed twice.
        var fork: EntrySequence?
    }

    private struct Waiting {
        var entry: GovernanceEntry
        var lacking: Int
    }

    private struct Place: Hashable {
        var device: Int
        var sequence: EntrySequence
    }

    private(set) var nodes: [Node] = []
    private(set) var devices: [Device] = []
    private(set) var places: [EntryID: Int] = [:]
    private var deviceIndex: [DeviceID: Int] = [:]
    private var taken: [Place: Int] = [:]
    private var waiting: [EntryID: Waiting] = [:]
    /// Grows with each fork that is news.
    private(set) var forksCount = 0
    /// Who waits for an entry, by its id.
    private var waiters: [EntryID: [EntryID]] = [:]

    /// Entries that aren't here and that others wait for, ascending.
    var missing: [EntryID] { waiters.keys.filter { waiting[$0] == nil }.sorted() }

    func holds(_ id: EntryID) -> Bool { places[id] != nil || waiting[id] != nil }

    /// Returns the places that are new: none while the entry waits, several when others waited for it.
    mutating func insert(_ entry: GovernanceEntry) -> Range<Int> {
        let start = nodes.count
        guard !holds(entry.id), nodes.count + waiting.count < CommunityLimits.entriesMax else { return start..<start }
        let wanted = Set(entry.parents + entry.cited)
        let lacking = wanted.filter { places[$0] == nil }
        guard lacking.isEmpty else {
            waiting[entry.id] = Waiting(entry: entry, lacking: lacking.count)
            for id in lacking { waiters[id, default: []].append(entry.id) }
            return start..<start
        }
        attach(entry)
        var next = start
        while next < nodes.count {
            for id in waiters.removeValue(forKey: nodes[next].entry.id) ?? [] {
                guard var waiter = waiting.removeValue(forKey: id) else { continue }
                waiter.lacking -= 1
                if waiter.lacking == 0 {
                    attach(waiter.entry)
                } else {
                    waiting[id] = waiter
                }
            }
            next += 1
        }
        return start..<nodes.count
    }

    private mutating func attach(_ entry: GovernanceEntry) {
        let place = nodes.count
        let edges = Set((entry.parents + entry.cited).compactMap { places[$0] }).sorted()
        let device = index(of: entry.device)
        let past = GovernancePast(of: edges) { nodes[$0].past }
        let depth = edges.reduce(0) { max($0, nodes[$1].depth + 1) }
        nodes.append(Node(entry: entry, edges: edges, depth: depth, past: past, device: device))
        places[entry.id] = place
        devices[device].nodes.append(place)
        switch entry.body {
        case .founding, .deviceCertificate, .join: devices[device].certificates.append(place)
        case .deviceRevocation(let body): devices[index(of: body.cut.device)].revocations.append(place)
        default: break
        }
        if taken.updateValue(place, forKey: Place(device: device, sequence: entry.sequence)) != nil {
            setFork(of: device, at: entry.sequence)
        }
    }

    private mutating func index(of device: DeviceID) -> Int {
        if let index = deviceIndex[device] { return index }
        deviceIndex[device] = devices.count
        devices.append(Device(id: device))
        return devices.count - 1
    }

    func knownIndex(of device: DeviceID) -> Int? { deviceIndex[device] }

    /// Returns whether that is news.
    @discardableResult
    mutating func setFork(of device: DeviceID, at sequence: EntrySequence) -> Bool {
        setFork(of: index(of: device), at: sequence)
    }

    @discardableResult
    private mutating func setFork(of device: Int, at sequence: EntrySequence) -> Bool {
        if let known = devices[device].fork, known <= sequence { return false }
        devices[device].fork = sequence
        forksCount += 1
        return true
    }

    /// The order among entries that don't build on each other, for what needs one: an entry stands behind its past.
    func precedes(_ one: Int, _ other: Int) -> Bool {
        let (a, b) = (nodes[one], nodes[other])
        return a.depth != b.depth ? a.depth < b.depth : a.entry.id < b.entry.id
    }

    /// Everything held, also what waits; to build the graph anew without some.
    var entries: [GovernanceEntry] {
        nodes.map(\.entry) + waiting.values.map(\.entry).sorted { $0.id < $1.id }
    }
}
