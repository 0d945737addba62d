// SPDX-License-Identifier: Apache-2.0
import Foundation
import Logging
import Tutti
import TuttiBase
import TuttiCommunityCore
package import TuttiIdentity
import TuttiJournal
import TuttiMarket
import TuttiNodeCore
package import TuttiWitness

/// This node as a witness: it serves while the charter names its member, and goes on for the contracts that were made
/// meanwhile.
extension CommunityNode {
    private struct WitnessStanding: Sendable {
        var community: CommunityID
        var device: DeviceID
        var isNamed: Bool
        /// Another device of the member has shown the member's latest card.
        var isElsewhere: Bool
        /// Of this device's card.
        var shown: TradeKey?
        var isServing: Bool
    }

    /// After something failed.
    private static let witnessPause: Duration = .seconds(60)

    func keepWitness() async throws {
        let changes = changes.watch()
        try await started()
        var key: KeyPair?
        while try await reviewWitness(&key) == false { try await Task.sleep(for: Self.witnessPause) }
        for await change in changes {
            switch change {
            case .communityChanged, .register(.ready): break
            default: continue
            }
            while try await reviewWitness(&key) == false { try await Task.sleep(for: Self.witnessPause) }
        }
    }

    /// - Returns: false when it has to be tried again; why is in the log.
    private func reviewWitness(_ key: inout KeyPair?) async throws -> Bool {
        guard let standing = try await witnessStanding() else { return true }
        let hasKey = FileManager.default.fileExists(atPath: folder.witnessKeyPath)
        let isWanted = standing.isNamed && !standing.isElsewhere
        guard isWanted || hasKey else { return true }
        do {
            let signing: KeyPair
            if let key {
                signing = key
            } else {
                signing = try await WitnessKey(folder: folder.path, passphrase: configuration.passphrase)
                    .begin(host.writer).key
                key = signing
            }
            if !standing.isServing {
                let limits = configuration.node.limits == .lab ? WitnessServingLimits.lab : WitnessServingLimits()
                try await node.replicaCommands()(.witness(.serve(signing, limits)))
            }
            guard isWanted, standing.shown != TradeKey(signing.device.bytes) else { return true }
            let card = WitnessCard(
                peer: node.peerID, in: standing.community, device: standing.device, key: signing)
            _ = try await append(
                [EntryDraft(kind: .witnessCard, body: card.bytes, governance: try await governanceHead())])
            return true
        } catch let error as NodeError where error.code == .stopped {
            throw error
        } catch {
            configuration.node.logger.warning(
                "this node doesn't serve as a witness yet", metadata: ["reason": "\(error)"])
            return false
        }
    }

    /// Nil while there is no device that could show a card.
    private func witnessStanding() async throws -> WitnessStanding? {
        guard let member = settings.member else { return nil }
        let replica = try await node.readReplica { port in
            (port.journal.community, port.journal.ownDevice, port.community.state)
        }
        guard let (community, device, state) = replica, let device, state.isMember(member) else { return nil }
        let isNamed = state.charter?.witnesses.contains(member) ?? false
        return try await node.readRegister { port -> WitnessStanding? in
            // Cards that aren't read yet might be taken for missing.
            guard port.isReady else { return nil }
            let last = port.witness(member, state)
            return WitnessStanding(
                community: community, device: device, isNamed: isNamed,
                isElsewhere: last.map { $0.device != device } ?? false,
                shown: last.flatMap { $0.device == device ? $0.card.key : nil }, isServing: port.key != nil)
        } ?? nil
    }

    /// Where each witness in force is asked; empty while fewer than four have shown their keys.
    package func witnessPeers() async throws -> [TradeKey: PeerID] {
        try await node.readRegister { $0.seats } ?? [:]
    }
}
