// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiConnection
import TuttiIdentity
import TuttiPeers

import struct NIOCore.ByteBuffer

@Suite("Identify messages")
struct IdentifyMessageTests {
    /// Written by hand after the table in docs/protocols/identify.md.
    private static let golden: [UInt8] =
        [0x0A, 0x02, 0xAA, 0xBB]
        + [0x12, 0x08, 0x04, 0x7F, 0x00, 0x00, 0x01, 0x06, 0x0F, 0xA1]
        + [0x1A, 0x02, 0x2F, 0x61, 0x1A, 0x02, 0x2F, 0x62]
        + [0x22, 0x08, 0x04, 0x08, 0x08, 0x08, 0x08, 0x06, 0x00, 0x50]
        + [0x2A, 0x02, 0x76, 0x31]
        + [0x32, 0x03, 0x78, 0x2F, 0x31]
        + [0x42, 0x01, 0xCC]

    private static var message: IdentifyMessage {
        var message = IdentifyMessage()
        message.publicKey = [0xAA, 0xBB]
        message.listenAddresses = [address("/ip4/127.0.0.1/tcp/4001")]
        message.protocols = ["/a", "/b"]
        message.observedAddress = address("/ip4/8.8.8.8/tcp/80")
        message.protocolVersion = "v1"
        message.agent = "x/1"
        message.signedRecord = [0xCC]
        return message
    }

    @Test("The bytes are those of the table, both ways")
    func golden() throws {
        #expect(Array(Self.message.encoded.readableBytesView) == Self.golden)
        #expect(try IdentifyMessage(ByteBuffer(bytes: Self.golden), limits: .internet) == Self.message)
    }

    @Test("Cut anywhere, a message is shorter or refused, never more than was sent")
    func cut() {
        for length in 0..<Self.golden.count {
            let part = try? IdentifyMessage(ByteBuffer(bytes: Self.golden[..<length]), limits: .internet)
            #expect(part != Self.message)
        }
    }

    @Test("Any single changed byte is decoded or refused")
    func changedBytes() {
        for position in Self.golden.indices {
            for value in [UInt8(0), 1, 0x7F, 0x80, 0xFF] {
                var bytes = Self.golden
                bytes[position] = value
                let decoded = try? IdentifyMessage(ByteBuffer(bytes: bytes), limits: .internet)
                #expect((decoded?.listenAddresses.count ?? 0) <= 16)
            }
        }
    }

    @Test("Unknown fields and unreadable addresses are passed over")
    func unknownFields() throws {
        let bytes = Self.golden + [0x78, 0x01] + [0x12, 0x02, 0xFF, 0x7F]
        #expect(try IdentifyMessage(ByteBuffer(bytes: bytes), limits: .internet) == Self.message)
    }

    @Test("Sizes: 8 KiB with a record, 4 KiB without; lists are cut, names are not")
    func sizes() throws {
        func decode(_ change: (inout IdentifyMessage) -> Void) throws -> IdentifyMessage {
            var message = IdentifyMessage()
            change(&message)
            return try IdentifyMessage(message.encoded, limits: .internet)
        }
        let filler = [UInt8](repeating: 7, count: 4_093)
        #expect(try decode { $0.publicKey = filler }.publicKey?.count == 4_093)
        #expect(throws: DecodeError.tooLarge("identify (unsigned)", limit: 4_096)) {
            try decode { $0.publicKey = filler + [1] }
        }
        #expect(try decode { $0.signedRecord = filler + filler }.signedRecord?.count == 8_186)
        #expect(throws: DecodeError.tooLarge("identify", limit: 8_192)) {
            try decode { $0.signedRecord = filler + filler + filler }
        }
        #expect(try decode { $0.protocols = (0..<200).map { ProtocolID("/\($0)") } }.protocols.count == 128)
        let addresses = (1...40).map { address("/ip4/8.8.8.8/tcp/\($0)") }
        #expect(try decode { $0.listenAddresses = addresses }.listenAddresses.count == 16)
        #expect(throws: DecodeError.self) { try decode { $0.agent = String(repeating: "a", count: 257) } }
        #expect(throws: DecodeError.self) {
            try decode { $0.protocols = [ProtocolID(String(repeating: "a", count: 257))] }
        }
    }

    @Test("perf's head is eight bytes, big-endian")
    func perf() {
        var buffer = ByteBuffer()
        PerfRequest(downloadBytes: 0x0102).write(into: &buffer)
        #expect(Array(buffer.readableBytesView) == [0, 0, 0, 0, 0, 0, 1, 2])
        var short = ByteBuffer(bytes: [0, 0, 0])
        #expect(PerfRequest(from: &short) == nil)
        #expect(PerfRequest(from: &buffer)?.downloadBytes == 0x0102)
    }
}

