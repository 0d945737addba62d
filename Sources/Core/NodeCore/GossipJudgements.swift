// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiGossip
import TuttiJournal

/// Batches of gossip that JournalCore judges, each until all its verdicts are there.
struct GossipJudgements: Sendable {
    /// What a batch is made of, each with its place there.
    struct Sorted: Sendable {
        var entries: [Entry] = []
        var entryPlaces: [Int] = []
        var proofs: [FaultProof] = []
        var proofPlaces: [Int] = []
        var malformedCount = 0
    }

    private struct Judgement: Sendable {
        var verdicts: [GossipVerdict]
        /// Questions to JournalCore that are open.
        var openCount: Int
    }

    private var judgements: [RequestID: Judgement] = [:]

    /// Entries and proofs are asked about in one question each; what is malformed has its verdict.
    mutating func open(_ batch: UnjudgedMessages, on topic: Topic) -> Sorted {
        var sorted = Sorted()
        var verdicts = batch.messages.map { _ in GossipVerdict.ignore }
        for (place, message) in batch.messages.enumerated() where message.topic == topic {
            do throws(DecodeError) {
                switch try JournalMessage(message.data) {
                case .entry(let entry):
                    sorted.entries.append(entry)
                    sorted.entryPlaces.append(place)
                case .proof(let proof):
                    sorted.proofs.append(proof)
                    sorted.proofPlaces.append(place)
                }
            } catch {
                verdicts[place] = .reject
                sorted.malformedCount += 1
            }
        }
        judgements[batch.request] = Judgement(
            verdicts: verdicts, openCount: (sorted.entries.isEmpty ? 0 : 1) + (sorted.proofs.isEmpty ? 0 : 1))
        return sorted
    }

    /// The answer to one of the questions.
    mutating func settle(_ request: RequestID, _ places: [Int], _ verdicts: [EntryVerdict]) {
        for (place, verdict) in zip(places, verdicts) {
            judgements[request]?.verdicts[place] = GossipVerdict(verdict)
        }
        judgements[request]?.openCount -= 1
    }

    /// Nil while something is open.
    mutating func takeFinished(_ request: RequestID) -> [GossipVerdict]? {
        guard let judgement = judgements[request], judgement.openCount == 0 else { return nil }
        judgements[request] = nil
        return judgement.verdicts
    }
}

extension GossipVerdict {
    fileprivate init(_ verdict: EntryVerdict) {
        switch verdict {
        case .accept: self = .accept
        case .reject: self = .reject
        case .ignore: self = .ignore
        }
    }
}
