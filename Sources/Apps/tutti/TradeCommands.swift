// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import TuttiCommunity

struct TradeGroup: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trade",
        abstract: "Buy and sell: a signed file that both sides hold, and that ends whoever is gone.",
        discussion: """
            The software never holds money: it keeps what both say of their payments, and
            the witnesses of the community say what came in time. A trade is named by how
            its id begins; status says whose turn it is.

            Examples:
              tutti trade offer 3fa9c2d1 --price 3000      (the buyer, for a listing)
              tutti trade accept 77b0e1                    (the seller: the unit is reserved)
              tutti trade sign 77b0e1 --to "12 High Street"
              tutti trade paid 77b0e1 --way bank --reference "bass 77b0"
              tutti trade status 77b0e1
            """,
        subcommands: [
            Offer.self, Counter.self, Accept.self, Sign.self, Paid.self, Received.self, Ship.self, Receipt.self,
            Proof.self, Complete.self, Cancel.self, Refund.self, Dispute.self, Answer.self,
            Acknowledge.self, Rule.self, Challenge.self, Open.self, Status.self, List.self, Export.self,
        ],
        defaultSubcommand: List.self)
}

/// What is proposed; what isn't named is as the listing or the other side has it.
struct ProposalOptions: ParsableArguments {
    @Option(help: "For all of it, with delivery.") var price: String?
    @Option(help: "in person, domestic, region or worldwide.") var delivery: String?
    @Option(help: "How many days the way takes at most.") var transportDays: Int?
    @Option(help: "How to pay.") var payment: String?
    @Option(help: "What else is to be agreed.") var note: String?

    var proposal: TradeProposal {
        var proposal = TradeProposal()
        proposal.price = price
        proposal.delivery = delivery
        proposal.transportDays = transportDays
        proposal.payment = payment
        proposal.note = note
        return proposal
    }
}

/// Which trade.
struct TradeOptions: ParsableArguments {
    @Argument(help: "How the trade's id begins.") var trade: String
    @OptionGroup var options: CommunityOptions

    func act(_ act: TradeAct) async throws { try await options.ask(.trade(.act(trade: trade, act))) }
}

extension TradeGroup {
    struct Offer: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Offer to buy one of what is listed.")
        @Argument(help: "How the listing's id begins.") var listing: String
        @OptionGroup var terms: ProposalOptions
        @OptionGroup var options: CommunityOptions
        func run() async throws { try await options.ask(.trade(.offer(listing: listing, terms.proposal))) }
    }

    struct Counter: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Answer with other terms.")
        @OptionGroup var terms: ProposalOptions
        @OptionGroup var trade: TradeOptions
        func run() async throws {
            try await trade.options.ask(.trade(.counter(trade: trade.trade, terms.proposal)))
        }
    }

    struct Accept: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Agree to the other's terms; the seller's word reserves the thing for the buyer.")
        @OptionGroup var trade: TradeOptions
        func run() async throws { try await trade.options.ask(.trade(.accept(trade: trade.trade))) }
    }

    struct Status: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Whose turn it is, by when, and what happens otherwise.")
        @OptionGroup var trade: TradeOptions
        func run() async throws { try await trade.options.ask(.trade(.status(trade: trade.trade))) }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Your trades, and those that you judge.")
        @Flag(help: "Also those that are over.") var all = false
        @OptionGroup var options: CommunityOptions
        func run() async throws { try await options.ask(.trade(.list(all: all))) }
    }

    struct Export: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Write a trade's dossier to a file; who has it can check it, and read it.")
        @OptionGroup var trade: TradeOptions
        @Argument(help: "The file.", completion: .file()) var path: String
        func run() async throws {
            try await trade.options.ask(.trade(.export(trade: trade.trade, path: Console.path(path))))
        }
    }
}
