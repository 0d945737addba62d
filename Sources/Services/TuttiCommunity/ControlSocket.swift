// SPDX-License-Identifier: Apache-2.0
package import Foundation
import NIOCore
import NIOPosix
import TuttiIdentity

/// How commands of this machine reach the node that runs in a data folder: a socket in the file system, private as its
/// folder is. One line of JSON asks, one or more lines answer, then the node closes.
///
/// Only one process writes a feed, because two would fork it: so whoever wants something of a folder in which a node
/// runs asks that node.
package struct ControlServer: Sendable {
    package static let lineBytesMax = 1 << 20
    /// Answers one request: `reply` may be called any number of times.
    package typealias Handler =
        @Sendable (_ request: Data, _ reply: @escaping @Sendable (Data) async throws -> Void) async -> Void

    private let address: ControlAddress
    private let handler: Handler

    package init(_ address: ControlAddress, handler: @escaping Handler) {
        self.address = address
        self.handler = handler
    }

    /// Serves until cancelled. Whoever calls this holds the folder's lock, so a socket that is there is a leftover.
    package func run() async throws {
        try address.prepare()
        defer { address.remove() }
        let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .bind(unixDomainSocketPath: address.path, cleanupExistingSocketFile: true) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
                }
            }
        try await server.executeThenClose { connections in
            try await withThrowingDiscardingTaskGroup { group in
                for try await connection in connections {
                    group.addTask { try? await serve(connection) }
                }
            }
        }
    }

    private func serve(_ connection: NIOAsyncChannel<ByteBuffer, ByteBuffer>) async throws {
        try await connection.executeThenClose { inbound, outbound in
            var lines = LineBuffer()
            for try await bytes in inbound {
                guard let line = try lines.append(bytes) else { continue }
                await handler(line) { reply in
                    var buffer = ByteBuffer(bytes: reply)
                    buffer.writeInteger(UInt8(ascii: "\n"))
                    try await outbound.write(buffer)
                }
                return
            }
        }
    }
}

/// Asks the node that runs in a data folder.
package enum ControlClient {
    /// - Returns: false when no node runs there; `request` was not sent then.
    package static func call(
        _ address: ControlAddress, _ request: Data, reply: (Data) async throws -> Void
    ) async throws -> Bool {
        guard let channel = try? await connect(address) else { return false }
        try await channel.executeThenClose { inbound, outbound in
            var buffer = ByteBuffer(bytes: request)
            buffer.writeInteger(UInt8(ascii: "\n"))
            try await outbound.write(buffer)
            var lines = LineBuffer()
            for try await bytes in inbound {
                var next = try lines.append(bytes)
                while let line = next {
                    try await reply(line)
                    next = try lines.append(ByteBuffer())
                }
            }
        }
        return true
    }

    private static func connect(_ address: ControlAddress) async throws -> NIOAsyncChannel<ByteBuffer, ByteBuffer> {
        try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .connect(unixDomainSocketPath: address.path) { channel in
                channel.eventLoop.makeCompletedFuture {
                    try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
                }
            }
    }
}

/// Where the socket of a data folder lies: in it, or, when that path is longer than the system allows for sockets, in a
/// private folder of the temporary directory under a name made of the folder's.
package struct ControlAddress: Sendable {
    /// What `sockaddr_un` holds on Linux is 108 with the final zero, on macOS 104.
    private static let pathBytesMax = 100

    package let path: String

    package init(folder: String) {
        let inFolder = folder + "/control"
        guard inFolder.utf8.count > Self.pathBytesMax else {
            path = inFolder
            return
        }
        let name = KeyDerivation.sha256(Array(folder.utf8)).bytes.prefix(16)
        path = "/tmp/tutti-\(getuid())/\(BitText.base16.encode(name))"
    }

    fileprivate func prepare() throws {
        let parent = (path as NSString).deletingLastPathComponent
        try FileManager.default.createDirectory(
            atPath: parent, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        // In a folder that others may write to, somebody else may have made ours.
        let attributes = try FileManager.default.attributesOfItem(atPath: parent)
        guard (attributes[.ownerAccountID] as? NSNumber)?.uint32Value == getuid() else {
            throw CommunityError(.folder, "\(parent) belongs to another user: choose a shorter path with --data")
        }
    }

    fileprivate func remove() {
        try? FileManager.default.removeItem(atPath: path)
    }
}

/// Cuts what arrives into lines.
private struct LineBuffer {
    private var bytes = ByteBuffer()

    /// The next whole line, if there is one.
    mutating func append(_ more: ByteBuffer) throws -> Data? {
        bytes.writeImmutableBuffer(more)
        guard let end = bytes.readableBytesView.firstIndex(of: UInt8(ascii: "\n")) else {
            guard bytes.readableBytes <= ControlServer.lineBytesMax else {
                throw CommunityError(.tooLarge, "a command is over \(ControlServer.lineBytesMax) bytes")
            }
            return nil
        }
        let line = bytes.readBytes(length: end - bytes.readerIndex) ?? []
        bytes.moveReaderIndex(forwardBy: 1)
        bytes.discardReadBytes()
        return Data(line)
    }
}
