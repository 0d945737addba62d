// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

package import struct NIOCore.ByteBuffer

/// The state of an account after a change, with its certificate.
package struct ExposureProof: Hashable, Sendable, CanonicalBody {
    package let state: ExposureState
    package let certificate: Certificate

    package init(state: ExposureState, certificate: Certificate) {
        self.state = state
        self.certificate = certificate
    }

    package init(from reader: inout BodyReader) throws(DecodeError) {
        state = try reader.body(1, "exposure")
        certificate = try reader.body(2, "certificate of an exposure")
        guard case .exposure = certificate.slot, certificate.value == .event(state.digest) else {
            throw .malformed("proof of an exposure")
        }
    }

    package func write(into buffer: inout ByteBuffer) {
        buffer.write(1, state)
        buffer.write(2, certificate)
    }

    package func checks(in sets: [WitnessSet]) -> [SignatureCheck]? {
        sets.first { $0.id == certificate.set }.flatMap { certificate.checks(in: $0) }
    }
}

/// Why an exposure ends.
package enum ExposureEnd: Hashable, Sendable, CanonicalBody {
    /// The reservation that it was for went to another plan.
    case lost(Certificate)
    case ended(TradeProof)

    package init(from reader: inout BodyReader) throws(DecodeError) {
        if let certificate: Certificate = try reader.bodyIfThere(1, "lost reservation") {
            self = .lost(certificate)
        } else {
            self = .ended(try reader.body(2, "ended trade"))
        }
    }

    package func write(into buffer: inout ByteBuffer) {
        switch self {
        case .lost(let certificate): buffer.write(1, certificate)
        case .ended(let proof): buffer.write(2, proof)
        }
    }

    package func ends(_ item: ExposureItem) -> Bool {
        switch self {
        case .lost(let certificate):
            certificate.slot == item.reservation && certificate.value != .event(item.plan)
        case .ended(let proof):
            proof.plan.digest == item.plan && proof.round == item.round && proof.plan.unit == item.unit
                && proof.standing?.course.isTerminal == true
        }
    }

    package func checks(in sets: [WitnessSet]) -> [SignatureCheck]? {
        switch self {
        case .lost(let certificate):
            sets.first { $0.id == certificate.set }.flatMap { certificate.checks(in: $0) }
        case .ended(let proof): proof.checks(in: sets)
        }
    }
}

/// Change one account's exposure, signed by a device of the account.
package struct ExposureRequest: Hashable, Sendable, CanonicalBody {
    package let change: ExposureChange
    package let device: TradeKey
    package let signature: [UInt8]
    /// With a credit.
    package let end: ExposureEnd?

    package init(change: ExposureChange, slot: SlotID, end: ExposureEnd? = nil, signer: TradeSigner) {
        self.change = change
        self.end = end
        device = signer.key
        signature = signer.sign(Self.signedBytes(change, slot))
    }

    package init(from reader: inout BodyReader) throws(DecodeError) {
        change = try reader.body(1, "change of an exposure")
        device = TradeKey(try reader.bytes32(2, "device"))
        signature = try reader.signature(3, "signature of an exposure")
        end = try reader.bodyIfThere(4, "end of an exposure")
        if case .debit = change, end != nil { throw .malformed("change of an exposure") }
    }

    package func write(into buffer: inout ByteBuffer) {
        buffer.write(1, change)
        buffer.write(2, device.bytes)
        buffer.writeProtobuf(3, bytes: signature)
        if let end { buffer.write(4, end) }
    }

    private static func signedBytes(_ change: ExposureChange, _ slot: SlotID) -> [UInt8] {
        var buffer = ByteBuffer()
        buffer.write(domain: "tutti-register-exposure")
        buffer.write(1, slot.bytes)
        buffer.write(2, change)
        return Array(buffer.readableBytesView)
    }

    func check(_ slot: SlotID) -> SignatureCheck {
        SignatureCheck(key: device, message: Self.signedBytes(change, slot), signature: signature)
    }
}

