// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Testing
import TuttiBase
import TuttiConnection
import TuttiIdentity
import TuttiTransport

@Suite("Sources turned away", .timeLimit(.minutes(1)))
struct DoorTests {
    private func shut(_ door: Door, _ text: String, forMilliseconds: Int, at now: Instant = .zero) throws {
        door.shut(for: try Multiaddr(text: text), until: now + .milliseconds(forMilliseconds), at: now)
    }

    private func isShut(_ door: Door, _ address: String, atMilliseconds: Int) throws -> Bool {
        door.isShut(
            for: try SocketAddress(ipAddress: address, port: 9), at: .zero + .milliseconds(atMilliseconds))
    }

    @Test("A source is an IPv4 address or an IPv6 /56, shut until its instant")
    func sources() throws {
        let door = Door(sourcesMax: 8)
        try shut(door, "/ip4/10.0.0.1/tcp/1", forMilliseconds: 100)
        try shut(door, "/ip6/2001:db8:1:100::1/tcp/1", forMilliseconds: 100)
        #expect(try isShut(door, "10.0.0.1", atMilliseconds: 99))
        #expect(try !isShut(door, "10.0.0.2", atMilliseconds: 99))
        #expect(try isShut(door, "2001:db8:1:1ff::2", atMilliseconds: 99))
        #expect(try !isShut(door, "2001:db8:1:200::1", atMilliseconds: 99))
        #expect(try !isShut(door, "10.0.0.1", atMilliseconds: 100))
        #expect(try !isShut(door, "10.0.0.1", atMilliseconds: 50), "forgotten when it was over")
        #expect(door.turnedAwayCount == 2)
    }

    @Test("It remembers so many sources and no more; those that are over make room")
    func bounded() throws {
        let door = Door(sourcesMax: 2)
        try shut(door, "/ip4/10.0.0.1/tcp/1", forMilliseconds: 10)
        try shut(door, "/ip4/10.0.0.2/tcp/1", forMilliseconds: 100)
        try shut(door, "/ip4/10.0.0.3/tcp/1", forMilliseconds: 100)
        #expect(try !isShut(door, "10.0.0.3", atMilliseconds: 1))
        try shut(door, "/ip4/10.0.0.4/tcp/1", forMilliseconds: 100, at: .zero + .milliseconds(10))
        #expect(try isShut(door, "10.0.0.4", atMilliseconds: 11))
        #expect(try isShut(door, "10.0.0.2", atMilliseconds: 11))
        try shut(door, "/memory/1", forMilliseconds: 100)
    }

    @Test("A refused source's next socket is closed without asking the node", arguments: ["ip4/127.0.0.1", "ip6/::1"])
    func closesUnasked(host: String) async throws {
        let near = try TestEnd(1)
        let far = try TestEnd(2, owner: TestOwner(admits: false))
        let address = try await far.transport.listen(on: try Multiaddr(text: "/\(host)/tcp/0"))
        for isAsked in [true, false] {
            near.transport.dial(
                near.nextDial(), to: address[0], expected: far.key.peerID, security: .noise, timeout: .seconds(20))
            if isAsked {
                let handle = await far.owner.first { if case .accepted(let handle) = $0 { handle } else { nil } }
                handle.perform([.refuse(sourceUntil: .distantFuture)])
                #expect(await far.owner.closed() == .local)
            }
            guard case .transport(_, .negotiate) = await near.owner.dialFailed() else {
                Issue.record("the dial should fail with its transport")
                return
            }
        }
        #expect(far.owner.count { if case .accepted = $0 { true } else { false } } == 0)
        #expect(far.transport.turnedAwayCount == 1)
    }
}
