// SPDX-License-Identifier: Apache-2.0
package import TuttiJournal

/// Makes a journal's rows anew from all of its entries, page by page in the order of their arrival.
package struct JournalRefold {
    private var fold: ReplicaFold?
    private var rows: [EntryID: JournalRow] = [:]

    package init() {}

    package mutating func rows(_ entries: [StoredEntry]) -> [JournalRow] {
        guard let first = entries.first else { return [] }
        // What is sealed is read again when the node starts: the keys aren't here.
        var fold = fold ?? ReplicaFold(community: first.entry.header.community, member: MemberID(.zero))
        let (_, needed) = fold.begin(entries)
        let made = fold.finish(existing: (needed.messages + needed.listings).compactMap { rows[$0] })
        for row in made {
            if case .removed = row { rows[row.id] = nil } else { rows[row.id] = row }
        }
        self.fold = fold
        return made
    }
}
