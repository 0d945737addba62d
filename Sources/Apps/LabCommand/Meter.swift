// SPDX-License-Identifier: Apache-2.0
import Foundation

/// What this process has used until now.
struct Meter {
    let wall: Double
    /// Seconds of processor time, of all threads.
    let processor: Double
    /// The most memory that it held at any time, in bytes.
    let memoryMax: Int

    init() {
        wall = ProcessInfo.processInfo.systemUptime
        processor = Double(clock()) / Double(CLOCKS_PER_SEC)
        var usage = rusage()
        getrusage(Int32(RUSAGE_SELF.rawValue), &usage)
        memoryMax = usage.ru_maxrss * 1_024
    }
}
