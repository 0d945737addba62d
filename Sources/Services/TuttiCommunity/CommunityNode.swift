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
    private let begun = Gate()

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
        host = JournalHost(journal, changes: changes)
        var settings = configuration.node
        settings.key = .file(folder.keyPath, passphrase: configuration.passphrase)
        settings.peerFile = folder.peersPath
        settings.bootstrap += (try? FolderSettings(journal).entryPoints) ?? []
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
            lock.free()
        }
        try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask {
                try await self.node.run()
                return true
            }
            // A node that can't start says why itself; those who waited for it know only that it stopped.
            group.addTask { try await self.untilStopped { try await self.serve() } }
            group.addTask { try await self.untilStopped { try await self.readClock() } }
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

    /// Returns when the folder's replica has begun, or the node has failed to.
    public func started() async throws {
        try await begun.passed()
    }

    // MARK: The replica

    private func begin() async throws {
        host.connect(try await node.replicaCommands())
        let settings = try FolderSettings(journal)
        if let community = settings.community {
            // Two folders that write one feed would fork it: a copy starts a device of its own (`tutti device recover`).
            let isCopy = settings.devicePlace != devicePlace
            try await start(community, device: isCopy ? nil : try deviceKey(), settings)
        }
        begun.open()
    }

    /// The replica of a community from what the disk holds.
    func start(_ community: CommunityID, device: KeyPair?, _ settings: FolderSettings) async throws {
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
            milliseconds: Self.milliseconds())
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

    /// The key that signs this device's feed; nil: there is none yet.
    func deviceKey() throws -> KeyPair? {
        try KeyFile(path: folder.deviceKeyPath).load(passphrase: configuration.passphrase)
    }

    /// Device and inode of the key's file; empty when there is none.
    var devicePlace: String {
        guard let file = try? FileManager.default.attributesOfItem(atPath: folder.deviceKeyPath),
            let system = file[.systemNumber] as? NSNumber, let number = file[.systemFileNumber] as? NSNumber
        else { return "" }
        return "\(system):\(number)"
    }

    static func milliseconds() -> UInt64 { UInt64(clamping: Int64(Date().timeIntervalSince1970 * 1_000)) }

    /// The system's clock may be set while we run.
    private func readClock() async throws {
        let tell = try await node.replicaCommands()
        while !Task.isCancelled {
            try await Task.sleep(for: .seconds(60))
            tell(.clockRead(milliseconds: Self.milliseconds()))
        }
    }

    /// Looks at the replica between two turns.
    func read<Value: Sendable>(_ body: @escaping @Sendable (borrowing JournalPort) -> Value) async throws -> Value {
        guard let value = try await node.readReplica(body) else {
            throw CommunityError(
                .noCommunity, "this folder has no community: run `tutti community create` or `tutti community join`")
        }
        return value
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

/// Closed until it is opened, once.
private final class Gate: Sendable {
    private let state = Mutex<(isOpen: Bool, waiters: [CheckedContinuation<Void, Never>])>((false, []))

    func open() {
        let waiters = state.withLock { state in
            state.isOpen = true
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume() }
    }

    func passed() async throws {
        await withCheckedContinuation { continuation in
            let isOpen = state.withLock { state in
                if !state.isOpen { state.waiters.append(continuation) }
                return state.isOpen
            }
            if isOpen { continuation.resume() }
        }
    }
}

extension CommunityError {
    init(storage error: JournalStorageError) {
        switch error {
        case .diskFull: self.init(.storage, "the disk is full: make room, nothing was lost")
        case .damaged: self.init(.damaged, "the journal is damaged: run `tutti repair`")
        case .failed(let reason): self.init(.storage, "the journal can't be written: \(reason)")
        }
    }
}
