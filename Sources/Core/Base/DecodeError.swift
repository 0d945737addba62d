// SPDX-License-Identifier: Apache-2.0

/// Why bytes from outside were refused. `what` names the field or message, as a constant string.
package enum DecodeError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The bytes end before the value does.
    case truncated(_ what: StaticText)
    /// A length, count or nesting is over its named limit.
    case tooLarge(_ what: StaticText, limit: Int)
    /// The bytes are complete and break the format.
    case malformed(_ what: StaticText)
    /// Well formed, but not something this node can use (an unknown key type, hash or protocol).
    case unsupported(_ what: StaticText)

    package var description: String {
        switch self {
        case .truncated(let what): "\(what.text) ends too early"
        case .tooLarge(let what, let limit): "\(what.text) is over the limit of \(limit)"
        case .malformed(let what): "\(what.text) is malformed"
        case .unsupported(let what): "\(what.text) is not supported"
        }
    }
}

/// A constant string that can be compared; remote bytes never end up in it.
package struct StaticText: Hashable, Sendable, ExpressibleByStringLiteral {
    package let text: String

    package init(stringLiteral value: StaticString) {
        text = value.description
    }
}
