// SPDX-License-Identifier: Apache-2.0
import Foundation
import Storage
import Tutti

/// A chat between two terminals. In the first: `swift run Chat`. In the second: `swift run Chat ADDRESS`, with the address
/// that the first printed. An empty line shows the last lines again; the end of the input (Ctrl-D) leaves.
@main
struct Chat {
    static let chat: ProtocolID = "/tutti-example/chat/1.0.0"

    static func main() async throws {
        let address = CommandLine.arguments.dropFirst().first
        try await withNode { node in
            let room = Room()
            node.handle(chat) { stream in await room.talk(on: stream) }
            try await withThrowingDiscardingTaskGroup { group in
                if let address {
                    guard let address = Multiaddr(address) else { throw Mistake.notAnAddress }
                    let peer = try await node.dial(at: [address])
                    let stream = try await node.open(chat, to: peer)
                    group.addTask { await room.talk(on: stream) }
                } else {
                    for address in try await node.listenAddresses { print("waiting at \(address)") }
                }
                for await line in typedLines() { await room.say(line) }
                group.cancelAll()
            }
        }
    }

    enum Mistake: Error { case notAnAddress }

    /// Reading a terminal blocks, so it has a thread of its own.
    static func typedLines() -> AsyncStream<String> {
        let (lines, continuation) = AsyncStream.makeStream(of: String.self)
        Thread.detachNewThread {
            while let line = readLine() { continuation.yield(line) }
            continuation.finish()
        }
        return lines
    }
}

/// Everybody whom this terminal talks to.
actor Room {
    private var streams: [ObjectIdentifier: NodeStream] = [:]
    private var history = History(countMax: 20)

    func talk(on stream: NodeStream) async {
        streams[ObjectIdentifier(stream)] = stream
        defer { streams[ObjectIdentifier(stream)] = nil }
        print("* \(stream.peer) is here")
        var unfinished = ""
        // A peer that leaves ends its stream, or is gone: either way the conversation is over.
        while let bytes = try? await stream.read() {
            unfinished += String(buffer: bytes)
            while let end = unfinished.firstIndex(of: "\n") {
                let line = "< \(unfinished[..<end])"
                unfinished.removeSubrange(...end)
                print(line)
                history.append(line)
            }
        }
        print("* \(stream.peer) left")
    }

    func say(_ line: String) async {
        guard !line.isEmpty else { return print(history.text) }
        history.append("> \(line)")
        for stream in streams.values { try? await stream.write(ByteBuffer(string: line + "\n")) }
    }
}
