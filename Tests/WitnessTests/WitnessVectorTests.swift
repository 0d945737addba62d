// SPDX-License-Identifier: Apache-2.0
import Foundation
import Testing
import TuttiBase
import TuttiIdentity
import TuttiWitness

import struct NIOCore.ByteBuffer

/// `docs/protocols/witness/vectors.json`, for other implementations. Run with TUTTI_WRITE_VECTORS=1 to write it anew.
@Suite("The register's vectors") struct WitnessVectorTests {
    struct Vector: Codable, Equatable {
        let name: String
        /// What is signed or sent.
        let bytes: String
        /// Its digest, or the signature of the key named.
        let digest: String?
        let key: String?
        let signature: String?
    }

    private static func hex(_ bytes: some Sequence<UInt8>) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    private static func plain(_ name: String, _ body: some CanonicalBody, _ digest: Bytes32? = nil) -> Vector {
        Vector(
            name: name, bytes: hex(body.encoded.readableBytesView), digest: digest.map { hex($0.bytes) }, key: nil,
            signature: nil)
    }

    private static func signed(_ name: String, _ bytes: [UInt8], _ signer: TradeSigner) -> Vector {
        Vector(
            name: name, bytes: hex(bytes), digest: nil, key: hex(signer.key.bytes.bytes),
            signature: hex(signer.sign(bytes)))
    }

    static func vectors() throws -> [Vector] {
        let town = RegisterTown(clients: 0, isCheap: false)
        let deal = Deal(1, in: town.set, isCheap: false)
        let proof = deal.reserved(by: town.signers)
        let slot = Slot.step(deal.plan.trade, number: 1)
        let id = slot.id(in: town.set.id)
        let request = deal.stepRequest(.contract, by: [.buyer], after: proof)
        let value = SlotValue.event(request.step.digest.bytes)
        let silent = try #require(
            proof.appending(.silence, Deal.certificate(slot, .noEvent, by: town.signers, in: town.set)))
        let state = try #require(ExposureState().after(deal.debit(), cap: 1_000))
        let report = BallotReport(
            purpose: .ballot(Ballot(1)), lock: BallotValue(ballot: .first, value: value),
            views: [request.step.digest.bytes], hasPassed: true)
        let question = WitnessQuestion(
            set: town.set.id, slot: slot, evidence: .trade(proof),
            ask: .propose(Proposal(ballot: .first, value: value, request: .step(request))))
        return [
            plain("slot", slot, id.bytes), plain("stub", deal.stub, deal.stub.unit(0).bytes),
            plain("plan", deal.plan, deal.plan.digest), plain("step", request.step, request.step.digest.bytes),
            plain("exposure state", state, state.digest), plain("certificate of a reservation", proof.certificates[0]),
            plain("proof of a trade that lapsed", silent, silent.standing?.history.digest),
            plain("question", question), plain("answer: behind", WitnessAnswer.behind(3)),
            signed("vote", Statement.vote(id, .first, value).bytes, town.signers[0]),
            signed("commit for NO-EVENT", Statement.commit(id, Ballot(2), .noEvent).bytes, town.signers[1]),
            signed("report", report.signedBytes(id), town.signers[2]),
            signed("step by the buyer", request.step.digest.signedBytes, deal.buyer),
        ]
    }

    @Test("are what the code makes")
    func same() throws {
        let file = URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "../../docs/protocols/witness/vectors.json").standardized
        let made = try Self.vectors()
        if ProcessInfo.processInfo.environment["TUTTI_WRITE_VECTORS"] == "1" {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try encoder.encode(made).write(to: file)
        }
        #expect(try JSONDecoder().decode([Vector].self, from: Data(contentsOf: file)) == made)
    }

    @Test("are signed by the keys that they name")
    func signatures() throws {
        for vector in try Self.vectors() {
            guard let key = vector.key, let signature = vector.signature else { continue }
            func bytes(_ hex: String) -> [UInt8] {
                stride(from: 0, to: hex.utf8.count, by: 2).compactMap {
                    UInt8(hex.dropFirst($0).prefix(2), radix: 16)
                }
            }
            let check = SignatureCheck(
                key: TradeKey(try #require(Bytes32(bytes(key)))), message: bytes(vector.bytes),
                signature: bytes(signature))
            #expect(check.isValid)
        }
    }
}
