// SPDX-License-Identifier: Apache-2.0
import DequeModule
import TuttiBase
import TuttiIdentity

/// The device that this node writes for.
struct OwnDevice: Sendable {
    let key: KeyPair
    let device: DeviceID
    /// Set once its feed is written elsewhere or frozen: nothing more is appended.
    var ended: FeedPoint?

    init(key: KeyPair) {
        self.key = key
        device = DeviceID(Bytes32(key.publicKey.raw) ?? .zero)
    }
}

/// What all parts of JournalCore share: what is on disk, who belongs here, and the way out.
struct JournalHoldings: Sendable {
    let community: CommunityID
    let configuration: JournalConfiguration
    var own: OwnDevice?
    var roster = Roster()
    var feeds: FeedTable
    var quotas = QuotaTable()
    var clock: HybridClock
    var recent: RecentIDs
    /// Governance that others refer to and that isn't here.
    var missing: Set<EntryID> = []
    var stats = JournalStats()
    /// Nothing is taken from others until then.
    var diskPausedUntil: Instant?
    /// What `settings` of the next batch must say.
    var settingsDue: [String: [UInt8]] = [:]
    private var effects: Deque<JournalEffect> = []
    private var lastRequest: UInt64 = 0

    static let clockSetting = "journal.clock"
    static let endedSetting = "journal.ended"

    init(
        community: CommunityID, own: KeyPair?, configuration: JournalConfiguration, opening: JournalOpening,
        milliseconds: UInt64, at now: Instant
    ) {
        self.community = community
        self.configuration = configuration
        self.own = own.map { OwnDevice(key: $0) }
        feeds = FeedTable(opening: opening)
        clock = HybridClock(
            milliseconds: milliseconds, at: now, highWater: opening.settings[Self.clockSetting].flatMap(Self.time),
            lead: configuration.clockLead)
        recent = RecentIDs(countMax: configuration.limits.recentIDsMax)
        if let ended = opening.settings[Self.endedSetting].flatMap(Self.ended), ended.device == self.own?.device {
            self.own?.ended = ended.point
        }
        if let own = self.own, own.ended == nil, let feed = feeds.states[own.device], feed.isFrozen {
            self.own?.ended = feed.head
        }
    }

    var limits: JournalCoreLimits { configuration.limits }

    mutating func request() -> RequestID {
        lastRequest &+= 1
        return RequestID(lastRequest)
    }

    mutating func emit(_ effect: JournalEffect) { effects.append(effect) }
    mutating func nextEffect() -> JournalEffect? { effects.popFirst() }

    /// Frozen unless a cut says which entries count up to a place before the fork or at it.
    func isFrozen(by proof: FaultProof?) -> Bool {
        guard let proof else { return false }
        guard let cut = roster.devices[proof.device]?.cut else { return true }
        return proof.sequence < cut.sequence
    }

    /// What is held alone at a place, unless it is void.
    func sparseEntry(_ device: DeviceID, _ sequence: EntrySequence, over stage: FeedStage? = nil) -> SparseEntry? {
        let entry = stage?.sparseEntry(device, sequence, over: feeds) ?? feeds.sparseEntry(device, sequence)
        guard let entry else { return nil }
        let isVoid = roster.devices[device]?.isVoid(FeedPoint(sequence: sequence, id: entry.id)) ?? false
        return isVoid ? nil : entry
    }

    /// Our key wrote what this node did not: whoever appends on would fork the feed.
    mutating func endOwnDevice(at point: FeedPoint) {
        guard let device = own?.device, own?.ended == nil else { return }
        own?.ended = point
        settingsDue[Self.endedSetting] = device.bytes.bytes + Self.bytes(point.sequence.value) + point.id.bytes.bytes
        stats.ownFeedElsewhere &+= 1
        emit(.emit(.ownFeedElsewhere(point)))
    }

    // MARK: Settings

    static func bytes(_ value: UInt64) -> [UInt8] {
        withUnsafeBytes(of: value.bigEndian) { Array($0) }
    }

    private static func number(_ bytes: some Collection<UInt8>) -> UInt64 {
        bytes.reduce(0) { $0 << 8 | UInt64($1) }
    }

    private static func time(_ bytes: [UInt8]) -> HybridTime? {
        bytes.count == 8 ? HybridTime(number(bytes)) : nil
    }

    private static func ended(_ bytes: [UInt8]) -> (device: DeviceID, point: FeedPoint)? {
        guard bytes.count == 72, let device = Bytes32(bytes[..<32]), let id = Bytes32(bytes[40...]) else { return nil }
        let sequence = EntrySequence(number(bytes[32..<40]))
        return (DeviceID(device), FeedPoint(sequence: sequence, id: EntryID(id)))
    }
}