/// Reserve a unit for a trade, signed by the listing's key.
package struct ReservationRequest: Hashable, Sendable, CanonicalBody {
    package let stub: UnitStub
    package let unitNumber: Int
    package let plan: TradePlan
    /// That the trade is on its account; not there when the amount is 0.
    package let exposure: ExposureProof?
    package let signature: [UInt8]

    package init(
        stub: UnitStub, unitNumber: Int, plan: TradePlan, exposure: ExposureProof?, slot: SlotID, signer: TradeSigner
    ) {
        self.stub = stub
        self.unitNumber = unitNumber
        self.plan = plan
        self.exposure = exposure
        signature = signer.sign(Self.signedBytes(plan.digest, slot))
    }

    package init(from reader: inout BodyReader) throws(DecodeError) {
        stub = try reader.body(1, "stub of a listing")
        unitNumber = try reader.number(2, in: 0...WitnessLimits.quantityMax - 1, "number of a unit")
        plan = try reader.body(3, "plan of a trade")
        exposure = try reader.bodyIfThere(4, "proof of an exposure")
        signature = try reader.signature(5, "signature of a reservation")
    }

    package func write(into buffer: inout ByteBuffer) {
        buffer.write(1, stub)
        buffer.write(2, unitNumber)
        buffer.write(3, plan)
        if let exposure { buffer.write(4, exposure) }
        buffer.writeProtobuf(5, bytes: signature)
    }

    private static func signedBytes(_ plan: Bytes32, _ slot: SlotID) -> [UInt8] {
        var buffer = ByteBuffer()
        buffer.write(domain: "tutti-register-reservation")
        buffer.write(1, slot.bytes)
        buffer.write(2, plan)
        return Array(buffer.readableBytesView)
    }

    func check(_ slot: SlotID) -> SignatureCheck {
        SignatureCheck(key: stub.seller, message: Self.signedBytes(plan.digest, slot), signature: signature)
    }

    /// Its plan stands on the account, for this slot and no other.
    func isOnAccount(_ slot: Slot) -> Bool {
        guard plan.amount > 0 else { return exposure == nil }
        guard let exposure, let item = exposure.state.item(of: plan.digest) else { return false }
        return exposure.certificate.slot.chain == .exposure(account: plan.account) && item.reservation == slot
            && item.amount == plan.amount
    }
}

/// Register an event of a trade, signed by the keys of its roles.
package struct StepRequest: Hashable, Sendable, CanonicalBody {
    package let step: Step
    /// In the order of ``RoleSet/roles``.
    package let signatures: [[UInt8]]
    /// The event as its recipient will read it; witnesses can't.
    package let sealed: [UInt8]

    package init(step: Step, signatures: [[UInt8]], sealed: [UInt8]) {
        self.step = step
        self.signatures = signatures
        self.sealed = sealed
    }

    package init(from reader: inout BodyReader) throws(DecodeError) {
        step = try reader.body(1, "step")
        let first = try reader.body(2, "signature of a step") as StepSignature
        let second: StepSignature? = try reader.bodyIfThere(3, "signature of a step")
        signatures = [first.bytes] + (second.map { [$0.bytes] } ?? [])
        sealed = try reader.bytes(4, countMax: WitnessLimits.sealedBytesMax, "sealed event")
        guard signatures.count == step.roles.roles.count else { throw .malformed("signatures of a step") }
    }

    package func write(into buffer: inout ByteBuffer) {
        buffer.write(1, step)
        for (index, signature) in signatures.enumerated() { buffer.write(2 + index, StepSignature(bytes: signature)) }
        buffer.writeProtobuf(4, bytes: sealed)
    }

    private struct StepSignature: CanonicalBody {
        let bytes: [UInt8]

        init(bytes: [UInt8]) { self.bytes = bytes }
        init(from reader: inout BodyReader) throws(DecodeError) {
            bytes = try reader.signature(1, "signature of a step")
        }
        func write(into buffer: inout ByteBuffer) { buffer.writeProtobuf(1, bytes: bytes) }
    }

    /// Nil when a role has no key in the plan.
    func checks(_ plan: TradePlan) -> [SignatureCheck]? {
        let message = step.digest.signedBytes
        var checks: [SignatureCheck] = []
        for (role, signature) in zip(step.roles.roles, signatures) {
            guard let key = plan.key(of: role) else { return nil }
            checks.append(SignatureCheck(key: key, message: message, signature: signature))
        }
        return checks
    }
}

/// What somebody wants a slot to hold.
package enum SlotRequest: Hashable, Sendable, CanonicalBody {
    case exposure(ExposureRequest)
    case reservation(ReservationRequest)
    case step(StepRequest)

    package init(from reader: inout BodyReader) throws(DecodeError) {
        if let request: ExposureRequest = try reader.bodyIfThere(1, "exposure") {
            self = .exposure(request)
        } else if let request: ReservationRequest = try reader.bodyIfThere(2, "reservation") {
            self = .reservation(request)
        } else {
            self = .step(try reader.body(3, "step"))
        }
    }

    package func write(into buffer: inout ByteBuffer) {
        switch self {
        case .exposure(let request): buffer.write(1, request)
        case .reservation(let request): buffer.write(2, request)
        case .step(let request): buffer.write(3, request)
        }
    }
}
