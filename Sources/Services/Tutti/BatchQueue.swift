// SPDX-License-Identifier: Apache-2.0
import Synchronization

/// Hands items to one consuming task, all that are there at a time.
///
/// Producers on any thread append under a mutex; the consumer swaps the whole array out. A full queue refuses, and the
/// producer says what that means. Cancelling the consumer finishes the queue.
final class BatchQueue<Element: Sendable>: Sendable {
    private struct State: Sendable {
        var items: [Element] = []
        var waiter: UnsafeContinuation<[Element]?, Never>?
        var isFinished = false
    }

    private let state = Mutex(State())
    private let countMax: Int

    init(countMax: Int) {
        self.countMax = countMax
    }

    /// False when the queue is full or finished; the element is then dropped.
    func append(_ element: Element) -> Bool {
        let (isTaken, waiter) = state.withLock { state -> (Bool, UnsafeContinuation<[Element]?, Never>?) in
            guard !state.isFinished, state.items.count < countMax else { return (false, nil) }
            if let waiter = state.waiter {
                state.waiter = nil
                return (true, waiter)
            }
            state.items.append(element)
            return (true, nil)
        }
        waiter?.resume(returning: [element])
        return isTaken
    }

    /// Everything that has been appended since the last call; waits for something. Nil once finished and empty.
    func next() async -> [Element]? {
        await withTaskCancellationHandler {
            await withUnsafeContinuation { continuation in
                let answer = state.withLock { state -> [Element]?? in
                    if !state.items.isEmpty {
                        let batch = state.items
                        state.items = []
                        return .some(batch)
                    }
                    if state.isFinished { return .some(nil) }
                    precondition(state.waiter == nil, "a batch queue has one consumer")
                    state.waiter = continuation
                    return .none
                }
                if let answer { continuation.resume(returning: answer) }
            }
        } onCancel: {
            finish()
        }
    }

    /// Nothing more is taken; what is there can still be read.
    func finish() {
        let waiter = state.withLock { state in
            state.isFinished = true
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume(returning: nil)
    }
}
