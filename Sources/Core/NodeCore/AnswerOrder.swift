// SPDX-License-Identifier: Apache-2.0
import DequeModule
package import TuttiBase

package import struct NIOCore.ByteBuffer

/// On a stream answers have no name but their place: they leave in the order of the requests, whichever is ready first.
/// How many wait on a stream is limited by who serves them.
package struct AnswerOrder: Sendable {
    private var streams: [RequestID: StreamKey] = [:]
    private var waiting: [StreamKey: Deque<RequestID>] = [:]
    private var ready: [RequestID: ByteBuffer] = [:]

    package init() {}

    package var count: Int { streams.count }

    package mutating func asked(_ request: RequestID, on stream: StreamKey) {
        streams[request] = stream
        waiting[stream, default: []].append(request)
    }

    /// - Returns: what may leave now on the stream; nil when it has gone, or when earlier ones are due first.
    package mutating func answered(_ request: RequestID, _ bytes: ByteBuffer) -> (stream: StreamKey, [ByteBuffer])? {
        guard let stream = streams[request] else { return nil }
        ready[request] = bytes
        var due: [ByteBuffer] = []
        while let first = waiting[stream]?.first, let bytes = ready.removeValue(forKey: first) {
            waiting[stream]?.removeFirst()
            streams[first] = nil
            due.append(bytes)
        }
        if waiting[stream]?.isEmpty ?? true { waiting[stream] = nil }
        return due.isEmpty ? nil : (stream, due)
    }

    package mutating func ended(_ stream: StreamKey) {
        for request in waiting.removeValue(forKey: stream) ?? [] {
            streams[request] = nil
            ready[request] = nil
        }
    }

    package mutating func connectionClosed(_ id: ConnectionID) {
        for stream in waiting.keys where stream.connection == id { ended(stream) }
    }
}
