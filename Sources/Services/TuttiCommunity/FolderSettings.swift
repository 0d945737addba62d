// SPDX-License-Identifier: Apache-2.0
import Foundation
import Tutti
import TuttiBase
import TuttiIdentity
import TuttiJournal
import TuttiStorage

/// Small facts of a data folder, kept in its journal: which community, by whom, through whom.
struct FolderSettings: Sendable {
    private static let communityName = "community"
    private static let memberName = "member"
    private static let nicknameName = "nickname"
    private static let entryPointsName = "entryPoints"
    private static let devicePlaceName = "devicePlace"
    private static let choicesName = "choices"
    private static let endsLostName = "endsLost"

    var community: CommunityID?
    var member: MemberID?
    var nickname = ""
    /// Nodes of the community, to begin with.
    var entryPoints: [Multiaddr] = []
    /// Which file held the device's key when it began to write. In a copy of the folder it is another file.
    var devicePlace = ""
    var choices = LocalChoices()

    /// Devices whose last entries a repair could not save; nil: it could not tell. Such a one writes no more: it would use
    /// numbers again under which others hold entries.
    var endsLost: [DeviceID]? = []

    func mayHaveLostEnd(_ device: DeviceID) -> Bool { endsLost?.contains(device) ?? true }

    init(_ journal: SQLiteJournal) throws {
        guard case .opening(let opening) = journal.answer(.opening) else {
            throw CommunityError(.damaged, "the journal can't be read: run `tutti repair`")
        }
        let values = opening.settings
        community = values[Self.communityName].flatMap { Bytes32($0) }.map { CommunityID($0) }
        member = values[Self.memberName].flatMap { Bytes32($0) }.map { MemberID($0) }
        nickname = String(decoding: values[Self.nicknameName] ?? [], as: UTF8.self)
        entryPoints = String(decoding: values[Self.entryPointsName] ?? [], as: UTF8.self)
            .split(separator: "\n").compactMap { Multiaddr(String($0)) }
        devicePlace = String(decoding: values[Self.devicePlaceName] ?? [], as: UTF8.self)
        choices = LocalChoices(bytes: values[Self.choicesName] ?? [])
        let lost = values[Self.endsLostName] ?? []
        endsLost =
            lost == [0]
            ? nil
            : stride(from: 0, to: lost.count, by: Bytes32.count).compactMap { start in
                Bytes32(Array(lost[start...].prefix(Bytes32.count))).map { DeviceID($0) }
            }
    }

    var batch: JournalBatch {
        var batch = JournalBatch()
        batch.settings[Self.communityName] = community?.bytes.bytes ?? []
        batch.settings[Self.memberName] = member?.bytes.bytes ?? []
        batch.settings[Self.nicknameName] = Array(nickname.utf8)
        batch.settings[Self.entryPointsName] = Array(entryPoints.map(\.description).joined(separator: "\n").utf8)
        batch.settings[Self.devicePlaceName] = Array(devicePlace.utf8)
        batch.settings[Self.choicesName] = choices.bytes
        batch.settings[Self.endsLostName] = endsLost.map { $0.flatMap(\.bytes.bytes) } ?? [0]
        return batch
    }
}
