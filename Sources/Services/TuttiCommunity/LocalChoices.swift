// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiCommunityCore
import TuttiJournal

/// What a member has decided for itself about messages and members; it stays on this machine.
struct LocalChoices: Hashable, Sendable {
    static let countMax = 4_096
    private static let bytesCount = 2 + Bytes32.count

    private(set) var all: [LabelBody.Subject: ChatShown.Choice] = [:]

    init() {}

    /// Leaves out what can't be read.
    init(bytes: [UInt8]) {
        for start in stride(from: 0, through: bytes.count - Self.bytesCount, by: Self.bytesCount) {
            guard let id = Bytes32(Array(bytes[start + 1..<start + Self.bytesCount - 1])) else { continue }
            let subject: LabelBody.Subject = bytes[start] == 1 ? .entry(EntryID(id)) : .member(MemberID(id))
            all[subject] = bytes[start + Self.bytesCount - 1] == 1 ? .show : .hide
        }
    }

    /// Each: 1 entry or 2 member, its id, 1 show or 2 hide; ascending.
    var bytes: [UInt8] {
        let records = all.map { subject, choice -> [UInt8] in
            let (kind, id): (UInt8, Bytes32) =
                switch subject {
                case .entry(let entry): (1, entry.bytes)
                case .member(let member): (2, member.bytes)
                }
            return [kind] + id.bytes + [choice == .show ? 1 : 2]
        }
        return records.sorted { $0.lexicographicallyPrecedes($1) }.flatMap(\.self)
    }

    subscript(subject: LabelBody.Subject) -> ShownChoice {
        switch all[subject] {
        case .show: .show
        case .hide: .hide
        case nil: .unset
        }
    }

    mutating func set(_ subject: LabelBody.Subject, _ choice: ShownChoice) throws {
        switch choice {
        case .show: all[subject] = .show
        case .hide: all[subject] = .hide
        case .unset: all[subject] = nil
        }
        guard all.count <= Self.countMax else {
            throw CommunityError(.tooLarge, "you have hidden or shown \(Self.countMax) things already: undo some first")
        }
    }

    /// Why something of an author isn't shown here; nil when it is.
    func reason(
        _ subject: LabelBody.Subject, by author: MemberID, _ hidden: [LabelBody.Subject: String]
    ) -> String? {
        let author = LabelBody.Subject.member(author)
        switch all[subject] {
        case .show: return nil
        case .hide: return ChatShown.hiddenReason
        case nil: break
        }
        if let reason = hidden[subject] { return reason }
        switch all[author] {
        case .show: return nil
        case .hide: return ChatShown.blockedReason
        case nil: return hidden[author]
        }
    }

    /// As this node shows it: its own choice first, then what moderators have hidden.
    func shown(_ row: MessageRow, _ hidden: [LabelBody.Subject: String]) -> MessageRow {
        let (entry, author) = (LabelBody.Subject.entry(row.id), LabelBody.Subject.member(row.author))
        let byAuthor = all[author] == .show ? nil : hidden[author]
        return ChatShown.row(
            row, label: hidden[entry] ?? byAuthor, isBlocked: all[author] == .hide, choice: all[entry])
    }
}
