// SPDX-License-Identifier: Apache-2.0

#if canImport(Darwin)
import Darwin
#else
import Glibc
#endif

private let isTracing = CommandLine.arguments.contains("-trace=1")

/// Tells what a run does, when its one input is run with `-trace=1`.
package func trace(_ text: @autoclosure () -> String) {
    guard isTracing else { return }
    // Not `print`: its buffer is lost when a property doesn't hold.
    let line = Array((text() + "\n").utf8)
    _ = write(2, line, line.count)
}
