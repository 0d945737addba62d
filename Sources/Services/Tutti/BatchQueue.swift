// SPDX-License-Identifier: Apache-2.0
import Synchronization

/// Hands items to one consuming task, all that are there at a time.
///
/// Producers on any thread append under a mutex; the consumer swaps the whole array out. A full queue refuses, and the
/// producer says what that means. Cancelling the consumer finishes the queue.
final class BatchQueue<Element: Sendable>: Sendable {
    private struct State: Sendable {
        var items: [Element] = []
        var waiter: UnsafeContinuation<Void, Never>?
        var isFinished = false
    }

    private let state = Mutex(State())
    private let countMax: Int

    init(countMax: Int) {
        self.countMax = countMax
    }

    /// False when the queue is full or finished; the element is then dropped.
    func append(_ element: Element) -> Bool {
        let (isTaken, waiter) = state.withLock { state -> (Bool, UnsafeContinuation<Void, Never>?) in
            guard !state.isFinished, state.items.count < countMax else { return (false, nil) }
            state.items.append(element)
            return (true, state.waiter.take())
        }
        waiter?.resume()
        return isTaken
    }

    /// Everything that has been appended since the last call; waits for something. Nil once finished and empty.
    ///
    /// What is appended between the consumer's being woken and its running is in the batch too.
    func next() async -> [Element]? {
        while true {
            let (batch, isFinished) = state.withLock { state -> ([Element], Bool) in
                defer { state.items = [] }
                return (state.items, state.isFinished)
            }
            if !batch.isEmpty { return batch }
            if isFinished { return nil }
            await wait()
        }
    }

    private func wait() async {
        await withTaskCancellationHandler {
            await withUnsafeContinuation { continuation in
                let isReady = state.withLock { state in
                    guard state.items.isEmpty, !state.isFinished else { return true }
                    precondition(state.waiter == nil, "a batch queue has one consumer")
                    state.waiter = continuation
                    return false
                }
                if isReady { continuation.resume() }
            }
        } onCancel: {
            finish()
        }
    }

    /// Nothing more is taken; what is there can still be read.
    func finish() {
        let waiter = state.withLock { state in
            state.isFinished = true
            return state.waiter.take()
        }
        waiter?.resume()
    }
}
