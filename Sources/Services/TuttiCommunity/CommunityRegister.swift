// SPDX-License-Identifier: Apache-2.0
import Tutti
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal
import TuttiMarket
import TuttiNodeCore
import TuttiWitness

/// Who judges and who witnesses, as a command needs to know it.
extension CommunityNode {
    private static let pageMax = 256

    /// From the disk: what members have published, and what of it counts.
    func marketRoster() async throws -> (roster: MarketRoster, state: CommunityState) {
        let (community, state, devices) = try await read { port in
            (port.journal.community, port.community.state, port.community.roster.devices)
        }
        var roster = MarketRoster(community: community)
        for kind in [EntryKind.arbiterConsent, .witnessCard] {
            var after: UInt64 = 0
            while case .arrivals(let page, let last) = await host.writer.answer(
                .ofKind(kind, after: after, countMax: Self.pageMax, bytesMax: 1 << 20)), !page.isEmpty
            {
                for stored in page where devices[stored.entry.header.device]?.isVoid(stored.entry.point) == false {
                    _ = roster.insert(stored)
                }
                after = last
            }
        }
        return (roster, state)
    }

    /// Nil: the community has none yet.
    func witnessSet() async throws -> WitnessSet? {
        let (roster, state) = try await marketRoster()
        return roster.witnessSet(state)
    }

    func arbitrate(fee: Int, languages: [String], cap: Int64, days: Int) async throws {
        let until = days <= 0 ? 0 : configuration.wallClock() + UInt64(clamping: days) * 86_400_000
        let terms = ArbiterConsent.Terms(
            feePermille: fee, languages: Set(languages.map { $0.lowercased() }).sorted(), cap: cap, validUntil: until)
        guard terms.isWellFormed else {
            throw CommunityError(
                .invalidInput,
                "a fee is 0 to \(StandingLimits.feePermilleMax) thousandths, a language a tag such as en, and a cap at "
                    + "most \(MarketLimits.unitsMax) units")
        }
        let member = settings.member
        guard try await read({ port in member.map { port.community.state.may(.arbitrate, $0) } ?? false }) else {
            throw CommunityError(
                .notAllowed, "your roles don't let you judge: ask an admin for `tutti community grant NAME arbiter`")
        }
        let secret = try await marketSecret()
        try await actAlone { port, device in
            let community = port.journal.community
            let consent = ArbiterConsent(
                terms, in: community, device: device, key: secret.keyPair(for: .arbiter(community)))
            return EntryDraft(
                kind: .arbiterConsent, retention: .year, body: consent.bytes, governance: port.community.head)
        }
    }
}
