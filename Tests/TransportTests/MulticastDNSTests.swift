// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Testing
import TuttiBase
import TuttiIdentity
import TuttiTransport

private let alice = KeyPair().peerID
private let bob = KeyPair().peerID
private let link = MulticastDNSCore.Link(interface: 2, isIPv6: false)
private let aliceAddress = Multiaddr(components: [.ip4(0x0A01_0203), .tcp(4001)])
private let bobIP = IPAddress.v4(0x0A01_0204)
private let prefix = MulticastDNSCore.Prefix(.v4(0x0A01_0203), bits: 24)

private func addresses(_ texts: String...) -> [Multiaddr] { texts.compactMap { Multiaddr($0) } }

struct MulticastDNSMessageTests {
    private static let name = "abcdefghijklmnopqrstuvwxyz012345"
    private static let peer = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp"
    private static var response: ByteBuffer {
        MulticastDNSMessage.response(
            peerName: name,
            addresses: addresses("/ip4/10.1.2.3/tcp/4001/p2p/\(peer)", "/ip6/fd00::1/tcp/4001/p2p/\(peer)"))
    }

    @Test("The query has the bytes of the specification")
    func query() {
        let expected: [UInt8] =
            [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0] + [4] + Array("_p2p".utf8) + [4] + Array("_udp".utf8) + [5]
            + Array("local".utf8) + [0, 0, 12, 0, 1]
        #expect(Array(MulticastDNSMessage.query().readableBytesView) == expected)
    }

    @Test("A response begins with the bytes of the specification: PTR, then TXT behind compressed names")
    func responseBytes() {
        let text = Array("dnsaddr=/ip4/10.1.2.3/tcp/4001/p2p/\(Self.peer)".utf8)
        let only = MulticastDNSMessage.response(
            peerName: Self.name, addresses: addresses("/ip4/10.1.2.3/tcp/4001/p2p/\(Self.peer)"))
        var expected: [UInt8] = [0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 3, 4]
        expected += Array("_p2p".utf8) + [4] + Array("_udp".utf8) + [5] + Array("local".utf8) + [0]
        expected += [0, 12, 0, 1, 0, 0, 0, 120, 0, 35, 32] + Array(Self.name.utf8) + [0xC0, 12]
        expected += [0xC0, 39, 0, 16, 0x80, 1, 0, 0, 0, 120, 0, UInt8(text.count + 1), UInt8(text.count)] + text
        // SRV at the same name: no priority, no weight, the port.
        expected += [0xC0, 39, 0, 33, 0x80, 1, 0, 0, 0, 120, 0, 50, 0, 0, 0, 0, 0x0F, 0xA1, 32]
        #expect(Array(only.readableBytesView.prefix(expected.count)) == expected)
        #expect(Array(only.readableBytesView.suffix(4)) == [10, 1, 2, 3])
    }

    @Test("What we write we read")
    func roundTrip() throws {
        let message = try MulticastDNSMessage(Self.response)
        let instance = Array("\(Self.name)._p2p._udp.local".utf8)
        #expect(message.isResponse)
        #expect(message.questions.isEmpty)
        #expect(message.records.count == 2)
        #expect(message.records.first?.content == .pointer(instance))
        #expect(message.records.last?.name == instance)
        let texts = [
            "dnsaddr=/ip4/10.1.2.3/tcp/4001/p2p/\(Self.peer)", "dnsaddr=/ip6/fd00::1/tcp/4001/p2p/\(Self.peer)",
        ]
        #expect(message.records.last?.content == .texts(texts.map { Array($0.utf8) }))
        let question = try MulticastDNSMessage(MulticastDNSMessage.query())
        #expect(!question.isResponse)
        #expect(question.questions.map(\.name) == [Array("_p2p._udp.local".utf8)])
        #expect(question.questions.map(\.type) == [12])
    }

    @Test("A response cut at any length is refused")
    func cut() {
        let bytes = Array(Self.response.readableBytesView)
        for length in 0..<bytes.count {
            #expect(throws: DecodeError.self) { try MulticastDNSMessage(ByteBuffer(bytes: bytes[..<length])) }
        }
    }

