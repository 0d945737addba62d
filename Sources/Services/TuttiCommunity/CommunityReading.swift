// SPDX-License-Identifier: Apache-2.0
import Foundation
import Tutti
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
package import TuttiJournal
import TuttiMarket
import TuttiNodeCore

/// What the replica holds, as it is shown.
extension CommunityNode {
    func status() async throws -> CommunityStatus {
        let settings = settings
        return try await read { port in
            let state = port.community.state
            let member = settings.member
            let device = port.journal.ownDevice
            return CommunityStatus(
                community: Names.text(port.journal.community.bytes), digest: Names.text(state.digest),
                name: state.charter?.name ?? "",
                nickname: member.flatMap { state.members[$0]?.nickname } ?? settings.nickname,
                member: member.map { Names.text($0.bytes) } ?? "", device: device.map { Names.text($0.bytes) } ?? "",
                isPending: member.map { !state.isMember($0) } ?? true,
                memberCount: state.members.values.count { $0.ended == nil && !$0.roles.isEmpty },
                feedCount: port.journal.feeds.count,
                entryCount: port.journal.feeds.reduce(0) { $0 &+ ($1.head.sequence.value &- $1.low.value &+ 1) },
                connectedCount: port.connectedPeers.count,
                unsentCount: device.flatMap { port.journal.feed($0) }.map {
                    Int(clamping: $0.head.sequence.value - min($0.head.sequence.value, port.journal.sentThrough.value))
                } ?? 0)
        }
    }

    /// Under what an entry of ours acts now.
    package func governanceHead() async throws -> EntryID { try await read { $0.community.head } }

    /// Entries on disk here, as heads tell.
    package func entryCount() async throws -> UInt64 { try await status().entryCount }

    func devices() async throws -> [DeviceSummary] {
        let member = settings.member
        return try await read { port in
            let devices = port.community.state.devices.values.filter { $0.member == member }
            return devices.sorted { $0.id < $1.id }.map { device in
                let standing: String =
                    switch device.standing {
                    case .good: "good"
                    case .ended: "ended"
                    case .frozen(let sequence): "frozen at \(sequence.value)"
                    }
                return DeviceSummary(
                    id: Names.text(device.id.bytes), isThis: device.id == port.journal.ownDevice, standing: standing,
                    entryCount: port.journal.feed(device.id)?.head.sequence.value ?? 0)
            }
        }
    }

    /// The newest entries, oldest first.
    func log(count: Int) async throws -> [EntrySummary] {
        let nicknames = try await read { port in
            let state = port.community.state
            return state.devices.mapValues { state.members[$0.member]?.nickname }
        }
        var entries: [StoredEntry] = []
        var before = UInt64.max
        while entries.count < count,
            case .arrivals(let page, let last) = await host.writer.answer(
                .latest(before: before, countMax: min(1_000, count - entries.count), bytesMax: 16 << 20)),
            !page.isEmpty
        {
            entries += page
            before = last
        }
        return entries.reversed().map { stored in
            let header = stored.entry.header
            return EntrySummary(
                id: Names.text(stored.entry.id.bytes), device: Names.text(header.device.bytes),
                nickname: nicknames[header.device] ?? nil, sequence: header.sequence.value,
                kind: Names.text(header.kind), time: Names.date(stored.displayTime),
                bytes: stored.entry.encodedBytesCount)
        }
    }

    /// Checks signatures, links and digests of everything that is on the disk.
    func verify() async throws -> VerifySummary {
        var summary = VerifySummary(entries: 0, feeds: 0, problems: journal.check().problems)
        var devices: Set<DeviceID> = []
        var after: UInt64 = 0
        while case .arrivals(let page, let last) = await host.writer.answer(
            .arrivals(after: after, countMax: 512, bytesMax: 16 << 20)), !page.isEmpty
        {
            for stored in page {
                summary.entries += 1
                devices.insert(stored.entry.header.device)
                if !GovernanceEntry.isAuthentic(stored.entry) {
                    summary.problems.append("\(Names.text(stored.entry.id.bytes)): the signature is false")
                }
            }
            after = last
        }
        summary.feeds = devices.count
        return summary
    }
}

/// Names of things as people read and type them.
enum Names {
    static func text(_ bytes: Bytes32) -> String {
        BitText.base16.encode(bytes.bytes)
    }

    static func text(_ ending: CommunityState.Ending) -> String {
        switch ending {
        case .left: "left"
        case .removed(_, let reason): "removed: \(reason)"
        }
    }

    static func text(_ kind: EntryKind) -> String { Self.kinds[kind] ?? "kind \(kind.rawValue)" }

    /// By its name, or as "kind 528".
    static func kind(_ typed: String) throws -> EntryKind {
        if let known = kinds.first(where: { $0.value == typed })?.key { return known }
        guard let number = typed.split(separator: " ").last.flatMap({ UInt16($0) }) else {
            throw CommunityError(.invalidInput, "'\(typed)' is no kind of entry")
        }
        return EntryKind(number)
    }

    static func date(_ time: HybridTime) -> Date { Date(timeIntervalSince1970: Double(time.milliseconds) / 1_000) }

    /// The only one that begins so.
    static func match<Name>(_ typed: String, _ all: [Name], _ bytes: (Name) -> Bytes32, _ what: String) throws -> Name {
        let wanted = typed.lowercased()
        let found = all.filter { text(bytes($0)).hasPrefix(wanted) }
        guard !wanted.isEmpty, let first = found.first else {
            throw CommunityError(.notFound, "there is no \(what) '\(typed)' here")
        }
        guard found.count == 1 else {
            throw CommunityError(.invalidInput, "\(found.count) \(what)s begin with '\(typed)': type more of it")
        }
        return first
    }

    private static let kinds: [EntryKind: String] = [
        .founding: "founding", .deviceCertificate: "device certificate", .deviceRevocation: "device revocation",
        .invite: "invite", .inviteClose: "invite close", .join: "join", .admit: "admission", .leave: "leave",
        .roleGrant: "role grant", .roleRemoval: "role removal", .memberRemoval: "member removal",
        .proposal: "proposal", .vote: "vote", .close: "close", .vouch: "vouch", .vouchWithdrawal: "vouch withdrawal",
        .label: "label", .labelWithdrawal: "label withdrawal", .acknowledgement: "acknowledgement",
        .sealed: "sealed", .mailbox: "mailbox", .memberKey: "member key", .channel: "channel", .chat: "chat",
        .listing: "listing", .listingRevision: "listing revision", .listingEnd: "listing end",
        .arbiterConsent: "arbiter consent", .witnessCard: "witness card", .exposure: "exposure",
        .tradeEdge: "trade edge", .rating: "rating",
    ]
}
