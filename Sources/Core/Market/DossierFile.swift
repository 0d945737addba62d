// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiCommunityCore
import TuttiIdentity
package import TuttiWitness

import struct NIOCore.ByteBuffer

/// A dossier as a file (`.tutti-trade`): with it and the charter alone anybody can check the whole trade
/// (``verified(under:)``). One dossier with the same content has one encoding.
///
/// Canonical protobuf:
///
/// | field | what |
/// |---|---|
/// | 1 | version, 1 |
/// | 2 | the seller's acceptance, which holds the contract (``TradeEvent``) |
/// | 3, at most once | what the witnesses decided (`TradeProof`) |
/// | 4, to 39 | keys of witnesses to whom slots were handed over, in sets one after the other |
/// | 5, to 384 | event; ascending by hash |
/// | 6, to 32 | attestation: whose a key is; ascending by their bytes |
package struct DossierFile: Hashable, Sendable {
    package static let version = 1
    package static let nameExtension = "tutti-trade"

    package var acceptance: TradeEvent
    package var proof: TradeProof?
    /// Beyond the contract's own.
    package var sets: [WitnessSet]
    package var events: [TradeEvent]
    package var attestations: [[UInt8]]

    /// - Parameter attestations: as they are; in any order.
    package init(
        _ dossier: Dossier, proof: TradeProof? = nil, sets: [WitnessSet] = [], attestations: [[UInt8]] = []
    ) {
        acceptance = dossier.acceptance
        self.proof = proof
        self.sets = Array(sets.prefix(Handover.countMax))
        events = dossier.allEvents
        self.attestations = Self.ordered(attestations)
    }

    private static func ordered(_ attestations: [[UInt8]]) -> [[UInt8]] {
        Array(Set(attestations).sorted { $0.lexicographicallyPrecedes($1) }.prefix(TradeLimits.attestationsMax))
    }

    package init(bytes: [UInt8]) throws(DecodeError) {
        guard bytes.count <= TradeLimits.fileBytesMax else {
            throw .tooLarge("dossier", limit: TradeLimits.fileBytesMax)
        }
        var reader = try BodyReader(bytes)
        guard try reader.number(1, in: 1...Int(UInt16.max), "dossier version") == Self.version else {
            throw .unsupported("dossier version")
        }
        acceptance = try TradeEvent(
            bytes: try reader.bytes(2, countMax: TradeLimits.eventBytesMax, "acceptance"))
        proof = try reader.bodyIfThere(3, "proof of a trade")
        sets = []
        while var message = try reader.messageIfThere(4, "witnesses") {
            guard sets.count < Handover.countMax else { throw .tooLarge("witnesses", limit: Handover.countMax) }
            let keys = try message.set(1, countMax: WitnessSet.countMax, "witnesses")
            try message.end("witnesses")
            guard let set = WitnessSet(keys.map { TradeKey($0) }) else { throw .malformed("witnesses") }
            sets.append(set)
        }
        events = []
        while var message = try reader.messageIfThere(5, "event") {
            guard events.count < TradeLimits.eventsMax else { throw .tooLarge("events", limit: TradeLimits.eventsMax) }
            let event = try TradeEvent(bytes: try message.bytes(1, countMax: TradeLimits.eventBytesMax, "event"))
            try message.end("event")
            if let last = events.last, last.hash >= event.hash { throw .malformed("events") }
            events.append(event)
        }
        attestations = []
        while var message = try reader.messageIfThere(6, "attestation") {
            guard attestations.count < TradeLimits.attestationsMax else {
                throw .tooLarge("attestations", limit: TradeLimits.attestationsMax)
            }
            let attestation = try message.bytes(1, countMax: TradeLimits.attestationBytesMax, "attestation")
            try message.end("attestation")
            if let last = attestations.last, !last.lexicographicallyPrecedes(attestation) {
                throw .malformed("attestations")
            }
            attestations.append(attestation)
        }
        try reader.end("dossier")
        guard self.bytes == bytes, Dossier(acceptance: acceptance) != nil else { throw .malformed("dossier") }
    }

    package var bytes: [UInt8] {
        var buffer = ByteBuffer()
        buffer.write(1, Self.version)
        buffer.writeProtobuf(2, bytes: acceptance.bytes)
        if let proof { buffer.write(3, proof) }
        for set in sets { buffer.write(4) { for key in set.keys { $0.write(1, key.bytes) } } }
        for event in events { buffer.write(5) { $0.writeProtobuf(1, bytes: event.bytes) } }
        for attestation in attestations { buffer.write(6) { $0.writeProtobuf(1, bytes: attestation) } }
        return Array(buffer.readableBytesView)
    }

    /// What a ruling names as the ground it was made on.
    package var digest: Bytes32 { KeyDerivation.sha256(Array("tutti-dossier".utf8) + bytes) }
}

