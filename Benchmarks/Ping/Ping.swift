// SPDX-License-Identifier: Apache-2.0
import Foundation
import TuttiBase
import TuttiConnection
import TuttiIdentity

/// Round trips as a peer's wire shows them: one thread, one blocking socket, one stream of `/ipfs/ping/1.0.0`.
///
/// Our own client crosses threads (task, socket's loop, task), and so measures itself more than the peer. This one drives
/// `ConnectionCore` (Noise, Yamux) between two system calls, whoever the peer is.
///
///     ping ADDR [--count 5000] [--seconds S]
///
/// pings so many times, or for so long, after a hundred that don't count, and prints one line of JSON: microseconds.
@main
struct Ping {
    private static let warmUpCount = 100

    static func main() throws {
        guard CommandLine.arguments.count > 1, let address = Multiaddr(CommandLine.arguments[1]) else {
            throw PingError(description: "usage: ping ADDR [--count N] [--seconds S]")
        }
        let seconds = option("--seconds")
        let count = seconds == nil ? option("--count") ?? 5000 : .max
        var connection = try RawConnection.dial(address)
        for _ in 0..<warmUpCount { _ = try connection.ping() }
        var trips: [Int64] = []
        let end = seconds.map { connection.now() + .seconds($0) } ?? .distantFuture
        while trips.count < count, connection.now() < end { trips.append(try connection.ping()) }
        trips.sort()
        guard !trips.isEmpty else { throw PingError(description: "no time for a single ping") }
        func percentile(_ share: Int) -> Double {
            Double(trips[min(trips.count - 1, trips.count * share / 100)]) / 1000
        }
        print(
            String(
                format: "{\"pings\":%d,\"p50_us\":%.2f,\"p99_us\":%.2f}", trips.count, percentile(50), percentile(99)))
    }

    private static func option(_ name: String) -> Int? {
        let arguments = CommandLine.arguments
        guard let at = arguments.firstIndex(of: name), at + 1 < arguments.count, let given = Int(arguments[at + 1]),
            given > 0
        else { return nil }
        return given
    }
}

struct PingError: Error, CustomStringConvertible {
    let description: String
}