    @Test("Counts over their limits are refused before anything is read")
    func counts() {
        let many: [UInt8] = [0, 0, 0x84, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]
        #expect(throws: DecodeError.tooLarge("mDNS records", limit: 256)) {
            try MulticastDNSMessage(ByteBuffer(bytes: many))
        }
        let questions: [UInt8] = [0, 0, 0, 0, 0, 33, 0, 0, 0, 0, 0, 0]
        #expect(throws: DecodeError.tooLarge("mDNS questions", limit: 32)) {
            try MulticastDNSMessage(ByteBuffer(bytes: questions))
        }
        #expect(throws: DecodeError.tooLarge("mDNS message", limit: 9_000)) {
            try MulticastDNSMessage(ByteBuffer(repeating: 0, count: 9_001))
        }
    }

    @Test("Pointers that loop are refused, in a question and in the content of a record")
    func loops() {
        let header: [UInt8] = [0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
        #expect(throws: DecodeError.self) {
            try MulticastDNSMessage(ByteBuffer(bytes: header + [0xC0, 12, 0, 12, 0, 1]))
        }
        let record: [UInt8] = [0, 0, 0x84, 0, 0, 0, 0, 1, 0, 0, 0, 0] + [0, 0, 12, 0, 1, 0, 0, 0, 1, 0, 2, 0xC0, 23]
        #expect(throws: DecodeError.self) { try MulticastDNSMessage(ByteBuffer(bytes: record)) }
    }

    @Test("Random changes never do more than be refused", arguments: [1, 2, 3] as [UInt64])
    func fuzz(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        let golden = Array(Self.response.readableBytesView)
        for _ in 0..<20_000 {
            var bytes = golden
            for _ in 0..<Int.random(in: 1...4, using: &generator) {
                let position = Int.random(in: 0..<bytes.count, using: &generator)
                bytes[position] = .random(in: 0...255, using: &generator)
            }
            let message = try? MulticastDNSMessage(ByteBuffer(bytes: bytes))
            #expect((message?.records.count ?? 0) <= MulticastDNSMessage.recordsMax)
        }
    }
}

struct MulticastDNSCoreTests {
    /// A core on one link, at 10.1.2.3/24.
    private struct Scene {
        var core: MulticastDNSCore
        var now = Instant.zero

        init(_ peer: PeerID = alice, listening: [Multiaddr] = [aliceAddress], isUp: Bool = true, seed: UInt64 = 7) {
            core = MulticastDNSCore(own: peer, seed: seed, at: .zero)
            core.handle(.listening(listening), at: now)
            if isUp { core.handle(.linkUp(link, [prefix]), at: now) }
        }

        /// What happens in so long, with its time.
        mutating func run(_ duration: Duration) -> [(Instant, MulticastDNSCore.Effect)] {
            let end = now + duration
            var effects: [(Instant, MulticastDNSCore.Effect)] = []
            while true {
                while let effect = core.nextEffect() { effects.append((now, effect)) }
                guard let next = core.nextTimeout, next <= end else { break }
                now = next
                core.handleTimeout(at: now)
            }
            now = end
            return effects
        }

        mutating func receive(_ bytes: ByteBuffer, from source: IPAddress = bobIP) {
            core.handle(.received(bytes, on: link, from: source), at: now)
        }

        mutating func found() -> [(PeerID, [Multiaddr])] {
            run(.zero).compactMap { if case .found(let id, let addresses) = $0.1 { (id, addresses) } else { nil } }
        }
    }

    private static func isResponse(_ effect: MulticastDNSCore.Effect) -> Bool {
        guard case .send(let bytes, _) = effect else { return false }
        return (try? MulticastDNSMessage(bytes))?.isResponse ?? false
    }

    private func response(_ texts: String...) -> ByteBuffer {
        MulticastDNSMessage.response(
            peerName: "bobbobbobbobbobbobbobbobbobbobbobbob", addresses: texts.compactMap { Multiaddr($0) })
    }

    @Test("It asks at the start, then after intervals that double up to the longest")
    func schedule() {
        var scene = Scene(listening: [])
        let times = scene.run(.seconds(3_000)).filter { !Self.isResponse($0.1) }.map { $0.0 }
        let gaps = zip(times, times.dropFirst()).map { $1 - $0 }
        #expect((times.first ?? .distantFuture) <= .zero + .milliseconds(120))
        for (index, gap) in gaps.enumerated() {
            let base = Duration.seconds(min(300, 1 << index))
            #expect(gap >= base && gap <= base + .milliseconds(120))
        }
        #expect(gaps.count >= 12)
    }

    @Test("A node that asks and one that runs find each other within half a second of virtual time")
    func pair() {
        var first = Scene()
        _ = first.run(.seconds(10))
        var second = Scene(bob, listening: addresses("/ip4/10.1.2.4/tcp/4002"), isUp: false, seed: 8)
        second.now = first.now
        second.core.handle(.linkUp(link, [prefix]), at: second.now)
        var foundBy: [PeerID: PeerID] = [:]
        for _ in 0..<50 {
            let (fromFirst, fromSecond) = (first.run(.milliseconds(10)), second.run(.milliseconds(10)))
            for (_, effect) in fromFirst {
                switch effect {
                case .send(let bytes, _): second.receive(bytes, from: .v4(0x0A01_0203))
                case .found(let peer, _): foundBy[alice] = peer
                }
            }
            for (_, effect) in fromSecond {
                switch effect {
                case .send(let bytes, _): first.receive(bytes)
                case .found(let peer, _): foundBy[bob] = peer
                }
            }
        }
        #expect(foundBy == [alice: bob, bob: alice])
    }

