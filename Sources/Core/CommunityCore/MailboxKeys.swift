// SPDX-License-Identifier: Apache-2.0
import DequeModule
package import TuttiBase
package import TuttiIdentity
package import TuttiJournal

/// The mailbox keys of our own member, as one of its devices holds them: when a new one is made, who is given which, and
/// when old ones are deleted.
///
/// A device makes a key when it begins, every 30 days, and when a device that held the current one was closed. It keeps
/// the key, announces it, and passes it, sealed, to the member's other devices and to its recovery code; and whoever of
/// them is first in turn passes a newcomer what came before. A key is deleted a year and a month after its successor
/// came: then no body that it opens is left.
///
/// Times are wall time, as entries bear it: rotation is told to others, and lasts over restarts.
///
/// The caller carries out effects in order, and writes no entry of a later one before a `.keep` is on disk: a key that
/// was announced and is lost makes mail unreadable.
///
/// Invariants: keys ascend by (epoch, public key); each is there once; no more than ``MailboxLimits/keysMax``.
package struct MailboxKeys: Sendable {
    package enum Input: Sendable {
        /// Our member's live devices (``MailboxDirectory/devices(of:)``), ourselves among them once we are announced.
        case fellowsChanged([MailboxFellow])
        /// A device of our member was revoked, removed or frozen. Told again after a start.
        case fellowClosed(DeviceID)
        /// The code under which the member key is sealed now; nil when there is none.
        case recoveryKeyChanged(SealingPublicKey?)
        /// An opened pass in an entry of a device of our member, ours included.
        case keysPassed(MailboxKeyPass, by: DeviceID)
        /// We have just closed a device: no reason to wait for others to make a key.
        case rotationRequested
        /// This device began by the recovery code: with its key it reads what was passed to it.
        case codeTyped(SealingKeyPair)
        /// All that was passed to the code is read; its key is forgotten.
        case codeUsed
    }

    package enum Effect: Sendable {
        /// Write ``MailboxKeys/keyring(for:from:)`` to the disk.
        case keep
        /// Append an entry of kind `.mailbox`.
        case announce(MailboxAnnouncement)
        /// Append a sealed entry, of the longest class that sealed entries may have.
        case pass(MailboxKeyPass, to: [SealingPublicKey])
    }

    struct Held: Sendable {
        var key: MailboxKey
        var isMine: Bool
        /// A closed device had it.
        var isExposed: Bool
        var holders: Set<MailboxHolder>
    }

    package let device: DeviceID
    /// Ours alone: seals what we write, and opens what is passed to us.
    package let devicePair: SealingKeyPair
    private(set) var held: [Held] = []
    /// Of the recovery code, until what was passed to it is read.
    package private(set) var codePair: SealingKeyPair?
    /// While the device may not write, keys are taken and none is made.
    var mayWrite = true

    private var fellows: [MailboxFellow] = []
    private var closed: Set<DeviceID> = []
    private var recoveryKey: SealingPublicKey?
    private var isRotationRequested = false
    /// When others were first seen to lack keys, and when something was last done about it.
    private var lackingSince: [MailboxHolder: UInt64] = [:]
    private var passedAt: [MailboxHolder: UInt64] = [:]
    private var exposedSince: UInt64?
    private var announcedAt: UInt64?
    private var rotatedAt: UInt64?
    private var latest: UInt64 = 0
    private var effects: Deque<Effect> = []
    /// Passed keys that weren't taken: there are too many.
    package private(set) var refusedCount = 0

    /// A device that begins.
    package init(device: DeviceID, from source: inout KeySource) {
        self.init(device: device, devicePair: SealingKeyPair(from: &source), held: [])
    }

    /// As a keyring has it.
    init(device: DeviceID, devicePair: SealingKeyPair, held: [Held], codePair: SealingKeyPair? = nil) {
        self.codePair = codePair
        self.device = device
        self.devicePair = devicePair
        self.held = held
    }

    // MARK: Inputs

    package mutating func handle(_ input: Input, at now: HybridTime, from source: inout KeySource) {
        latest = max(latest, now.milliseconds)
        switch input {
        case .fellowsChanged(let all):
            fellows = Array(all.sorted { $0.device < $1.device }.prefix(MailboxLimits.devicesMax))
        case .fellowClosed(let gone):
            guard closed.contains(gone) || closed.count < MailboxLimits.announcementsMax else { return }
            closed.insert(gone)
            fellows.removeAll { $0.device == gone }
            markExposed()
        case .recoveryKeyChanged(let key):
            recoveryKey = key
        case .keysPassed(let pass, let by): take(pass, by: by)
        case .rotationRequested: isRotationRequested = true
        case .codeTyped(let pair):
            codePair = pair
            effects.append(.keep)
        case .codeUsed:
            guard codePair != nil else { return }
            codePair = nil
            effects.append(.keep)
        }
        act(from: &source)
    }

    // MARK: Timeouts

    package mutating func handleTimeout(at now: HybridTime, from source: inout KeySource) {
        latest = max(latest, now.milliseconds)
        act(from: &source)
    }

    package var nextTimeout: HybridTime? {
        let deletions = held.indices.dropLast().map { deletionDue($0) }
        let passes = lackingSince.keys.map { passDue($0) }
        guard !closed.contains(device) else { return nil }
        let due = [rotationDue, announcementDue ?? .max] + deletions + passes
        return due.min().map { HybridTime(milliseconds: $0) }
    }

    // MARK: Outputs

    package mutating func nextEffect() -> Effect? {
        effects.popFirst()
    }

    /// What ``SealedReader`` is made of: newest first, then the device's own, then the code's.
    package var readingKeys: [SealingKeyPair] {
        held.reversed().map(\.key.pair) + [devicePair] + (codePair.map { [$0] } ?? [])
    }

    /// The newest that we hold and no closed device had.
    package var current: MailboxKey? { newest?.key }
    package var keysCount: Int { held.count }
    /// Since when the oldest key that this device made is in use.
    var firstOwn: HybridTime? { held.first(where: \.isMine)?.key.validFrom }

    // MARK: What is due

    private var turn: UInt64 {
        let place = fellows.firstIndex { $0.device >= device } ?? fellows.count
        return UInt64(place) * MailboxLimits.turnMilliseconds
    }

    private var rotationDue: UInt64 {
        guard held.contains(where: \.isMine) else { return 0 }
        // Of equal epochs, at the last one, a new key isn't always the newest.
        let again = rotatedAt.map { $0 + MailboxLimits.retryMilliseconds } ?? 0
        guard let newest, !isExposureUsed else {
            let since = exposedSince ?? latest
            let due = isRotationRequested ? since : since + turn
            return rotatedAt.map { $0 >= since } == true ? max(again, due) : due
        }
        return max(again, newest.key.validFrom.milliseconds + MailboxLimits.rotationMilliseconds + turn)
    }

    private var newest: Held? { held.last { !$0.isExposed } }

    /// Others seal to a key that a closed device had: a live one announced it, and nothing newer.
    private var isExposureUsed: Bool {
        held.contains { one in
            one.isExposed && newest.map { $0.key.isBefore(one.key) } ?? true
                && fellows.contains { $0.epoch == one.key.epoch }
        }
    }

    /// Our newest key isn't in our feed yet, as far as we were told.
    private var announcementDue: UInt64? {
        guard let mine = held.last(where: \.isMine) else { return nil }
        if let known = fellows.first(where: { $0.device == device }), known.epoch >= mine.key.epoch { return nil }
        return announcedAt.map { $0 + MailboxLimits.retryMilliseconds } ?? 0
    }

    private func deletionDue(_ index: Int) -> UInt64 {
        held[index + 1].key.validFrom.milliseconds + MailboxLimits.keptMilliseconds
    }

    private func lacks(_ holder: MailboxHolder) -> [Held] {
        held.filter { !$0.holders.contains(holder) }
    }

    private func passDue(_ holder: MailboxHolder) -> UInt64 {
        let since = lackingSince[holder] ?? latest
        // What nobody else has yet goes at once, the rest when others had their turn.
        let isNew = lacks(holder).contains { $0.isMine && $0.holders == [.device(device)] }
        let due = isNew ? since : since + turn + MailboxLimits.turnMilliseconds
        return max(due, passedAt[holder].map { $0 + MailboxLimits.retryMilliseconds } ?? 0)
    }

    // MARK: Acts

    private mutating func act(from source: inout KeySource) {
        guard mayWrite, !closed.contains(device) else { return }
        while let old = held.indices.dropLast().first(where: { deletionDue($0) <= latest }) {
            held.remove(at: old)
            effects.append(.keep)
        }
        exposedSince = newest == nil || isExposureUsed ? exposedSince ?? latest : nil
        if rotationDue <= latest { rotate(from: &source) }
        if let due = announcementDue, due <= latest, let mine = held.last(where: \.isMine)?.key {
            announcedAt = latest
            effects.append(
                .announce(
                    MailboxAnnouncement(
                        epoch: mine.epoch, validFrom: mine.validFrom, mailbox: mine.pair.publicKey,
                        device: devicePair.publicKey)))
        }
        pass()
    }

    private mutating func rotate(from source: inout KeySource) {
        let known = fellows.map(\.epoch) + held.filter { !$0.isExposed }.map(\.key.epoch)
        let key = MailboxKey(
            epoch: known.max()?.next ?? .first, validFrom: HybridTime(milliseconds: latest),
            pair: SealingKeyPair(from: &source))
        insert(Held(key: key, isMine: true, isExposed: false, holders: [.device(device)]))
        isRotationRequested = false
        rotatedAt = latest
        announcedAt = nil
        passedAt = [:]
        effects.append(.keep)
    }

    private mutating func pass() {
        var keysOf: [(holder: MailboxHolder, key: SealingPublicKey)] = []
        if let recoveryKey { keysOf.append((.recovery(recoveryKey), recoveryKey)) }
        for fellow in fellows where fellow.device != device { keysOf.append((.device(fellow.device), fellow.key)) }
        let lacking = keysOf.filter { !lacks($0.holder).isEmpty }
        lackingSince = Dictionary(
            lacking.map { ($0.holder, lackingSince[$0.holder] ?? latest) }, uniquingKeysWith: { first, _ in first })
        passedAt = passedAt.filter { lackingSince[$0.key] != nil }

        let due = lacking.filter { passDue($0.holder) <= latest }
        guard !due.isEmpty else { return }
        let keys = held.filter { one in due.contains { !one.holders.contains($0.holder) } }.map(\.key)
        for one in due { passedAt[one.holder] = latest }
        // To ourselves too: from our own feed we learn that it was passed.
        effects.append(
            .pass(
                MailboxKeyPass(holders: due.map(\.holder), keys: keys), to: due.map(\.key) + [devicePair.publicKey]))
    }

    private mutating func take(_ pass: MailboxKeyPass, by author: DeviceID) {
        var isChanged = false
        let holders = Set(pass.holders).union([.device(author), .device(device)])
        for key in pass.keys {
            if let index = held.firstIndex(where: { $0.key.pair.publicKey == key.pair.publicKey }) {
                guard !holders.isSubset(of: held[index].holders) else { continue }
                held[index].holders.formUnion(holders)
            } else if held.count >= MailboxLimits.keysMax {
                refusedCount += 1
                continue
            } else {
                // A time in the future would put rotation off.
                let validFrom = min(key.validFrom, HybridTime(milliseconds: latest))
                let taken = MailboxKey(epoch: key.epoch, validFrom: validFrom, pair: key.pair)
                insert(Held(key: taken, isMine: false, isExposed: false, holders: holders))
            }
            isChanged = true
        }
        if isChanged { effects.append(.keep) }
        markExposed()
        let live = Set(fellows.map { MailboxHolder.device($0.device) } + [.device(device)])
        for index in held.indices where held[index].holders.count > MailboxLimits.holdersMax {
            held[index].holders.formIntersection(live.union(recoveryKey.map { [.recovery($0)] } ?? []))
        }
    }

    private mutating func insert(_ one: Held) {
        let index = held.firstIndex { one.key.isBefore($0.key) } ?? held.count
        held.insert(one, at: index)
        if held.count > MailboxLimits.keysMax { held.remove(at: index == 0 ? 1 : 0) }
    }

    private mutating func markExposed() {
        var isChanged = false
        for index in held.indices where !held[index].isExposed {
            let isKnown = held[index].holders.contains {
                if case .device(let holder) = $0 { closed.contains(holder) } else { false }
            }
            guard isKnown else { continue }
            held[index].isExposed = true
            isChanged = true
        }
        if isChanged { effects.append(.keep) }
    }
}
