// SPDX-License-Identifier: Apache-2.0
import NIOCore
import NIOPosix
import Synchronization
import TuttiBase
import TuttiCommunityCore
import TuttiIdentity
import TuttiJournal
import TuttiNodeCore
import TuttiStorage
import TuttiWitness

/// Does for a community's replica what it wants of the disk and of other threads, and hears what became of it.
///
/// ``perform(_:)`` is called on the node's loop and doesn't block it: writes go to the journal's writer, reads to its
/// readers, signatures to worker threads; what comes of them goes back by `tell`, from any thread.
final class JournalHost: Sendable {
    typealias Appended = Result<[Entry], AppendError>

    /// Signatures that are worth another thread.
    private static let chunkMin = 8

    /// Where answers go. A closure alone in a generic place is wrapped once more each time it is looked at.
    private struct Address {
        let send: @Sendable (JournalCommand) -> Void
    }

    private struct State {
        var appends: [RequestID: CheckedContinuation<Appended, Never>] = [:]
        var lastRequest: UInt64 = 0
        var isStopped = false
    }

    let writer: JournalWriter
    private let state = Mutex(State())
    private let tell = Mutex<Address?>(nil)
    private let changes: ChangeHub
    private let mailbox = Mutex<(file: KeyringFile?, code: SealingKeyPair?)>((nil, nil))

    init(_ journal: SQLiteJournal, changes: ChangeHub) {
        writer = JournalWriter(journal)
        self.changes = changes
    }

    /// From now on answers go there.
    func connect(_ tell: @escaping @Sendable (JournalCommand) -> Void) {
        self.tell.withLock { $0 = Address(send: tell) }
    }

    func write(_ batch: JournalBatch) async throws {
        do { try await writer.write(batch) } catch { throw CommunityError(storage: error) }
    }

    private func answer(_ command: JournalCommand) {
        tell.withLock { $0 }?.send(command)
    }

    // MARK: The mailbox

    /// The device that begins next reads what was passed to its member's recovery code.
    func typed(_ code: SealingKeyPair) { mailbox.withLock { $0.code = code } }

    /// From now on the keyring is kept there.
    func mailboxStart(_ file: KeyringFile) throws -> MailboxStart {
        let keyring = try file.load()
        return mailbox.withLock { mailbox in
            defer { mailbox = (file, nil) }
            return MailboxStart(keyring: keyring, code: mailbox.code)
        }
    }

    private func keep(_ keyring: [UInt8], _ id: RequestID) {
        let file = mailbox.withLock { $0.file }
        NIOThreadPool.singleton.submit { state in
            guard case .active = state, let file else { return self.answer(.keyringKept(id, false)) }
            do {
                try file.save(keyring)
                self.answer(.keyringKept(id, true))
            } catch {
                self.answer(.keyringKept(id, false))
            }
        }
    }

    // MARK: What the replica wants

    func perform(_ results: [JournalResult]) {
        for result in results {
            switch result {
            case .persist(let batch, let id):
                writer.write(batch) { result in
                    switch result {
                    case .success: self.answer(.persisted(id))
                    case .failure(let error): self.answer(.persistFailed(id, error))
                    }
                }
            case .load(let query, let reader): writer.answer(query) { self.answer(.loaded(reader, $0)) }
            case .keepKeyring(let keyring, let id): keep(keyring, id)
            case .mailbox(let event): changes.emit(.mailbox(event))
            case .market(let event): changes.emit(.market(event))
            // The register is beside the replica in the node; both speak by commands.
            case .register(let task, let signer): answer(.witness(.drive(task, signer)))
            case .verify(let entries, let id):
                judge(entries.count, { GovernanceEntry.isAuthentic(entries[$0]) }, told: { .verified(id, $0) })
            case .check(let checks, let id):
                judge(checks.count, { checks[$0].isValid }, told: { .checked(id, $0) })
            case .appended(let request, let entries): finish(request, .success(entries))
            case .appendFailed(let request, let error): finish(request, .failure(error))
            case .admitted(let entries): changes.emit(.admitted(entries))
            case .event(let event): changes.emit(.journal(event))
            case .sync(let event): changes.emit(.sync(event))
            case .communityChanged: changes.emit(.communityChanged)
            case .witness(let event):
                if case .finished(let slot, let outcome) = event { answer(.registered(slot, outcome)) }
                changes.emit(.register(event))
            }
        }
    }

    /// Public-key work on all processors, in pieces.
    private func judge(
        _ count: Int, _ isValid: @escaping @Sendable (Int) -> Bool, told: @escaping @Sendable ([Bool]) -> JournalCommand
    ) {
        let pieces = min(System.coreCount, max(1, count / Self.chunkMin))
        let size = (count + pieces - 1) / pieces
        let verdicts = VerdictBoard(count, pieces: pieces) { self.answer(told($0)) }
        for piece in 0..<pieces {
            let range = min(piece * size, count)..<min((piece + 1) * size, count)
            NIOThreadPool.singleton.submit { state in
                guard case .active = state else { return verdicts.put(range.map { _ in false }, at: range) }
                verdicts.put(range.map(isValid), at: range)
            }
        }
    }

    // MARK: Callers

    /// Returns when the entries are on disk here.
    func append(_ drafts: [EntryDraft]) async -> Appended { await appended { .append($0, drafts) } }

    /// The same for what only a few can read.
    func append(_ letter: Letter) async -> Appended { await appended { .appendSealed($0, letter) } }

    private func appended(_ command: (RequestID) -> JournalCommand) async -> Appended {
        await withCheckedContinuation { continuation in
            let request = state.withLock { state -> RequestID? in
                guard !state.isStopped else { return nil }
                state.lastRequest += 1
                let request = RequestID(state.lastRequest)
                state.appends[request] = continuation
                return request
            }
            guard let request else { return continuation.resume(returning: .failure(.storage(.failed("stopped")))) }
            answer(command(request))
        }
    }

    private func finish(_ request: RequestID, _ result: Appended) {
        state.withLock { $0.appends.removeValue(forKey: request) }?.resume(returning: result)
    }

    /// Who waits hears that nothing comes any more.
    func stop() {
        tell.withLock { $0 = nil }
        let appends = state.withLock { state in
            state.isStopped = true
            defer { state.appends = [:] }
            return state.appends
        }
        for waiter in appends.values { waiter.resume(returning: .failure(.storage(.failed("the node stopped")))) }
    }
}

/// Puts together what several threads find.
private final class VerdictBoard: Sendable {
    private let state: Mutex<(verdicts: [Bool], openCount: Int)>
    private let finished: @Sendable ([Bool]) -> Void

    init(_ count: Int, pieces: Int, finished: @escaping @Sendable ([Bool]) -> Void) {
        state = Mutex((Array(repeating: false, count: count), pieces))
        self.finished = finished
    }

    func put(_ verdicts: [Bool], at range: Range<Int>) {
        let all = state.withLock { state -> [Bool]? in
            state.verdicts.replaceSubrange(range, with: verdicts)
            state.openCount -= 1
            return state.openCount == 0 ? state.verdicts : nil
        }
        if let all { finished(all) }
    }
}
