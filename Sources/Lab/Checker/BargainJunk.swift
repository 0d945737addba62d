// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiMarket
import TuttiWitness

extension BargainSystem {
    /// A state for each place of the course that the system can come to, in the order of discovery.
    package static func everyCourse(of setup: Setup) -> [BargainSystem] {
        var seen: Set<Fingerprint> = []
        var places: Set<Fingerprint> = []
        var found: [BargainSystem] = []
        var next: [BargainSystem] = [BargainSystem(setup)]
        while !next.isEmpty {
            var level: [BargainSystem] = []
            for state in next {
                var fingerprint = Fingerprint()
                state.mix(into: &fingerprint)
                guard seen.insert(fingerprint).inserted else { continue }
                var place = Fingerprint()
                state.mixCourse(into: &place)
                if places.insert(place).inserted { found.append(state) }
                level += state.actions.map { state.after($0) }
            }
            next = level
        }
        return found
    }

    /// What some event that isn't decided changes here, if one does: of every kind, by everybody, for this slot, the one before and
    /// the one after, on the last event and on another; and every event of before once more.
    package var junkFault: String? {
        for event in seller.allEvents where isChanged(by: event, mayStand: seller.pending.contains(event)) {
            return "an old \(event.kind.name) changed the dossier"
        }
        let number = course.number
        // An opening says what another event is.
        for kind in StepKind.allCases where kind != .opening {
            let act = StepAct(kind)
            for authors in Self.everybody {
                let mayStand = !seller.isOver && course.after(act, by: Set(authors)) != nil
                for (number, previous, isHere) in [
                    (number, seller.tip, true), (number, Bytes32.zero, false), (number + 1, seller.tip, false),
                    (number - 1, seller.tip, false),
                ] {
                    guard let event = event(act, authors, authors, number: number, previous: previous) else {
                        return "a \(kind.name) can't be written"
                    }
                    if isChanged(by: event, mayStand: mayStand && isHere) {
                        return "a \(kind.name) of \(authors.map(\.name)) for slot \(number) changed the dossier"
                    }
                }
            }
        }
        return nil
    }

    private static let everybody: [[TradeRole]] = [
        [.buyer], [.seller], [.buyer, .seller], [.arbiter(0)], [.arbiter(1)],
    ]

    /// It may wait to be registered where it may stand; else it is refused, or was there before.
    private func isChanged(by event: TradeEvent, mayStand: Bool) -> Bool {
        var dossier = seller
        dossier.take(event)
        let wasThere = seller.allEvents.contains { $0.hash == event.hash }
        return dossier.state != seller.state || dossier.records != seller.records || dossier.contract != seller.contract
            || dossier.isWitnessed != seller.isWitnessed
            || (!wasThere && dossier.pending.contains { $0.hash == event.hash } != mayStand)
            || (!wasThere && dossier.refused.contains { $0.event.hash == event.hash } == mayStand)
    }
}
