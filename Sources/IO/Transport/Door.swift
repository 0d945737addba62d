// SPDX-License-Identifier: Apache-2.0
package import NIOCore
import Synchronization
package import TuttiBase
package import TuttiIdentity

/// The sources that the node has just refused: their next sockets are closed as they are accepted, before a channel is
/// registered or the node is asked. It decides nothing, it remembers what the node decided, and not for long.
///
/// A source is an IPv4 address or an IPv6 /56, as the node counts them.
package final class Door: Sendable {
    private struct Source: Hashable {
        let isIP6: Bool
        let prefix: UInt64

        init?(_ host: Multiaddr.Component?) {
            switch host {
            case .ip4(let address): (isIP6, prefix) = (false, UInt64(address))
            case .ip6(let high, _): (isIP6, prefix) = (true, high >> 8)
            default: return nil
            }
        }
    }

    private let sourcesMax: Int
    private let shutUntil = Mutex<[Source: Instant]>([:])
    private let turnedAway = Atomic<UInt64>(0)

    package init(sourcesMax: Int) {
        self.sourcesMax = sourcesMax
    }

    package var turnedAwayCount: UInt64 { turnedAway.load(ordering: .relaxed) }

    package func shut(for remote: Multiaddr, until: Instant, at now: Instant) {
        guard until > now, let source = Source(remote.components.first) else { return }
        shutUntil.withLock { table in
            if table[source] == nil, table.count >= sourcesMax {
                table = table.filter { $0.value > now }
                guard table.count < sourcesMax else { return }
            }
            table[source] = until
        }
    }

    /// True: close it. What is over is forgotten when it is asked about.
    package func isShut(for address: SocketAddress, at now: Instant) -> Bool {
        guard let source = Source(address.hostComponent) else { return false }
        let isShut = shutUntil.withLock { table in
            guard let until = table[source] else { return false }
            if until <= now { table[source] = nil }
            return until > now
        }
        if isShut { turnedAway.add(1, ordering: .relaxed) }
        return isShut
    }
}

/// Stands before the listening channel's own handler, which would register what was accepted.
final class DoorHandler: ChannelInboundHandler {
    typealias InboundIn = any Channel
    typealias InboundOut = any Channel

    private let door: Door

    init(_ door: Door) {
        self.door = door
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let accepted = unwrapInboundIn(data)
        let now = Instant(nanoseconds: Int64(clamping: context.eventLoop.now.uptimeNanoseconds))
        if let remote = accepted.remoteAddress, door.isShut(for: remote, at: now) {
            accepted.close(promise: nil)
        } else {
            context.fireChannelRead(data)
        }
    }
}
