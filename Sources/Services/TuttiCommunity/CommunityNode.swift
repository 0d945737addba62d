// SPDX-License-Identifier: Apache-2.0
import Foundation
import Logging
public import ServiceLifecycle
import Synchronization
public import Tutti
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal
import TuttiNodeCore
import TuttiStorage

/// A node with its data folder: it holds a replica of its community's journal and keeps it the same as everybody's.
///
///     let node = try CommunityNode(configuration: CommunityNodeConfiguration(folder: "…/tutti"))
///     try await node.run()        // or: ServiceGroup(services: [node], …)
///
/// While it runs it answers commands of this machine on the folder's control socket.
public final class CommunityNode: Service, Sendable {
    /// What is asked of the node beneath: peers, addresses, streams.
    public let node: Node
    public let configuration: CommunityNodeConfiguration

    let folder: DataFolder
    let journal: SQLiteJournal
    let host: JournalHost
    let changes = ChangeHub()
    private let lock: FolderLock
    let begun = Gate()
    private let kept: Mutex<FolderSettings>
    let recoveryRates = Mutex(RecoveryRates())

    /// Locks the folder and opens what is in it; nothing runs yet.
    public init(configuration: CommunityNodeConfiguration) throws {
        self.configuration = configuration
        folder = DataFolder(path: configuration.folder)
        try folder.create()
        lock = try FolderLock(folder: folder.path)
        do {
            journal = try SQLiteJournal(path: folder.journalPath)
        } catch {
            throw CommunityError(storage: error)
        }
        let kept = try FolderSettings(journal)
        self.kept = Mutex(kept)
        host = JournalHost(journal, changes: changes)
        var settings = configuration.node
        settings.key = .file(folder.keyPath, passphrase: configuration.passphrase)
        settings.peerFile = folder.peersPath
        settings.bootstrap += kept.entryPoints
        let host = host
        settings.journal = { host.perform($0) }
        node = try Node(configuration: settings)
        serveRecovery()
    }

    /// Until graceful shutdown or cancellation.
    public func run() async throws {
        defer {
            host.stop()
            changes.finish()
            // One file without a log is left; a reader that still holds it leaves the log, which does no harm.
            try? journal.close()
            lock.release()
        }
        do {
            try await runParts()
            begun.shut(CommunityError(.stopped, "the node stopped before it had begun"))
        } catch {
            begun.shut(error)
            throw error
        }
    }

