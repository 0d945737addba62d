// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOPosix
import Synchronization
import Testing
import TuttiBase
import TuttiIdentity
import TuttiTransport

struct DNSMessageTests {
    private static let golden: [UInt8] = [
        0x12, 0x34, 0x81, 0x80, 0, 1, 0, 2, 0, 0, 0, 0,
        8, 0x5F, 0x64, 0x6E, 0x73, 0x61, 0x64, 0x64, 0x72, 1, 0x61, 2, 0x69, 0x6F, 0, 0, 16, 0, 1,
        // A CNAME before it, whose name ends in a pointer.
        0xC0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 4, 1, 0x62, 0xC0, 0x15,
        // The text in two parts.
        1, 0x62, 0xC0, 0x15, 0, 16, 0, 1, 0, 0, 0, 60, 0, 5, 2, 0x68, 0x69, 1, 0x21,
    ]

    @Test("A question has the bytes of RFC 1035")
    func question() throws {
        let message = try #require(DNSMessage.query(id: 0xABCD, name: "_dnsaddr.a.io."))
        #expect(
            Array(message.readableBytesView) == [
                0xAB, 0xCD, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1,
                8, 0x5F, 0x64, 0x6E, 0x73, 0x61, 0x64, 0x64, 0x72, 1, 0x61, 2, 0x69, 0x6F, 0, 0, 16, 0, 1,
                0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0,
            ])
    }

    @Test(
        "What is no DNS name is no question",
        arguments: ["", ".", "a..b", String(repeating: "a", count: 64), String(repeating: "a.", count: 127) + "b"]
    )
    func badNames(name: String) {
        #expect(DNSMessage.query(id: 1, name: name) == nil)
    }

    @Test("An answer's texts are joined from their parts; other records are passed over")
    func answer() throws {
        let answer = try DNSMessage.answer(ByteBuffer(bytes: Self.golden), to: "_DNSADDR.a.io")
        #expect(answer.id == 0x1234)
        #expect(answer.code == 0)
        #expect(!answer.isTruncated)
        #expect(answer.texts == [Array("hi!".utf8)])
    }

    @Test("What we write we read", arguments: [0, 1, 254, 255, 256, 700])
    func roundTrip(length: Int) throws {
        let text = String(repeating: "x", count: length)
        let message = try #require(DNSMessage.response(id: 7, name: "a.b", texts: [text, "y"]))
        let answer = try DNSMessage.answer(message, to: "a.b")
        #expect(answer.texts == [Array(text.utf8), [0x79]])
    }

    @Test("An answer cut at any length is refused")
    func cut() {
        for length in 0..<Self.golden.count {
            #expect(throws: DecodeError.self) {
                try DNSMessage.answer(ByteBuffer(bytes: Self.golden[..<length]), to: "_dnsaddr.a.io")
            }
        }
    }

    @Test("The answer to another question is refused")
    func otherQuestion() {
        #expect(throws: DecodeError.malformed("DNS question (not ours)")) {
            try DNSMessage.answer(ByteBuffer(bytes: Self.golden), to: "_dnsaddr.b.io")
        }
    }

    @Test("Pointers that loop, point forwards or go on for ever are refused")
    func pointers() {
        let header: [UInt8] = [0, 1, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0]
        let names: [[UInt8]] = [[0xC0, 12], [0xC0, 14, 0], [1, 0x61, 0xC0, 12], [0xFF, 0xFF], [0x40, 0]]
        for name in names {
            #expect(throws: DecodeError.self) {
                try DNSMessage.answer(ByteBuffer(bytes: header + name + [0, 16, 0, 1]), to: "a")
            }
        }
    }

    @Test("Random changes never do more than be refused", arguments: [1, 2, 3, 4] as [UInt64])
    func fuzz(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<20_000 {
            var bytes = Self.golden
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                let position = Int.random(in: 0..<bytes.count, using: &generator)
                bytes[position] =
                    [0, 1, 0x3F, 0x40, 0xC0, 0xFF, .random(in: 0...255, using: &generator)]
                    .randomElement(using: &generator) ?? 0
            }
            let length = Int.random(in: 0...bytes.count, using: &generator)
            let answer = try? DNSMessage.answer(ByteBuffer(bytes: bytes[..<length]), to: "_dnsaddr.a.io")
            #expect((answer?.texts.count ?? 0) <= DNSMessage.recordsMax)
        }
    }
}

/// Answers from a table, over a real socket.
private final class FakeNameServer: ChannelInboundHandler, Sendable {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>
    typealias OutboundOut = AddressedEnvelope<ByteBuffer>

    private let texts: [String: [String]]
    let asked = Mutex<[String]>([])

    init(_ texts: [String: [String]]) {
        self.texts = texts
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let envelope = unwrapInboundIn(data)
        var rest = envelope.data
        guard let id = rest.readInteger(as: UInt16.self), rest.readBytes(length: 10) != nil else { return }
        var labels: [String] = []
        while let length = rest.readInteger(as: UInt8.self), length > 0 {
            labels.append(rest.readString(length: Int(length)) ?? "")
        }
        let name = labels.joined(separator: ".")
        asked.withLock { $0.append(name) }
        // A forged answer first: its id is wrong, so it must not count.
        let forged = DNSMessage.response(id: id &+ 1, name: name, texts: ["dnsaddr=/ip4/6.6.6.6/tcp/6"])
        let found = texts[name]
        let real = DNSMessage.response(id: id, name: name, texts: found ?? [], code: found == nil ? 3 : 0)
        for answer in [forged, real] {
            guard let answer else { continue }
            context.writeAndFlush(
                wrapOutboundOut(AddressedEnvelope(remoteAddress: envelope.remoteAddress, data: answer)), promise: nil)
        }
    }

