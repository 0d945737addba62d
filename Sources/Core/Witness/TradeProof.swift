// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

package import struct NIOCore.ByteBuffer

/// 2f + 1 signed CLOSEs of a set hand a slot, and what follows it, to another set.
package struct Handover: Hashable, Sendable, CanonicalBody {
    package static let countMax = 3

    /// The first slot that the new set decides.
    package let number: UInt32
    package let from: WitnessSetID
    package let closes: Justification

    package init(number: UInt32, from: WitnessSetID, closes: Justification) {
        self.number = number
        self.from = from
        self.closes = closes
    }

    package init(from reader: inout BodyReader) throws(DecodeError) {
        number = UInt32(try reader.number(1, in: 0...Slot.numberMax, "first slot handed over"))
        from = WitnessSetID(try reader.bytes32(2, "set that closed"))
        closes = try reader.body(3, "closes")
        guard case .close = closes.purpose else { throw .malformed("closes") }
    }

    package func write(into buffer: inout ByteBuffer) {
        buffer.write(1, Int(number))
        buffer.write(2, from.bytes)
        buffer.write(3, closes)
    }

    package var to: WitnessSetID? {
        if case .close(let set)? = closes.purpose { set } else { nil }
    }
}

/// What a slot of a trade was decided to be, in words.
package enum DecidedStep: Hashable, Sendable, CanonicalBody {
    case event(StepAct, RoleSet, event: Bytes32)
    case silence

    package init(from reader: inout BodyReader) throws(DecodeError) {
        let kind = try reader.number(1, in: 0...Int(UInt8.max), "kind of a step")
        guard kind != 0 else {
            self = .silence
            return
        }
        guard let kind = StepKind(rawValue: UInt8(kind)) else { throw .unsupported("kind of a step") }
        let detail = UInt16(try reader.number(2, in: 0...Int(UInt16.max), "outcome"))
        let roles = RoleSet(bits: try reader.number(3, in: 1...RoleSet.bitsMax, "roles"))
        self = .event(StepAct(kind, detail: detail), roles, event: try reader.bytes32(4, "event of a step"))
    }

    package func write(into buffer: inout ByteBuffer) {
        switch self {
        case .silence: buffer.write(1, 0)
        case .event(let act, let roles, let event):
            buffer.write(1, Int(act.kind.rawValue))
            buffer.write(2, Int(act.detail))
            buffer.write(3, roles.bits)
            buffer.write(4, event)
        }
    }
}

/// Everything decided of a trade, with as many certificates as that needs: those from its last event on. An event's certificate
/// proves what came before it, because its digest names the history (``TradeHistory``) and no honest witness votes for
/// one that isn't its own.
package struct TradeProof: Hashable, Sendable, CanonicalBody {
    package static let bytesMax = 65_536

    package let plan: TradePlan
    /// Of the unit.
    package let round: UInt32
    package private(set) var steps: [DecidedStep] = []
    /// Of the last event and of every silence after it; the reservation's first where there is no event.
    package private(set) var certificates: [Certificate]
    package private(set) var handovers: [Handover] = []

    package init(plan: TradePlan, reservation: Certificate) {
        self.plan = plan
        round = reservation.slot.number
        certificates = [reservation]
    }

    package init(from reader: inout BodyReader) throws(DecodeError) {
        plan = try reader.body(1, "plan of a trade")
        round = UInt32(try reader.number(2, in: 0...Slot.numberMax, "round"))
        steps = try reader.bodies(3, countMax: WitnessLimits.stepsMax, "steps")
        certificates = try reader.bodies(4, countMax: WitnessLimits.certificatesMax, "certificates")
        handovers = try reader.bodies(5, countMax: Handover.countMax, "handovers")
        guard standing != nil else { throw .malformed("proof of a trade") }
    }

    package func write(into buffer: inout ByteBuffer) {
        buffer.write(1, plan)
        buffer.write(2, Int(round))
        for step in steps { buffer.write(3, step) }
        for certificate in certificates { buffer.write(4, certificate) }
        for handover in handovers { buffer.write(5, handover) }
    }

    /// The next slot was decided. Nil when the certificate isn't of that slot, or the rules don't admit the step.
    package func appending(_ step: DecidedStep, _ certificate: Certificate) -> TradeProof? {
        var next = self
        if case .event = step { next.certificates = [] }
        next.steps.append(step)
        next.certificates.append(certificate)
        return next.standing == nil ? nil : next
    }

    /// From the next slot on another set decides.
    package func handedOver(_ handover: Handover) -> TradeProof? {
        var next = self
        next.handovers.append(handover)
        return next.standing == nil ? nil : next
    }
}

