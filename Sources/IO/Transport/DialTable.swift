// SPDX-License-Identifier: Apache-2.0
import NIOCore
import Synchronization
import TuttiBase

/// Dials under way, so that they can be cancelled: first a socket that connects, then a connection that shakes hands.
final class DialTable: Sendable {
    private enum Dial {
        case started
        case connecting(any Channel)
        case driven(ConnectionDriver)
        case cancelled
    }

    private let dials = Mutex<[ConnectionID: Dial]>([:])

    init() {}

    func begin(_ id: ConnectionID) {
        dials.withLock { $0[id] = .started }
    }

    /// False when the dial was cancelled before.
    func connecting(_ id: ConnectionID, _ channel: any Channel) -> Bool {
        dials.withLock { dials in
            guard case .started = dials[id] else { return false }
            dials[id] = .connecting(channel)
            return true
        }
    }

    /// False when the dial was cancelled before.
    func driven(_ id: ConnectionID, _ driver: ConnectionDriver) -> Bool {
        dials.withLock { dials in
            if case .cancelled = dials[id] { return false }
            dials[id] = .driven(driver)
            return true
        }
    }

    func ended(_ id: ConnectionID) {
        dials.withLock { _ = $0.removeValue(forKey: id) }
    }

    /// Takes the dial out; true when it was cancelled.
    func endedBeforeConnection(_ id: ConnectionID) -> Bool {
        dials.withLock { dials in
            if case .cancelled = dials.removeValue(forKey: id) { return true }
            return false
        }
    }

    func cancel(_ id: ConnectionID) {
        let dial = dials.withLock { dials -> Dial? in
            guard let dial = dials[id] else { return nil }
            switch dial {
            case .started, .connecting: dials[id] = .cancelled
            case .driven, .cancelled: break
            }
            return dial
        }
        switch dial {
        case .connecting(let channel): channel.close(promise: nil)
        case .driven(let driver): driver.enqueue(.perform([.close]))
        case nil, .started, .cancelled: break
        }
    }
}
