// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Testing
import TuttiBase
import TuttiIdentity
import TuttiPeers

private let address = Multiaddr(components: [.ip4(0x0808_0808), .tcp(4001)])
private let elsewhere = Multiaddr(components: [.ip4(0x0808_0404), .tcp(4001)])
private let observed = Multiaddr(components: [.ip4(0x0808_0808), .tcp(50_000)])

struct AutoNATMessageTests {
    private static let golden: [(AutoNATMessage, [UInt8])] = [
        (
            .dialRequest(addresses: [address], nonce: 0x0102_0304_0506_0708),
            [0x0A, 19, 0x0A, 8, 4, 8, 8, 8, 8, 6, 0x0F, 0xA1, 0x11, 8, 7, 6, 5, 4, 3, 2, 1]
        ),
        (.dialResponse(.ok, index: 1, .ok), [0x12, 8, 8, 0xC8, 1, 0x10, 1, 0x18, 0xC8, 1]),
        (.dialDataRequest(index: 2, bytes: 300), [0x1A, 5, 8, 2, 0x10, 0xAC, 2]),
        (.dialDataResponse(bytes: 3), [0x22, 5, 0x0A, 3, 0, 0, 0]),
    ]

    @Test("Messages have the bytes of the specification, and are read again")
    func bytes() throws {
        for (message, bytes) in Self.golden {
            #expect(Array(message.encoded().readableBytesView) == bytes)
            #expect(try AutoNATMessage(ByteBuffer(bytes: bytes)) == message)
        }
        #expect(Array(AutoNATMessage.dialBack(nonce: 1).readableBytesView) == [0x09, 1, 0, 0, 0, 0, 0, 0, 0])
        #expect(try AutoNATMessage.dialBackNonce(AutoNATMessage.dialBack(nonce: 77)) == 77)
    }

    @Test("A message cut at any length is refused")
    func cut() {
        for (_, bytes) in Self.golden {
            for length in 0..<bytes.count {
                #expect(throws: DecodeError.self) { try AutoNATMessage(ByteBuffer(bytes: bytes[..<length])) }
            }
        }
    }

    @Test("Unknown statuses, two messages in one, and too many addresses are refused")
    func refused() {
        #expect(throws: DecodeError.unsupported("AutoNAT status")) {
            try AutoNATMessage(ByteBuffer(bytes: [0x12, 2, 8, 7]))
        }
        #expect(throws: DecodeError.malformed("AutoNAT message (two in one)")) {
            try AutoNATMessage(ByteBuffer(bytes: [0x1A, 0, 0x1A, 0]))
        }
        var inner = ByteBuffer()
        for _ in 0...AutoNATMessage.addressesMax { inner.writeProtobuf(1, bytes: address.binary) }
        var message = ByteBuffer()
        message.writeProtobuf(1, message: inner)
        #expect(throws: DecodeError.tooLarge("AutoNAT addresses", limit: 50)) { try AutoNATMessage(message) }
    }

    @Test("An address that we can't read keeps its place")
    func unknownAddress() throws {
        var inner = ByteBuffer()
        inner.writeProtobuf(1, bytes: [0xFF, 0xFF, 0x01])
        inner.writeProtobuf(1, bytes: address.binary)
        var message = ByteBuffer()
        message.writeProtobuf(1, message: inner)
        #expect(try AutoNATMessage(message) == .dialRequest(addresses: [nil, address], nonce: 0))
    }
}

struct AutoNATServerTests {
    private let peer = KeyPair().peerID

    private func server(_ limits: AutoNATServer.Limits = .init()) -> AutoNATServer {
        AutoNATServer(limits: limits, seed: 1, at: .zero)
    }

    private func effects(_ server: inout AutoNATServer) -> [AutoNATServer.Effect] {
        var all: [AutoNATServer.Effect] = []
        while let effect = server.nextEffect() { all.append(effect) }
        return all
    }

