// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

package import struct NIOCore.ByteBuffer

/// Where a chain stands, for a witness that doesn't know yet.
package enum ChainEvidence: Hashable, Sendable, CanonicalBody {
    case exposure(ExposureProof)
    /// The trade of the round before, which has freed the unit.
    case unit(TradeProof)
    case trade(TradeProof)

    package init(from reader: inout BodyReader) throws(DecodeError) {
        if let proof: ExposureProof = try reader.bodyIfThere(1, "exposure") {
            self = .exposure(proof)
        } else if let proof: TradeProof = try reader.bodyIfThere(2, "trade of the round before") {
            self = .unit(proof)
        } else {
            self = .trade(try reader.body(3, "trade"))
        }
    }

    package func write(into buffer: inout ByteBuffer) {
        switch self {
        case .exposure(let proof): buffer.write(1, proof)
        case .unit(let proof): buffer.write(2, proof)
        case .trade(let proof): buffer.write(3, proof)
        }
    }

    /// The slot that is open after it. Nil when it doesn't lead there.
    package var next: Slot? {
        switch self {
        case .exposure(let proof): proof.certificate.slot.chain.slot(proof.certificate.slot.number + 1)
        case .unit(let proof):
            proof.standing?.course.freesUnit == true ? .reservation(proof.plan.unit, round: proof.round + 1) : nil
        case .trade(let proof): proof.standing.map { .step(proof.plan.trade, number: $0.number) }
        }
    }

    package func checks(in sets: [WitnessSet]) -> [SignatureCheck]? {
        switch self {
        case .exposure(let proof): proof.checks(in: sets)
        case .unit(let proof), .trade(let proof): proof.checks(in: sets)
        }
    }
}

/// Signed by who drives a ballot.
package struct BallotDriver: Hashable, Sendable, CanonicalBody {
    package let key: TradeKey
    package let signature: [UInt8]

    package init(_ signer: TradeSigner, _ slot: SlotID, _ ballot: Ballot, proposing value: SlotValue?) {
        key = signer.key
        signature = signer.sign(Self.signedBytes(slot, ballot, value))
    }

    package init(from reader: inout BodyReader) throws(DecodeError) {
        key = TradeKey(try reader.bytes32(1, "key of a driver"))
        signature = try reader.signature(2, "signature of a driver")
    }

    package func write(into buffer: inout ByteBuffer) {
        buffer.write(1, key.bytes)
        buffer.writeProtobuf(2, bytes: signature)
    }

    private static func signedBytes(_ slot: SlotID, _ ballot: Ballot, _ value: SlotValue?) -> [UInt8] {
        var buffer = ByteBuffer()
        buffer.write(domain: value == nil ? "tutti-register-ask" : "tutti-register-propose")
        buffer.write(1, slot.bytes)
        buffer.write(2, Int(ballot.value))
        if let value { buffer.write(3, value) }
        return Array(buffer.readableBytesView)
    }

    func check(_ slot: SlotID, _ ballot: Ballot, proposing value: SlotValue?) -> SignatureCheck {
        SignatureCheck(key: key, message: Self.signedBytes(slot, ballot, value), signature: signature)
    }
}

package struct Proposal: Hashable, Sendable, CanonicalBody {
    package let ballot: Ballot
    package let value: SlotValue
    /// Where the witness may not hold it yet.
    package let request: SlotRequest?
    /// In ballots above 0.
    package let justification: Justification?
    /// Of a trade, in ballots above 0: the key whose turn it is.
    package let driver: BallotDriver?
    /// With the first slot that the set takes over.
    package let handover: Handover?

    package init(
        ballot: Ballot, value: SlotValue, request: SlotRequest? = nil, justification: Justification? = nil,
        driver: BallotDriver? = nil, handover: Handover? = nil
    ) {
        self.ballot = ballot
        self.value = value
        self.request = request
        self.justification = justification
        self.driver = driver
        self.handover = handover
    }

    package init(from reader: inout BodyReader) throws(DecodeError) {
        ballot = try reader.ballot(1)
        value = try reader.body(2, "value of a proposal")
        request = try reader.bodyIfThere(3, "request")
        justification = try reader.bodyIfThere(4, "reports")
        driver = try reader.bodyIfThere(5, "driver")
        handover = try reader.bodyIfThere(6, "handover")
    }

    package func write(into buffer: inout ByteBuffer) {
        buffer.write(1, Int(ballot.value))
        buffer.write(2, value)
        if let request { buffer.write(3, request) }
        if let justification { buffer.write(4, justification) }
        if let driver { buffer.write(5, driver) }
        if let handover { buffer.write(6, handover) }
    }
}

