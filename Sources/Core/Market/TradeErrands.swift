// SPDX-License-Identifier: Apache-2.0
import TuttiBase
package import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal
package import TuttiWitness

import struct NIOCore.ByteBuffer

/// What this device has the witnesses decide by itself, for the trades of its member: it registers what the member has signed, and
/// asks for NO-EVENT when the other side is late. Which errand is due follows from a trade's file alone; so after a restart,
/// and on another device of the member, the same errands come up again, and witnesses answer them with the same votes.
package struct TradeErrands: Sendable {
    /// What an errand needs beside the file.
    enum Need: Hashable, Sendable {
        /// The listing's first entry, for its stub.
        case listing(EntryID)
        /// The own entry that holds the event sealed.
        case event(EntryID)
        case nothing
    }

    enum Purpose: Hashable, Sendable {
        case exposure(account: Bytes32)
        case reservation
        case step
        case silence
    }

    struct Errand: Sendable {
        let trade: TradeID
        let purpose: Purpose
        let task: RegisterTask
        let signer: TradeSigner
        /// Nil for NO-EVENT, exposure and reservation.
        let event: TradeEvent?
    }

    /// Why the witnesses refused, for good.
    package private(set) var failures: [TradeID: RegisterFailure] = [:]
    /// What is known of accounts, by their last certificate.
    private var accounts: [Bytes32: ExposureProof] = [:]
    private var driving: [SlotID: Errand] = [:]

    private let member: MemberID
    private let device: KeyPair

    init(member: MemberID, device: KeyPair) {
        self.member = member
        self.device = device
    }

    /// Clocks of honest witnesses differ by so much at most; whoever asks earlier is told to come back.
    private static let skewMilliseconds: UInt64 = 600_000

    // MARK: What is due

    private func roles(in contract: Contract) -> [TradeRole] {
        let all: [TradeRole] = [.buyer, .seller] + contract.arbiters.indices.map { .arbiter($0) }
        return all.filter { contract.party($0)?.member == member }
    }

    /// An own event that is signed by all its authors and waits for the next slot.
    private func pending(_ dossier: Dossier) -> TradeEvent? {
        let own = roles(in: dossier.contract)
        return dossier.pending.first { event in event.authors.count == 1 && own.contains { event.authors == [$0] } }
    }

    /// When silence is to be asked for: past the deadline of the next slot, as we see it.
    func silenceDue(_ file: TradeFile) -> UInt64? {
        guard let dossier = file.dossier, dossier.isReserved, dossier.isWitnessed, !dossier.isOver,
            let deadline = dossier.course.deadline, !roles(in: dossier.contract).isEmpty
        else { return nil }
        return file.since + UInt64(clamping: dossier.contract.seconds(deadline)) * 1_000 + Self.skewMilliseconds
    }

    /// What must be read from the disk before an errand can be run; nil when none is due.
    func need(of file: TradeFile, at milliseconds: UInt64) -> Need? {
        guard failures[file.id] == nil, !driving.values.contains(where: { $0.trade == file.id }),
            let dossier = file.dossier, dossier.isWitnessed, !dossier.isOver
        else { return nil }
        guard dossier.isReserved else {
            return dossier.contract.seller.member == member ? .listing(dossier.contract.terms.listing) : nil
        }
        if let event = pending(dossier), let entry = file.entry(of: event.hash, by: member) { return .event(entry) }
        guard let due = silenceDue(file), due <= milliseconds else { return nil }
        return .nothing
    }

    // MARK: Errands

    /// The next errand of a trade. Nil: it can't be run, or its slot is under way.
    /// - Parameter stored: what ``need(of:at:)`` asked for.
    mutating func begin(_ file: TradeFile, _ stored: StoredEntry?, _ keyring: MarketKeyring) -> Errand? {
        guard let dossier = file.dossier, let plan = dossier.contract.plan else { return nil }
        let errand: Errand? =
            if !dossier.isReserved {
                reserve(dossier, plan, stored, keyring)
            } else if let event = pending(dossier) {
                step(file, dossier, event, stored, keyring)
            } else {
                silence(file, dossier, keyring)
            }
        guard let errand, driving[errand.task.id] == nil else { return nil }
        driving[errand.task.id] = errand
        return errand
    }

    private func reserve(
        _ dossier: Dossier, _ plan: TradePlan, _ stored: StoredEntry?, _ keyring: MarketKeyring
    ) -> Errand? {
        let contract = dossier.contract
        guard let body = (stored?.entry.content?.body).flatMap({ try? ListingBody(bytes: $0) }) else { return nil }
        let stub = body.stub
        guard let number = (0..<stub.quantity).first(where: { stub.unit($0) == contract.unit }),
            let key = keyring.keyPair(named: stub.seller, for: .listing(nonce: stub.nonce))
        else { return nil }
        let item = ExposureItem(
            plan: plan.digest, unit: contract.unit, round: contract.round, amount: contract.exposure)
        let known = accounts[contract.account]
        guard let known, known.state.item(of: plan.digest) != nil else { return debit(item, contract, known) }
        let slot = Slot.reservation(contract.unit, round: contract.round)
        let signer = TradeSigner(key)
        let request = ReservationRequest(
            stub: stub, unitNumber: number, plan: plan, exposure: known, slot: slot.id(in: contract.witnesses.id),
            signer: signer)
        return Errand(
            trade: contract.trade, purpose: .reservation,
            task: RegisterTask(
                set: contract.witnesses, slot: slot, request: .reservation(request), evidence: nil),
            signer: signer, event: nil)
    }

    private func debit(_ item: ExposureItem, _ contract: Contract, _ known: ExposureProof?) -> Errand {
        let chain = Chain.exposure(account: contract.account)
        let slot = chain.slot(known.map { $0.certificate.slot.number + 1 } ?? chain.firstNumber)
        let signer = TradeSigner(device)
        let request = ExposureRequest(
            change: .debit(item), slot: slot.id(in: contract.witnesses.id), signer: signer)
        return Errand(
            trade: contract.trade, purpose: .exposure(account: contract.account),
            task: RegisterTask(
                set: contract.witnesses, slot: slot, request: .exposure(request),
                evidence: known.map { .exposure($0) }),
            signer: signer, event: nil)
    }

    private func step(
        _ file: TradeFile, _ dossier: Dossier, _ event: TradeEvent, _ stored: StoredEntry?, _ keyring: MarketKeyring
    ) -> Errand? {
        guard let proof = file.proof, let standing = proof.standing, let act = event.act,
            let signer = signer(dossier, keyring, event.authors.first), let entry = stored?.entry,
            let body = entry.content?.body
        else { return nil }
        let step = Step(
            history: standing.history.digest, number: standing.number, act: act, roles: RoleSet(event.authors),
            event: event.hash)
        let request = StepRequest(
            step: step, signatures: [signer.sign(step.digest.signedBytes)],
            sealed: HeldEvent(entry.header, body).bytes)
        return Errand(
            trade: file.id, purpose: .step,
            task: RegisterTask(
                set: dossier.contract.witnesses, slot: .step(file.id, number: standing.number),
                request: .step(request), evidence: .trade(proof)),
            signer: signer, event: event)
    }

    private func silence(_ file: TradeFile, _ dossier: Dossier, _ keyring: MarketKeyring) -> Errand? {
        guard let proof = file.proof, let standing = proof.standing,
            let signer = signer(dossier, keyring, roles(in: dossier.contract).first)
        else { return nil }
        return Errand(
            trade: file.id, purpose: .silence,
            task: RegisterTask(
                set: dossier.contract.witnesses, slot: .step(file.id, number: standing.number), request: nil,
                evidence: .trade(proof)),
            signer: signer, event: nil)
    }

    private func signer(_ dossier: Dossier, _ keyring: MarketKeyring, _ role: TradeRole?) -> TradeSigner? {
        guard let role, let key = dossier.contract.party(role)?.key else { return nil }
        let use: TradeKeyUse =
            switch role {
            case .buyer: .buyer(dossier.trade)
            case .seller: .seller(dossier.trade)
            case .arbiter: .arbiter(dossier.contract.community)
            }
        return keyring.keyPair(named: key, for: use).map { TradeSigner($0) }
    }

    // MARK: What comes of them

    /// What came of an errand.
    struct Result: Sendable {
        let trade: TradeID
        /// How far the trade is proven now.
        var proof: TradeProof?
        /// Another's event that the witnesses held for us.
        var held: HeldEvent?
        /// The account's chain has gone on: the same errand is run once more, a slot further.
        var hasAccountMoved = false
    }

    /// - Returns: nil for what isn't under way.
    mutating func finished(_ slot: SlotID, _ outcome: RegisterOutcome) -> Result? {
        guard let errand = driving.removeValue(forKey: slot) else { return nil }
        let before = accountNumber(errand)
        var result = Result(trade: errand.trade)
        switch outcome {
        case .failed(let reason): failures[errand.trade] = reason
        case .passed(let evidence): result.proof = absorb(evidence, errand)
        case .decided(let certificate, let request, let evidence):
            result.proof = evidence.flatMap { absorb($0, errand) }
            if result.proof == nil, accountNumber(errand) == before {
                result.proof = absorb(certificate, request, errand)
            }
            result.held = held(request, errand)
        // Errands neither look nor close.
        case .open, .closed: break
        }
        result.hasAccountMoved = accountNumber(errand) != before
        return result
    }

    private func accountNumber(_ errand: Errand) -> UInt32? {
        guard case .exposure(let account) = errand.purpose else { return nil }
        return accounts[account]?.certificate.slot.number
    }

    private mutating func absorb(_ evidence: ChainEvidence, _ errand: Errand) -> TradeProof? {
        switch evidence {
        case .exposure(let proof):
            if case .exposure(let account) = errand.purpose { accounts[account] = proof }
            return nil
        case .unit: return nil
        case .trade(let proof): return proof.plan.trade == errand.trade ? proof : nil
        }
    }

    /// Where the chain stands after its own certificate, when nobody said so.
    private mutating func absorb(
        _ certificate: Certificate, _ request: SlotRequest?, _ errand: Errand
    ) -> TradeProof? {
        switch errand.purpose {
        case .exposure(let account):
            guard case .exposure(let own)? = errand.task.request, case .debit(let item) = own.change,
                let state = (accounts[account]?.state ?? ExposureState()).after(own.change, cap: .max),
                state.item(of: item.plan) != nil, certificate.value == .event(state.digest)
            else { return nil }
            accounts[account] = ExposureProof(state: state, certificate: certificate)
            return nil
        case .reservation:
            guard case .reservation(let own)? = errand.task.request, certificate.value == .event(own.plan.digest)
            else {
                failures[errand.trade] = .refused(.notAdmitted)
                return nil
            }
            return TradeProof(plan: own.plan, reservation: certificate)
        case .step, .silence:
            guard case .trade(let proof)? = errand.task.evidence else { return nil }
            guard certificate.value != .noEvent else { return proof.appending(.silence, certificate) }
            guard case .step(let held)? = request ?? errand.task.request,
                certificate.value == .event(held.step.digest.bytes)
            else { return nil }
            return proof.appending(
                .event(held.step.act, held.step.roles, event: held.step.event), certificate)
        }
    }

    /// Another's event that the witnesses held for us.
    private func held(_ request: SlotRequest?, _ errand: Errand) -> HeldEvent? {
        guard case .step(let step)? = request, step.step.event != errand.event?.hash else { return nil }
        return HeldEvent(bytes: step.sealed)
    }
}

/// An event as witnesses hold it for its reader: the place and the body of the sealed entry in which its author wrote it.
package struct HeldEvent: Hashable, Sendable {
    package let place: SealedPlace
    package let body: [UInt8]

    init(_ header: EntryHeader, _ body: [UInt8]) {
        place = SealedPlace(community: header.community, device: header.device, sequence: header.sequence)
        self.body = body
    }

    init?(bytes: [UInt8]) {
        var buffer = ByteBuffer(bytes: bytes)
        guard let community = buffer.readBytes32(), let device = buffer.readBytes32(),
            let sequence: UInt64 = buffer.readInteger(), let body = buffer.readBytes(length: buffer.readableBytes)
        else { return nil }
        place = SealedPlace(
            community: CommunityID(community), device: DeviceID(device), sequence: EntrySequence(sequence))
        self.body = body
    }

    var bytes: [UInt8] {
        var buffer = ByteBuffer()
        buffer.writeBytes32(place.community.bytes)
        buffer.writeBytes32(place.device.bytes)
        buffer.writeInteger(place.sequence.value)
        buffer.writeBytes(body)
        return Array(buffer.readableBytesView)
    }
}
