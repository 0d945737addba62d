// SPDX-License-Identifier: Apache-2.0
import TuttiJournal

/// Labels are words that moderators put beside entries and members. Some of them mean that nodes don't show what they stand
/// on; each member may decide otherwise for itself (``ChatShown``).
extension CommunityState {
    /// Of an entry: it isn't shown. Of a member: none of the member's entries is.
    package static let hidingLabels: Set<String> = ["hidden", "spam", "blocked"]

    /// In force, ascending by id.
    package func labels(on subject: LabelBody.Subject) -> [Label] {
        labels.values.filter { $0.body.subject == subject && $0.withdrawn == nil }.sorted { $0.id < $1.id }
    }

    /// By whom what is labelled so isn't shown, and why, by subject. Of several labels the one with the lowest id.
    package var hidingReasons: [LabelBody.Subject: String] {
        var first: [LabelBody.Subject: Label] = [:]
        for label in labels.values where label.withdrawn == nil && Self.hidingLabels.contains(label.body.label) {
            if let other = first[label.body.subject], other.id < label.id { continue }
            first[label.body.subject] = label
        }
        return first.mapValues { label in
            let by = members[label.author]?.nickname ?? ""
            return "\(label.body.label) by \(by)" + (label.body.reason.isEmpty ? "" : ": \(label.body.reason)")
        }
    }
}
