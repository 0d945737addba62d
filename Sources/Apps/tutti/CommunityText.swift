// SPDX-License-Identifier: Apache-2.0
import Foundation
import TuttiCommunity

/// Answers of a community's node as lines for people. Texts that others wrote are shown with their control characters
/// escaped: a nickname must not move the cursor.
enum CommunityText {
    static func lines(_ reply: CommunityReply) -> [String] {
        switch reply {
        case .done, .failed: []
        case .status(let status), .joined(let status): self.status(status)
        case .created(let created):
            status(created.status) + [
                "", "Your recovery code. Print it and keep it where nobody else looks: who has it is you.", "",
                created.recoveryPage, "",
            ]
        case .invited(let link): [link]
        case .members(let members): members.map(member)
        case .charter(let charter): ["edition \(charter.edition)", printable(charter.text, lines: true)]
        case .proposals(let proposals): proposals.isEmpty ? ["no proposals"] : proposals.flatMap(proposal)
        case .proposed(let id): ["proposed \(id)"]
        case .devices(let devices): devices.map(device)
        case .message(let message): [self.message(message)]
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

    static func json(_ reply: CommunityReply) throws -> String {
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

    private static func member(_ member: MemberSummary) -> String {
        var line = "\(member.id)  \(printable(member.nickname))  \(member.roles.joined(separator: ", "))"
        if member.isPending { line += "  (waiting to be admitted)" }
        if let ended = member.ended { line += "  (\(printable(ended)))" }
        return line
    }

    private static func device(_ device: DeviceSummary) -> String {
        "\(device.id)  \(device.standing)  \(device.entryCount) entries\(device.isThis ? "  (this one)" : "")"
    }

    private static func proposal(_ proposal: ProposalSummary) -> [String] {
        [
            "\(proposal.id)  \(printable(proposal.title))  by \(printable(proposal.author))",
            "  \(proposal.action): \(proposal.yes) yes, \(proposal.no) no, \(proposal.abstain) abstain; \(proposal.outcome)",
        ] + (proposal.text.isEmpty ? [] : ["  " + printable(proposal.text)])
    }

    private static func message(_ message: MessageSummary) -> String {
        var line = "\(time(message.time)) \(printable(message.nickname)): \(printable(message.text))"
        if message.isEdited { line += "  (edited)" }
        if message.isOwn {
            line += message.holders == 0 ? "  (only on this machine)" : "  (on \(message.holders) other disks)"
        }
        return line
    }

    private static func entry(_ entry: EntrySummary) -> String {
        "\(time(entry.time))  \(printable(entry.nickname ?? entry.device))/\(entry.sequence)  \(entry.kind)"
            + "  \(entry.bytes) B  \(entry.id)"
    }

    private static func time(_ date: Date) -> String {
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
