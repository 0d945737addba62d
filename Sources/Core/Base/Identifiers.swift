// SPDX-License-Identifier: Apache-2.0

/// One connection of this node, unique while the process lives. Never sent.
package struct ConnectionID: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let value: UInt64

    package init(_ value: UInt64) { self.value = value }
    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.value < rhs.value }
    package var description: String { "c\(value)" }
}

/// One stream inside a connection, as the multiplexer numbers it on the wire.
package struct StreamID: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let value: UInt64

    package init(_ value: UInt64) { self.value = value }
    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.value < rhs.value }
    package var description: String { "s\(value)" }
}

/// The name of a protocol as multistream-select carries it, for example `/ipfs/ping/1.0.0`.
public struct ProtocolID: Hashable, Comparable, Sendable, ExpressibleByStringLiteral, CustomStringConvertible {
    package static let bytesMax = 256

    public let name: String

    public init(_ name: String) { self.name = name }
    public init(stringLiteral value: String) { name = value }
    public static func < (lhs: Self, rhs: Self) -> Bool { lhs.name < rhs.name }
    public var description: String { name }
}

/// Who dialled.
package enum Direction: Hashable, Sendable {
    case inbound
    case outbound
}

/// Names a request while it is under way.
package struct RequestID: Hashable, Comparable, Sendable {
    package let value: UInt64

    package init(_ value: UInt64) { self.value = value }
    package static func < (lhs: Self, rhs: Self) -> Bool { lhs.value < rhs.value }
}