package enum WitnessAsk: Hashable, Sendable {
    case propose(Proposal)
    /// Commit to this.
    case lock(Lock)
    /// Promise for this ballot. The request, if any, is to be held.
    case report(Ballot, BallotDriver, SlotRequest?)
    case close(to: WitnessSetID)
    /// The slot is decided.
    case inform(Certificate)
    /// What do you know?
    case fetch
    /// What time is it?
    case clock
}

/// What is asked of a witness about one slot.
package struct WitnessQuestion: Hashable, Sendable, CanonicalBody {
    package let set: WitnessSetID
    package let slot: Slot
    /// Where the witness may be behind.
    package let evidence: ChainEvidence?
    package let ask: WitnessAsk

    package init(set: WitnessSetID, slot: Slot, evidence: ChainEvidence? = nil, ask: WitnessAsk) {
        self.set = set
        self.slot = slot
        self.evidence = evidence
        self.ask = ask
    }

    package init(from reader: inout BodyReader) throws(DecodeError) {
        set = WitnessSetID(try reader.bytes32(1, "witness set"))
        slot = try reader.body(2, "slot")
        evidence = try reader.bodyIfThere(3, "evidence")
        switch try reader.number(4, in: 1...7, "question") {
        case 1: ask = .propose(try reader.body(5, "proposal"))
        case 2: ask = .lock(try reader.body(5, "lock"))
        case 3:
            let ballot = try reader.ballot(5)
            let driver: BallotDriver = try reader.body(6, "driver")
            ask = .report(ballot, driver, try reader.bodyIfThere(7, "request"))
        case 4: ask = .close(to: WitnessSetID(try reader.bytes32(5, "set that takes over")))
        case 5: ask = .inform(try reader.body(5, "certificate"))
        case 6: ask = .fetch
        default: ask = .clock
        }
    }

    package func write(into buffer: inout ByteBuffer) {
        buffer.write(1, set.bytes)
        buffer.write(2, slot)
        if let evidence { buffer.write(3, evidence) }
        switch ask {
        case .propose(let proposal):
            buffer.write(4, 1)
            buffer.write(5, proposal)
        case .lock(let lock):
            buffer.write(4, 2)
            buffer.write(5, lock)
        case .report(let ballot, let driver, let request):
            buffer.write(4, 3)
            buffer.write(5, Int(ballot.value))
            buffer.write(6, driver)
            if let request { buffer.write(7, request) }
        case .close(let set):
            buffer.write(4, 4)
            buffer.write(5, set.bytes)
        case .inform(let certificate):
            buffer.write(4, 5)
            buffer.write(5, certificate)
        case .fetch: buffer.write(4, 6)
        case .clock: buffer.write(4, 7)
        }
    }
}

/// Why a witness doesn't sign. On the wire as its number.
package enum WitnessRefusal: UInt8, Error, CaseIterable, Hashable, Sendable {
    /// Too much under way; ask again later.
    case busy = 1
    /// The set or the chain isn't served here.
    case notServed = 2
    case badSignature = 3
    /// The rules of the slot don't admit it.
    case notAdmitted = 4
    /// Over the account's cap, or the account doesn't know the device.
    case notOnAccount = 5
    /// The deadline has passed.
    case late = 6
    /// The deadline hasn't passed here, or the ballot must last a little longer.
    case early = 7
    /// The witness wasn't there all the time: only reports of others let it vote NO-EVENT.
    case unsure = 8
    /// A higher ballot was promised.
    case promised = 9
    /// Locked on another value; the lock comes with the refusal.
    case locked = 10
    /// The reports don't allow the value, or it isn't this key's turn.
    case unjustified = 11
    /// The request itself is missing: a witness votes only for what it holds.
    case notHeld = 12
    /// Closed for this set.
    case closed = 13
}

