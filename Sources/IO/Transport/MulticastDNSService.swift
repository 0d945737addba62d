// SPDX-License-Identifier: Apache-2.0
package import NIOCore
import NIOPosix
import TuttiBase
package import TuttiIdentity

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Moves the datagrams of `MulticastDNSCore`: one socket per interface and address family, bound to the group's own
/// address, so that nothing but multicast of the local link reaches it and nothing leaves it but to the group.
///
/// An interface without multicast, or one that can't be joined, is passed over; interfaces are looked at again now and
/// then, since machines move between networks.
///
/// Confined to `loop`. `@unchecked Sendable`: the guard is `loop`.
package final class MulticastDNSService: @unchecked Sendable {
    private typealias Link = MulticastDNSCore.Link

    /// What is known of an interface in one family.
    private struct Place: Equatable {
        var device: NIONetworkDevice
        var prefixes: [MulticastDNSCore.Prefix]

        static func == (lhs: Place, rhs: Place) -> Bool {
            lhs.prefixes == rhs.prefixes && lhs.device.name == rhs.device.name
        }
    }

    private static let port = 5353
    /// RFC 6762, section 11: others can tell by it that a datagram wasn't routed.
    private static let hops = 255
    private static let refreshInterval = TimeAmount.seconds(10)
    private static let reusePort = ChannelOptions.Types.SocketOption(
        level: .socket, name: NIOBSDSocket.Option(rawValue: CInt(SO_REUSEPORT)))
    #if os(Linux)
    /// IP_MULTICAST_ALL. Without it a socket hears the groups that any socket of the machine has joined, on any interface.
    private static let multicastAll = ChannelOptions.Types.SocketOption(
        level: .ip, name: NIOBSDSocket.Option(rawValue: 49))
    #endif

    private let loop: any EventLoop
    private let found: @Sendable (PeerID, [Multiaddr]) -> Void
    private var core: MulticastDNSCore
    private var places: [Link: Place] = [:]
    private var sockets: [Link: (channel: any Channel, group: SocketAddress)] = [:]
    private var alarm = LoopAlarm()
    private var refresher: RepeatedTask?
    private var isStopped = false

    /// - Parameter found: called on `loop`.
    package init(
        own: PeerID, seed: UInt64, loop: any EventLoop, found: @escaping @Sendable (PeerID, [Multiaddr]) -> Void
    ) {
        self.loop = loop
        self.found = found
        core = MulticastDNSCore(own: own, seed: seed, at: Self.now())
    }

    package func start(listening: [Multiaddr]) {
        loop.execute {
            guard !self.isStopped, self.refresher == nil else { return }
            self.feed(.listening(listening))
            self.refresher = self.loop.scheduleRepeatedTask(initialDelay: .zero, delay: Self.refreshInterval) { _ in
                self.refresh()
            }
        }
    }

    /// When this returns no datagram is sent or read any more.
    package func stop() async {
        let closed = loop.flatSubmit { () -> EventLoopFuture<Void> in
            self.isStopped = true
            self.refresher?.cancel()
            self.refresher = nil
            self.alarm.cancel()
            let channels = self.sockets.values.map(\.channel)
            self.sockets = [:]
            return EventLoopFuture.andAllComplete(channels.map { $0.close() }, on: self.loop)
        }
        try? await closed.get()
    }

    package var stats: MulticastDNSCore.Stats {
        get async throws { try await loop.submit { self.core.stats }.get() }
    }

    // MARK: Interfaces

    /// Asking the kernel for its interfaces takes microseconds.
    private func refresh() {
        guard !isStopped, let devices = try? System.enumerateDevices() else { return }
        let current = Self.places(of: devices)
        for (link, place) in places where current[link] != place { drop(link) }
        for link in current.keys.sorted() where places[link] == nil {
            guard let place = current[link] else { continue }
            places[link] = place
            open(link, place)
        }
    }

    private static func places(of devices: [NIONetworkDevice]) -> [Link: Place] {
        var places: [Link: Place] = [:]
        for device in devices where device.multicastSupported {
            guard let address = device.address, let ip = address.multiaddr(withPort: false)?.ipAddress, !ip.isLoopback
            else { continue }
            let link = Link(interface: device.interfaceIndex, isIPv6: ip.isIPv6)
            places[link, default: Place(device: device, prefixes: [])].prefixes.append(
                MulticastDNSCore.Prefix(ip, bits: prefixBits(device.netmask, of: ip)))
        }
        // What is on the link in one family may be told in the other.
        for link in places.keys.sorted() where !link.isIPv6 {
            let other = Link(interface: link.interface, isIPv6: true)
            guard let four = places[link]?.prefixes, let six = places[other]?.prefixes else { continue }
            places[link]?.prefixes = four + six
            places[other]?.prefixes = six + four
        }
        return places
    }

    /// Without a mask: the address alone.
    private static func prefixBits(_ netmask: SocketAddress?, of ip: IPAddress) -> Int {
        switch netmask?.multiaddr(withPort: false)?.ipAddress {
        case .v4(let bits): bits.nonzeroBitCount
        case .v6(let high, let low): high.nonzeroBitCount + low.nonzeroBitCount
        case nil: ip.isIPv6 ? 128 : 32
        }
    }

    private func drop(_ link: Link) {
        places[link] = nil
        sockets.removeValue(forKey: link)?.channel.close(promise: nil)
        feed(.linkDown(link))
    }

    private func open(_ link: Link, _ place: Place) {
        guard let group = Self.group(of: link) else { return }
        let device = place.device
        var bootstrap = DatagramBootstrap(group: loop)
            .channelOption(ChannelOptions.socketOption(.so_reuseaddr), value: 1)
            .channelOption(Self.reusePort, value: 1)
            .channelOption(
                ChannelOptions.recvAllocator,
                value: FixedSizeRecvByteBufferAllocator(capacity: MulticastDNSMessage.messageBytesMax)
            )
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.addHandler(
                        MulticastDNSHandler { [weak self] bytes, source in
                            self?.feed(.received(bytes, on: link, from: source))
                        })
                }
            }
        #if os(Linux)
        if !link.isIPv6 { bootstrap = bootstrap.channelOption(Self.multicastAll, value: 0) }
        #endif
        bootstrap.bind(to: group).flatMap { channel -> EventLoopFuture<any Channel> in
            Self.join(channel, group, device, link).map { channel }
                .flatMapError { error in
                    // Not ours to trouble anybody with: this interface can't do it.
                    channel.close().flatMapThrowing { throw error }
                }
        }
        .hop(to: loop)
        .whenSuccess { channel in
            guard !self.isStopped, self.places[link] == place, self.sockets[link] == nil else {
                return channel.close(promise: nil)
            }
            self.sockets[link] = (channel, group)
            self.feed(.linkUp(link, place.prefixes))
        }
    }

    private static func join(
        _ channel: any Channel, _ group: SocketAddress, _ device: NIONetworkDevice, _ link: Link
    ) -> EventLoopFuture<Void> {
        guard let multicast = channel as? any MulticastChannel, let provider = channel as? any SocketOptionProvider
        else {
            return channel.eventLoop.makeFailedFuture(ChannelError.operationUnsupported)
        }
        let joined = multicast.joinGroup(group, device: device)
        if link.isIPv6 {
            return joined.flatMap { provider.setIPv6MulticastIF(CUnsignedInt(clamping: device.interfaceIndex)) }
                .flatMap { provider.setIPv6MulticastHops(CInt(hops)) }
        }
        guard let own = device.address, case .v4(let address) = own else {
            return channel.eventLoop.makeFailedFuture(ChannelError.operationUnsupported)
        }
        return joined.flatMap { provider.setIPMulticastIF(address.address.sin_addr) }
            .flatMap { provider.setIPMulticastTTL(CUnsignedChar(hops)) }
    }

    /// 224.0.0.251, or ff02::fb on the interface.
    private static func group(of link: Link) -> SocketAddress? {
        guard link.isIPv6 else { return try? SocketAddress(ipAddress: "224.0.0.251", port: port) }
        guard let group = try? SocketAddress(ipAddress: "ff02::fb", port: port), case .v6(let address) = group else {
            return nil
        }
        var bytes = address.address
        bytes.sin6_scope_id = UInt32(clamping: link.interface)
        return SocketAddress(bytes)
    }

    // MARK: On the loop

    private static func now() -> Instant {
        Instant(nanoseconds: Int64(clamping: NIODeadline.now().uptimeNanoseconds))
    }

    private func feed(_ input: MulticastDNSCore.Input) {
        guard !isStopped else { return }
        core.handle(input, at: Self.now())
        endTurn()
    }

    private func endTurn() {
        while let effect = core.nextEffect() {
            switch effect {
            case .send(let bytes, let link):
                // A link that is going down: the datagram is lost, as any may be.
                guard let (channel, group) = sockets[link] else { continue }
                channel.writeAndFlush(AddressedEnvelope(remoteAddress: group, data: bytes), promise: nil)
            case .found(let peer, let addresses):
                found(peer, addresses)
            }
        }
        arm()
    }

    private func arm() {
        guard !isStopped, let next = core.nextTimeout else { return }
        alarm.arm(for: next, on: loop) { self.fire() }
    }

    private func fire() {
        alarm.fired()
        guard !isStopped else { return }
        core.handleTimeout(at: Self.now())
        endTurn()
    }
}

/// Hands over what comes in. Errors of single datagrams are nobody's concern.
private final class MulticastDNSHandler: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>

    private let receive: (ByteBuffer, IPAddress) -> Void

    init(_ receive: @escaping (ByteBuffer, IPAddress) -> Void) {
        self.receive = receive
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let envelope = unwrapInboundIn(data)
        guard let source = envelope.remoteAddress.multiaddr(withPort: false)?.ipAddress else { return }
        receive(envelope.data, source)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {}
}
