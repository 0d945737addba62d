// SPDX-License-Identifier: Apache-2.0
import TuttiBase

import struct NIOCore.ByteBuffer

/// What a witness has signed and seen of the open slot of a chain. It is on its disk before anything signed leaves.
struct SlotState: Hashable, Sendable, CanonicalBody {
    /// The first event in time of one author.
    struct View: Hashable, Sendable {
        let author: Bytes32
        let digest: Bytes32
    }

    /// A request that it can show to others.
    struct Held: Hashable, Sendable {
        let digest: Bytes32
        let request: SlotRequest
    }

    let number: UInt32
    /// Below it, it neither votes nor commits.
    private(set) var promised = Ballot.first
    /// On its own clock, since when.
    private(set) var promisedAt: UInt64 = 0
    private(set) var vote: BallotValue?
    private(set) var commit: BallotValue?
    /// The highest that it was shown.
    private(set) var lock: Lock?
    private(set) var views: [View] = []
    private(set) var held: [Held] = []
    var closedTo: WitnessSetID?
    /// Known, where the chain can't go on without more.
    var certificate: Certificate?

    init(number: UInt32, closedTo: WitnessSetID? = nil) {
        self.number = number
        self.closedTo = closedTo
    }

    // MARK: Changes

    mutating func promise(_ ballot: Ballot, at milliseconds: UInt64) {
        guard ballot > promised else { return }
        promised = ballot
        promisedAt = milliseconds
    }

    /// Whether the present ballot has lasted long enough to report for the next.
    mutating func mayLeaveBallot(at milliseconds: UInt64) -> Bool {
        // The clock was set back: the ballot lasts from now on.
        if milliseconds < promisedAt { promisedAt = milliseconds }
        return milliseconds - promisedAt >= Self.hold(promised)
    }

    static func hold(_ ballot: Ballot) -> UInt64 {
        guard ballot > .first else { return 0 }
        let doublings = min(UInt64(ballot.value) - 1, 20)
        return min(
            WitnessLimits.ballotHoldMilliseconds << doublings, WitnessLimits.ballotHoldMillisecondsMax)
    }

    mutating func vote(_ value: BallotValue, at milliseconds: UInt64) {
        promise(value.ballot, at: milliseconds)
        vote = value
        dropUnused()
    }

    mutating func show(_ lock: Lock) {
        if let known = self.lock, known.ballot >= lock.ballot { return }
        self.lock = lock
        dropUnused()
    }

    mutating func commit(_ lock: Lock, at milliseconds: UInt64) {
        promise(lock.ballot, at: milliseconds)
        show(lock)
        commit = BallotValue(ballot: lock.ballot, value: lock.value)
    }

    /// In time, and the first of its author.
    mutating func see(_ view: View) {
        guard views.count < WitnessLimits.viewsMax, !views.contains(where: { $0.author == view.author }) else { return }
        views.append(view)
    }

    mutating func hold(_ request: Held) {
        guard self.request(of: request.digest) == nil else { return }
        held.append(request)
    }

    func request(of digest: Bytes32) -> SlotRequest? { held.first { $0.digest == digest }?.request }

    /// Keeps what the views, the vote and the lock name, and so never more than ``WitnessLimits/heldMax``.
    mutating func dropUnused() {
        held.removeAll { held in
            let value = SlotValue.event(held.digest)
            return !views.contains { $0.digest == held.digest } && vote?.value != value && lock?.value != value
        }
    }

    // MARK: On the disk

    init(from reader: inout BodyReader) throws(DecodeError) {
        number = UInt32(try reader.number(1, in: 0...Slot.numberMax, "number of a slot"))
        promised = try reader.ballot(2)
        promisedAt = UInt64(try reader.number(3, in: 0...Int.max, "time of a promise"))
        vote = try reader.bodyIfThere(4, "vote")
        commit = try reader.bodyIfThere(5, "commit")
        lock = try reader.bodyIfThere(6, "lock")
        views = try reader.bodies(7, countMax: WitnessLimits.viewsMax, "views")
        held = try reader.bodies(8, countMax: WitnessLimits.heldMax, "requests")
        closedTo = try reader.bytes32IfThere(9, "set that takes over").map { WitnessSetID($0) }
        certificate = try reader.bodyIfThere(10, "certificate")
    }

    func write(into buffer: inout ByteBuffer) {
        buffer.write(1, Int(number))
        buffer.write(2, Int(promised.value))
        buffer.write(3, Int(clamping: promisedAt))
        if let vote { buffer.write(4, vote) }
        if let commit { buffer.write(5, commit) }
        if let lock { buffer.write(6, lock) }
        for view in views { buffer.write(7, view) }
        for request in held { buffer.write(8, request) }
        if let closedTo { buffer.write(9, closedTo.bytes) }
        if let certificate { buffer.write(10, certificate) }
    }
}

extension SlotState.View: CanonicalBody {
    init(from reader: inout BodyReader) throws(DecodeError) {
        author = try reader.bytes32(1, "author")
        digest = try reader.bytes32(2, "view")
    }

    func write(into buffer: inout ByteBuffer) {
        buffer.write(1, author)
        buffer.write(2, digest)
    }
}

extension SlotState.Held: CanonicalBody {
    init(from reader: inout BodyReader) throws(DecodeError) {
        digest = try reader.bytes32(1, "digest of a request")
        request = try reader.body(2, "request")
    }

    func write(into buffer: inout ByteBuffer) {
        buffer.write(1, digest)
        buffer.write(2, request)
    }
}
