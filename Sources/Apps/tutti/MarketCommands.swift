// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import TuttiCommunity

struct MarketGroup: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "market",
        abstract: "Offer things, and find what others offer.",
        discussion: """
            Listings lie on every node of the community, so search needs nobody else. A
            listing is named by how its id begins.

            Examples:
              tutti market list "Fender Jaguar 1963" --category guitars --condition good \\
                --price 3200 --currency EUR --delivery "domestic=25" --delivery "in person"
              tutti market search jaguar --currency EUR --max 4000
              tutti market show 3fa9c2d1
              tutti market end 3fa9c2d1 --sold
            """,
        subcommands: [
            List.self, Search.self, Show.self, Revise.self, End.self, Categories.self, Import.self, Export.self,
            Arbitrate.self,
        ],
        defaultSubcommand: Search.self)
}

extension MarketGroup {
    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Offer something.")
        @Argument(help: "The title.") var title: String
        @Option(help: "What is to be known of it.") var text = ""
        @Option(help: "Such as guitars.") var category: String
        @Option(
            help: "brand new, mint, excellent, very good, good, fair, poor or non functioning.") var condition: String
        @Option(help: "Of one, such as 3200 or 49.50.") var price: String
        @Option(help: "ISO 4217, such as EUR.") var currency: String
        @Option(help: "How many of the same.") var quantity = 1
        @Option(help: "domestic, region, worldwide with =COST, or in person; may be repeated.")
        var delivery: [String] = []
        @Option(help: "For so many days, 30 at most.") var days = 30
        @Option(help: "Your own name for it.") var reference = ""
        @OptionGroup var options: CommunityOptions

        func run() async throws {
            let draft = ListingDraft(
                title: title, text: text, category: category, condition: condition, price: price, currency: currency,
                quantity: quantity, delivery: delivery, days: days, reference: reference)
            try await options.ask(.market(.list(draft)))
        }
    }

    struct Search: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "What is offered, best match first.")
        @Argument(help: "Words, each whole or as the beginning of a word.") var words: [String] = []
        @Option(help: "Only of this category.") var category: String?
        @Option(help: "Only in this condition; may be repeated.") var condition: [String] = []
        @Option(help: "Only in this currency.") var currency: String?
        @Option(name: .customLong("min"), help: "The lowest price.") var priceMin: String?
        @Option(name: .customLong("max"), help: "The highest price.") var priceMax: String?
        @Option(help: "Only of this member.") var seller: String?
        @Flag(help: "Also what is sold, taken back, expired or hidden.") var all = false
        @Option(help: "best, newest, cheapest or dearest.") var order = "best"
        @Option(help: "At most so many.") var count = 50
        @Option(help: "Go on behind this listing.") var after: String?
        @OptionGroup var options: CommunityOptions

        func run() async throws {
            var search = ListingSearch()
            search.words = words.joined(separator: " ")
            search.category = category
            search.conditions = condition
            search.currency = currency
            search.priceMin = priceMin
            search.priceMax = priceMax
            search.seller = seller
            search.all = all
            guard let order = ListingSearch.Order(rawValue: order) else {
                throw ValidationError("--order is best, newest, cheapest or dearest")
            }
            search.order = order
            search.count = count
            search.after = after
            try await options.ask(.market(.search(search)))
        }
    }

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "All that is said of one listing.")
        @Argument(help: "How its id begins.") var listing: String
        @OptionGroup var options: CommunityOptions
        func run() async throws { try await options.ask(.market(.show(listing: listing))) }
    }

    struct Revise: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Change a listing of yours; what isn't named stays as it is.")
        @Argument(help: "How its id begins.") var listing: String
        @Option(help: "The title.") var title: String?
        @Option(help: "What is to be known of it.") var text: String?
        @Option(help: "Such as guitars.") var category: String?
        @Option(help: "As for list.") var condition: String?
        @Option(help: "Of one.") var price: String?
        @Option(help: "How many are left.") var quantity: Int?
        @Option(help: "All ways, as for list.") var delivery: [String] = []
        @Option(help: "For so many days from now.") var days: Int?
        @OptionGroup var options: CommunityOptions

        func run() async throws {
            var change = ListingChange()
            change.title = title
            change.text = text
            change.category = category
            change.condition = condition
            change.price = price
            change.quantity = quantity
            change.delivery = delivery.isEmpty ? nil : delivery
            change.days = days
            try await options.ask(.market(.revise(listing: listing, change)))
        }
    }

    struct End: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Take a listing of yours back.")
        @Argument(help: "How its id begins.") var listing: String
        @Flag(help: "It was sold.") var sold = false
        @OptionGroup var options: CommunityOptions
        func run() async throws { try await options.ask(.market(.end(listing: listing, sold: sold))) }
    }

    struct Categories: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "What kinds of things are offered, and how many.")
        @OptionGroup var options: CommunityOptions
        func run() async throws { try await options.ask(.market(.categories)) }
    }
}
