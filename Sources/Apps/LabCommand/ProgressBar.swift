// SPDX-License-Identifier: Apache-2.0
import Foundation
import Synchronization

/// How far runs are, in one line of the terminal; silent when stderr is no terminal.
final class ProgressBar: Sendable {
    private struct State {
        var shares: [Double]
        var shownAt = 0.0
    }

    private let isShown = isatty(FileHandle.standardError.fileDescriptor) == 1
    private let start = ProcessInfo.processInfo.systemUptime
    private let state: Mutex<State>

    init(runs: Int) {
        state = Mutex(State(shares: Array(repeating: 0, count: runs)))
    }

    func show(_ run: Int, _ share: Double) {
        guard isShown else { return }
        let now = ProcessInfo.processInfo.systemUptime
        let line: String? = state.withLock { state in
            state.shares[run] = max(state.shares[run], share)
            guard now - state.shownAt >= 0.2 else { return nil }
            state.shownAt = now
            let done = state.shares.reduce(0, +) / Double(state.shares.count)
            let filled = Int(done * 30)
            let bar = String(repeating: "#", count: filled) + String(repeating: ".", count: 30 - filled)
            guard done > 0.01 else { return "[\(bar)]" }
            let left = Int((now - start) * (1 - done) / done)
            return "[\(bar)] \(Int(done * 100)) %, \(left / 60) min \(left % 60) s left"
        }
        if let line { write("\r\u{1B}[K" + line) }
    }

    func clear() {
        if isShown { write("\r\u{1B}[K") }
    }

    private func write(_ text: String) {
        try? FileHandle.standardError.write(contentsOf: Data(text.utf8))
    }
}
