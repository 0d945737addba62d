// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity
import TuttiJournal
import TuttiMarket
import TuttiWitness

@Suite("Contracts and events of a trade")
struct TradeEventTests {
    typealias Fixture = TradeFixture

    static let everyEvent: [TradeEvent] = {
        let evidence = [TradeEvidence(kind: .photo, digest: Fixture.bytes32(1))]
        let shipped = Fixture.event(
            .step(.shipped), by: [.seller], number: 4, previous: Fixture.bytes32(3),
            .shipment(TradeShipment(carrier: "Post", tracking: "RX 123", evidence: evidence)))
        let offer = Fixture.offer()
        let mode = TradeModeChange(lastNumber: 3, history: Fixture.bytes32(9), text: "No witness answers.")
        var events = [
            offer, Fixture.counter(by: .seller, number: 1, after: offer), Fixture.acceptance(), shipped,
            Fixture.event(.mode, by: [.buyer, .seller], number: 4, .mode(mode)),
            Fixture.event(.step(.opening), by: [.seller], number: 6, .opening(shipped.bytes)),
            Fixture.event(
                .step(.ruling), by: [.arbiter(1)], number: 9, detail: TradeOutcome.split(permille: 250).detail,
                .words(TradeWords(text: "Both are right.", evidence: evidence, dossier: Fixture.bytes32(8)))),
        ]
        for kind in StepKind.allCases where ![.shipped, .opening, .ruling].contains(kind) {
            let roles: [TradeRole] =
                [.cancel, .settlement, .handover].contains(kind) ? [.buyer, .seller] : [.buyer]
            events.append(Fixture.event(.step(kind), by: roles, number: 2, Fixture.body(kind)))
        }
        return events
    }()

    @Test("have one encoding, whatever they say", arguments: everyEvent.indices)
    func roundTrip(index: Int) throws {
        let event = Self.everyEvent[index]
        let bytes = event.bytes
        #expect(try TradeEvent(bytes: bytes) == event)
        for count in bytes.indices {
            // What was signed by two can be cut to what was signed by one: the same event, half signed.
            guard let cut = try? TradeEvent(bytes: Array(bytes[..<count])) else { continue }
            #expect(cut.hash == event.hash && event.isComplete && !cut.isComplete)
        }
        #expect(throws: DecodeError.self) { try TradeEvent(bytes: bytes + [0x58, 0x01]) }
        #expect(bytes.count <= TradeLimits.eventBytesMax)
    }

    @Test("are refused with any bit turned, or are another event or wrongly signed")
    func damage() {
        let event = Fixture.event(.step(.paid), by: [.buyer], number: 2, Fixture.body(.paid))
        let keys: [TradeRole: TradeKey] = [.buyer: Fixture.party(.buyer).key]
        #expect(event.isSigned(by: keys))
        let bytes = event.bytes
        for position in bytes.indices {
            for bit in 0..<8 {
                var damaged = bytes
                damaged[position] ^= 1 << bit
                guard let read = try? TradeEvent(bytes: damaged) else { continue }
                #expect(read.bytes == damaged && read != event && !read.isSigned(by: keys))
            }
        }
    }