/// Where a proof leads, its signatures aside.
package struct TradeStanding: Hashable, Sendable {
    package let course: TradeCourse
    package let history: TradeHistory
    /// Who decides the next slot.
    package let set: WitnessSetID

    /// Of the next slot.
    package var number: UInt32 { course.number }
}

extension TradeProof {
    /// Nil when steps, certificates and handovers don't fit each other.
    package var standing: TradeStanding? {
        guard handoversFit, let (course, values, history) = fold() else { return nil }
        let lastEvent = steps.lastIndex { $0 != .silence }
        var slots: [(slot: Slot, value: SlotValue)] = []
        if lastEvent == nil { slots.append((.reservation(plan.unit, round: round), .event(plan.digest))) }
        for index in (lastEvent ?? 0)..<steps.count {
            slots.append((.step(plan.trade, number: UInt32(index + 1)), values[index]))
        }
        let isCertified =
            slots.count == certificates.count
            && zip(slots, certificates).allSatisfy { expected, certificate in
                certificate.slot == expected.slot && certificate.value == expected.value
                    && certificate.set == set(of: expected.slot)
            }
        guard isCertified else { return nil }
        return TradeStanding(course: course, history: history, set: set(before: UInt32(steps.count) + 2))
    }

    private func fold() -> (TradeCourse, [SlotValue], TradeHistory)? {
        var course = plan.course
        var history = TradeHistory(plan: plan.digest, round: round)
        var values: [SlotValue] = []
        for step in steps {
            var value = SlotValue.noEvent
            let next: TradeCourse?
            switch step {
            case .silence: next = course.afterSilence()
            case .event(let act, let roles, let event):
                next = course.after(act, by: Set(roles.roles))
                let digest = Step(
                    history: history.digest, number: course.number, act: act, roles: roles, event: event
                ).digest
                value = .event(digest.bytes)
            }
            guard let next else { return nil }
            course = next
            values.append(value)
            history.append(value)
        }
        return (course, values, history)
    }

    /// Each hands on from where the one before stands, to another set.
    private var handoversFit: Bool {
        var number: UInt32 = 0
        var set = plan.witnesses
        for handover in handovers {
            guard handover.number > number, handover.number <= steps.count + 1, handover.from == set,
                let to = handover.to, to != set
            else { return false }
            number = handover.number
            set = to
        }
        return true
    }

    private func set(of slot: Slot) -> WitnessSetID {
        if case .step(_, let number) = slot { set(before: number + 1) } else { plan.witnesses }
    }

    /// Who decides the slot before `number`.
    private func set(before number: UInt32) -> WitnessSetID {
        handovers.last { $0.number < number }?.to ?? plan.witnesses
    }

    /// What has to be verified. Nil when a set isn't known, or no signature could make it good.
    package func checks(in sets: [WitnessSet]) -> [SignatureCheck]? {
        var checks: [SignatureCheck] = []
        for certificate in certificates {
            guard let set = sets.first(where: { $0.id == certificate.set }), let more = certificate.checks(in: set)
            else { return nil }
            checks += more
        }
        for handover in handovers {
            let slot = Slot.step(plan.trade, number: handover.number)
            guard let set = sets.first(where: { $0.id == handover.from }),
                let more = handover.closes.checks(slot.id(in: set.id), in: set)
            else { return nil }
            checks += more
        }
        return checks
    }
}
