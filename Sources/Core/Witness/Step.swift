// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

package import struct NIOCore.ByteBuffer

/// Which roles signed, as bits: buyer, seller, then the arbiters in order.
package struct RoleSet: Hashable, Sendable {
    package let bits: Int
    package static let bitsMax = 1 << (2 + WitnessLimits.arbitersMax) - 1

    package init(bits: Int) { self.bits = bits & Self.bitsMax }

    package init(_ roles: some Sequence<TradeRole>) {
        self.init(bits: roles.reduce(0) { $0 | Self.bit($1) })
    }

    private static func bit(_ role: TradeRole) -> Int {
        switch role {
        case .buyer: 1
        case .seller: 2
        case .arbiter(let index): (0..<WitnessLimits.arbitersMax).contains(index) ? 4 << index : 0
        }
    }

    /// In the order in which they sign.
    package var roles: [TradeRole] {
        let all: [TradeRole] = [.buyer, .seller] + (0..<WitnessLimits.arbitersMax).map { .arbiter($0) }
        return all.filter { bits & Self.bit($0) != 0 }
    }
}

/// A step as witnesses know it: what came before, its number, kind and signers, and the hash of the event.
package struct Step: Hashable, Sendable, CanonicalBody {
    /// The digest of the plan and of everything decided before (``TradeHistory``).
    package let history: Bytes32
    package let number: UInt32
    package let act: StepAct
    package let roles: RoleSet
    /// The hash of the whole event, which only the trade's sides can read.
    package let event: Bytes32

    package init(history: Bytes32, number: UInt32, act: StepAct, roles: RoleSet, event: Bytes32) {
        self.history = history
        self.number = number
        self.act = act
        self.roles = roles
        self.event = event
    }

    package init(from reader: inout BodyReader) throws(DecodeError) {
        history = try reader.bytes32(1, "history of a trade")
        number = UInt32(try reader.number(2, in: 1...WitnessLimits.stepsMax, "number of a step"))
        let kind = try reader.number(3, in: 1...Int(UInt8.max), "kind of a step")
        guard let kind = StepKind(rawValue: UInt8(kind)) else { throw .unsupported("kind of a step") }
        act = StepAct(kind, detail: UInt16(try reader.number(4, in: 0...Int(UInt16.max), "outcome")))
        roles = RoleSet(bits: try reader.number(5, in: 1...RoleSet.bitsMax, "roles"))
        event = try reader.bytes32(6, "event of a step")
    }

    package func write(into buffer: inout ByteBuffer) {
        buffer.write(1, history)
        buffer.write(2, Int(number))
        buffer.write(3, Int(act.kind.rawValue))
        buffer.write(4, Int(act.detail))
        buffer.write(5, roles.bits)
        buffer.write(6, event)
    }

    /// What a slot of a trade holds: ``SlotValue/event(_:)``.
    package var digest: StepDigest { StepDigest(digest(domain: "tutti-step")) }
}

/// The digest of a ``Step``: what its authors sign, and what its slot holds.
package struct StepDigest: Hashable, Sendable {
    package let bytes: Bytes32

    package init(_ bytes: Bytes32) { self.bytes = bytes }

    package var signedBytes: [UInt8] { Self.signedBytes(bytes, domain: "tutti-register-step") }

    static func signedBytes(_ digest: Bytes32, domain: StaticText) -> [UInt8] {
        var buffer = ByteBuffer()
        buffer.write(domain: domain)
        buffer.write(1, digest)
        return Array(buffer.readableBytesView)
    }
}

/// Everything that was decided of a trade so far, in one digest. Each step names it, so that the certificate of an event also
/// proves what came before.
package struct TradeHistory: Hashable, Sendable {
    package private(set) var digest: Bytes32

    package init(plan: Bytes32, round: UInt32) {
        var buffer = ByteBuffer()
        buffer.write(domain: "tutti-history")
        buffer.write(1, plan)
        buffer.write(2, Int(round))
        digest = buffer.sha256
    }

    package mutating func append(_ value: SlotValue) {
        var buffer = ByteBuffer()
        buffer.write(domain: "tutti-history-next")
        buffer.write(1, digest)
        buffer.write(2, value)
        digest = buffer.sha256
    }
}
