// SPDX-License-Identifier: Apache-2.0
import Foundation
import NIOCore
import Testing
import Tutti
import TuttiBase
import TuttiConnection
import TuttiIdentity
import TuttiPeers

extension AttackTests {
    /// Rows 12 and 14: work and memory that cost the attacker little.
    @Suite("Costs")
    struct Costs {
        @Test("attack_12 An RSA key beyond the limit is refused unverified, one at the limit costs little")
        func hugeKeys() async throws {
            try await Scene.run { scene in
                for (bits, words) in [(16_384, "noise("), (8192, "Noise identity signature")] {
                    let key = Self.rsaKey(bits: bits)
                    let rounds = 20
                    let time = scene.victim.processorTime
                    let count = try await onThread { [victim = scene.victim] in
                        try (0..<rounds).count(where: { number in
                            let socket = try RawSocket(to: victim.port, from: .network(number))
                            _ = try RawPeer.shakeHands(socket, .outbound, Self.proof(with: key, bits: bits))
                            return socket.isClosed(within: 5000)
                        })
                    }
                    #expect(count == rounds)
                    #expect(try await scene.victim.hasClosed(for: words, count: rounds))
                    let each = (scene.victim.processorTime - time) / .milliseconds(1) / Double(rounds)
                    print("attack_12: RSA of \(bits) bits refused \(count) times, \(each) ms of processor each")
                    #expect(each < 20)
                }
            }
        }

        @Test(
            "attack_12 Handshakes of one address are slowed before they take a quarter of a core",
            arguments: [true, false])
        func handshakeRate(_ isGenuine: Bool) async throws {
            try await Scene.run(isTold: false) { scene in
                let limit = Duration.seconds(AttackTests.isFull ? 20 : 3)
                let key = Self.rsaKey(bits: 8192)
                var secrets = KeySource.system
                let genuine = NoiseIdentity(KeyPair(), keySource: &secrets)
                let (figures, outcome) = try await scene.measure { victim in
                    var begun = 0
                    var handshakes = 0
                    let began = ContinuousClock.now
                    while began.duration(to: .now) < limit {
                        begun += 1
                        let socket = try RawSocket(to: victim.port, from: .network(0))
                        // Refused ones are closed at once, before a byte is read.
                        let proof = isGenuine ? genuine : Self.proof(with: key, bits: 8192)
                        if (try? RawPeer.shakeHands(socket, .outbound, proof)) != nil {
                            handshakes += 1
                        }
                    }
                    return (begun, handshakes)
                }
                let perSecond = Double(outcome.1) / figures.seconds
                let allowed = Double(NodeLimits.internet.handshakesPerSourceMax)
                // Saved up to begin with: a second's worth.
                #expect(perSecond <= allowed + allowed / figures.seconds)
                // The kernel has accepted a socket before anybody can refuse it, and these come by the thousand.
                let kernel = try await onThread { try kernelTimePerAccept() }
                let kernelPercent = Int(100 * Double(outcome.0) * (kernel / .seconds(1)) / figures.seconds)
                #expect(figures.processorPercent <= 25 + kernelPercent)
                Scene.expectHolds(
                    "attack_12 \(isGenuine ? "genuine" : "forged")", figures,
                    String(
                        format: "%d of %d handshakes served, %.0f/s; %d %% for the kernel's accept and close alone",
                        outcome.1, outcome.0, perSecond, kernelPercent))
            }
        }

        /// A proof of identity under a key whose signature is made up.
        private static func proof(with key: [UInt8], bits: Int) -> NoiseIdentity {
            var fields = ByteBuffer()
            fields.writeProtobuf(1, bytes: key)
            fields.writeProtobuf(2, bytes: [UInt8](repeating: 1, count: min(1024, bits / 8)))
            var source = KeySource.system
            return NoiseIdentity(staticKey: source.nextBytes32(), provenKey: fields)
        }

