// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Synchronization
import TuttiIdentity

/// `/memory/N` addresses of one process: who listens where. Transports given the same network reach each other.
package final class MemoryNetwork: Sendable {
    /// Makes the accepting side of a connection from `remote`; nil when its transport is gone.
    typealias Accept = @Sendable (_ remote: Multiaddr) -> ConnectionDriver?

    private struct State {
        var listeners: [UInt64: Accept] = [:]
        var lastAddress: UInt64 = 0
    }

    private let state = Mutex(State())

    package init() {}

    /// Port 0 chooses a free one. Nil when the address is taken.
    func listen(on address: UInt64, _ accept: @escaping Accept) -> UInt64? {
        state.withLock { state in
            let chosen = address == 0 ? Self.next(&state) : address
            guard state.listeners[chosen] == nil else { return nil }
            state.listeners[chosen] = accept
            return chosen
        }
    }

    func stop(_ address: UInt64) {
        state.withLock { $0.listeners[address] = nil }
    }

    /// An address for the dialling side of a connection, that nobody listens on.
    func ephemeral() -> UInt64 {
        state.withLock { Self.next(&$0) }
    }

    func listener(on address: UInt64) -> Accept? {
        state.withLock { $0.listeners[address] }
    }

    private static func next(_ state: inout State) -> UInt64 {
        repeat { state.lastAddress += 1 } while state.listeners[state.lastAddress] != nil
        return state.lastAddress
    }
}
