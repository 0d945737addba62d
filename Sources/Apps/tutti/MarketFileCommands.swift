// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import TuttiCommunity

/// Many listings at once.
extension MarketGroup {
    struct Import: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List what a CSV file holds; the same file once more changes only what differs.",
            discussion: """
                The first line names the columns: title, category, condition, price and currency
                must be there, or be given by --default for all rows. Each bad row is named, and
                nothing is written unless all are good or --skip-bad is given.

                Examples:
                  tutti market import shop.csv --dry-run
                  tutti market import shop.csv --column title=Name --default currency=EUR
                """)
        @Argument(help: "The file.", completion: .file()) var path: String
        @Option(help: "What a column is called in the file: COLUMN=HEADER; may be repeated.")
        var column: [String] = []
        @Option(help: "For cells that are empty or missing: COLUMN=VALUE; may be repeated.")
        var `default`: [String] = []
        @Flag(help: "Say what would be done, and what is wrong; write nothing.") var dryRun = false
        @Flag(help: "Leave bad rows out.") var skipBad = false
        @OptionGroup var options: CommunityOptions

        func run() async throws {
            let file = ListingsFile(
                path: Console.path(path), columns: try Self.pairs(column), defaults: try Self.pairs(self.default),
                isDryRun: dryRun, skipsBad: skipBad)
            let isRefused = !dryRun && !skipBad
            try await options.ask(.market(.importFile(file))) { reply in
                guard isRefused, case .imported(let summary) = reply, !summary.problems.isEmpty else { return }
                for line in CommunityText.lines(reply) { Console.note(line) }
                throw ValidationError("nothing was written: mend these rows, or leave them out with --skip-bad")
            }
        }

        private static func pairs(_ texts: [String]) throws -> [String: String] {
            var pairs: [String: String] = [:]
            for text in texts {
                let parts = text.split(separator: "=", maxSplits: 1).map(String.init)
                guard parts.count == 2 else { throw ValidationError("'\(text)' is not NAME=VALUE") }
                pairs[parts[0]] = parts[1]
            }
            return pairs
        }
    }

    struct Export: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write your open listings to a file that import takes.")
        @Argument(help: "The file.", completion: .file()) var path: String
        @Flag(help: "One JSON object a line instead of CSV.") var jsonLines = false
        @OptionGroup var options: CommunityOptions
        func run() async throws {
            try await options.ask(.market(.exportFile(path: Console.path(path), jsonLines: jsonLines)))
        }
    }

    struct Arbitrate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Consent to judge: contracts may name you from now on.",
            discussion: """
                For members whose role lets them arbitrate. Say it again before it ends; with --days 0 it ends now.
                """)
        @Option(help: "Of the price, in thousandths.") var fee = 0
        @Option(help: "That you read, such as en; may be repeated.") var language: [String] = []
        @Option(help: "The most that a trade may be about, in the charter's units.") var cap: Int64 = 1_000_000
        @Option(help: "For how long.") var days = 180
        @OptionGroup var options: CommunityOptions
        func run() async throws {
            try await options.ask(.market(.arbitrate(feePermille: fee, languages: language, cap: cap, days: days)))
        }
    }
}
