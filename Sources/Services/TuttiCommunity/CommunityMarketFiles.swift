// SPDX-License-Identifier: Apache-2.0
import Foundation
import Tutti
import TuttiBase
import TuttiCommunityCore
import TuttiJournal
import TuttiMarket
import TuttiNodeCore
import TuttiWitness

/// One's own listings from files and to files.
extension CommunityNode {
    private static let fileBytesMax = 64 << 20
    private static let rowsMax = 1_000
    /// Entries that are written, or read, at once.
    private static let batchMax = 64

    func importListings(_ order: ListingsFile) async throws -> ImportSummary {
        guard let size = try? FileManager.default.attributesOfItem(atPath: order.path)[.size] as? Int,
            let data = FileManager.default.contents(atPath: order.path)
        else { throw CommunityError(.notFound, "the file \(order.path) can't be read: check its name and mode") }
        guard size <= Self.fileBytesMax else {
            throw CommunityError(.tooLarge, "the file is over \(Self.fileBytesMax) bytes: cut it in pieces")
        }
        let now = configuration.wallClock()
        let sheet = try ListingsSheet(data, names: order.columns, defaults: order.defaults, now: now)
        let plan = ListingsImport(sheet, existing: try await ownListings(open: false), now: now)
        var summary = ImportSummary(
            rows: sheet.rowsCount, listed: 0, revised: 0, withdrawn: 0, unchanged: plan.unchanged, ended: plan.ended,
            problems: plan.problems.map(\.description), ignored: sheet.ignored, isDone: false)
        for act in plan.acts {
            switch act {
            case .list: summary.listed += 1
            case .revise: summary.revised += 1
            case .withdraw: summary.withdrawn += 1
            }
        }
        guard !order.isDryRun, plan.problems.isEmpty || order.skipsBad else { return summary }
        let (secret, witnesses) = (try await marketSecret(), try await witnessSet())
        for start in stride(from: 0, to: plan.acts.count, by: Self.batchMax) {
            let acts = plan.acts[start..<min(start + Self.batchMax, plan.acts.count)]
            let drafts = try acts.map { try Self.body(of: $0, secret, witnesses) }
            try await act { port, _ in
                drafts.map {
                    EntryDraft(kind: $0, retention: .year, body: $1, governance: port.community.head)
                }
            }
        }
        summary.isDone = true
        return summary
    }

    private static func body(
        of act: ListingsImport.Act, _ secret: MarketSecret, _ witnesses: WitnessSet?
    ) throws -> (EntryKind, [UInt8]) {
        switch act {
        case .list(let terms):
            guard let body = ListingBody(stub: stub(of: terms, secret, witnesses), terms: terms) else { break }
            return (.listing, body.bytes)
        case .revise(let listing, let terms):
            guard let body = ListingRevisionBody(listing: listing, terms: terms) else { break }
            return (.listingRevision, body.bytes)
        case .withdraw(let listing):
            guard let body = ListingEndBody(listing: listing, outcome: .withdrawn) else { break }
            return (.listingEnd, body.bytes)
        }
        throw CommunityError(.invalidInput, "no listing can say that")
    }

    /// What witnesses are to know of a new listing. A listing is for the witnesses of its day for ever; what was listed when
    /// there were none can't be reserved.
    static func stub(of terms: ListingTerms, _ secret: MarketSecret, _ witnesses: WitnessSet?) -> UnitStub {
        var source = KeySource.system
        let nonce = source.nextBytes32()
        return UnitStub(
            seller: secret.keyPair(for: .listing(nonce: nonce)).tradeKey,
            witnesses: witnesses?.id ?? WitnessSetID(.zero),
            quantity: terms.quantity, nonce: nonce)
    }

    /// - Returns: how many.
    func exportListings(to path: String, asJSON: Bool) async throws -> Int {
        let terms = try await ownListings(open: true).map(\.terms)
        let text = asJSON ? try ListingsExport.jsonLines(terms) : ListingsExport.csv(terms)
        do {
            try Data(text.utf8).write(to: URL(fileURLWithPath: path), options: .atomic)
        } catch {
            throw CommunityError(.folder, "the file \(path) can't be written: check its folder and mode")
        }
        return terms.count
    }

    /// Oldest first.
    private func ownListings(open: Bool) async throws -> [ListingsImport.Existing] {
        guard let member = settings.member else { throw CommunityError.noDevice }
        var query = ListingQuery()
        query.seller = member
        query.states = open ? [.open] : ListingState.allCases
        query.countMax = Self.rowsMax
        var rows: [ListingRow] = []
        while true {
            let page = try await listings(.listings(query))
            guard let last = page.last else { break }
            rows += page
            query.after = last.id
        }
        var all: [ListingsImport.Existing] = []
        for start in stride(from: 0, to: rows.count, by: Self.batchMax) {
            let part = rows[start..<min(start + Self.batchMax, rows.count)]
            let terms = try await terms(of: Array(part))
            all += zip(part, terms).map { ListingsImport.Existing(row: $0, terms: $1) }
        }
        return all.reversed()
    }
}
