// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
import TuttiCommunityCore
package import TuttiJournal
import TuttiWitness

import struct NIOCore.ByteBuffer

/// Whose a key of a contract is, shown to somebody who has nothing but the file: the card by which a device names the key as its
/// member's, and the entry by which the member's key names the device.
///
/// Canonical protobuf: 1 card (``PartyCard``), 2 the device's founding, join or certificate, as an entry with its body.
package struct TradeAttestation: Hashable, Sendable {
    package let card: PartyCard
    package let introduction: Entry

    package init(card: PartyCard, introduction: Entry) {
        self.card = card
        self.introduction = introduction
    }

    package init(bytes: [UInt8]) throws(DecodeError) {
        guard bytes.count <= TradeLimits.attestationBytesMax else {
            throw .tooLarge("attestation", limit: TradeLimits.attestationBytesMax)
        }
        var reader = try BodyReader(bytes)
        var message = try reader.message(1, "card")
        card = try PartyCard(from: &message)
        try message.end("card")
        var buffer = ByteBuffer(
            bytes: try reader.bytes(2, countMax: TradeLimits.attestationBytesMax, "introduction of a device"))
        introduction = try Entry(from: &buffer)
        try reader.end("attestation")
        guard buffer.readableBytes == 0, self.bytes == bytes else { throw .malformed("attestation") }
    }

    package var bytes: [UInt8] {
        var buffer = ByteBuffer()
        buffer.write(1) { card.write(into: &$0) }
        buffer.write(2) { introduction.encode(into: &$0) }
        return Array(buffer.readableBytesView)
    }

    /// Costs up to four verifications.
    package func shows(_ party: TradeParty, in community: CommunityID) -> Bool {
        card.community == community && introduction.header.community == community && card.member == party.member
            && card.key == party.key && introduction.header.device == card.device
            && certificate.map { $0.member == card.member && $0.device == card.device } ?? false
            && card.isSignatureValid && GovernanceEntry.isAuthentic(introduction)
    }

    private var certificate: DeviceCertificate? {
        guard let entry = try? GovernanceEntry(introduction) else { return nil }
        switch entry.body {
        case .founding(let body): return body.certificate
        case .join(let body): return body.certificate
        case .deviceCertificate(let certificate): return certificate
        default: return nil
        }
    }
}
