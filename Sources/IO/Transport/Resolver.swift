// SPDX-License-Identifier: Apache-2.0
package import NIOCore
import NIOPosix
import Synchronization
import TuttiBase
package import TuttiIdentity

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// Names to addresses: `/dns`, `/dns4`, `/dns6` through the system's resolver on threads of its own, `/dnsaddr` through
/// TXT records (libp2p/specs addressing, "dnsaddr links").
package final class Resolver: Sendable {
    private struct State {
        var threads: NIOThreadPool?
        var waiting = 0
        var isClosed = false
    }

    private let limits: TransportLimits
    private let group: any EventLoopGroup
    private let client: DNSClient
    private let state = Mutex(State())

    package init(limits: TransportLimits, group: any EventLoopGroup, servers: [SocketAddress]? = nil) {
        self.limits = limits
        self.group = group
        client = DNSClient(servers: servers, group: group, timeout: limits.dnsQuestionTimeout)
    }

    /// At most `resolvedMax` addresses, none twice; empty when there are none. An address without a name is its own.
    package func resolve(_ address: Multiaddr) async -> [Multiaddr] {
        var search = Search(questionsLeft: limits.dnsQuestionsMax)
        let clock = ContinuousClock()
        await resolve(address, depth: 0, deadline: clock.now + limits.resolveTimeout, &search)
        return search.found
    }

    package func close() async {
        let threads = state.withLock { state in
            state.isClosed = true
            defer { state.threads = nil }
            return state.threads
        }
        try? await threads?.shutdownGracefully()
    }

    private struct Search {
        var found: [Multiaddr] = []
        var questionsLeft: Int
    }

    private func resolve(
        _ address: Multiaddr, depth: Int, deadline: ContinuousClock.Instant, _ search: inout Search
    ) async {
        guard search.found.count < limits.resolvedMax, ContinuousClock.now < deadline else { return }
        let parts = address.components
        switch parts.first {
        case .dns(let name): await look(up: name, AF_UNSPEC, parts, &search)
        case .dns4(let name): await look(up: name, AF_INET, parts, &search)
        case .dns6(let name): await look(up: name, AF_INET6, parts, &search)
        case .dnsaddr(let name):
            guard depth < limits.resolveDepthMax, search.questionsLeft > 0 else { return }
            search.questionsLeft -= 1
            // The link names the peer that we look for; entries of others are no answer to it.
            let wanted = address.peerID
            for text in await client.texts(of: "_dnsaddr." + name) {
                guard let entry = Self.entry(text), wanted == nil || entry.peerID == wanted else { continue }
                await resolve(entry, depth: depth + 1, deadline: deadline, &search)
            }
        default:
            add(address, &search)
        }
    }

    private static func entry(_ text: String) -> Multiaddr? {
        guard text.hasPrefix("dnsaddr=") else { return nil }
        return Multiaddr(String(text.dropFirst("dnsaddr=".count)))
    }

    private func look(up name: String, _ family: Int32, _ parts: [Multiaddr.Component], _ search: inout Search) async {
        for host in await hosts(name, family) {
            add(Multiaddr(components: [host] + parts.dropFirst()), &search)
        }
    }

    private func add(_ address: Multiaddr, _ search: inout Search) {
        guard search.found.count < limits.resolvedMax, !search.found.contains(address) else { return }
        search.found.append(address)
    }

    /// A thread that the system's resolver keeps past the deadline is given up on, not ended: it can't be.
    private func hosts(_ name: String, _ family: Int32) async -> [Multiaddr.Component] {
        guard let threads = beginWait() else { return [] }
        let loop = group.next()
        let result = loop.makePromise(of: [Multiaddr.Component].self)
        let limit = loop.scheduleTask(in: .nanoseconds(limits.resolveTimeout.saturatedNanoseconds)) {
            result.succeed([])
        }
        threads.submit { [self] shouldRun in
            result.succeed(shouldRun == .active ? Self.systemLookup(name, family, countMax: limits.resolvedMax) : [])
            state.withLock { $0.waiting -= 1 }
        }
        let found = try? await result.futureResult.get()
        limit.cancel()
        return found ?? []
    }

    /// Nil when too many lookups wait already, or none may any more.
    private func beginWait() -> NIOThreadPool? {
        state.withLock { state in
            guard !state.isClosed, state.waiting < limits.resolvesQueuedMax else { return nil }
            state.waiting += 1
            if let threads = state.threads { return threads }
            let threads = NIOThreadPool(numberOfThreads: limits.resolverThreads)
            threads.start()
            state.threads = threads
            return threads
        }
    }

    private static func systemLookup(_ name: String, _ family: Int32, countMax: Int) -> [Multiaddr.Component] {
        var hints = addrinfo()
        hints.ai_family = family
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(name, nil, &hints, &list) == 0 else { return [] }
        defer { freeaddrinfo(list) }
        var found: [Multiaddr.Component] = []
        var next = list
        while let item = next?.pointee, found.count < countMax {
            next = item.ai_next
            guard let raw = item.ai_addr else { continue }
            let address: SocketAddress
            switch item.ai_family {
            case AF_INET:
                address = SocketAddress(
                    UnsafeRawPointer(raw).loadUnaligned(as: sockaddr_in.self))
            case AF_INET6:
                address = SocketAddress(
                    UnsafeRawPointer(raw).loadUnaligned(as: sockaddr_in6.self))
            default:
                continue
            }
            if let host = address.hostComponent, !found.contains(host) { found.append(host) }
        }
        return found
    }
}
