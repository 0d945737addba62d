// SPDX-License-Identifier: Apache-2.0
import NIOCore
import TuttiBase
import TuttiIdentity

/// Who waits for what a peer says of itself. Each is answered exactly once.
struct ProfileWaiters {
    typealias Answer = Result<PeerDescription, NodeError>

    private struct Waiter {
        let continuation: CheckedContinuation<Answer, Never>
        let timer: Scheduled<Void>
    }

    private var waiters: [PeerID: [RequestID: Waiter]] = [:]

    mutating func add(
        _ request: RequestID, of peer: PeerID, _ continuation: CheckedContinuation<Answer, Never>,
        timer: Scheduled<Void>
    ) {
        waiters[peer, default: [:]][request] = Waiter(continuation: continuation, timer: timer)
    }

    /// One of them; has no effect when it was answered before.
    mutating func answer(_ request: RequestID, of peer: PeerID, _ answer: Answer) {
        guard let waiter = waiters[peer]?.removeValue(forKey: request) else { return }
        if waiters[peer]?.isEmpty == true { waiters[peer] = nil }
        waiter.timer.cancel()
        waiter.continuation.resume(returning: answer)
    }

    mutating func answerAll(of peer: PeerID, _ answer: Answer) {
        for waiter in (waiters.removeValue(forKey: peer) ?? [:]).values {
            waiter.timer.cancel()
            waiter.continuation.resume(returning: answer)
        }
    }

    mutating func stop() {
        for peer in waiters.keys.sorted() { answerAll(of: peer, .failure(.stopped(.identify, peer: peer))) }
    }
}