    @Test("A link whose addresses change all the time has one answer a second nonetheless")
    func restless() {
        var scene = Scene()
        _ = scene.run(.seconds(5_000))
        var answers: [Instant] = []
        for _ in 0..<30 {
            scene.core.handle(.linkUp(link, [prefix]), at: scene.now)
            scene.receive(MulticastDNSMessage.query())
            answers += scene.run(.milliseconds(100)).filter { Self.isResponse($0.1) }.map(\.0)
        }
        #expect(!answers.isEmpty)
        for (earlier, later) in zip(answers, answers.dropFirst()) { #expect(later - earlier >= .seconds(1)) }
    }

    @Test("A thousand questions a second have one answer a second; without a question there is none")
    func flood() {
        var scene = Scene()
        _ = scene.run(.seconds(5_000))
        // Between two questions of its own.
        #expect(scene.run(.seconds(1)).filter { Self.isResponse($0.1) }.count <= 1)
        var asked = 0
        var answered = 0
        for _ in 0..<3_000 {
            let query = MulticastDNSMessage.query()
            scene.receive(query)
            asked += query.readableBytes
            for (_, effect) in scene.run(.milliseconds(1)) {
                if case .send(let bytes, _) = effect, Self.isResponse(effect) { answered += bytes.readableBytes }
            }
        }
        #expect(answered > 0)
        #expect(answered <= 3 * asked)
        #expect(scene.core.stats.datagramsOverRate > 0)
    }

    @Test(
        "A node that others can't reach on the link says nothing",
        arguments: ["/ip4/127.0.0.1/tcp/4001", "/ip4/192.0.2.7/tcp/4001", "/memory/3"])
    func silent(address: String) {
        var scene = Scene(listening: addresses(address))
        scene.receive(MulticastDNSMessage.query())
        #expect(scene.run(.seconds(60)).filter { Self.isResponse($0.1) }.isEmpty)
    }

    @Test("Who names us in the question is not answered")
    func knownAnswer() {
        var scene = Scene()
        let first = scene.run(.seconds(20)).compactMap { Self.isResponse($0.1) ? $0.1 : nil }.first
        guard case .send(var answer, _) = first else { return #expect(Bool(false), "it answers its own question") }
        // The same records as a question's known answers.
        var query = MulticastDNSMessage.query()
        query.setInteger(UInt16(1), at: 6)
        answer.moveReaderIndex(forwardBy: 12)
        var pointer = answer.readSlice(length: 17 + 10 + 43) ?? ByteBuffer()
        query.writeBuffer(&pointer)
        let sent = scene.core.stats.responsesSent
        scene.receive(query)
        _ = scene.run(.milliseconds(500))
        #expect(scene.core.stats.datagramsMalformed == 0)
        #expect(scene.core.stats.responsesSent == sent)
        scene.receive(MulticastDNSMessage.query())
        _ = scene.run(.milliseconds(1_200))
        #expect(scene.core.stats.responsesSent == sent + 1)
    }

    @Test("Only addresses on the link are believed, and never our own id")
    func credible() {
        var scene = Scene()
        scene.receive(
            response(
                "/ip4/127.0.0.1/tcp/22/p2p/\(bob)", "/ip4/198.51.100.9/tcp/80/p2p/\(bob)",
                "/dns/victim.example/tcp/80/p2p/\(bob)", "/ip4/10.1.2.4/tcp/4002/p2p/\(bob)",
                "/ip4/10.1.2.4/tcp/4002/p2p/\(alice)"))
        let found = scene.found()
        #expect(found.map(\.0) == [bob])
        #expect(found.first?.1 == addresses("/ip4/10.1.2.4/tcp/4002"))
        #expect(scene.core.stats.addressesElsewhere == 3)
    }

    @Test("What comes from beyond the link is dropped")
    func elsewhere() {
        var scene = Scene()
        scene.receive(response("/ip4/10.1.2.4/tcp/4002/p2p/\(bob)"), from: .v4(0xC000_0201))
        #expect(scene.found().isEmpty)
        #expect(scene.core.stats.datagramsFromElsewhere == 1)
    }

    @Test("A peer is reported once in a while, and again when its addresses changed")
    func repeats() {
        var scene = Scene()
        for _ in 0..<5 { scene.receive(response("/ip4/10.1.2.4/tcp/4002/p2p/\(bob)")) }
        #expect(scene.found().count == 1)
        scene.receive(response("/ip4/10.1.2.4/tcp/4003/p2p/\(bob)"))
        #expect(scene.found().count == 1)
        _ = scene.run(.seconds(31))
        scene.receive(response("/ip4/10.1.2.4/tcp/4003/p2p/\(bob)"))
        #expect(scene.found().count == 1)
    }

    @Test("Made-up peers are reported at a bounded rate")
    func stuffing() {
        var scene = Scene()
        for _ in 0..<100 {
            for _ in 0..<10 { scene.receive(response("/ip4/10.1.2.4/tcp/4002/p2p/\(KeyPair().peerID)")) }
            scene.now = scene.now + .milliseconds(10)
        }
        #expect(scene.core.stats.peersFound <= 64 + 10)
        #expect(scene.core.stats.peersOverRate > 0)
    }

    @Test("Peer names are 32 to 63 letters and digits, and differ between starts")
    func names() {
        let names = (0..<50 as Range<UInt64>).map { MulticastDNSCore(own: alice, seed: $0, at: .zero).peerName }
        #expect(Set(names).count == 50)
        #expect(
            names.allSatisfy { (32...63).contains($0.utf8.count) && $0.allSatisfy { $0.isNumber || $0.isLowercase } })
    }
}
