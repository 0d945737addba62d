// SPDX-License-Identifier: Apache-2.0
import Synchronization

/// Closed until it is opened, or shut for good with the reason; what comes first stays.
final class Gate: Sendable {
    private struct State {
        var result: Result<Void, any Error>?
        var waiters: [UInt64: CheckedContinuation<Void, any Error>] = [:]
        var last: UInt64 = 0
    }

    private let state = Mutex(State())

    func open() { settle(.success(())) }

    /// Whoever waits, or comes later, hears `reason`.
    func shut(_ reason: any Error) { settle(.failure(reason)) }

    private func settle(_ result: Result<Void, any Error>) {
        let waiters = state.withLock { state -> [CheckedContinuation<Void, any Error>] in
            guard state.result == nil else { return [] }
            state.result = result
            defer { state.waiters = [:] }
            return Array(state.waiters.values)
        }
        for waiter in waiters { waiter.resume(with: result) }
    }

    /// Waits until it is open.
    func passed() async throws {
        let number = state.withLock { state in
            state.last += 1
            return state.last
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let result = state.withLock { state in
                    if state.result == nil { state.waiters[number] = continuation }
                    return state.result
                }
                if let result { continuation.resume(with: result) }
                // Cancelled before there was anybody to tell.
                if Task.isCancelled { giveUp(number) }
            }
        } onCancel: {
            giveUp(number)
        }
    }

    private func giveUp(_ number: UInt64) {
        state.withLock { $0.waiters.removeValue(forKey: number) }?.resume(throwing: CancellationError())
    }
}