    @Test("The peer's own address is dialled at once, and the answer says which it was and what came of it")
    func ownAddress() {
        var server = server()
        let id = RequestID(1)
        server.handle(
            .asked(id, peer, observed: observed, addresses: [nil, address, elsewhere], nonce: 9), at: .zero)
        #expect(
            effects(&server) == [.dialBack(id, peer, address, nonce: 9, deadline: .zero + .seconds(10))])
        server.handle(.dialBackEnded(id, .dialError), at: .zero)
        #expect(effects(&server) == [.answer(id, .dialResponse(.ok, index: 1, .dialError))])
        #expect(server.requestCount == 0)
        #expect(server.nextTimeout == nil)
    }

    @Test("An address elsewhere is dialled only after 30,000 bytes or more", arguments: [1, 2, 3] as [UInt64])
    func dearer(seed: UInt64) {
        var server = AutoNATServer(seed: seed, at: .zero)
        let id = RequestID(1)
        server.handle(.asked(id, peer, observed: observed, addresses: [elsewhere], nonce: 9), at: .zero)
        guard case .send(_, .dialDataRequest(let index, let price)) = effects(&server).first else {
            return #expect(Bool(false), "it asks for data")
        }
        #expect(index == 0)
        #expect((30_000...100_000).contains(price))
        var sent: UInt64 = 0
        while sent + 4_096 < price {
            server.handle(.dataReceived(id, bytes: 4_096), at: .zero)
            sent += 4_096
            #expect(effects(&server).isEmpty)
        }
        server.handle(.dataReceived(id, bytes: 4_096), at: .zero)
        #expect(effects(&server).count == 1)
        #expect(server.stats.dialledElsewhere == 1)
    }

    @Test("Data in crumbs is refused")
    func crumbs() {
        var server = server()
        server.handle(.asked(RequestID(1), peer, observed: observed, addresses: [elsewhere], nonce: 9), at: .zero)
        _ = effects(&server)
        server.handle(.dataReceived(RequestID(1), bytes: 1), at: .zero)
        #expect(effects(&server) == [.reset(RequestID(1))])
        #expect(server.requestCount == 0)
    }

    @Test(
        "Private, loopback, named and unreadable addresses are never dialled",
        arguments: ["/ip4/10.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/1", "/dns/a.example/tcp/1", "/ip4/169.254.1.1/tcp/1"])
    func refused(text: String) {
        var server = server()
        server.handle(
            .asked(RequestID(1), peer, observed: observed, addresses: [nil, Multiaddr(text)], nonce: 9), at: .zero)
        #expect(effects(&server) == [.answer(RequestID(1), .dialResponse(.dialRefused, index: 0, .unused))])
    }

    @Test(
        "Where we see the peer itself we dial it, private or not, and no neighbour of it",
        arguments: ["/ip4/10.0.0.7", "/ip4/127.0.0.1", "/ip6/::1", "/ip6/fd00::7"])
    func ownPrivateAddress(host: String) throws {
        var server = AutoNATServer(speaksIPv6: false, seed: 1, at: .zero)
        let seen = try #require(Multiaddr("\(host)/tcp/50000"))
        let own = try #require(Multiaddr("\(host)/tcp/4001"))
        let neighbours = ["/ip4/10.0.0.8/tcp/4001", "/ip6/fd00::8/tcp/4001"].map { Multiaddr($0) }
        server.handle(
            .asked(RequestID(1), peer, observed: seen, addresses: neighbours + [own], nonce: 9), at: .zero)
        #expect(
            effects(&server) == [.dialBack(RequestID(1), peer, own, nonce: 9, deadline: .zero + .seconds(10))])
    }

    @Test("Whoever leaves while we dial for it keeps its place until the dial is over, and nobody is answered")
    func leaver() {
        var limits = AutoNATServer.Limits()
        limits.requestsMax = 2
        var server = server(limits)
        for id in 1...20 as ClosedRange<UInt64> {
            server.handle(
                .asked(RequestID(id), KeyPair().peerID, observed: observed, addresses: [address], nonce: 9), at: .zero)
            server.handle(.streamFailed(RequestID(id)), at: .zero)
        }
        #expect(server.stats.dialled == 2)
        _ = effects(&server)
        server.handle(.dialBackEnded(RequestID(1), .ok), at: .zero)
        #expect(effects(&server).isEmpty)
        #expect(server.requestCount == 1)
    }

    @Test("One that closed its side still hears the answer, and a dial that can't be is refused, not failed")
    func halfClosed() {
        var server = server()
        server.handle(.asked(RequestID(1), peer, observed: observed, addresses: [address], nonce: 9), at: .zero)
        server.handle(.streamEnded(RequestID(1)), at: .zero)
        _ = effects(&server)
        server.handle(.dialBackEnded(RequestID(1), nil), at: .zero)
        #expect(effects(&server) == [.answer(RequestID(1), .dialResponse(.dialRefused, index: 0, .unused))])
    }

    @Test("One peer has one request at a time and five at first; all peers together have thirty")
    func rates() {
        var server = server()
        func ask(_ id: UInt64, _ peer: PeerID) {
            server.handle(.asked(RequestID(id), peer, observed: observed, addresses: [address], nonce: 9), at: .zero)
        }
        ask(1, peer)
        ask(2, peer)
        #expect(server.stats.rejected == 1)
        server.handle(.dialBackEnded(RequestID(1), .ok), at: .zero)
        for id in 3..<20 as Range<UInt64> {
            ask(id, peer)
            server.handle(.dialBackEnded(RequestID(id), .ok), at: .zero)
        }
        #expect(server.stats.dialled == 5)
        for id in 100..<200 as Range<UInt64> {
            ask(id, KeyPair().peerID)
            server.handle(.dialBackEnded(RequestID(id), .ok), at: .zero)
        }
        #expect(server.stats.dialled == 30)
    }

    @Test("A request that takes too long is reset, and made-up peers don't grow the table")
    func bounds() {
        var limits = AutoNATServer.Limits()
        limits.peersMax = 10
        var server = server(limits)
        server.handle(.asked(RequestID(1), peer, observed: observed, addresses: [elsewhere], nonce: 9), at: .zero)
        _ = effects(&server)
        server.handleTimeout(at: .zero + .seconds(30))
        #expect(effects(&server) == [.reset(RequestID(1))])
        for id in 2..<100 as Range<UInt64> {
            server.handle(
                .asked(RequestID(id), KeyPair().peerID, observed: observed, addresses: [], nonce: 9),
                at: .zero + .seconds(31))
        }
        #expect(server.ratedCount <= 10)
    }
}
