// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity
import TuttiPeers

@Suite("AutoNAT: clients that ask for too much")
struct AutoNATServerAttackTests {
    /// What the server owes for each dial to a third machine, and how much it does for all of them.
    @Test("Whatever a hundred clients say, no stranger is dialled unpaid and the work is bounded", arguments: 0..<40)
    func bounds(seed: UInt64) throws {
        let limits = AutoNATServer.Limits()
        var random = SeededGenerator(seed: seed)
        var server = AutoNATServer(limits: limits, seed: seed, at: .zero)
        let peers = (0..<100).map { KeyPair(seed: Bytes32(words: (UInt64($0), 0, 0, 6))).peerID }
        let seen = try (0..<4).map { try #require(Multiaddr("/ip4/44.0.\($0).1/tcp/5000")) }
        let wanted = try [
            "/ip4/44.0.0.1/tcp/1", "/ip4/44.0.1.1/tcp/1", "/ip4/8.8.8.8/tcp/53", "/ip4/127.0.0.1/tcp/22",
            "/ip4/10.0.0.1/tcp/80", "/ip6/2a00::1/tcp/1", "/dns4/victim.example/tcp/1",
        ].map { try #require(Multiaddr($0)) }
        var now = Instant.zero
        var observed: [RequestID: Multiaddr] = [:]
        var paid: [RequestID: Int] = [:]
        var running: Set<RequestID> = []
        var ids: [RequestID] = []
        var dials = 0
        for step in 1...3_000 {
            now = now + .milliseconds(Int64.random(in: 0...20, using: &random))
            let id = ids.randomElement(using: &random) ?? RequestID(0)
            switch Int.random(in: 0..<8, using: &random) {
            case 0...2:
                let asked = RequestID(UInt64(step))
                let address = seen[Int.random(in: 0..<4, using: &random)]
                observed[asked] = address
                ids.append(asked)
                let named = (0..<3).map { _ in wanted.randomElement(using: &random) }
                server.handle(
                    .asked(
                        asked, peers[Int.random(in: 0..<100, using: &random)], observed: address, addresses: named,
                        nonce: 1), at: now)
            case 3...5:
                let bytes = Int.random(in: 0...AutoNATMessage.dataBytesMax, using: &random)
                for _ in 0..<20 {
                    paid[id, default: 0] += bytes
                    server.handle(.dataReceived(id, bytes: bytes), at: now)
                }
            case 6: server.handle(Bool.random(using: &random) ? .streamFailed(id) : .streamEnded(id), at: now)
            default:
                guard let done = running.min() else { continue }
                running.remove(done)
                server.handle(.dialBackEnded(done, .ok), at: now)
            }
            if let next = server.nextTimeout, next <= now { server.handleTimeout(at: now) }
            while let effect = server.nextEffect() {
                guard case .dialBack(let dialled, _, let address, _, _) = effect else { continue }
                dials += 1
                running.insert(dialled)
                let isOwn = address.ipAddress == observed[dialled]?.ipAddress
                #expect(isOwn || paid[dialled, default: 0] >= 30_000)
                #expect(isOwn || address.ipAddress?.isGlobal == true)
            }
            #expect(server.requestCount <= limits.requestsMax)
        }
        let seconds = Int(now.nanoseconds / 1_000_000_000)
        #expect(dials <= limits.requestBurst + seconds)
        #expect(dials >= 5, "the attack asked for something")
    }
}
