// SPDX-License-Identifier: Apache-2.0
import NIOCore
import TuttiBase
import TuttiConnection
import TuttiIdentity

/// What all connections of one transport have in common.
final class DriverEnvironment: Sendable {
    let noise: NoiseIdentity
    let configuration: ConnectionConfiguration
    let limits: TransportLimits
    let owner: any ConnectionOwner
    let windows: WindowPool
    let tls: TLSContext
    let keySource: KeySource
    let dials: DialTable
    let door: Door
    let readBuffers: ReadBuffers

    init(
        identity: KeyPair, configuration: ConnectionConfiguration, limits: TransportLimits,
        owner: any ConnectionOwner, windows: WindowPool, tls: TLSContext, keySource: KeySource
    ) {
        var secrets = keySource
        noise = NoiseIdentity(identity, keySource: &secrets)
        var configuration = configuration
        configuration.recordCipherLibrary = SystemCipher.library
        self.configuration = configuration
        self.limits = limits
        self.owner = owner
        self.windows = windows
        self.tls = tls
        self.keySource = keySource
        dials = DialTable()
        door = Door(sourcesMax: limits.sourcesShutMax)
        readBuffers = ReadBuffers()
    }
}

/// What a connection needs to know of the dial that it comes from.
struct DialPlan {
    let expected: PeerID?
    let security: ProtocolID
    let deadline: Instant
}

/// What the event loop's timer holds on to, so that it doesn't keep a closed connection alive.
///
/// One timer at a time unless an earlier one is needed: a late one that finds nothing to do costs less than its
/// cancellation.
///
/// `@unchecked Sendable`: used on the connection's loop only.
final class DriverTimer: NIOScheduledCallbackHandler, @unchecked Sendable {
    var driver: ConnectionDriver?
    private var armedAt: Instant?

    init(_ driver: ConnectionDriver) {
        self.driver = driver
    }

    func arm(for next: Instant, on loop: any EventLoop) {
        guard next < armedAt ?? .distantFuture else { return }
        armedAt = next
        // Fails only when the loop has shut down, and then nothing waits any more.
        _ = try? loop.scheduleCallback(at: .uptimeNanoseconds(UInt64(clamping: next.nanoseconds)), handler: self)
    }

    /// False when an earlier timer was set after the one that fired, and has done its work.
    func takeDue(at time: Instant) -> Bool {
        guard let armed = armedAt, time >= armed else { return false }
        armedAt = nil
        return true
    }

    func handleScheduledCallback(eventLoop: some EventLoop) {
        driver?.timerFired()
    }
}
