// SPDX-License-Identifier: Apache-2.0
import Foundation
import TuttiBase
import TuttiJournal
import TuttiMarket
import TuttiSimulator
import TuttiStorage
import TuttiWitness

/// A market: entries that list made-up instruments of many sellers, and their rows, written in batches of 500.
struct Shelving {
    static let now: UInt64 = 1_800_000_000_000
    private static let sellersCount = 500
    private static let month = UInt64(30 * 86_400_000)

    let path: String
    let count: Int

    func run() async throws {
        let journal = try SQLiteJournal(path: path)
        var catalogue = SampleCatalogue(seed: 1, now: Self.now)
        var generator = SeededGenerator(seed: 2)
        var fold = ListingFold()
        let sellers = (0..<Self.sellersCount).map { _ in generator.nextBytes32() }
        var heads: [Bytes32: FeedPoint] = [:]
        let took = try await seconds {
            for start in stride(from: 0, to: count, by: 500) {
                var batch = JournalBatch()
                for number in start..<min(count, start + 500) {
                    let seller = sellers[Int(generator.next(upperBound: UInt(Self.sellersCount)))]
                    // All of the last month, the oldest first.
                    let time = Self.now - Self.month + UInt64(number) * Self.month / UInt64(count)
                    let body = try Self.body(&catalogue, &generator)
                    let entry = Self.entry(body, of: seller, after: heads[seller] ?? .start, at: time, &generator)
                    heads[seller] = entry.point
                    batch.entries.append(StoredEntry(entry, firstSeen: HybridTime(milliseconds: time)))
                }
                let arrivals = batch.entries.compactMap {
                    ListingArrival($0, author: MemberID($0.entry.header.device.bytes))
                }
                batch.rows = fold.rows(for: arrivals, existing: [])
                batch.feeds = heads.map { device, head in
                    FeedRecord(device: DeviceID(device), low: .first, head: head, isFrozen: false)
                }
                try journal.write(batch)
            }
        }
        try journal.close()
        let bytes = try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int ?? 0
        print(
            String(
                format: "{\"listings\":%d,\"fill_s\":%.1f,\"listings_per_s\":%.0f,\"file_MB\":%.0f}", count, took,
                Double(count) / took, Double(bytes) / 1e6))
    }

    private static func body(
        _ catalogue: inout SampleCatalogue, _ generator: inout SeededGenerator
    ) throws -> [UInt8] {
        let terms = catalogue.next()
        let stub = UnitStub(
            seller: TradeKey(generator.nextBytes32()), witnesses: WitnessSetID(generator.nextBytes32()),
            quantity: terms.quantity, nonce: generator.nextBytes32())
        guard let body = ListingBody(stub: stub, terms: terms) else {
            throw JournalError(description: "the catalogue has what nobody can list: \(terms)")
        }
        return body.bytes
    }

    private static func entry(
        _ body: [UInt8], of device: Bytes32, after head: FeedPoint, at time: UInt64,
        _ generator: inout SeededGenerator
    ) -> Entry {
        let content = Entry.Content(salt: generator.nextBytes32(), body: body)
        let header = EntryHeader(
            kind: .listing, isCritical: false, retention: .year, bodyBytesCount: body.count,
            sequence: head.sequence.next, time: HybridTime(milliseconds: time),
            community: CommunityID(Bytes32(words: (7, 7, 7, 7))), device: DeviceID(device), previous: head.id,
            governance: .none, bodyDigest: content.digest)
        let signature = (0..<64).map { _ in UInt8(truncatingIfNeeded: generator.next()) }
        return Entry(stored: header, signature: signature, content: content)
    }
}

/// What people ask of a market: words, most of them also with filters, in every order; and looks without words.
struct Shopping {
    private static let commonWords = ["the", "is", "and", "of", "my", "it", "was", "for"]

    let path: String

    func run() async throws {
        var journal: SQLiteJournal?
        let open = try await seconds {
            let opened = try SQLiteJournal(path: path)
            guard case .opening(let opening) = opened.answer(.opening), !opening.feeds.isEmpty else {
                throw JournalError(description: "the folder is not filled")
            }
            journal = opened
        }
        guard let journal else { return }
        var catalogue = SampleCatalogue(seed: 99, now: Shelving.now)
        var generator = SeededGenerator(seed: 77)
        var (searches, looks, common): ([Double], [Double], [Double]) = ([], [], [])
        var worst = (ms: 0.0, text: "")
        var found = 0
        for number in 0..<2_000 {
            let query = Self.query(number, catalogue.next(), &generator)
            let took =
                await seconds {
                    if case .listings(let rows) = journal.answer(.listings(query)) { found += rows.count }
                } * 1_000
            if query.words.isEmpty { looks.append(took) } else { searches.append(took) }
            if number % 20 == 3 { common.append(took) }
            if took > worst.ms {
                worst = (took, "\(query.words) \(query.order) \(query.category ?? "") \(query.conditions.count)")
            }
        }
        let categories = await seconds {
            _ = journal.answer(.listingCategories(unexpiredAt: Shelving.now, countMax: 1_000))
        }
        (searches, looks, common) = (searches.sorted(), looks.sorted(), common.sorted())
        print(
            String(
                format: "{\"open_s\":%.3f,\"private_dirty_MiB\":%.1f,\"found\":%d,\"search_p50_ms\":%.2f,"
                    + "\"search_p95_ms\":%.2f,\"common_p50_ms\":%.2f,\"look_p50_ms\":%.2f,\"look_p95_ms\":%.2f,"
                    + "\"categories_ms\":%.1f,\"max_ms\":%.2f,\"worst\":\"%@\"}",
                open, try Opening.privateDirtyMiB(), found, searches.percentile(0.5), searches.percentile(0.95),
                common.percentile(0.5), looks.percentile(0.5), looks.percentile(0.95), categories * 1_000, worst.ms,
                worst.text))
    }

    /// Of twenty: four looks without words, one of words that nearly every listing has; a third of the words are typed in
    /// part.
    private static func query(
        _ number: Int, _ like: ListingTerms, _ generator: inout SeededGenerator
    ) -> ListingQuery {
        var query = ListingQuery()
        query.unexpiredAt = Shelving.now
        query.countMax = 20
        let kind = number % 20
        if kind == 3 {
            query.words = commonWords.prefix(1 + number / 20 % 8).joined(separator: " ")
        } else if kind > 3 {
            let words = like.title.split { !$0.isLetter && !$0.isNumber }
            query.words = (0..<(1 + number % 3)).map { _ in
                let word = words[Int(generator.next(upperBound: UInt(words.count)))]
                return String(generator.next(upperBound: UInt(3)) == 0 ? word.prefix(3) : word)
            }.joined(separator: " ")
        }
        query.order = ListingQuery.Order.allCases[number / 7 % 4]
        if number % 2 == 0 { query.category = like.category }
        if number % 3 == 0 { query.conditions = [.mint, .excellent] }
        if number % 5 < 2 || query.order == .cheapest {
            query.currency = like.currency.text
            if number % 5 == 0 { query.prices = like.price / 2...like.price * 2 }
        }
        return query
    }
}
