// SPDX-License-Identifier: Apache-2.0

/// Thrown by `withDeadline` when the time is up first.
struct DeadlinePassed: Error {}

/// Runs `operation` and cancels it after `duration`.
///
/// Costs two tasks; calls that need no waiting on the peer do without.
/// - Throws: `DeadlinePassed`, or what `operation` throws.
func withDeadline<Value: Sendable>(
    _ duration: Duration, _ operation: @escaping @Sendable () async throws -> Value
) async throws -> Value {
    try await withThrowingTaskGroup(of: Value.self) { group in
        group.addTask { try await operation() }
        group.addTask {
            try await Task.sleep(for: duration, clock: .continuous)
            throw DeadlinePassed()
        }
        defer { group.cancelAll() }
        guard let value = try await group.next() else { throw CancellationError() }
        return value
    }
}