        /// A public key as libp2p writes it: SubjectPublicKeyInfo of a made-up odd modulus and 65,537.
        private static func rsaKey(bits: Int) -> [UInt8] {
            func der(_ tag: UInt8, _ body: [UInt8]) -> [UInt8] {
                let count = body.count
                if count < 128 { return [tag, UInt8(count)] + body }
                return [tag, 0x82, UInt8(count >> 8), UInt8(count & 0xFF)] + body
            }
            let modulus = [0, 0xC5] + [UInt8](repeating: 0x5B, count: bits / 8 - 1)
            let key = der(0x30, der(0x02, modulus) + der(0x02, [1, 0, 1]))
            let algorithm = der(0x30, der(0x06, [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 1, 1, 1]) + [5, 0])
            let info = der(0x30, algorithm + der(0x03, [0] + key))
            var message = ByteBuffer()
            message.writeProtobuf(1, varint: 0)
            message.writeProtobuf(2, bytes: info)
            return Array(message.readableBytesView)
        }

        @Test("attack_14 Made-up peers displace only other made-up peers, and the store stays as large as it was")
        func peerStore() async throws {
            let limits = NodeLimits.internet
            let count = AttackTests.size("attack_14", full: 10_000_000, reduced: 60_000)
            var core = PeersCore(
                configuration: PeersConfiguration(identity: KeyPair(), limits: limits, agent: "test"), at: .zero)
            let addresses = (0..<20).map { Multiaddr(components: [.ip4(0x0808_0000 + $0), .tcp(4001)]) }
            var random = SeededGenerator(seed: 14)
            var slotsWhenFull = 0
            for index in 0..<count {
                var multihash: [UInt8] = [0x12, 32]
                for _ in 0..<4 { withUnsafeBytes(of: random.next()) { multihash.append(contentsOf: $0) } }
                core.handle(.addressesFound(try PeerID(multihash: multihash), addresses), at: .zero)
                while core.nextEffect() != nil {}
                if index == limits.peersMax { slotsWhenFull = core.store.slotCount }
            }
            print("attack_14: \(count) made-up peers, \(core.store.count) kept in \(core.store.slotCount) places")
            #expect(core.store.count == limits.peersMax)
            #expect(core.store.slotCount == slotsWhenFull)
        }

        @Test("attack_14 Peers that come, push records and go leave little behind")
        func records() async throws {
            let count = AttackTests.size("attack_14", full: 10_000, reduced: 150)
            try await Scene.run { scene in
                let (figures, pushed) = try await scene.measure { victim in
                    var pushed = 0
                    for number in 0..<count {
                        let identity = KeyPair()
                        let peer = try RawPeer(to: victim.port, from: .network(number), identity: identity)
                        let addresses = (0..<40).map {
                            Multiaddr(components: [.ip4(0x0808_0808 + UInt32($0)), .tcp(UInt16(1000 + $0))])
                        }
                        var identify = IdentifyMessage()
                        identify.publicKey = identity.publicKey.protobuf
                        identify.listenAddresses = addresses
                        let record = PeerRecord(
                            peerID: identity.peerID, sequence: .max, addresses: Array(addresses.prefix(16)))
                        identify.signedRecord = Array(record.sealed(with: identity).readableBytesView)
                        var message = ByteBuffer()
                        message.writeDelimited(identify.encoded)
                        for stream in 0..<UInt32(20) {
                            try peer.openStream(1 + 2 * stream, "/ipfs/id/push/1.0.0", message, isEnded: true)
                            pushed += 1
                        }
                        // The victim has looked at what came before.
                        try peer.openStream(99, "/none")
                        try peer.read(within: .milliseconds(500)) { $0.resetStreams.count >= 8 }
                    }
                    return pushed
                }
                Scene.expectHolds("attack_14", figures, "\(pushed) records pushed by \(count) peers")
            }
        }
    }
}
