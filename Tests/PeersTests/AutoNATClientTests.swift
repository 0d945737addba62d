// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity
import TuttiPeers

@Suite("AutoNAT: asking others")
struct AutoNATClientTests {
    private static let ours = address("/ip4/44.1.2.3/tcp/4001")
    private static let local = address("/ip4/192.168.1.5/tcp/4001")

    private final class Bench {
        var client: AutoNATClient
        var now = Instant.zero

        init(_ candidates: [Multiaddr], limits: AutoNATClient.Limits = .init()) {
            client = AutoNATClient(
                limits: limits, seed: 1, nonces: .seeded(SeededGenerator(seed: 9)), at: .zero)
            client.handle(.candidates(candidates), at: now)
        }

        func add(_ peer: PeerID, remote: String, observed: String) {
            client.handle(
                .serverFound(peer, remote: address(remote), observed: Multiaddr(observed)), at: now)
        }

        func effects() -> [AutoNATClient.Effect] {
            var all: [AutoNATClient.Effect] = []
            while let effect = client.nextEffect() { all.append(effect) }
            return all
        }

        /// The questions asked until then.
        func advance(_ duration: Duration) -> [(id: RequestID, peer: PeerID, addresses: [Multiaddr?], UInt64)] {
            let end = now + duration
            while let next = client.nextTimeout, next <= end {
                now = max(now, next)
                client.handleTimeout(at: now)
            }
            now = end
            return effects().compactMap { effect in
                guard case .ask(let id, let peer, .dialRequest(let addresses, let nonce)) = effect else { return nil }
                return (id, peer, addresses, nonce)
            }
        }
    }

    private static func peer(_ number: UInt64) -> PeerID { KeyPair(seed: Bytes32(words: (number, 0, 0, 8))).peerID }

    @Test("An answer counts with the nonce, and three judges are asked, no fourth before the recheck")
    func asking() throws {
        let bench = Bench([Self.ours])
        for number in 1...6 as ClosedRange<UInt64> {
            bench.add(Self.peer(number), remote: "/ip4/5\(number).1.1.1/tcp/1", observed: "/ip4/44.1.2.3/tcp/999")
        }
        var judged = 0
        for question in bench.advance(.seconds(1)) {
            #expect(question.addresses == [Self.ours])
            let isOurs = bench.client.dialledBack(nonce: question.3)
            #expect(isOurs)
            bench.client.handle(.received(question.id, .dialResponse(.ok, index: 0, .ok)), at: bench.now)
            judged += bench.effects().count { effect in
                if case .judged(Self.ours, _, isReachable: true) = effect { true } else { false }
            }
        }
        #expect(judged == 3)
        #expect(bench.advance(.seconds(60)).isEmpty)
        #expect(!bench.advance(.seconds(15 * 60)).isEmpty)
        #expect(bench.client.requestCount <= 3)
    }

    @Test("Servers in one part of the network are one judge")
    func oneGroup() {
        let bench = Bench([Self.ours])
        for number in 1...6 as ClosedRange<UInt64> {
            bench.add(Self.peer(number), remote: "/ip4/51.1.1.\(number)/tcp/1", observed: "/ip4/44.1.2.3/tcp/999")
        }
        let questions = bench.advance(.seconds(1))
        #expect(questions.count == 1)
        for question in questions {
            bench.client.handle(.received(question.id, .dialResponse(.ok, index: 0, .dialError)), at: bench.now)
        }
        #expect(bench.effects().contains { if case .judged(_, _, isReachable: false) = $0 { true } else { false } })
        #expect(bench.advance(.seconds(60)).isEmpty)
    }

    @Test(
        "One that claims to have reached us without the nonce, or elsewhere, is never asked again", arguments: [0, 7])
    func liar(index: Int) {
        let bench = Bench([Self.ours])
        bench.add(Self.peer(1), remote: "/ip4/51.1.1.1/tcp/1", observed: "/ip4/44.1.2.3/tcp/999")
        let questions = bench.advance(.seconds(1))
        #expect(questions.count == 1)
        let isOurs = bench.client.dialledBack(nonce: 12_345)
        #expect(!isOurs)
        if index != 0, let nonce = questions.first?.3 { _ = bench.client.dialledBack(nonce: nonce) }
        for question in questions {
            bench.client.handle(.received(question.id, .dialResponse(.ok, index: index, .ok)), at: bench.now)
            let effects = bench.effects()
            #expect(effects == [.abandon(question.id)])
        }
        #expect(bench.client.stats.liars == 1)
        #expect(bench.advance(.seconds(3_600)).isEmpty)
    }

