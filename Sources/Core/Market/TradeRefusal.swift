// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
import TuttiWitness

/// Why an event has no effect. It is kept and shown all the same.
package enum TradeRefusal: Hashable, Sendable {
    /// Of another trade.
    case otherTrade
    /// A signature isn't by the key that the contract names for its role.
    case badSignature
    /// Nobody in this role may say this here.
    case wrongRole
    /// Nobody may.
    case notNow
    /// The other's signature is missing.
    case halfSigned
    /// Its slot comes later: it waits.
    case early
    /// Its slot holds NO-EVENT.
    case late
    /// Its slot holds another event.
    case superseded
    /// It builds on another event than the last.
    case wrongPrevious
    case againstContract(ContractBreach)
    /// The trade is over.
    case over
    /// A change of mode that names another certificate than there is.
    case wrongCertificate
    /// Two were signed where one may be: neither counts before a ruling.
    case contradiction
    /// As many are kept as there may be.
    case full

    package var sentence: String {
        switch self {
        case .otherTrade: "belongs to another trade"
        case .badSignature: "isn't signed with the key that the contract names"
        case .wrongRole: "isn't this role's to say"
        case .notNow: "has no place here"
        case .halfSigned: "needs the other side's signature too"
        case .early: "waits for what comes before it"
        case .late: "came too late: its slot was closed empty"
        case .superseded: "came second: its slot holds another event"
        case .wrongPrevious: "builds on another event than the last"
        case .againstContract(let breach): breach.sentence
        case .over: "came after the end"
        case .wrongCertificate: "names another certificate than there is"
        case .contradiction: "contradicts another that was signed for the same place"
        case .full: "is one too many to keep"
        }
    }
}

/// What of an event the contract doesn't allow: reason to challenge it.
package enum ContractBreach: Hashable, Sendable {
    /// Not the price, or more than it.
    case wrongSum
    /// Nothing to send to.
    case noDestination
    /// Neither a number nor evidence.
    case noTracking
    /// Not the event that was challenged.
    case notTheChallenged
    /// Registered for another place, kind or author than it says itself.
    case misplaced

    package var sentence: String {
        switch self {
        case .wrongSum: "names another sum than the contract"
        case .noDestination: "names nothing to send to"
        case .noTracking: "names neither a tracking number nor evidence"
        case .notTheChallenged: "opens another event than the one that was challenged"
        case .misplaced: "says another place, kind or author than it was registered with"
        }
    }
}

extension Contract {
    /// Why the contract refuses what an event says, if it does; its place and its signers aside.
    /// - Parameter challenged: the hash of the event to open, for an opening.
    package func breach(of event: TradeEvent, challenged: Bytes32?) -> ContractBreach? {
        switch event.body {
        case .contract(let destination):
            terms.delivery != .inPerson && destination.allSatisfy(\.isWhitespace) ? .noDestination : nil
        case .payment(let payment):
            if payment.sum.currency != terms.price.currency {
                .wrongSum
            } else if event.kind == .step(.paid) {
                payment.sum == terms.price ? nil : .wrongSum
            } else {
                (1...terms.price.amount).contains(payment.sum.amount) ? nil : .wrongSum
            }
        case .shipment(let shipment):
            shipment.tracking.isEmpty && shipment.evidence.isEmpty ? .noTracking : nil
        case .opening(let bytes):
            (try? TradeEvent(bytes: bytes))?.hash == challenged && challenged != nil ? nil : .notTheChallenged
        case .offer, .counter, .accept, .words, .mode: nil
        }
    }
}