    private func runParts() async throws {
        try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask {
                try await self.node.run()
                return true
            }
            // A node that can't start says why itself; those who waited for it know only that it stopped.
            group.addTask { try await self.untilStopped { try await self.serve() } }
            group.addTask { try await self.untilStopped { try await self.readClock() } }
            group.addTask { try await self.untilStopped { try await self.closeInvites() } }
            group.addTask { try await self.untilStopped { try await self.keepTellingOfSeals() } }
            group.addTask { try await self.untilStopped { try await self.keepWitness() } }
            defer { group.cancelAll() }
            while try await group.next() == false {}
        }
    }

    private func untilStopped(_ body: () async throws -> Void) async throws -> Bool {
        do {
            try await body()
        } catch let error as NodeError where error.code == .stopped {
        } catch is CancellationError {}
        return false
    }

    private func serve() async throws {
        try await begin()
        let server = ControlServer(ControlAddress(folder: folder.path)) { request, reply in
            await self.answer(request, reply)
        }
        try await server.run()
    }

    /// Returns when the folder's replica has begun.
    /// - Throws: why `run()` ended before.
    public func started() async throws {
        try await begun.passed()
    }

    // MARK: The replica

    private func begin() async throws {
        host.connect(try await node.replicaCommands())
        if let community = settings.community {
            // Two folders that write one feed would fork it: a copy starts a device of its own (`tutti device recover`).
            let isCopy = settings.devicePlace != devicePlace
            let device = isCopy ? nil : try deviceKey().flatMap { settings.mayHaveLostEnd($0.device) ? nil : $0 }
            try await start(community, device: device)
        }
        begun.open()
    }

    /// Makes this folder a device of a member's: what it is is kept, the replica begins with it, and its first entry makes
    /// it known to whom we meet.
    func enter(
        _ community: CommunityID, as member: MemberID, device: KeyPair, nickname: String = "",
        by entryPoints: [Multiaddr] = [], first draft: EntryDraft
    ) async throws {
        try await keep { settings in
            settings.community = community
            settings.member = member
            if !nickname.isEmpty { settings.nickname = nickname }
            if !entryPoints.isEmpty { settings.entryPoints = entryPoints }
            settings.devicePlace = devicePlace
            settings.endsLost = []
        }
        try await start(community, device: device)
        let entries = try await append([draft])
        try await node.replicaCommands()(.introduce(entries.first))
    }

    /// The replica of a community from what the disk holds.
    private func start(_ community: CommunityID, device: KeyPair?) async throws {
        guard case .opening(let opening) = await host.writer.answer(.opening) else {
            throw CommunityError(.damaged, "the journal in \(folder.path) can't be read: run `tutti repair`")
        }
        var governance: [StoredEntry] = []
        var after: UInt64 = 0
        while case .arrivals(let page, let last) = await host.writer.answer(.governance(after: after, countMax: 1_000)),
            !page.isEmpty
        {
            governance += page
            after = last
        }
        var start = JournalStart(
            community: community, member: settings.member ?? MemberID(.zero), device: device, opening: opening,
            governance: governance,
            milliseconds: configuration.wallClock())
        if let device {
            start.mailbox = try host.mailboxStart(KeyringFile(path: folder.keyringPath(of: device.device)))
        }
        let tell = try await node.replicaCommands()
        tell(.start(start))
        if let device, let join = try await firstEntry(of: device) { tell(.introduce(join)) }
    }

    /// By which this device made itself known: shown to peers who may not have heard of it.
    private func firstEntry(of device: KeyPair) async throws -> Entry? {
        let query = JournalQuery.feed(
            device.device, EntrySequence.first...EntrySequence.first, newestFirst: false, countMax: 1, bytesMax: 1 << 20
        )
        guard case .entries(let found) = await host.writer.answer(query), let first = found.first?.entry,
            EntryKind.introducing.contains(first.header.kind)
        else { return nil }
        return first
    }

    /// What the folder knows of itself.
    var settings: FolderSettings { kept.withLock { $0 } }

    /// Changes what the folder knows of itself; returns when it is on disk.
    func keep(_ change: (inout FolderSettings) throws -> Void) async throws {
        let changed = try kept.withLock { settings in
            var changed = settings
            try change(&changed)
            settings = changed
            return changed
        }
        try await host.write(changed.batch)
    }

    /// The key that signs this device's feed; nil: there is none yet.
    private func deviceKey() throws -> KeyPair? {
        try KeyFile(path: folder.deviceKeyPath).load(passphrase: configuration.passphrase)
    }

    /// Device and inode of the key's file; empty when there is none.
    private var devicePlace: String {
        guard let file = try? FileManager.default.attributesOfItem(atPath: folder.deviceKeyPath),
            let system = file[.systemNumber] as? NSNumber, let number = file[.systemFileNumber] as? NSNumber
        else { return "" }
        return "\(system):\(number)"
    }

    static func systemMilliseconds() -> UInt64 { UInt64(clamping: Int64(Date().timeIntervalSince1970 * 1_000)) }

    /// The system's clock may be set while we run.
    private func readClock() async throws {
        let tell = try await node.replicaCommands()
        while !Task.isCancelled {
            try await Task.sleep(for: configuration.clockInterval)
            tell(.clockRead(milliseconds: configuration.wallClock()))
        }
    }

    /// Looks at the replica between two turns. What the community's rules refuse is thrown in the words of this layer.
    func read<Value: Sendable>(
        _ body: @escaping @Sendable (borrowing JournalPort) throws -> Value
    ) async throws -> Value {
        let result = try await node.readReplica { port -> Result<Value, any Error> in
            do { return .success(try body(port)) } catch { return .failure(error) }
        }
        guard let result else { throw CommunityError.noCommunity }
        return try refusing { try result.get() }
    }

    func refusing<Value>(_ body: () throws -> Value) throws -> Value {
        do { return try body() } catch let refusal as CommunityRefusal { throw CommunityError(refusal) }
    }

    // MARK: Commands

    private func answer(
        _ request: Data, _ reply: @escaping @Sendable (Data) async throws -> Void
    ) async {
        @Sendable func send(_ answer: CommunityReply) async throws { try await reply(JSONEncoder().encode(answer)) }
        do {
            let command = try JSONDecoder().decode(CommunityCommand.self, from: request)
            try await perform(command) { try await send($0) }
            try await send(.done)
        } catch let error as CommunityError {
            try? await send(.failed(error))
        } catch let error as NodeError {
            try? await send(.failed(CommunityError(.stopped, error.message)))
        } catch {
            try? await send(.failed(CommunityError(.invalidInput, "\(error)")))
        }
    }
}

extension CommunityError {
    static let noCommunity = CommunityError(
        .noCommunity, "this folder has no community: run `tutti community create` or `tutti community join`")

    init(_ refusal: CommunityRefusal) { self.init(.notAllowed, refusal.description) }

    init(storage error: JournalStorageError) {
        switch error {
        case .diskFull: self.init(.storage, "the disk is full: make room, nothing was lost")
        case .damaged: self.init(.damaged, "the journal is damaged: run `tutti repair`")
        case .failed(let reason): self.init(.storage, "the journal can't be written: \(reason)")
        }
    }
}