@Suite("Identify")
struct IdentifyTests {
    private let peer = ordered.larger
    private let identifyID: ProtocolID = "/ipfs/id/1.0.0"
    private let pushID: ProtocolID = "/ipfs/id/push/1.0.0"
    private let stream = StreamID(1)

    /// A bench with one outbound connection whose query is open.
    private func asking(_ change: (inout PeersConfiguration) -> Void = { _ in }) -> (Bench, ConnectionID) {
        var bench = Bench(ordered.smaller, change: change)
        let id = bench.outbound(peer).id
        bench.handle(.streamOpened(id, stream, identifyID, .outbound, request: PeersCore.query))
        return (bench, id)
    }

    private func message(
        _ key: KeyPair, addresses: [String] = ["/ip4/9.9.9.9/tcp/1"], sequence: UInt64 = 1
    ) -> IdentifyMessage {
        var message = IdentifyMessage()
        message.publicKey = key.publicKey.protobuf
        message.agent = "other/2"
        message.protocols = [identifyID, pushID, "/x"]
        message.listenAddresses = addresses.map { address($0) }
        let record = PeerRecord(peerID: key.peerID, sequence: sequence, addresses: message.listenAddresses)
        message.signedRecord = Array(record.sealed(with: key).readableBytesView)
        return message
    }

    @Test("An answer in several messages is merged and told once the peer has ended")
    func merged() {
        var (bench, id) = asking()
        var first = message(peer)
        first.signedRecord = nil
        var second = IdentifyMessage()
        second.protocols = ["/y"]
        second.signedRecord = message(peer).signedRecord
        second.observedAddress = address("/ip4/203.0.113.5/tcp/9")
        #expect(bench.handle(.message(id, stream, first.encoded)).isEmpty)
        #expect(bench.handle(.message(id, stream, second.encoded)).isEmpty)
        let end = bench.handle(.streamEnded(id, stream))
        #expect(end.identified.map(\.agent) == ["other/2"])
        #expect(end.identified[0].protocols == [identifyID, pushID, "/x", "/y"])
        #expect(end.identified[0].observedAddress == address("/ip4/203.0.113.5/tcp/9"))
        #expect(bench.core.store.certifiedAddresses(of: peer.peerID) == [address("/ip4/9.9.9.9/tcp/1")])
        #expect(bench.core.profile(of: peer.peerID)?.agent == "other/2")
    }

    @Test("Eleven messages, a foreign key, a foreign or broken record: reset, counted, nothing believed")
    func violations() {
        var foreignKey = message(peer)
        foreignKey.publicKey = key(9).publicKey.protobuf
        var foreignRecord = message(peer)
        foreignRecord.signedRecord = message(key(9)).signedRecord
        var brokenRecord = message(peer)
        brokenRecord.signedRecord?[20] ^= 1
        for bad in [[foreignKey], [foreignRecord], [brokenRecord], Array(repeating: IdentifyMessage(), count: 11)] {
            var (bench, id) = asking()
            var effects: [PeersEffect] = []
            for part in bad { effects += bench.handle(.message(id, stream, part.encoded)) }
            effects += bench.handle(.streamEnded(id, stream))
            #expect(effects.resets == [stream])
            #expect(effects.identified.isEmpty)
            #expect(bench.core.stats.identifyViolations == 1)
            #expect(bench.core.stats.identifyFailed == 1)
            #expect(bench.core.connectionCount == 1, "the connection stays")
        }
    }

    @Test("A peer that never answers is let go of after 10 s, and so is a stream that never opens")
    func timeouts() {
        var (bench, _) = asking()
        #expect(bench.advance(9_999).isEmpty)
        #expect(bench.advance(1).effects.resets == [stream])
        #expect(bench.core.nextTimeout == nil)

        var other = Bench()
        let id = other.outbound(peer).id
        other.advance(10_000)
        let late = other.handle(.streamOpened(id, stream, identifyID, .outbound, request: PeersCore.query))
        #expect(late.resets == [stream])
    }