    @Test("A local address is put to those that see us there, a global one to those outside")
    func scopes() {
        let bench = Bench([Self.ours, Self.local])
        bench.add(Self.peer(1), remote: "/ip4/51.1.1.1/tcp/1", observed: "/ip4/44.1.2.3/tcp/999")
        bench.add(Self.peer(2), remote: "/ip4/192.168.1.9/tcp/1", observed: "/ip4/192.168.1.5/tcp/999")
        bench.add(Self.peer(3), remote: "/ip4/192.168.2.9/tcp/1", observed: "/ip4/192.168.2.5/tcp/999")
        let questions = bench.advance(.seconds(1))
        #expect(questions.first { $0.peer == Self.peer(1) }?.addresses == [Self.ours])
        #expect(questions.first { $0.peer == Self.peer(2) }?.addresses == [Self.local])
        #expect(!questions.contains { $0.peer == Self.peer(3) })
    }

    @Test("Data is paid once per question, up to the limit and the rate")
    func payment() throws {
        var limits = AutoNATClient.Limits()
        limits.dataBurst = 1
        let bench = Bench([Self.ours], limits: limits)
        bench.add(Self.peer(1), remote: "/ip4/51.1.1.1/tcp/1", observed: "/ip4/44.1.9.9/tcp/999")
        bench.add(Self.peer(2), remote: "/ip4/52.1.1.1/tcp/1", observed: "/ip4/44.1.9.9/tcp/999")
        bench.add(Self.peer(3), remote: "/ip4/53.1.1.1/tcp/1", observed: "/ip4/44.1.9.9/tcp/999")
        let ids = bench.advance(.seconds(1)).map(\.id)
        try #require(ids.count == 3)
        bench.client.handle(.received(ids[0], .dialDataRequest(index: 0, bytes: 100_001)), at: bench.now)
        #expect(bench.effects() == [.abandon(ids[0])])
        bench.client.handle(.received(ids[1], .dialDataRequest(index: 0, bytes: 50_000)), at: bench.now)
        #expect(bench.effects() == [.pay(ids[1], bytes: 50_000)])
        bench.client.handle(.received(ids[2], .dialDataRequest(index: 0, bytes: 50_000)), at: bench.now)
        #expect(bench.effects() == [.abandon(ids[2])])
        bench.client.handle(.received(ids[1], .dialDataRequest(index: 0, bytes: 50_000)), at: bench.now)
        #expect(bench.effects() == [.abandon(ids[1])], "twice for one dial")
        #expect(bench.client.stats.bytesPaid == 50_000)
    }

    @Test("When one contradicts the others, these are asked anew at once")
    func contradiction() {
        let bench = Bench([Self.ours])
        for number in 1...3 as ClosedRange<UInt64> {
            bench.add(Self.peer(number), remote: "/ip4/5\(number).1.1.1/tcp/1", observed: "/ip4/44.1.2.3/tcp/999")
        }
        let questions = bench.advance(.seconds(1))
        #expect(questions.count == 3)
        for (place, question) in questions.enumerated() {
            _ = bench.client.dialledBack(nonce: question.3)
            let status: AutoNATMessage.DialStatus = place == 2 ? .dialError : .ok
            bench.client.handle(.received(question.id, .dialResponse(.ok, index: 0, status)), at: bench.now)
        }
        let again = bench.advance(.seconds(30))
        #expect(Set(again.map(\.peer)) == Set(questions.prefix(2).map(\.peer)))
    }

    @Test("A server that doesn't answer, fails or refuses is left alone for a while; one that is gone is forgotten")
    func failures() {
        let bench = Bench([Self.ours])
        bench.add(Self.peer(1), remote: "/ip4/51.1.1.1/tcp/1", observed: "/ip4/44.1.2.3/tcp/999")
        #expect(bench.advance(.seconds(39)).count == 1)
        #expect(bench.advance(.seconds(61)).isEmpty)
        let second = bench.advance(.seconds(10))
        #expect(second.count == 1)
        bench.client.handle(.received(RequestID(2), .dialResponse(.dialRefused, index: 0, .unused)), at: bench.now)
        #expect(bench.effects() == [.end(RequestID(2))])
        #expect(bench.advance(.seconds(59)).isEmpty)
        #expect(bench.advance(.seconds(2)).count == 1)
        bench.client.handle(.serverLost(Self.peer(1)), at: bench.now)
        #expect(bench.client.requestCount == 0)
        #expect(bench.client.nextTimeout == nil)
    }
}
