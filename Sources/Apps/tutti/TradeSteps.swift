// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import TuttiCommunity

/// A payment or a refund, as it is told.
struct PaymentOptions: ParsableArguments {
    @Option(help: "How: bank, card, cash, …") var way: String
    @Option(help: "By which the other finds it.") var reference = ""
}

struct CarrierOptions: ParsableArguments {
    @Option(help: "Who carries it.") var carrier: String
    @Option(help: "The carrier's number for it.") var tracking = ""
}

struct WordsOptions: ParsableArguments {
    @Option(help: "In words.") var text = ""
}

/// The steps of a trade after the agreement, in the order in which they mostly come.
extension TradeGroup {
    struct Sign: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Sign the contract; for the buyer.")
        @Option(name: .customLong("to"), help: "Where the goods go; only the seller can read it.") var destination = ""
        @OptionGroup var trade: TradeOptions
        func run() async throws { try await trade.act(.sign(destination: destination)) }
    }

    struct Paid: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Say that you have paid.")
        @OptionGroup var payment: PaymentOptions
        @OptionGroup var trade: TradeOptions
        func run() async throws { try await trade.act(.paid(way: payment.way, reference: payment.reference)) }
    }

    struct Received: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Say that the money is here.")
        @OptionGroup var words: WordsOptions
        @OptionGroup var trade: TradeOptions
        func run() async throws { try await trade.act(.received(text: words.text)) }
    }

    struct Ship: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Say that the goods are on their way.")
        @OptionGroup var way: CarrierOptions
        @OptionGroup var trade: TradeOptions
        func run() async throws { try await trade.act(.ship(carrier: way.carrier, tracking: way.tracking)) }
    }

    struct Receipt: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Say that the goods are here.")
        @OptionGroup var words: WordsOptions
        @OptionGroup var trade: TradeOptions
        func run() async throws { try await trade.act(.receipt(text: words.text)) }
    }

    struct Proof: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Show a carrier's proof that the goods arrived; for the seller.")
        @OptionGroup var way: CarrierOptions
        @OptionGroup var trade: TradeOptions
        func run() async throws { try await trade.act(.proof(carrier: way.carrier, tracking: way.tracking)) }
    }

    struct Complete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Accept the goods, or the money that came back.")
        @OptionGroup var words: WordsOptions
        @OptionGroup var trade: TradeOptions
        func run() async throws { try await trade.act(.complete(text: words.text)) }
    }

    struct Cancel: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Call it off, when the buyer hasn't paid in time.")
        @OptionGroup var words: WordsOptions
        @OptionGroup var trade: TradeOptions
        func run() async throws { try await trade.act(.cancel(text: words.text)) }
    }

    struct Refund: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Say that the money went back.")
        @OptionGroup var payment: PaymentOptions
        @OptionGroup var trade: TradeOptions
        func run() async throws { try await trade.act(.refund(way: payment.way, reference: payment.reference)) }
    }

    struct Dispute: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Call the arbiter, who then reads the whole dossier.")
        @Option(
            help: "not-paid, not-confirmed, not-shipped, not-received, not-as-described or not-refunded.")
        var reason: String
        @OptionGroup var words: WordsOptions
        @OptionGroup var trade: TradeOptions
        func run() async throws { try await trade.act(.dispute(reason: reason, text: words.text)) }
    }

    struct Answer: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Answer a dispute.")
        @OptionGroup var words: WordsOptions
        @OptionGroup var trade: TradeOptions
        func run() async throws { try await trade.act(.answer(text: words.text)) }
    }

    struct Acknowledge: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Take the case; for the arbiter who is called.")
        @OptionGroup var trade: TradeOptions
        func run() async throws { try await trade.act(.acknowledge) }
    }

    struct Rule: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Rule; for the arbiter who took the case.")
        @Option(help: "release, refund, return, void, or the seller's share such as 60%.") var outcome: String
        @OptionGroup var words: WordsOptions
        @OptionGroup var trade: TradeOptions
        func run() async throws { try await trade.act(.rule(outcome: outcome, text: words.text)) }
    }

    struct Challenge: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Say that the other's last step can't be read or is against the contract.")
        @OptionGroup var words: WordsOptions
        @OptionGroup var trade: TradeOptions
        func run() async throws { try await trade.act(.challenge(text: words.text)) }
    }

    struct Open: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Show your challenged step to the arbiters.")
        @OptionGroup var trade: TradeOptions
        func run() async throws { try await trade.act(.open) }
    }
}
