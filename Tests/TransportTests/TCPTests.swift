// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Testing
import TuttiBase
import TuttiConnection
import TuttiIdentity
import TuttiTransport

@Suite(.timeLimit(.minutes(1)))
struct TCPTests {
    private static let loopback = ["/ip4/127.0.0.1/tcp/0", "/ip6/::1/tcp/0"]

    @Test("Two ends meet over loopback and echo", arguments: loopback, [ProtocolID.noise, .tls])
    func echoes(text: String, security: ProtocolID) async throws {
        let near = try TestEnd(1)
        let far = try TestEnd(2)
        let bound = try await far.transport.listen(on: try Multiaddr(text: text))
        #expect(bound.count == 1)
        let (nearConnection, farConnection) = await near.connect(to: far, at: bound[0], security: security)
        #expect(nearConnection.remote == bound[0])
        #expect(farConnection.remote.components.count == 2)
        let mailbox = try await nearConnection.openStream([TestEnd.echo])
        let sent = ByteBuffer(bytes: (0..<1_500_000).map { UInt8(truncatingIfNeeded: $0 &* 7) })
        async let upload: Void = {
            try await mailbox.write(sent)
            mailbox.closeWriting()
        }()
        let other = await far.owner.arrived()
        async let echo: Void = {
            while let parts = try await other.read() {
                for part in parts { try await other.write(part) }
            }
            other.closeWriting()
        }()
        #expect(try await mailbox.readWhole(.max) == sent)
        try await upload
        try await echo
        nearConnection.perform([.close])
        #expect(await near.owner.closed() == .local)
        #expect(await far.owner.closed() == .remote)
        await far.transport.close()
    }

    @Test("Bulk in one direction never stalls", arguments: [ProtocolID.noise, .tls])
    func bulk(security: ProtocolID) async throws {
        let near = try TestEnd(1)
        let far = try TestEnd(2)
        let bound = try await far.transport.listen(on: try Multiaddr(text: Self.loopback[0]))
        let (nearConnection, _) = await near.connect(to: far, at: bound[0], security: security)
        let mailbox = try await nearConnection.openStream([TestEnd.echo])
        let chunk = ByteBuffer(repeating: 3, count: 256 * 1024)
        let chunks = 256
        async let upload: Void = {
            for _ in 0..<chunks { try await mailbox.write(chunk) }
            mailbox.closeWriting()
        }()
        let other = await far.owner.arrived()
        var count = 0
        while let parts = try await other.read() { count += parts.reduce(0) { $0 + $1.readableBytes } }
        try await upload
        #expect(count == chunks * chunk.readableBytes)
        await far.transport.close()
    }

    @Test("A port in use is one clear line, and nothing is disturbed", arguments: loopback)
    func portInUse(text: String) async throws {
        let first = try TestEnd(1)
        let second = try TestEnd(2)
        let bound = try await first.transport.listen(on: try Multiaddr(text: text))
        do {
            _ = try await second.transport.listen(on: bound[0])
            Issue.record("a port was bound twice")
        } catch let error as TransportError {
            #expect(error.code == .addressInUse)
            #expect(error.message.contains("\(bound[0])"))
            #expect(!error.message.contains("\n"))
            #expect(error.cause != nil)
        }
        _ = await second.connect(to: first, at: bound[0])
        await first.transport.close()
    }

    @Test(
        "What can't be listened on says so",
        arguments: ["/ip4/192.0.2.1/tcp/0", "/ip4/127.0.0.1/udp/1/quic-v1", "/memory/1", "/dns4/localhost/tcp/0"])
    func badListen(text: String) async throws {
        let end = try TestEnd(1)
        do {
            _ = try await end.transport.listen(on: try Multiaddr(text: text))
            Issue.record("\(text) was bound")
        } catch let error as TransportError {
            #expect(error.code == (text.hasPrefix("/ip4/192") ? .addressNotAvailable : .unsupportedAddress))
        }
    }

    @Test("Listening on every interface names each of them with the bound port")
    func interfaces() async throws {
        let end = try TestEnd(1)
        let bound = try await end.transport.listen(on: try Multiaddr(text: "/ip4/0.0.0.0/tcp/0"))
        #expect(bound.contains { $0.description.hasPrefix("/ip4/127.0.0.1/tcp/") })
        #expect(!bound.contains { $0.description.hasPrefix("/ip4/0.0.0.0/") })
        #expect(Set(bound.compactMap { $0.components.last }).count == 1)
        await end.transport.close()
    }

    @Test("Nobody at the address is a failed dial that says so")
    func refused() async throws {
        let near = try TestEnd(1)
        let gone = try TestEnd(2)
        let bound = try await gone.transport.listen(on: try Multiaddr(text: "/ip4/127.0.0.1/tcp/0"))
        await gone.transport.close()
        near.transport.dial(near.nextDial(), to: bound[0], expected: nil, security: .noise, timeout: .seconds(20))
        #expect(await near.owner.dialFailed() == .transport("Connection refused", .dial))
        near.transport.dial(
            near.nextDial(), to: try Multiaddr(text: "/ip4/127.0.0.1/udp/1/quic-v1"), expected: nil, security: .noise,
            timeout: .seconds(20))
        #expect(await near.owner.dialFailed() == .transport("this kind of address can't be dialled", .dial))
        await #expect(throws: TransportError.self) { try await gone.transport.listen(on: bound[0]) }
    }

    @Test("A peer that vanishes ends the connection and its streams")
    func vanishes() async throws {
        let near = try TestEnd(1)
        let bound = try await near.transport.listen(on: try Multiaddr(text: "/ip4/127.0.0.1/tcp/0"))
        let far = try TestEnd(2)
        let (_, nearConnection) = await far.connect(to: near, at: bound[0])
        let mailbox = try await nearConnection.openStream([TestEnd.echo])
        try await mailbox.write(ByteBuffer(string: "x"))
        let other = await far.owner.arrived()
        _ = try await other.readWhole(1)
        // A peer that dies says no goodbye in the multiplexer.
        nearConnection.perform([.close])
        #expect(await far.owner.closed() == .remote)
        #expect(await faultOf { _ = try await other.read() } == .connectionClosed(.remote))
        await near.transport.close()
    }

    @Test("Addresses become sockets and back", arguments: ["/ip4/1.2.3.4/tcp/5", "/ip6/2001:db8::1/tcp/65535"])
    func endpoints(text: String) throws {
        let address = try Multiaddr(text: text)
        guard case .socket(let socket) = Endpoint(address) else {
            Issue.record("\(text) is a socket's")
            return
        }
        #expect(socket.multiaddr() == address)
        let withPeer = address.appending(.p2p(KeyPair(seed: .zero).peerID))
        #expect({ if case .socket(socket) = Endpoint(withPeer) { true } else { false } }())
    }

    @Test(
        "Addresses that are no socket's are told apart",
        arguments: [
            "/ip4/1.2.3.4", "/ip4/1.2.3.4/udp/1", "/ip4/1.2.3.4/tcp/1/ws", "/dns/a/tcp/1",
            "/ip6zone/none/ip6/fe80::1/tcp/1",
        ])
    func noEndpoints(text: String) throws {
        #expect(Endpoint(try Multiaddr(text: text)) == nil)
    }
}

private func == (lhs: Endpoint?, rhs: Endpoint?) -> Bool {
    switch (lhs, rhs) {
    case (nil, nil): true
    default: false
    }
}
