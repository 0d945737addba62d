// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Testing
import TuttiBase
import TuttiConnection
import TuttiTestSupport

/// What fuzzing found (Fuzz/README.md), told as the calls that showed it.
@Suite("Kept findings: connections")
struct KeptInputsTests {
    /// They counted as nothing, so a writer was never told to wait.
    @Test("Bytes on a stream whose protocol is not yet agreed on count as queued until they are produced")
    func heldBytesAreQueued() throws {
        let pair = try ConnectionPair().established()
        let stream = try #require(pair.dialer.open(["/none", "/echo"], at: pair.now))
        let before = pair.dialer.core.queuedBytes(on: stream)
        pair.dialer.core.send(ByteBuffer(bytes: patternBytes(5_000)), on: stream, at: pair.now)
        pair.dialer.core.send(ByteBuffer(bytes: patternBytes(300)), on: stream, at: pair.now)
        #expect(pair.dialer.core.queuedBytes(on: stream) == before + 5_300)
        pair.run()
        #expect(pair.dialer.core.queuedBytes(on: stream) == 0)
        #expect(pair.listener.streams[stream]?.received == patternBytes(5_000) + patternBytes(300))
    }

    /// Each stream cost a frame in answer, and only frames that a single frame demands had a limit.
    @Test("Streams opened and reset without end, while the peer reads nothing, end in a flood")
    func openedAndReset() throws {
        let limits = ConnectionLimits()
        var machine = YamuxMachine(direction: .inbound, limits: limits)
        var violation: ConnectionViolation?
        var stream: UInt32 = 1
        while violation == nil, stream < 200_000 {
            var input = ByteBuffer()
            YamuxHeader(.windowUpdate, .syn, stream: stream, length: 0).write(into: &input)
            YamuxHeader(.windowUpdate, .rst, stream: stream, length: 0).write(into: &input)
            stream += 2
            do throws(ConnectionViolation) {
                while input.readableBytes > 0 {
                    if case .reset(let id) = try machine.receive(&input, at: .zero) { _ = machine.forget(id) }
                    // The header of an opening frame is acted upon in two steps.
                    if case .reset(let id) = try machine.receive(&input, at: .zero) { _ = machine.forget(id) }
                }
            } catch {
                violation = error
            }
        }
        #expect(violation == .flood("frames that wait for the peer to read"))
        #expect(machine.control.readableBytes <= limits.controlBytesMax + YamuxHeader.bytes)
    }

    /// An honest burst is read in one turn before anything is written: it must not look like a flood.
    @Test("Two thousand streams opened and reset in one read are no flood")
    func burst() throws {
        var machine = YamuxMachine(direction: .inbound, limits: ConnectionLimits())
        var input = ByteBuffer()
        for number in 0..<2_000 as Range<UInt32> {
            YamuxHeader(.windowUpdate, .syn, stream: 2 * number + 1, length: 0).write(into: &input)
            YamuxHeader(.windowUpdate, .rst, stream: 2 * number + 1, length: 0).write(into: &input)
        }
        var resets = 0
        var isDone = false
        while !isDone {
            switch try machine.receive(&input, at: .zero) {
            case .needsMoreBytes: isDone = true
            case .reset(let id):
                _ = machine.forget(id)
                resets += 1
            default: continue
            }
        }
        #expect(resets == 2_000)
        #expect(machine.inboundCount == 0)
    }

    /// Each had looked at the room alone: granted together they went past the connection's limit.
    @Test("Two windows that ask to grow into the same room don't both get it")
    func growthIntoTheSameRoom() throws {
        var limits = ConnectionLimits()
        limits.streamWindowInitial = 1_024
        limits.streamWindowMax = 16 * 1_024
        limits.connectionWindowMax = 4 * 1_024
        var machine = YamuxMachine(direction: .inbound, limits: limits)
        var input = ByteBuffer()
        for stream in [1, 3] as [UInt32] {
            YamuxHeader(.data, .syn, stream: stream, length: 1_024).write(into: &input)
            input.writeRepeatingByte(7, count: 1_024)
        }
        while input.readableBytes > 0 { _ = try machine.receive(&input, at: .zero) }
        let streams = [StreamID(1), StreamID(3)]
        let growths = streams.map { machine.consumed(1_024, on: $0, at: .zero) }
        #expect(growths == [1_024, 1_024])
        let grants = streams.map { machine.grant(1_024, on: $0) }
        #expect(grants == [true, false])
        #expect(machine.windowSum == 3 * 1_024)
        let unasked = machine.grant(64, on: streams[0])
        #expect(!unasked)
        // A new stream still fits.
        let new = machine.open(at: .zero)
        #expect(new != nil)
    }
}
