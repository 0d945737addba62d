// SPDX-License-Identifier: Apache-2.0
import FuzzSupport
import TuttiBase
import TuttiIdentity
import TuttiTransport

import struct NIOCore.ByteBuffer

/// One MulticastDNSCore on links that come and go, among neighbours that say anything.
struct LocalNetwork {
    private var core: MulticastDNSCore
    private let limits: MulticastDNSCore.Limits
    private var now = Instant.zero
    private var links: Set<MulticastDNSCore.Link> = []
    private var responses: [MulticastDNSCore.Link: Instant] = [:]
    private var found = 0

    init(_ source: inout ByteSource) {
        var limits = MulticastDNSCore.Limits()
        limits.linksMax = source.pick([32, 1, 2])
        limits.prefixesPerLinkMax = source.pick([16, 1])
        limits.addressesPerPeerMax = source.pick([8, 1])
        limits.peersPerMessageMax = source.pick([16, 1])
        limits.foundBurst = source.pick([64, 1])
        limits.rememberedMax = source.pick([512, 1, 2])
        self.limits = limits
        core = MulticastDNSCore(own: keys[0].peerID, limits: limits, seed: source.word64(), at: now)
    }

    mutating func run(_ source: inout ByteSource) {
        var steps = 0
        while !source.isEmpty, steps < 300 {
            steps += 1
            step(&source)
            drain()
            require(links.count <= limits.linksMax || core.nextTimeout != nil || links.isEmpty, "links are served")
        }
    }

    private mutating func step(_ source: inout ByteSource) {
        let link = MulticastDNSCore.Link(interface: source.below(3), isIPv6: source.bool())
        switch source.byte() % 8 {
        case 0:
            let bits = Int(source.byte()) - 8
            let prefix: IPAddress =
                link.isIPv6 ? .v6(high: 0xFE80 << 48, low: UInt64(source.byte())) : .v4(0xC0A8_0101)
            if links.contains(link) || links.count < limits.linksMax { links.insert(link) }
            core.handle(.linkUp(link, [MulticastDNSCore.Prefix(prefix, bits: bits)]), at: now)
        case 1:
            links.remove(link)
            // One that comes up again is another link.
            responses[link] = nil
            core.handle(.linkDown(link), at: now)
        case 2: core.handle(.listening((0..<source.below(12)).map { _ in address(&source) }), at: now)
        case 3:
            now = now + .milliseconds(source.pick([1, 20, 200, 1_000, 60_000, 600_000]))
            for _ in 0..<64 {
                guard let next = core.nextTimeout, next <= now else { break }
                core.handleTimeout(at: now)
                drain()
            }
            require(core.nextTimeout.map { $0 > now } ?? true, "timeouts move on")
        default: core.handle(.received(datagram(&source), on: link, from: sender(link, &source)), at: now)
        }
    }

    private func sender(_ link: MulticastDNSCore.Link, _ source: inout ByteSource) -> IPAddress {
        switch source.byte() % 4 {
        case 0: .v4(source.word32())
        case 1: .v6(high: source.word64(), low: 1)
        default: link.isIPv6 ? .v6(high: 0xFE80 << 48, low: 9) : .v4(0xC0A8_0109)
        }
    }

    private func datagram(_ source: inout ByteSource) -> ByteBuffer {
        switch source.byte() % 5 {
        case 0: ByteBuffer(bytes: source.blob(countMax: 512))
        case 1: MulticastDNSMessage.query()
        case 2: ByteBuffer(bytes: source.mutate(Array(MulticastDNSMessage.query().readableBytesView)))
        case 3: ByteBuffer(bytes: genuineResponse(&source))
        default: ByteBuffer(bytes: source.mutate(genuineResponse(&source)))
        }
    }

    private mutating func drain() {
        var count = 0
        while let effect = core.nextEffect() {
            count += 1
            require(count <= 4 * limits.linksMax + limits.peersPerMessageMax, "one input has a limited effect")
            switch effect {
            case .send(let bytes, let link):
                require(links.contains(link), "only links that are up are spoken on")
                guard let message = try? MulticastDNSMessage(bytes) else {
                    return require(false, "what we say can be read")
                }
                guard message.isResponse else { continue }
                if let last = responses[link] {
                    require(last == now || now >= last + limits.responseInterval, "responses are rare")
                }
                responses[link] = now
            case .found(let id, let addresses):
                require(id != keys[0].peerID, "we don't find ourselves")
                require(!addresses.isEmpty && addresses.count <= limits.addressesPerPeerMax, "addresses are limited")
                require(
                    addresses.allSatisfy { $0.ipAddress.map { !$0.isLoopback } ?? false },
                    "nobody sends us to ourselves")
            }
        }
    }
}
