// SPDX-License-Identifier: Apache-2.0
import Foundation
import TuttiCommunity

/// Answers of a community's node as lines for people. Texts that others wrote are shown with their control characters
/// escaped: a nickname must not move the cursor.
enum CommunityText {
    static func lines(_ reply: CommunityReply) -> [String] {
        switch reply {
        case .done, .failed: []
        case .status(let status): self.status(status)
        case .joined(let status):
            self.status(status) + [
                "",
                "Your other devices stay what they are: `tutti device list` shows them, `tutti device revoke` ends a lost one.",
            ]
        case .created(let created):
            status(created.status) + [
                "", "Your recovery code. Print it and keep it where nobody else looks: who has it is you.", "",
                created.recoveryPage, "",
                "On any other machine these fifteen words are all you need: `tutti device recover`, in one network with",
                "a member's node, or with the address of one (--peer).", "",
            ]
        case .searching(let progress):
            [
                "looking for a node that knows this code: \(progress.found) found, \(progress.asked) asked,"
                    + " \(progress.seconds) of \(progress.secondsMax) s"
            ]
        case .invited(let link): [link]
        case .invites(let invites): invites.isEmpty ? ["no invites are open"] : invites.map(invite)
        case .members(let members): members.flatMap(member)
        case .member(let member): self.member(member)
        case .labels(let labels): labels.isEmpty ? ["no labels"] : labels.map(label)
        case .charter(let charter): ["edition \(charter.edition)", printable(charter.text, lines: true)]
        case .proposals(let proposals): proposals.isEmpty ? ["no proposals"] : proposals.flatMap(proposal)
        case .proposed(let id): ["proposed \(id)"]
        case .devices(let devices): devices.map(device)
        case .message(let message): [self.message(message)]
        case .channels(let channels): channels.map(channel)
        case .listing(let listing): wholeListing(listing)
        case .listings(let listings): self.listings(listings)
        case .categories(let categories): categories.map { "\($0.count)  \(printable($0.name))" }
        case .imported(let summary): imported(summary)
        case .trade(let trade): self.trade(trade)
        case .trades(let trades): self.trades(trades)
        case .entry(let entry): [self.entry(entry)]
        case .verified(let summary):
            ["\(summary.entries) entries in \(summary.feeds) feeds: \(summary.problems.isEmpty ? "all good" : "")"]
                + summary.problems
        case .counts(let counts):
            counts.filter { $0.count > 0 }.map { "\($0.group.padding(10)) \($0.name.padding(24)) \($0.count)" }
        case .synced(let entries, let peers): ["\(entries) new entries from \(peers) peers"]
        case .exported(let entries): ["\(entries) entries exported"]
        }
    }

    /// A charter alone is printed as a document, to be edited; all else on one line.
    static func json(_ reply: CommunityReply) throws -> String {
        if case .charter(let charter) = reply { return charter.rules.json }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        encoder.dateEncodingStrategy = .iso8601
        return String(decoding: try encoder.encode(reply), as: UTF8.self)
    }

    private static func status(_ status: CommunityStatus) -> [String] {
        [
            "community \(status.community)  \(printable(status.name))",
            "member    \(status.member)  \(printable(status.nickname))\(status.isPending ? "  (waiting to be admitted)" : "")",
            "device    \(status.device)",
            "holds     \(status.entryCount) entries of \(status.feedCount) devices, \(status.memberCount) members",
            "connected to \(status.connectedCount) members' nodes; \(status.unsentCount) own entries only on this machine",
        ]
    }

    private static func member(_ member: MemberSummary) -> [String] {
        var line = "\(member.id)  \(printable(member.nickname))  \(member.roles.joined(separator: ", "))"
        if let reason = member.pending { line += "  (waits to be admitted: \(reason))" }
        if let ended = member.ended { line += "  (\(printable(ended)))" }
        switch member.choice {
        case .hide: line += "  (you block this member)"
        case .show: line += "  (you show this member)"
        case .unset: break
        }
        let vouches = member.vouches.map { vouch in
            "  \(printable(vouch.author)) vouches" + (vouch.amount > 0 ? " for \(vouch.amount)" : "")
                + (vouch.note.isEmpty ? "" : ": \(printable(vouch.note))")
        }
        let labels = member.labels.map { label in
            "  labelled \(printable(label.label)) by \(printable(label.author)): \(printable(label.reason))"
        }
        return [line] + vouches + labels
    }

    private static func label(_ label: LabelSummary) -> String {
        "\(label.id)  \(printable(label.label)) on \(label.kind) \(printable(label.subject)) by "
            + "\(printable(label.author)): \(printable(label.reason))"
            + (label.withdrawn.map { "  (taken back: \(printable($0)))" } ?? "")
    }

    private static func invite(_ invite: InviteSummary) -> String {
        "\(invite.id)  \(invite.standing)  by \(printable(invite.sponsor)), for a \(invite.role), "
            + "\(invite.joined.count) of \(invite.uses) joined, until \(time(invite.expiry))"
            + (invite.note.isEmpty ? "" : "  \(printable(invite.note))")
    }

    private static func device(_ device: DeviceSummary) -> String {
        "\(device.id)  \(device.standing)  \(device.entryCount) entries\(device.isThis ? "  (this one)" : "")"
    }

    private static func proposal(_ proposal: ProposalSummary) -> [String] {
        var standing = proposal.outcome
        if let electorate = proposal.electorate { standing += ", \(electorate) may vote" }
        if let until = proposal.until { standing += ", at least until \(time(until))" }
        return [
            "\(proposal.id)  \(printable(proposal.title))  by \(printable(proposal.author))",
            "  \(printable(proposal.action)): \(proposal.yes) yes, \(proposal.no) no, \(proposal.abstain) abstain; \(standing)",
        ] + (proposal.text.isEmpty ? [] : ["  " + printable(proposal.text)])
    }

    private static func entry(_ entry: EntrySummary) -> String {
        "\(time(entry.time))  \(printable(entry.nickname ?? entry.device))/\(entry.sequence)  \(entry.kind)"
            + "  \(entry.bytes) B  \(entry.id)"
    }

    static func time(_ date: Date) -> String {
        date.formatted(.iso8601.dateSeparator(.dash).timeSeparator(.colon))
    }

    /// Control characters, and those that change the direction of text, as their numbers.
    static func printable(_ text: String, lines: Bool = false) -> String {
        var shown = ""
        for scalar in text.unicodeScalars {
            switch scalar.properties.generalCategory {
            case .control where lines && scalar == "\n": shown.unicodeScalars.append(scalar)
            case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .surrogate, .unassigned:
                shown += "\\u{\(String(scalar.value, radix: 16))}"
            default: shown.unicodeScalars.append(scalar)
            }
        }
        return shown
    }
}

extension String {
    fileprivate func padding(_ count: Int) -> String { padding(toLength: count, withPad: " ", startingAt: 0) }
}
