// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Testing
import TuttiBase
import TuttiConnection
import TuttiIdentity
import TuttiPeers
import TuttiTransport

/// What a connection asks and answers by itself: the query of identify, and the table's statement.
@Suite(.timeLimit(.minutes(1)))
struct StatementTests {
    private static let name = IdentifyMessage.protocolID

    private static func statement(_ version: UInt64, agent: String) -> IdentifyStatement {
        var message = IdentifyMessage()
        message.agent = agent
        return IdentifyStatement(version: version, message)
    }

    private static func table(burst: Int, asks: Bool) -> ProtocolTable {
        var table = TestEnd.table
        table.entries[name] = .init(owner: .statement(interval: .seconds(3_600), burst: burst), inboundMax: 4)
        table.statement = statement(7, agent: "first")
        table.revision = 3
        if asks { table.query = .init(name: name, request: 99, messageBytesMax: 4_096) }
        return table
    }

    private func told(_ owner: TestOwner) async throws -> IdentifyMessage {
        let bytes = await owner.first { if case .message(_, _, let bytes) = $0 { bytes } else { nil } }
        return try IdentifyMessage(bytes, limits: .internet)
    }

    @Test("Each side asks as soon as it is up and is told, where it is seen too", arguments: [ProtocolID.noise, .tls])
    func query(security: ProtocolID) async throws {
        let pair = try await TestPair(security: security, protocols: Self.table(burst: 2, asks: true))
        for (end, connection) in [(pair.near, pair.nearConnection), (pair.far, pair.farConnection)] {
            let (stream, request) = await end.owner.first { event in
                if case .streamOpened(_, let stream, Self.name, .outbound, let request) = event {
                    (stream, request)
                } else {
                    nil
                }
            }
            #expect(request == 99)
            let told = try await told(end.owner)
            #expect(told.agent == "first")
            let other = connection.id == pair.nearConnection.id ? pair.farConnection : pair.nearConnection
            #expect(told.observedAddress == other.remote)
            let ended = await end.owner.first { if case .streamEnded(_, let stream) = $0 { stream } else { nil } }
            #expect(ended == stream)
            let (revision, version) = await end.owner.first { event in
                if case .answering(_, let revision, let version) = event { (revision, version) } else { nil }
            }
            #expect(revision == 3)
            #expect(version == 7)
        }
    }

    @Test("Who asks too often is reset, and the connection goes on")
    func rate() async throws {
        let pair = try await TestPair(protocols: Self.table(burst: 2, asks: false))
        for number in 0..<4 {
            let mailbox = try await pair.nearConnection.openStream([Self.name])
            mailbox.closeWriting()
            if number < 2 {
                var answer = try await mailbox.readWhole(4_096)
                let message = try #require(try answer.readDelimited("message", bytesMax: 4_096))
                #expect(try IdentifyMessage(message, limits: .internet).agent == "first")
                #expect(answer.readableBytes == 0)
            } else {
                #expect(await faultOf { _ = try await mailbox.readWhole(1) } == .reset)
            }
        }
        _ = try await pair.stream()
    }

    @Test("A replaced table answers anew")
    func replaced() async throws {
        let pair = try await TestPair(protocols: Self.table(burst: 9, asks: false))
        var table = Self.table(burst: 9, asks: false)
        table.statement = Self.statement(8, agent: "second")
        pair.farConnection.perform([.setProtocols(table)])
        let mailbox = try await pair.nearConnection.openStream([Self.name])
        mailbox.closeWriting()
        var answer = try await mailbox.readWhole(4_096)
        let message = try #require(try answer.readDelimited("message", bytesMax: 4_096))
        let told = try IdentifyMessage(message, limits: .internet)
        #expect(told.agent == "second")
    }
}
