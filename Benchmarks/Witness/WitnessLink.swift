// SPDX-License-Identifier: Apache-2.0
import DequeModule
import NIOCore
import Synchronization
import Tutti
import TuttiBase
import TuttiIdentity
import TuttiWitness

/// One stream to a witness: questions go out as they come, those that wait together; answers come back in their order.
final class WitnessLink: Sendable {
    typealias Answered = @Sendable (Result<WitnessAnswer, any Error>) -> Void

    private struct State {
        var waiting: Deque<Answered> = []
        var unsent = ByteBuffer()
        var isSending = false
    }

    let peer: PeerID
    private let stream: NodeStream
    private let state = Mutex(State())

    init(to peer: PeerID, of node: Node) async throws {
        self.peer = peer
        stream = try await node.open("/tutti/witness/1", to: peer)
    }

    func ask(_ question: ByteBuffer, _ answered: @escaping Answered) {
        let isFirst = state.withLock { state in
            state.unsent.writeDelimited(question)
            state.waiting.append(answered)
            defer { state.isSending = true }
            return !state.isSending
        }
        if isFirst { Task { await send() } }
    }

    private func send() async {
        while true {
            let bytes = state.withLock { state -> ByteBuffer? in
                guard state.unsent.readableBytes > 0 else {
                    state.isSending = false
                    return nil
                }
                defer { state.unsent = ByteBuffer() }
                return state.unsent
            }
            guard let bytes else { return }
            do { try await stream.write(bytes) } catch { return fail(error) }
        }
    }

    /// Until the stream ends.
    func run() async throws {
        var held = ByteBuffer()
        while var part = try await stream.read() {
            held.writeBuffer(&part)
            while let message = try held.readDelimited("answer", bytesMax: WitnessLimits.answerBytesMax) {
                let answer = try WitnessAnswer(
                    encoded: message, bytesMax: WitnessLimits.answerBytesMax, "answer")
                state.withLock { $0.waiting.popFirst() }?(.success(answer))
            }
            held.discardReadBytes()
        }
        fail(CancellationError())
    }

    private func fail(_ error: any Error) {
        let waiting = state.withLock { state in
            defer { state.waiting = [] }
            return state.waiting
        }
        for answered in waiting { answered(.failure(error)) }
    }
}