// MARK: Verification

/// What checking a dossier's file showed.
package struct DossierVerdict: Sendable {
    package enum Finding: Hashable, Sendable {
        /// The acceptance isn't signed by the contract's seller: nothing of the file binds anybody.
        case unsigned
        /// The contract was made under another charter.
        case otherCharter
        /// Its deadlines, arbiters or exposure aren't those of the charter.
        case againstCharter
        /// Certificates or their signatures are wrong; what they say doesn't count.
        case badCertificates
        /// The proof is of another contract.
        case otherProof
        /// So many events aren't signed by the keys that the contract names; they don't count.
        case badEvents(Int)
        /// Nothing in the file shows whose this key is.
        case unattested(TradeRole)
    }

    /// As far as the file is good.
    package let dossier: Dossier
    package let findings: [Finding]

    /// Everything in the file is what it claims to be. Keys without attestation are said apart: they bind whoever holds them.
    package var isSound: Bool {
        findings.allSatisfy { if case .unattested = $0 { true } else { false } }
    }
}

extension DossierFile {
    /// Whether the attestation shows that the key is the member's, in the contract's community.
    package typealias Attests = (_ attestation: [UInt8], _ party: TradeParty, _ contract: Contract) -> Bool

    /// Checks signatures, certificates and attestations, about 60 µs each; nothing but the file and the charter is asked.
    /// - Parameter charter: its digest.
    package func verified(under charter: Bytes32, attests: Attests) -> DossierVerdict? {
        guard var dossier = Dossier(acceptance: acceptance) else { return nil }
        let contract = dossier.contract
        var findings: [DossierVerdict.Finding] = []
        if !acceptance.isSigned(by: [.seller: contract.seller.key]) { findings.append(.unsigned) }
        if contract.charter != charter { findings.append(.otherCharter) }
        if let proof {
            if proof.plan != contract.plan || proof.round != contract.round {
                findings.append(.otherProof)
            } else if let checks = proof.checks(in: [contract.witnesses] + sets), checks.allSatisfy(\.isValid) {
                dossier.reserved()
                if !dossier.decide(proof.steps) { findings.append(.badCertificates) }
            } else {
                findings.append(.badCertificates)
            }
        }
        var badCount = 0
        for event in events {
            if let checks = dossier.signatureChecks(of: event), checks.allSatisfy(\.isValid) {
                dossier.take(event)
            } else {
                dossier.refuse(event, event.trade == dossier.trade ? .badSignature : .otherTrade)
                badCount += 1
            }
        }
        if badCount > 0 { findings.append(.badEvents(badCount)) }
        let roles: [TradeRole] = [.buyer, .seller] + contract.arbiters.indices.map { .arbiter($0) }
        for role in roles {
            guard let party = contract.party(role), !attestations.contains(where: { attests($0, party, contract) })
            else { continue }
            findings.append(.unattested(role))
        }
        return DossierVerdict(dossier: dossier, findings: findings)
    }
}

extension DossierFile {
    /// With attestations as members' nodes make them (``TradeAttestation``).
    package func verified(under charter: Charter) -> DossierVerdict? {
        let verdict = verified(under: charter.digest) { bytes, party, contract in
            (try? TradeAttestation(bytes: bytes))?.shows(party, in: contract.community) ?? false
        }
        guard let verdict, !verdict.dossier.contract.keeps(charter.market) else { return verdict }
        return DossierVerdict(dossier: verdict.dossier, findings: verdict.findings + [.againstCharter])
    }
}

extension DossierVerdict.Finding {
    package var sentence: String {
        switch self {
        case .unsigned: "the seller's signature under the contract is wrong"
        case .otherCharter: "the contract was made under another charter"
        case .againstCharter: "the contract's deadlines, arbiters or exposure aren't the charter's"
        case .badCertificates: "certificates of the witnesses are wrong and don't count"
        case .otherProof: "the certificates are of another contract and don't count"
        case .badEvents(let count): "\(count) event\(count == 1 ? "" : "s") of wrong signature, not counted"
        case .unattested(let role): "nothing shows whose the key of \(role.name) is"
        }
    }
}