    func start() async throws -> (address: SocketAddress, channel: any Channel) {
        let channel = try await DatagramBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .channelInitializer { channel in
                channel.eventLoop.makeCompletedFuture { try channel.pipeline.syncOperations.addHandler(self) }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        guard let address = channel.localAddress else { throw ChannelError.unknownLocalAddress }
        return (address, channel)
    }
}

@Suite(.timeLimit(.minutes(1)))
struct ResolverTests {
    private let peer = KeyPair(seed: .zero).peerID
    private let other = KeyPair(seed: Bytes32(words: (9, 9, 9, 9))).peerID

    private func resolve(
        _ text: String, _ texts: [String: [String]], limits: TransportLimits = TransportLimits()
    ) async throws -> (found: [String], asked: [String]) {
        let server = FakeNameServer(texts)
        let (address, channel) = try await server.start()
        let resolver = Resolver(limits: limits, group: MultiThreadedEventLoopGroup.singleton, servers: [address])
        let found = await resolver.resolve(try Multiaddr(text: text))
        try await channel.close()
        await resolver.close()
        return (found.map(\.description), server.asked.withLock { $0 })
    }

    @Test("A dnsaddr leads to the addresses in its texts, through further ones")
    func dnsaddr() async throws {
        let (found, asked) = try await resolve(
            "/dnsaddr/boot.example",
            [
                "_dnsaddr.boot.example": [
                    "dnsaddr=/dnsaddr/a.boot.example", "something else", "dnsaddr=/ip4/1.2.3.4/tcp/5",
                    "dnsaddr=nonsense",
                ],
                "_dnsaddr.a.boot.example": ["dnsaddr=/ip6/2001:db8::1/tcp/6", "dnsaddr=/ip4/1.2.3.4/tcp/5"],
            ])
        #expect(found == ["/ip6/2001:db8::1/tcp/6", "/ip4/1.2.3.4/tcp/5"])
        #expect(asked == ["_dnsaddr.boot.example", "_dnsaddr.a.boot.example"])
    }

    @Test("A dnsaddr that names a peer leads to that peer's addresses only")
    func peers() async throws {
        let texts = [
            "_dnsaddr.x": ["dnsaddr=/ip4/1.1.1.1/tcp/1/p2p/\(peer)", "dnsaddr=/ip4/2.2.2.2/tcp/2/p2p/\(other)"]
        ]
        let (found, _) = try await resolve("/dnsaddr/x/p2p/\(other)", texts)
        #expect(found == ["/ip4/2.2.2.2/tcp/2/p2p/\(other)"])
    }

    @Test("Names that lead to each other end at the depth and question limits")
    func loops() async throws {
        let (found, asked) = try await resolve(
            "/dnsaddr/x", ["_dnsaddr.x": ["dnsaddr=/dnsaddr/x", "dnsaddr=/dnsaddr/x", "dnsaddr=/dnsaddr/x"]])
        #expect(found.isEmpty)
        #expect(asked.count == TransportLimits().dnsQuestionsMax)
        let (_, once) = try await resolve("/dnsaddr/x", ["_dnsaddr.x": ["dnsaddr=/dnsaddr/x"]])
        #expect(once.count == TransportLimits().resolveDepthMax)
    }

    @Test("At most sixteen addresses come back")
    func many() async throws {
        let texts = (0..<40).map { "dnsaddr=/ip4/10.0.0.\($0)/tcp/1" }
        let (found, _) = try await resolve("/dnsaddr/x", ["_dnsaddr.x": texts])
        #expect(found.count == 16)
    }

    @Test("A name that doesn't exist, or a silent server, leads nowhere")
    func nowhere() async throws {
        let (found, _) = try await resolve("/dnsaddr/none", [:])
        #expect(found.isEmpty)
        let silent = try await DatagramBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .bind(host: "127.0.0.1", port: 0).get()
        var limits = TransportLimits()
        limits.dnsQuestionTimeout = .milliseconds(10)
        let server = try #require(silent.localAddress)
        let resolver = Resolver(limits: limits, group: MultiThreadedEventLoopGroup.singleton, servers: [server])
        #expect(await resolver.resolve(try Multiaddr(text: "/dnsaddr/x")) == [])
        try await silent.close()
    }

    @Test("The system's resolver knows this machine, by family", arguments: ["dns", "dns4"])
    func localhost(kind: String) async throws {
        let resolver = Resolver(limits: TransportLimits(), group: MultiThreadedEventLoopGroup.singleton, servers: [])
        let found = await resolver.resolve(try Multiaddr(text: "/\(kind)/localhost/tcp/4001/p2p/\(peer)"))
        #expect(found.map(\.description).contains("/ip4/127.0.0.1/tcp/4001/p2p/\(peer)"))
        if kind == "dns4" { #expect(found.count == 1) }
        await resolver.close()
        #expect(await resolver.resolve(try Multiaddr(text: "/dns4/localhost/tcp/1")) == [])
    }

    @Test("An address without a name is its own")
    func plain() async throws {
        let resolver = Resolver(limits: TransportLimits(), group: MultiThreadedEventLoopGroup.singleton, servers: [])
        let address = try Multiaddr(text: "/ip4/1.2.3.4/tcp/5")
        #expect(await resolver.resolve(address) == [address])
    }

    @Test("Name servers are read from the system's file")
    func servers() throws {
        let text =
            "# nameserver 9.9.9.9\nsearch x\nnameserver 1.2.3.4\nnameserver\t2001:db8::1\nnameserver\nnameserver bad\n"
        let found = DNSClient.servers(inResolverConfiguration: text)
        #expect(
            found == [
                try SocketAddress(ipAddress: "1.2.3.4", port: 53),
                try SocketAddress(ipAddress: "2001:db8::1", port: 53),
            ])
    }
}
