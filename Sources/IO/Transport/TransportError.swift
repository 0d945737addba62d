// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOPosix
package import TuttiIdentity

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#elseif canImport(Darwin)
import Darwin
#endif

/// What the environment refused us. The message is one line that says what to do.
package struct TransportError: Error, CustomStringConvertible {
    package enum Code: Hashable, Sendable {
        case addressInUse
        case addressNotAvailable
        case permissionDenied
        case unsupportedAddress
        case bindFailed
        case identityUnusable
        /// The connection has as many streams of ours as it may.
        case streamLimit
        /// A second task reads a stream that one task is reading.
        case concurrentRead
        case closed
    }

    package let code: Code
    package let message: String
    package let cause: (any Error)?

    package init(code: Code, message: String, cause: (any Error)? = nil) {
        self.code = code
        self.message = message
        self.cause = cause
    }

    package var description: String { message }

    /// What became of an attempt to bind `address`.
    package static func binding(_ address: Multiaddr, failed cause: any Error) -> TransportError {
        let number = (cause as? IOError)?.errnoCode ?? 0
        switch number {
        case EADDRINUSE:
            return TransportError(
                code: .addressInUse,
                message: "\(address) is already in use: stop the program that listens there, or choose another port",
                cause: cause)
        case EADDRNOTAVAIL:
            return TransportError(
                code: .addressNotAvailable,
                message: "\(address) is not an address of this machine: listen on one that is, or on /ip4/0.0.0.0",
                cause: cause)
        case EACCES, EPERM:
            return TransportError(
                code: .permissionDenied,
                message: "\(address) may not be bound by this user: choose a port above 1023",
                cause: cause)
        default:
            return TransportError(code: .bindFailed, message: "\(address) can't be bound: \(cause)", cause: cause)
        }
    }

    static func unsupported(_ address: Multiaddr) -> TransportError {
        TransportError(
            code: .unsupportedAddress,
            message: "\(address) can't be listened on: use /ip4/ADDRESS/tcp/PORT or /ip6/ADDRESS/tcp/PORT")
    }
}

/// The text of a failed system call as `CloseReason.transport` carries it: short, and without remote bytes.
func failureText(_ error: any Error) -> String {
    if let error = error as? IOError {
        return String(cString: strerror(error.errnoCode))
    }
    if let error = error as? NIOConnectionError {
        for attempt in error.connectionErrors {
            return failureText(attempt.error)
        }
        return "no address to connect to"
    }
    if error is ChannelError { return "the socket was closed" }
    return "\(type(of: error))"
}
