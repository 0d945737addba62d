// SPDX-License-Identifier: Apache-2.0
import NIOCore

/// What the connections of one event loop share: an output buffer, and the order in which those that have more to send
/// than fits a turn go on.
///
/// The buffer is lent to the connection whose turn it is. Bulk output is made in it again and again, so that it costs no
/// allocation and stays in the cache; idle connections hold no buffer at all.
///
/// NIO runs tasks until none is due before it looks at its sockets again. Connections that continued by tasks of their
/// own would keep each other due, and starve every socket. So a round gives each that waits one turn, rounds follow each
/// other for a short time, and the next is due only after the sockets were looked at. That look needs the loop's timer,
/// which costs more than sealing 64 KiB: too much after each turn of a single busy connection.
///
/// `@unchecked Sendable`: used on its loop only.
final class LoopShare: NIOScheduledCallbackHandler, @unchecked Sendable {
    /// Longer than NIO takes from the end of a round to its next look at what is due.
    private static let pause: TimeAmount = .microseconds(5)
    /// No round begins later than this after the first since the sockets were looked at; about four turns of bulk.
    private static let roundsTimeMax: TimeAmount = .microseconds(400)
    /// Rounds between two looks, where time stands still.
    private static let roundsMax = 8

    private var buffer = ByteBuffer()
    private var waiting: [ConnectionDriver] = []
    private var isInRound = false

    init() {}

    /// An empty buffer. There is none until `putBack`.
    func take() -> ByteBuffer {
        var taken = ByteBuffer()
        swap(&taken, &buffer)
        return taken
    }

    /// Takes the buffer back if nobody else holds its storage; otherwise the next user gets a new one.
    func putBack(_ lent: consuming ByteBuffer) {
        var returned = lent
        let isOurs: Bool? = returned.modifyIfUniquelyOwned { bytes in
            bytes.clear()
            return true
        }
        if isOurs == true { buffer = returned }
    }

    /// `continueOutput` is called in the next round; once, however often this is called before.
    func continueLater(_ driver: ConnectionDriver) {
        waiting.append(driver)
        if waiting.count == 1, !isInRound { arm(driver.loop) }
    }

    func handleScheduledCallback(eventLoop: some EventLoop) {
        let end = eventLoop.now + Self.roundsTimeMax
        var count = 0
        isInRound = true
        repeat {
            var round: [ConnectionDriver] = []
            swap(&round, &waiting)
            for driver in round { driver.continueOutput() }
            count += 1
        } while !waiting.isEmpty && count < Self.roundsMax && eventLoop.now < end
        isInRound = false
        if let next = waiting.first { arm(next.loop) }
    }

    private func arm(_ loop: any EventLoop) {
        // Fails only when the loop has shut down, and then nobody waits any more.
        _ = try? loop.scheduleCallback(in: Self.pause, handler: self)
    }
}