    @Test("What peers that ask are told: who we are, where we listen, where we see them, signed; anew with each change")
    func announcements() throws {
        var bench = Bench(ordered.smaller)
        let first = bench.handle(.listening([address("/ip4/192.0.2.1/tcp/4001")])).announced
        let second = bench.handle(.protocolsChanged(["/chat"])).announced
        #expect(bench.handle(.protocolsChanged(["/chat"])).announced.isEmpty, "nothing is new")
        #expect(second.map(\.version) == first.suffix(1).map { $0.version + 1 })
        let message = try #require(second.first).message(toPeerAt: address("/ip4/192.0.2.9/tcp/4000"))
        let told = try IdentifyMessage(message, limits: .internet)
        #expect(told.publicKey == ordered.smaller.publicKey.protobuf)
        #expect(told.protocols == ["/chat", identifyID, pushID])
        #expect(told.observedAddress == address("/ip4/192.0.2.9/tcp/4000"))
        #expect(told.agent == "test/1")
        let record = try PeerRecord(envelope: ByteBuffer(bytes: try #require(told.signedRecord)))
        #expect(record.peerID == ordered.smaller.peerID)
        #expect(record.addresses == [address("/ip4/192.0.2.1/tcp/4001")])
    }

    @Test("Our message is within every peer's limit, however many protocols we have")
    func manyProtocols() throws {
        var bench = Bench(ordered.smaller)
        let names = (0..<128).map { ProtocolID("/\($0)/" + String(repeating: "x", count: 200)) }
        let statement = try #require(bench.handle(.protocolsChanged(names)).announced.last)
        let message = statement.message(toPeerAt: address("/ip6/2001:db8::1/tcp/4000"))
        #expect(message.readableBytes <= 4_096)
        #expect(try IdentifyMessage(message, limits: .internet).protocols.count > 10)
    }

    @Test("What changed while a connection came up is pushed once the peer is known to take pushes")
    func staleStatement() {
        var (bench, id) = asking()
        let version = bench.handle(.protocolsChanged(["/new"])).announced[0].version
        for (told, pushes) in [(version, 0), (version - 1, 1)] {
            bench.advance(20_000)
            let other = key(100 + told)
            let (id, _) = bench.inbound(other)
            bench.handle(.told(id, version: told))
            bench.handle(.streamOpened(id, stream, identifyID, .outbound, request: PeersCore.query))
            bench.handle(.message(id, stream, message(other).encoded))
            bench.handle(.streamEnded(id, stream))
            let opened = bench.advance(0).effects.opened
            #expect(opened.filter { $0.connection == id }.map(\.name) == Array(repeating: pushID, count: pushes))
        }
        bench.handle(.closed(id, .remote))
    }

    @Test("A peer may hold 4 pushes open and open one a second; what exceeds it is reset")
    func inboundLimits() {
        var bench = Bench()
        let id = bench.inbound(peer).id
        func open(_ number: UInt64) -> [StreamID] {
            bench.handle(.streamOpened(id, StreamID(number), pushID, .inbound, request: nil)).resets
        }
        var resets: [StreamID] = []
        for number in UInt64(1)...6 { resets += open(number) }
        #expect(resets == [StreamID(5), StreamID(6)])
        for number in UInt64(1)...4 { bench.handle(.streamEnded(id, StreamID(number))) }
        var taken = 0
        for number in UInt64(10)..<30 {
            if open(number).isEmpty { taken += 1 }
            bench.handle(.streamEnded(id, StreamID(number)))
        }
        #expect(taken == 4, "the burst is 8")
        bench.advance(1_000)
        #expect(open(40).isEmpty)
    }

    @Test("Identify streams that peers open are the connections' to answer; here they break the rules")
    func inboundQuery() {
        var bench = Bench()
        let id = bench.inbound(peer).id
        #expect(bench.handle(.streamOpened(id, stream, identifyID, .inbound, request: nil)).resets == [stream])
        #expect(bench.core.stats.identifyViolations == 1)
    }

    @Test("A stranger can't point us at our own machine or site; a neighbour can at the site")
    func credibility() {
        let told = ["/ip4/127.0.0.1/tcp/1", "/ip4/192.168.1.1/tcp/1", "/ip4/9.9.9.9/tcp/1"]
        for (remote, credible) in [
            ("/ip4/192.0.2.9/tcp/1", [2]), ("/ip4/192.168.1.7/tcp/1", [1, 2]), ("/ip4/127.0.0.1/tcp/9", [0, 1, 2]),
        ] {
            var bench = Bench()
            let id = bench.outbound(peer, at: remote).id
            bench.handle(.streamOpened(id, stream, identifyID, .outbound, request: PeersCore.query))
            bench.handle(.message(id, stream, message(peer, addresses: told).encoded))
            let end = bench.handle(.streamEnded(id, stream))
            #expect(end.identified[0].listenAddresses == credible.map { address(told[$0]) })
        }
    }

    @Test("A push changes only what it holds")
    func pushed() {
        var (bench, id) = asking()
        bench.handle(.message(id, stream, message(peer).encoded))
        bench.handle(.streamEnded(id, stream))
        bench.handle(.streamOpened(id, StreamID(2), pushID, .inbound, request: nil))
        var push = IdentifyMessage()
        push.protocols = ["/z"]
        bench.handle(.message(id, StreamID(2), push.encoded))
        let end = bench.handle(.streamEnded(id, StreamID(2)))
        #expect(end.identified.map(\.protocols) == [["/z"]])
        #expect(end.identified[0].agent == "other/2")
        #expect(end.identified[0].listenAddresses == [address("/ip4/9.9.9.9/tcp/1")])
        #expect(bench.core.stats.pushesReceived == 1)
    }

    @Test("A change of ours is pushed to peers that take pushes, with the last state")
    func push() throws {
        var (bench, id) = asking()
        bench.handle(.message(id, stream, message(peer).encoded))
        bench.handle(.streamEnded(id, stream))
        bench.advance(100)
        #expect(bench.handle(.listening([address("/ip4/192.0.2.1/tcp/1")])).opened.isEmpty)
        let first = bench.advance(0).effects
        #expect(first.opened.map(\.name) == [pushID])
        let sent = bench.handle(.streamOpened(id, StreamID(3), pushID, .outbound, request: first.opened[0].request))
            .sent
        #expect(try IdentifyMessage(sent[0], limits: .internet).listenAddresses == [address("/ip4/192.0.2.1/tcp/1")])
        bench.handle(.streamEnded(id, StreamID(3)))
        bench.handle(.protocolsChanged(["/a"]))
        bench.handle(.protocolsChanged(["/a", "/b"]))
        #expect(bench.advance(99).effects.opened.isEmpty)
        let second = bench.advance(1).effects
        #expect(second.opened.count == 1)
        let last = bench.handle(.streamOpened(id, StreamID(5), pushID, .outbound, request: second.opened[0].request))
            .sent
        #expect(try IdentifyMessage(last[0], limits: .internet).protocols == ["/a", "/b", identifyID, pushID])
        bench.handle(.streamEnded(id, StreamID(5)))
        #expect(bench.advance(60_000).isEmpty)
        #expect(bench.core.stats.pushesSent == 2)
    }

    @Test("Pushes become rarer while changes go on, down to one in 5 s, and prompt again after a calm")
    func pushPauses() {
        var (bench, id) = asking()
        bench.handle(.message(id, stream, message(peer).encoded))
        bench.handle(.streamEnded(id, stream))
        bench.advance(20_000)
        func pause(_ number: UInt64) -> Int {
            bench.handle(.protocolsChanged([ProtocolID("/\(number)")]))
            for passed in stride(from: 0, through: 10_000, by: 100) {
                let opened = bench.advance(passed == 0 ? 0 : 100).effects.opened
                guard let push = opened.first else { continue }
                bench.handle(.streamOpened(id, StreamID(number), pushID, .outbound, request: push.request))
                bench.handle(.streamEnded(id, StreamID(number)))
                return passed
            }
            return .max
        }
        #expect([3, 5, 7, 9, 11, 13].map(pause) == [0, 100, 400, 1_600, 5_000, 5_000])
        bench.advance(10_000)
        #expect([15, 17].map(pause) == [0, 100])
    }

    @Test("A round of pushes goes in steps")
    func pushSteps() {
        var limits = NodeLimits.lab
        limits.pushStepMax = 10
        var bench = Bench(limits: limits)
        for number in 0..<25 {
            let other = key(UInt64(500 + number))
            let id = bench.inbound(other).id
            bench.handle(.streamOpened(id, stream, identifyID, .outbound, request: PeersCore.query))
            bench.handle(.message(id, stream, message(other).encoded))
            bench.handle(.streamEnded(id, stream))
        }
        bench.advance(20_000)
        bench.handle(.protocolsChanged(["/new"]))
        let times = bench.advance(5_000).compactMap { timed in
            if case .openStream = timed.effect { timed.at - 20_000 } else { nil }
        }
        #expect(
            times == Array(repeating: 0, count: 10) + Array(repeating: 20, count: 10) + Array(repeating: 40, count: 5))
    }
}
