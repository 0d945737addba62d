// SPDX-License-Identifier: Apache-2.0
import NIOCore
package import Tutti
package import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal
import TuttiNodeCore

/// What a member's node does for those who come with a recovery code: it answers the one question that a stranger may ask,
/// and tells the DHT of some of the seals that it holds.
extension CommunityNode {
    private static let questionTimeout: Duration = .seconds(10)
    /// What a node tells the DHT follows from who belongs, which changes slowly.
    private static let tellInterval: Duration = .seconds(600)
    /// After nobody took what was told.
    private static let tellAgainInterval: Duration = .seconds(15)
    private static let streamsPerConnectionMax = 2

    func serveRecovery() {
        let own = node.peerID
        // The node keeps its handlers: one that kept us would keep the folder locked for ever.
        node.handle(RecoveryQuestion.protocolName, inboundMax: Self.streamsPerConnectionMax) { [weak self] stream in
            guard let self else { return stream.reset() }
            let now = Instant(nanoseconds: Int64(clamping: NIODeadline.now().uptimeNanoseconds))
            let isAdmitted = recoveryRates.withLock { $0.admits(stream.peer, at: now) }
            guard isAdmitted else { return stream.reset() }
            var bytes = try await stream.read(
                exactly: RecoveryQuestion.bytesCount, deadline: Self.questionTimeout)
            let (question, asker) = (try RecoveryQuestion(from: &bytes), stream.peer)
            let held = try await node.readReplica { $0.recovery.entry(for: question, from: asker, to: own) }
            guard let entry = held ?? nil else { return }
            var answer = ByteBuffer()
            RecoveryAnswer(entry: entry, entryPoints: try await entryPoints()).encode(into: &answer)
            try await stream.write(answer)
        }
    }

    func keepTellingOfSeals() async throws {
        guard node.configuration.dht != nil else { return }
        var told: Set<Bytes32> = []
        while !Task.isCancelled {
            let isDone = try await tellOfSeals(&told)
            try await Task.sleep(for: isDone ? Self.tellInterval : Self.tellAgainInterval)
        }
    }

    /// - Parameter told: tags of which the DHT was told; Kademlia tells of them again by itself.
    /// - Returns: whether nothing is left to tell.
    package func tellOfSeals(_ told: inout Set<Bytes32>) async throws -> Bool {
        let known = try await node.readReplica { port -> (tags: [Bytes32], own: DeviceID, devices: [DeviceID])? in
            port.journal.ownDevice.map { own in
                (port.recovery.tags, own, port.community.roster.devices.filter { $0.value.cut == nil }.map(\.key))
            }
        }
        guard let (tags, own, devices) = known ?? nil else { return false }
        let due = Set(RecoveryIndex.provided(tags, by: own, among: devices))
        for tag in told.subtracting(due).sorted() {
            try await node.dht.stopProviding(Self.content(tag))
            told.remove(tag)
        }
        for tag in due.subtracting(told).sorted() {
            do {
                guard try await node.dht.provide(Self.content(tag)) > 0 else { return false }
            } catch {
                return false
            }
            told.insert(tag)
        }
        return true
    }

    package static func content(_ tag: Bytes32) -> ContentID {
        ContentID(of: ByteBuffer(bytes: RecoveryIndex.content(of: tag)))
    }
}