    @Test("keep their hash when the second author signs, and take no other's signature")
    func twoAuthors() throws {
        let whole = Fixture.event(.step(.cancel), by: [.buyer, .seller], number: 2, Fixture.body(.cancel))
        let half = try #require(
            TradeEvent(
                trade: Fixture.trade, number: 2, previous: .zero, kind: .step(.cancel), salt: Fixture.bytes32(0x5A),
                authors: [.buyer, .seller], body: Fixture.body(.cancel))
        ).signed(as: .seller, with: Fixture.key(.seller))
        #expect(half.hash == whole.hash && !half.isComplete && whole.isComplete)
        #expect(try TradeEvent(bytes: half.bytes) == half)
        #expect(half.signed(as: .buyer, with: Fixture.key(.buyer)) == whole)
        #expect(half.signed(as: .arbiter(0), with: Fixture.key(.arbiter(0))) == half)
        let paid = Fixture.event(.step(.paid), by: [.buyer], number: 2, Fixture.body(.paid))
        #expect(paid.signed(as: .seller, with: Fixture.key(.seller)) == paid)
    }

    @Test("can't be made of what can't be read")
    func impossible() {
        func event(_ kind: TradeEventKind, number: UInt32 = 1, detail: UInt16 = 0, _ body: TradeEventBody) -> Bool {
            TradeEvent(
                trade: Fixture.trade, number: number, previous: .zero, kind: kind, detail: detail, salt: .zero,
                authors: [.buyer], body: body) != nil
        }
        #expect(event(.step(.dispute), .words(TradeWords(text: "Why"))))
        #expect(!event(.step(.paid), .words(TradeWords())))
        #expect(!event(.step(.dispute), detail: 1, .words(TradeWords())))
        #expect(!event(.step(.ruling), detail: 4, .words(TradeWords())))
        #expect(!event(.step(.dispute), number: TradeLimits.stepsMax + 1, .words(TradeWords())))
        #expect(!event(.step(.dispute), .words(TradeWords(text: "\u{1B}[2J"))))
        let long = String(repeating: "x", count: TradeLimits.reasonsBytesMax + 1)
        #expect(!event(.step(.dispute), .words(TradeWords(text: long))))
    }

    @Test("of the greatest size that is allowed fit into what witnesses hold")
    func greatest() {
        let evidence = (0..<TradeLimits.evidenceMax).map {
            TradeEvidence(kind: .photo, digest: Fixture.bytes32(UInt8($0)))
        }
        let text = String(repeating: "é", count: TradeLimits.reasonsBytesMax / 2)
        let words = TradeWords(reason: .notReceived, text: text, evidence: evidence, dossier: Fixture.bytes32(1))
        let ruling = Fixture.event(.step(.settlement), by: [.buyer, .seller], number: 60, .words(words))
        #expect(ruling.bytes.count <= TradeLimits.eventBytesMax)
        let reference = String(repeating: "x", count: TradeLimits.referenceBytesMax)
        let payment = TradePayment(sum: Fixture.price, way: reference, reference: reference, evidence: evidence)
        let paid = Fixture.event(.step(.paid), by: [.buyer], number: 60, .payment(payment))
        let opening = Fixture.event(.step(.opening), by: [.buyer], number: 60, .opening(paid.bytes))
        #expect(opening.bytes.count <= TradeLimits.eventBytesMax)
        var terms = Fixture.terms
        terms.payment = String(repeating: "x", count: TradeLimits.textBytesMax)
        terms.note = terms.payment
        terms.title = String(repeating: "x", count: TradeLimits.titleBytesMax)
        terms.commitments = (0..<TradeLimits.commitmentsMax).map {
            ListingCommitment(kind: .photo, digest: Fixture.bytes32(UInt8($0)))
        }
        var contract = Fixture.contract(arbiters: 3)
        contract.terms = terms
        contract.witnesses = WitnessSet((0..<13).map { TradeKey(Fixture.bytes32($0)) }) ?? contract.witnesses
        #expect(contract.bytes.count <= TradeLimits.contractBytesMax)
        #expect((try? Contract(bytes: contract.bytes)) == contract)
    }

    @Test("A contract has one encoding, and its digest covers every bit of it")
    func contract() throws {
        let contract = Fixture.contract(arbiters: 3)
        let bytes = contract.bytes
        #expect(contract.isWellFormed)
        #expect(try Contract(bytes: bytes) == contract)
        for position in bytes.indices {
            #expect(throws: DecodeError.self) { try Contract(bytes: Array(bytes[..<position])) }
            var damaged = bytes
            damaged[position] ^= 1
            guard let read = try? Contract(bytes: damaged) else { continue }
            #expect(read.digest != contract.digest && read.bytes == damaged)
        }
    }

    @Test("A contract lets nobody act in two roles, nobody judge their own cause, and no trade outlast its bound")
    func contractRules() {
        func isRefused(_ change: (inout Contract) -> Void) -> Bool {
            var contract = Fixture.contract()
            change(&contract)
            return !contract.isWellFormed && (try? Contract(bytes: contract.bytes)) == nil
        }
        #expect(isRefused { $0.arbiters[1].key = $0.seller.key })
        #expect(isRefused { $0.arbiters[1].key = $0.arbiters[0].key })
        #expect(isRefused { $0.arbiters[0].member = $0.buyer.member })
        #expect(isRefused { $0.seller.key = $0.buyer.key })
        #expect(isRefused { $0.buyer.key = $0.witnesses.keys[0] })
        #expect(isRefused { $0.arbiters.removeLast() })
        #expect(isRefused { $0.deadlines[Int(DeadlineName.deliver.rawValue)] = 60 * 86_400 })
        #expect(isRefused { $0.deadlines[3] = 0 })
        #expect(isRefused { $0.exposure = 0 })
        #expect(isRefused { $0.terms.price = Fixture.money(0) })
    }

    @Test("The contract refuses another sum, nothing to send to, no tracking, another event opened")
    func breaches() {
        let contract = Fixture.contract()
        func breach(_ kind: StepKind, _ body: TradeEventBody, challenged: Bytes32? = nil) -> ContractBreach? {
            contract.breach(of: Fixture.event(.step(kind), by: [.buyer], number: 1, body), challenged: challenged)
        }
        func payment(_ money: Money) -> TradeEventBody {
            .payment(TradePayment(sum: money, way: "", reference: ""))
        }
        for kind in StepKind.allCases where kind != .opening { #expect(breach(kind, Fixture.body(kind)) == nil) }
        #expect(breach(.paid, payment(Fixture.money(124_999))) == .wrongSum)
        #expect(breach(.paid, payment(Fixture.money(125_000, "USD"))) == .wrongSum)
        #expect(breach(.refund, payment(Fixture.money(125_001))) == .wrongSum)
        #expect(breach(.refund, payment(Fixture.money(0))) == .wrongSum)
        #expect(breach(.refund, payment(Fixture.money(1_000))) == nil)
        #expect(breach(.contract, .contract(destination: " \n")) == .noDestination)
        #expect(breach(.shipped, .shipment(TradeShipment(carrier: "Post", tracking: ""))) == .noTracking)
        let paid = Fixture.event(.step(.paid), by: [.buyer], number: 1, Fixture.body(.paid))
        #expect(breach(.opening, .opening(paid.bytes), challenged: paid.hash) == nil)
        #expect(breach(.opening, .opening(paid.bytes), challenged: .zero) == .notTheChallenged)
        #expect(breach(.opening, .opening([1]), challenged: .zero) == .notTheChallenged)
    }

    @Test("Sums are shared without a coin more or less")
    func shares() {
        let money = Fixture.money(Money.amountMax)
        #expect(money.share(permille: 1_000) == money)
        #expect(Fixture.money(999).share(permille: 1) == Fixture.money(0))
        #expect(Fixture.money(125_001).share(permille: 250) == Fixture.money(31_250))
        #expect(Money(-1, money.currency) == nil && Money(Money.amountMax + 1, money.currency) == nil)
    }
}
