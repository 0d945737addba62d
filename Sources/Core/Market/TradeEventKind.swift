// SPDX-License-Identifier: Apache-2.0
package import TuttiWitness

/// What an event of a trade is: a step that witnesses register, or something between the parties alone. The number is
/// signed and never changes its meaning; those of steps are their own.
package enum TradeEventKind: Hashable, Sendable {
    case step(StepKind)
    /// What the buyer would agree to.
    case offer
    /// What the other would.
    case counter
    /// The seller's signature under the whole contract; witnesses reserve the unit by it.
    case accept
    /// The trade goes on without witnesses.
    case mode

    package init?(number: Int) {
        switch number {
        case 64: self = .offer
        case 65: self = .counter
        case 66: self = .accept
        case 67: self = .mode
        default:
            guard let number = UInt8(exactly: number), let kind = StepKind(rawValue: number) else { return nil }
            self = .step(kind)
        }
    }

    package var number: Int {
        switch self {
        case .step(let kind): Int(kind.rawValue)
        case .offer: 64
        case .counter: 65
        case .accept: 66
        case .mode: 67
        }
    }

    package static let numberMax = 67

    package var name: String {
        switch self {
        case .step(let kind): kind.name
        case .offer: "offer"
        case .counter: "counter-offer"
        case .accept: "acceptance of the offer"
        case .mode: "leave from the witnesses"
        }
    }
}

extension StepKind {
    package var name: String {
        switch self {
        case .contract: "contract"
        case .paid: "payment"
        case .received: "receipt of the money"
        case .shipped: "shipment"
        case .receipt: "receipt of the goods"
        case .carrierProof: "carrier's proof of delivery"
        case .accepted: "acceptance of the goods"
        case .cancel: "cancellation"
        case .refund: "refund"
        case .dispute: "dispute"
        case .answer: "answer"
        case .settlement: "settlement"
        case .acknowledgement: "arbiter's acknowledgement"
        case .ruling: "ruling"
        case .challenge: "challenge"
        case .opening: "opening"
        case .handover: "handover"
        }
    }
}
