// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Testing
import TuttiConnection
import TuttiIdentity
import TuttiTransport

@Suite("Streams that their owner let go of", .timeLimit(.minutes(1)))
struct AbandonedStreamTests {
    @Test("A peer that never ends its direction can't use up the streams that we may open")
    func makeRoom() async throws {
        var configuration = ConnectionConfiguration()
        configuration.limits.streamsOutboundMax = 4
        let network = MemoryNetwork()
        let near = try TestEnd(1, memory: network, configuration: configuration)
        let far = try TestEnd(2, memory: network)
        let address = try #require(
            try await far.transport.listen(on: Multiaddr(components: [.memory(0)])).first)
        let (connection, _) = await near.connect(to: far, at: address)
        var kept: [StreamMailbox] = []
        for _ in 0..<20 {
            let stream = try await connection.openStream([TestEnd.echo])
            try await stream.write(ByteBuffer(string: "x"))
            kept.append(await far.owner.arrived())
            stream.closeWriting()
        }
        #expect(kept.count == 20)
        // Those that somebody still holds are not taken away.
        var held: [StreamMailbox] = []
        for _ in 0..<4 {
            let stream = try await connection.openStream([TestEnd.echo])
            try await stream.write(ByteBuffer(string: "x"))
            kept.append(await far.owner.arrived())
            held.append(stream)
        }
        let tooMany = try await connection.openStream([TestEnd.echo])
        await #expect(throws: TransportError.self) { _ = try await tooMany.read() }
        for stream in held { stream.reset() }
        await near.transport.close()
        await far.transport.close()
    }
}