package enum WitnessAnswer: Hashable, Sendable {
    /// Its vote of that ballot, which may be for another value than the proposed; then with that value's request.
    case voted(Ballot, SlotValue, WitnessSignature, held: SlotRequest?)
    case committed(Ballot, SlotValue, WitnessSignature)
    /// With the votes of the lock that it names, and the requests of its views.
    case reported(SignedReport, Lock?, held: [SlotRequest])
    /// The slot is decided: its certificate and request as far as they are kept, and where the chain stands now.
    case decided(Certificate?, SlotRequest?, ChainEvidence?)
    /// Nothing is decided there.
    case open(held: [SlotRequest])
    /// It doesn't know the slots from this number on: ask again with evidence.
    case behind(UInt32)
    /// - Parameters:
    ///   - ballot: the promised one.
    ///   - milliseconds: ask again after so long; 0 when it doesn't depend on time.
    case refused(WitnessRefusal, Ballot, Lock?, milliseconds: UInt64)
    /// Its wall clock.
    case clock(milliseconds: UInt64)
}

extension WitnessAnswer: CanonicalBody {
    package init(from reader: inout BodyReader) throws(DecodeError) {
        switch try reader.number(1, in: 1...8, "answer") {
        case 1:
            let ballot = try reader.ballot(2)
            let value: SlotValue = try reader.body(3, "value of a vote")
            let signature: WitnessSignature = try reader.body(4, "signature of a vote")
            self = .voted(ballot, value, signature, held: try reader.bodyIfThere(5, "request"))
        case 2:
            let ballot = try reader.ballot(2)
            let value: SlotValue = try reader.body(3, "value of a commit")
            self = .committed(ballot, value, try reader.body(4, "signature of a commit"))
        case 3:
            let report: SignedReport = try reader.body(2, "report")
            let lock: Lock? = try reader.bodyIfThere(3, "lock")
            self = .reported(
                report, lock, held: try reader.bodies(4, countMax: WitnessLimits.heldMax, "requests"))
        case 4:
            let certificate: Certificate? = try reader.bodyIfThere(2, "certificate")
            let request: SlotRequest? = try reader.bodyIfThere(3, "request")
            self = .decided(certificate, request, try reader.bodyIfThere(4, "evidence"))
        case 5: self = .open(held: try reader.bodies(2, countMax: WitnessLimits.heldMax, "requests"))
        case 6: self = .behind(UInt32(try reader.number(2, in: 0...Slot.numberMax, "next slot")))
        case 8: self = .clock(milliseconds: UInt64(try reader.number(2, in: 0...Int.max, "time")))
        default:
            let reason = try reader.number(2, in: 1...WitnessRefusal.allCases.count, "refusal")
            guard let reason = WitnessRefusal(rawValue: UInt8(reason)) else { throw .malformed("refusal") }
            let ballot = try reader.ballot(3)
            let lock: Lock? = try reader.bodyIfThere(4, "lock")
            self = .refused(
                reason, ballot, lock, milliseconds: UInt64(try reader.number(5, in: 0...Int.max, "delay")))
        }
    }

    package func write(into buffer: inout ByteBuffer) {
        switch self {
        case .voted(let ballot, let value, let signature, let held):
            buffer.write(1, 1)
            buffer.write(2, Int(ballot.value))
            buffer.write(3, value)
            buffer.write(4, signature)
            if let held { buffer.write(5, held) }
        case .committed(let ballot, let value, let signature):
            buffer.write(1, 2)
            buffer.write(2, Int(ballot.value))
            buffer.write(3, value)
            buffer.write(4, signature)
        case .reported(let report, let lock, let held):
            buffer.write(1, 3)
            buffer.write(2, report)
            if let lock { buffer.write(3, lock) }
            for request in held { buffer.write(4, request) }
        case .decided(let certificate, let request, let evidence):
            buffer.write(1, 4)
            if let certificate { buffer.write(2, certificate) }
            if let request { buffer.write(3, request) }
            if let evidence { buffer.write(4, evidence) }
        case .open(let held):
            buffer.write(1, 5)
            for request in held { buffer.write(2, request) }
        case .behind(let number):
            buffer.write(1, 6)
            buffer.write(2, Int(number))
        case .refused(let reason, let ballot, let lock, let milliseconds):
            buffer.write(1, 7)
            buffer.write(2, Int(reason.rawValue))
            buffer.write(3, Int(ballot.value))
            if let lock { buffer.write(4, lock) }
            buffer.write(5, Int(clamping: milliseconds))
        case .clock(let milliseconds):
            buffer.write(1, 8)
            buffer.write(2, Int(clamping: milliseconds))
        }
    }
}
