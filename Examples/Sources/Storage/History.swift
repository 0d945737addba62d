// SPDX-License-Identifier: Apache-2.0

/// The last lines of a conversation.
public struct History: Sendable {
    private var lines: [String] = []
    private let countMax: Int

    public init(countMax: Int) {
        self.countMax = countMax
    }

    public mutating func append(_ line: String) {
        lines.append(line)
        if lines.count > countMax { lines.removeFirst() }
    }

    public var text: String {
        lines.joined(separator: "\n")
    }
}
