// SPDX-License-Identifier: Apache-2.0
public import Foundation

/// What may be asked of one's trades. A trade is named by its id, or by how that begins.
public enum TradeCommand: Sendable, Codable {
    case offer(listing: String, TradeProposal)
    /// Other terms, by either side.
    case counter(trade: String, TradeProposal)
    /// Agrees to the other's terms. The seller's word reserves the unit.
    case accept(trade: String)
    case act(trade: String, TradeAct)
    case status(trade: String)
    /// - Parameter all: also those that are over.
    case list(all: Bool)
    /// Writes the dossier to a file, from which anybody can check it.
    case export(trade: String, path: String)
}

/// Terms, as they are typed; what is nil is as it was said before.
public struct TradeProposal: Hashable, Sendable, Codable {
    /// For all of it, with delivery, such as "3200.00".
    public var price: String?
    /// In person, domestic, region or worldwide.
    public var delivery: String?
    /// How long the way takes at most.
    public var transportDays: Int?
    /// How to pay.
    public var payment: String?
    public var note: String?

    public init() {}
}

/// A step of a trade.
public enum TradeAct: Hashable, Sendable, Codable {
    /// The buyer signs the contract. - Parameter destination: where the goods go.
    case sign(destination: String)
    case paid(way: String, reference: String)
    case received(text: String)
    case ship(carrier: String, tracking: String)
    /// The goods are here.
    case receipt(text: String)
    /// A carrier says that they are.
    case proof(carrier: String, tracking: String)
    case complete(text: String)
    case cancel(text: String)
    case refund(way: String, reference: String)
    case dispute(reason: String, text: String)
    case answer(text: String)
    case acknowledge
    /// - Parameter outcome: release, refund, return, void, or the seller's share such as "60%".
    case rule(outcome: String, text: String)
    /// The other's last event can't be read, or is against the contract.
    case challenge(text: String)
    /// Shows a challenged event of one's own to the arbiters.
    case open
}

public struct TradeSummary: Hashable, Sendable, Codable {
    public var id: String
    public var title: String
    /// For all of it.
    public var price: String
    public var currency: String
    /// "buyer", "seller" or "arbiter".
    public var role: String
    public var buyer: String
    public var seller: String
    public var state: String
    /// Whose turn it is, by when, and what happens otherwise: one sentence.
    public var turn: String
    /// What this member may do now, as commands.
    public var acts: [String]
    public var deadline: Date?
    public var isOver: Bool
    /// What was said and registered so far, a line each. Only when one trade is asked for.
    public var history: [String]
}
