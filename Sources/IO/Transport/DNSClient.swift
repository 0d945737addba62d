// SPDX-License-Identifier: Apache-2.0
import Foundation
package import NIOCore
import NIOPosix
import TuttiBase

/// Asks name servers for TXT records over UDP: one socket with a port of its own per question, a random id, and only the
/// asked server's answer to our question counts. Answers cut short are used as far as they go; there is no TCP.
package struct DNSClient: Sendable {
    private static let serversMax = 3
    private let servers: [SocketAddress]
    private let group: any EventLoopGroup
    private let timeout: Duration

    /// - Parameter servers: those of /etc/resolv.conf when nil.
    package init(servers: [SocketAddress]?, group: any EventLoopGroup, timeout: Duration) {
        self.servers = Array((servers ?? DNSClient.systemServers()).prefix(DNSClient.serversMax))
        self.group = group
        self.timeout = timeout
    }

    /// Empty when there are none, no server answers, or `name` is no DNS name. Servers are asked one after another.
    package func texts(of name: String) async -> [String] {
        for server in servers {
            if Task.isCancelled { return [] }
            guard let answer = await ask(server, name) else { continue }
            // "No such name" is an answer; any other failure is a reason to ask the next server.
            guard answer.code == 0 || answer.code == 3 else { continue }
            return answer.texts.compactMap { String(validating: $0, as: UTF8.self) }
        }
        return []
    }

    private func ask(_ server: SocketAddress, _ name: String) async -> DNSMessage.Answer? {
        var generator = SystemRandomNumberGenerator()
        let id = UInt16.random(in: .min ... .max, using: &generator)
        guard let question = DNSMessage.query(id: id, name: name) else { return nil }
        let loop = group.next()
        let answer = loop.makePromise(of: DNSMessage.Answer?.self)
        let limit = loop.scheduleTask(in: .nanoseconds(timeout.saturatedNanoseconds)) { answer.succeed(nil) }
        do {
            // Connected: the kernel drops datagrams from anybody else.
            let channel = try await DatagramBootstrap(group: loop)
                .channelInitializer { channel in
                    channel.eventLoop.makeCompletedFuture {
                        try channel.pipeline.syncOperations.addHandler(
                            DNSAnswerHandler(id: id, name: name, promise: answer))
                    }
                }
                .connect(to: server).get()
            try await channel.writeAndFlush(AddressedEnvelope(remoteAddress: server, data: question))
            let result = try await answer.futureResult.get()
            limit.cancel()
            try? await channel.close()
            return result
        } catch {
            limit.cancel()
            answer.succeed(nil)
            return nil
        }
    }

    private static func systemServers() -> [SocketAddress] {
        guard let text = try? String(contentsOfFile: "/etc/resolv.conf", encoding: .utf8) else { return [] }
        return servers(inResolverConfiguration: text)
    }

    package static func servers(inResolverConfiguration text: String) -> [SocketAddress] {
        text.split(whereSeparator: \.isNewline).compactMap { line in
            let words = line.split(whereSeparator: \.isWhitespace)
            guard words.count >= 2, words[0] == "nameserver" else { return nil }
            return try? SocketAddress(ipAddress: String(words[1]), port: 53)
        }
    }
}

/// Waits for the answer to one question; what isn't that is dropped.
private final class DNSAnswerHandler: ChannelInboundHandler {
    typealias InboundIn = AddressedEnvelope<ByteBuffer>

    private let id: UInt16
    private let name: String
    private let promise: EventLoopPromise<DNSMessage.Answer?>

    init(id: UInt16, name: String, promise: EventLoopPromise<DNSMessage.Answer?>) {
        self.id = id
        self.name = name
        self.promise = promise
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        let message = unwrapInboundIn(data).data
        guard let answer = try? DNSMessage.answer(message, to: name), answer.id == id else { return }
        promise.succeed(answer)
    }

    /// Nobody listens at the server's port.
    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        promise.succeed(nil)
    }
}
