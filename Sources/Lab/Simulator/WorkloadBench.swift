// SPDX-License-Identifier: Apache-2.0

/// The load by which event engines are compared: N peers that do next to nothing.
///
/// Each peer has a view of 20 numbers. Once a second it pings one of them; the ping takes 10 to 100 ms, puts the sender
/// into the view of the receiver, and a number out of that view comes back. One random stream serves the whole run, in
/// the order of the events, so that any engine with the order (time, sequence) gives the same digest.
package struct WorkloadBench: ~Copyable {
    // Not private, like `EventQueue.Slot`: in debug the compiler fails on private parts of a type stored elsewhere.
    package enum Kind: UInt32 {
        case timer = 0
        case ping = 1
        case pong = 2
    }

    package struct Payload {
        let kind: Kind
        let from: UInt32
        let item: UInt32
    }

    private static let viewCount: UInt64 = 20

    private var queue = EventQueue<Payload>(slotShift: 10)
    private var draws: DrawStream
    private var views: [UInt32] = []
    private let end: UInt64
    package private(set) var events = 0
    package private(set) var digest = EventDigest()

    package init(nodes: Int, seconds: UInt64, seed: UInt64) {
        draws = DrawStream(seed: seed)
        end = seconds * 1_000_000
        views.reserveCapacity(nodes * Int(Self.viewCount))
        for _ in 0..<(nodes * Int(Self.viewCount)) {
            views.append(UInt32(truncatingIfNeeded: draws.next() % UInt64(nodes)))
        }
        for node in 0..<nodes {
            queue.push(
                at: draws.next() % 1_000_000, peer: UInt32(node), Payload(kind: .timer, from: 0, item: 0))
        }
    }

    package mutating func run() {
        while let event = queue.pop(notAfter: end) {
            events &+= 1
            digest.mix(event.time)
            digest.mix(UInt64(event.payload.kind.rawValue))
            digest.mix(UInt64(event.peer))
            let view = Int(event.peer) &* Int(Self.viewCount)
            switch event.payload.kind {
            case .timer:
                let target = views[view &+ drawnPlace()]
                send(.ping, to: target, from: event.peer, item: 0, at: event.time)
                queue.push(
                    at: event.time &+ 1_000_000, peer: event.peer, Payload(kind: .timer, from: 0, item: 0))
            case .ping:
                views[view &+ drawnPlace()] = event.payload.from
                let item = views[view &+ drawnPlace()]
                send(.pong, to: event.payload.from, from: event.peer, item: item, at: event.time)
            case .pong:
                if event.payload.item != event.peer { views[view &+ drawnPlace()] = event.payload.item }
            }
        }
    }

    @inline(__always)
    private mutating func drawnPlace() -> Int { Int(truncatingIfNeeded: draws.next() % Self.viewCount) }

    @inline(__always)
    private mutating func send(_ kind: Kind, to peer: UInt32, from: UInt32, item: UInt32, at time: UInt64) {
        // The draw that decides about a loss; this load has none.
        _ = draws.next()
        let arrival = time &+ 10_000 &+ draws.next() % 90_000
        queue.push(at: arrival, peer: peer, Payload(kind: kind, from: from, item: item))
    }
}
