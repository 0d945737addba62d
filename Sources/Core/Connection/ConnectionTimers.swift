// SPDX-License-Identifier: Apache-2.0
import TuttiBase

/// The deadlines of one connection, and the round trip that its questions and answers show.
struct ConnectionTimers {
    enum Expiry {
        case nothing
        /// The connection took too long to come up, or never said a word.
        case handshake
        /// A ping went unanswered, or nothing could be written for too long.
        case dead
        /// Quiet for so long that the peer should be asked whether it lives.
        case pingDue
    }

    private let limits: ConnectionLimits
    private var handshakeDeadline: Instant?
    private var firstByteDeadline: Instant?
    private var keepAliveAt: Instant?
    private var pongDeadline: Instant?
    /// Since when output waits without any of it being taken.
    private var stalledSince: Instant?
    private var receivedAt: Instant
    private var askedAt: Instant?

    init(limits: ConnectionLimits, at now: Instant) {
        self.limits = limits
        receivedAt = now
    }

    var next: Instant? {
        var next = Instant.distantFuture
        if let handshakeDeadline { next = min(next, handshakeDeadline) }
        if let firstByteDeadline { next = min(next, firstByteDeadline) }
        if let pongDeadline { next = min(next, pongDeadline) }
        if let keepAliveAt { next = min(next, keepAliveAt) }
        if let stalledSince { next = min(next, stalledSince + limits.deadPeerTimeout) }
        return next == .distantFuture ? nil : next
    }

    mutating func expire(at now: Instant) -> Expiry {
        if let handshakeDeadline, handshakeDeadline <= now { return .handshake }
        if let firstByteDeadline, firstByteDeadline <= now { return .handshake }
        if let pongDeadline, pongDeadline <= now { return .dead }
        if let stalledSince, stalledSince + limits.deadPeerTimeout <= now { return .dead }
        guard let due = keepAliveAt, due <= now else { return .nothing }
        // Moved lazily: traffic doesn't touch the timer, only its expiry looks at when the peer last spoke.
        let quietUntil = receivedAt + limits.keepAliveInterval
        keepAliveAt = quietUntil <= now ? now + limits.keepAliveInterval : quietUntil
        return quietUntil <= now ? .pingDue : .nothing
    }

    mutating func beginHandshake(_ direction: Direction, isSilent: Bool, at now: Instant) {
        handshakeDeadline = now + limits.handshakeTimeout
        if direction == .inbound, isSilent { firstByteDeadline = now + limits.firstByteTimeout }
    }

    mutating func becomeOpen(keepsAlive: Bool, at now: Instant) {
        handshakeDeadline = nil
        firstByteDeadline = nil
        askedAt = nil
        keepAliveAt = keepsAlive ? now + limits.keepAliveInterval : nil
    }

    mutating func noteReceived(at now: Instant) {
        receivedAt = now
        firstByteDeadline = nil
    }

    mutating func noteAsked(at now: Instant) {
        if askedAt == nil { askedAt = now }
    }

    mutating func notePinged(at now: Instant) {
        askedAt = now
        pongDeadline = now + limits.deadPeerTimeout
    }

    /// The time since the question, once.
    mutating func noteAnswered(at now: Instant) -> Duration? {
        pongDeadline = nil
        defer { askedAt = nil }
        return askedAt.map { now - $0 }
    }

    /// Output waits from now on, unless it already did.
    mutating func noteWaiting(at now: Instant) {
        if stalledSince == nil { stalledSince = now }
    }

    /// Some output was taken; the rest, if any, waits from now on.
    mutating func noteTaken(hasMore: Bool, at now: Instant) {
        stalledSince = hasMore ? now : nil
    }
}
