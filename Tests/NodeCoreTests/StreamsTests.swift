// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiBase
import TuttiIdentity
import TuttiNodeCore
import TuttiPeers

import struct NIOCore.ByteBuffer

private let peer = KeyPair(seed: Bytes32(words: (1, 0, 0, 9))).peerID
private let other = KeyPair(seed: Bytes32(words: (2, 0, 0, 9))).peerID
private let connection = ConnectionID(1)
private let key = StreamKey(connection, StreamID(1))

private func bytes(_ value: UInt8) -> ByteBuffer { ByteBuffer(bytes: [value]) }

extension RequestStreams {
    fileprivate mutating func commands() -> [StreamCommand] {
        var all: [StreamCommand] = []
        while let command = nextCommand() { all.append(command) }
        return all
    }

    /// What came back, in order: answers as their byte, failures as nil.
    fileprivate mutating func outcomes() -> [UInt64: UInt8?] {
        var all: [UInt64: UInt8?] = [:]
        while let outcome = nextOutcome() {
            switch outcome {
            case .answered(let id, let bytes): all[id.value] = .some(bytes.readableBytesView.first)
            case .failed(let id): all[id.value] = .some(nil)
            }
        }
        return all
    }

    /// Calls number 1 to `count`, on a stream that is open.
    fileprivate static func open(calls count: UInt64, limits: Limits = Limits()) throws -> RequestStreams {
        var streams = RequestStreams("/x/1", owner: 9, limits: limits)
        for id in 1...count {
            streams.call(
                RequestID(id), peer, bytes(UInt8(id)), expectsAnswer: true, over: connection, at: .zero)
        }
        guard case .open(connection, "/x/1", let request, let first)? = streams.commands().first else {
            throw Unexpected()
        }
        #expect(streams.owns(request))
        #expect(first == [bytes(1)])
        streams.opened(request, key, at: .zero)
        return streams
    }
}

private struct Unexpected: Error {}

@Suite("Requests on streams")
struct RequestStreamsTests {
    @Test("What wants no answer is done when its stream is there, and fails when the stream is refused")
    func unanswered() throws {
        for isRefused in [false, true] {
            var streams = RequestStreams("/x/1", owner: 9)
            streams.call(RequestID(1), peer, bytes(1), expectsAnswer: false, over: connection, at: .zero)
            guard case .open(_, _, let request, let first)? = streams.commands().last else { throw Unexpected() }
            #expect(first == [bytes(1)])
            #expect(streams.callCount == 1)
            if isRefused { streams.openFailed(request) } else { streams.opened(request, key, at: .zero) }
            switch streams.nextOutcome() {
            case .answered(RequestID(1), _): #expect(!isRefused)
            case .failed(RequestID(1)): #expect(isRefused)
            default: Issue.record("the call has not ended")
            }
            #expect(streams.owns(key) == !isRefused)
            #expect(streams.callCount == 0)
        }
    }

    @Test("What was asked before the peer was dialled goes out with the stream's proposal")
    func dialledFirst() throws {
        var streams = RequestStreams("/x/1", owner: 9)
        for id in UInt8(1)...2 {
            streams.call(RequestID(UInt64(id)), peer, bytes(id), expectsAnswer: true, over: nil, at: .zero)
        }
        guard case .dial(let dial, peer, _)? = streams.commands().last else { throw Unexpected() }
        streams.dialed(dial, connection, at: .zero)
        guard case .open(connection, _, let request, let first)? = streams.commands().last else { throw Unexpected() }
        #expect(first == [bytes(1), bytes(2)])
        streams.opened(request, key, at: .zero)
        #expect(streams.commands().isEmpty)
        for value in UInt8(11)...12 { streams.message(key, bytes(value), at: .zero) }
        let outcome = streams.outcomes()
        #expect(outcome == [1: 11, 2: 12])
    }

    @Test("Calls behind a proposal that is never answered fail together")
    func stuckOpening() throws {
        var streams = RequestStreams("/x/1", owner: 9)
        streams.call(RequestID(1), peer, bytes(1), expectsAnswer: true, over: connection, at: .zero)
        streams.call(RequestID(2), peer, bytes(2), expectsAnswer: true, over: connection, at: .zero + .seconds(1))
        guard case .open(_, _, let request, _)? = streams.commands().last else { throw Unexpected() }
        streams.handleTimeout(at: .zero + .seconds(10))
        let outcome = streams.outcomes()
        #expect(outcome == [1: UInt8?.none, 2: UInt8?.none])
        streams.opened(request, key, at: .zero + .seconds(11))
        guard case .reset(key)? = streams.commands().last else { throw Unexpected() }
        #expect(streams.nextTimeout == nil)
    }

    @Test("Calls share one stream, and answers go to them in their order")
    func order() throws {
        var streams = try RequestStreams.open(calls: 3)
        let sent = streams.commands().compactMap { command -> UInt8? in
            if case .send(key, let bytes) = command { bytes.readableBytesView.first } else { nil }
        }
        // The first went out behind the proposal.
        #expect(sent == [2, 3])
        for value in UInt8(11)...13 { streams.message(key, bytes(value), at: .zero) }
        let outcome1 = streams.outcomes()
        #expect(outcome1 == [1: 11, 2: 12, 3: 13])
        #expect(streams.callCount == 0)
    }

    @Test("A cancelled call's answer is not taken for the next one's")
    func cancelled() throws {
        var streams = try RequestStreams.open(calls: 2)
        streams.cancel(RequestID(1), at: .zero)
        streams.message(key, bytes(11), at: .zero)
        streams.message(key, bytes(12), at: .zero)
        let outcome2 = streams.outcomes()
        #expect(outcome2 == [2: 12])
        #expect(streams.callCount == 0)
    }

    @Test("A peer that ends its stream after each answer is asked the rest on another, once")
    func oneAnswerAStream() throws {
        var streams = try RequestStreams.open(calls: 2)
        streams.message(key, bytes(11), at: .zero)
        _ = streams.commands()
        streams.lost(key, at: .zero)
        let opening = streams.commands().compactMap { command -> RequestID? in
            if case .open(_, _, let request, let first) = command, first == [bytes(2)] { request } else { nil }
        }
        #expect(opening.count == 1)
        let second = StreamKey(connection, StreamID(3))
        streams.opened(try #require(opening.first), second, at: .zero)
        streams.lost(second, at: .zero)
        let outcome3 = streams.outcomes()
        #expect(outcome3 == [1: 11, 2: nil])
        #expect(streams.callCount == 0)
    }

    @Test("A call without an answer in time fails, and its stream is given up")
    func timeout() throws {
        var streams = try RequestStreams.open(calls: 1)
        _ = streams.commands()
        let due = try #require(streams.nextTimeout)
        #expect(due == .zero + .seconds(10))
        streams.handleTimeout(at: due)
        let outcome4 = streams.outcomes()
        #expect(outcome4 == [1: nil])
        let commands10 = streams.commands()
        #expect(commands10.contains { if case .reset(key) = $0 { true } else { false } })
        #expect(!streams.owns(key))
        #expect(streams.nextTimeout == nil)
    }

    @Test("Every call fails when its connection closes, its dial fails or its stream is refused")
    func failures() throws {
        var streams = try RequestStreams.open(calls: 2)
        streams.connectionClosed(connection)
        let outcome5 = streams.outcomes()
        #expect(outcome5 == [1: nil, 2: nil])
        streams.call(RequestID(3), other, bytes(3), expectsAnswer: true, over: nil, at: .zero)
        guard case .dial(let dial, other, _)? = streams.commands().last else { throw Unexpected() }
        streams.dialFailed(dial)
        let outcome6 = streams.outcomes()
        #expect(outcome6 == [3: nil])
        streams.call(RequestID(4), peer, bytes(4), expectsAnswer: true, over: connection, at: .zero)
        guard case .open(_, _, let request, _)? = streams.commands().last else { throw Unexpected() }
        streams.openFailed(request)
        let outcome7 = streams.outcomes()
        #expect(outcome7 == [4: nil])
        #expect(streams.callCount == 0)
        #expect(streams.nextTimeout == nil)
    }

    @Test("A stream that was idle for its time is closed")
    func idle() throws {
        var streams = try RequestStreams.open(calls: 1)
        streams.message(key, bytes(11), at: .zero)
        _ = streams.commands()
        let due = try #require(streams.nextTimeout)
        #expect(due == .zero + .seconds(30))
        streams.handleTimeout(at: due)
        #expect(!streams.owns(key))
        let commands11 = streams.commands()
        #expect(commands11.contains { if case .closeWriting(key) = $0 { true } else { false } })
    }

    @Test("Calls over the limit of one peer fail at once")
    func limit() throws {
        var limits = RequestStreams.Limits()
        limits.callsPerPeerMax = 2
        var streams = try RequestStreams.open(calls: 3, limits: limits)
        let outcome8 = streams.outcomes()
        #expect(outcome8 == [3: nil])
        #expect(streams.callCount == 2)
    }

    @Test("An answer that nobody asked for ends the stream")
    func unasked() throws {
        var streams = try RequestStreams.open(calls: 1)
        streams.message(key, bytes(11), at: .zero)
        streams.message(key, bytes(12), at: .zero)
        let outcome9 = streams.outcomes()
        #expect(outcome9 == [1: 11])
        #expect(!streams.owns(key))
    }
}

extension MessageStreams {
    fileprivate mutating func commands() -> [StreamCommand] {
        var all: [StreamCommand] = []
        while let command = nextCommand() { all.append(command) }
        return all
    }

    /// The request and connection of the stream that is wanted.
    fileprivate mutating func opening() throws -> (RequestID, ConnectionID) {
        for case .open(let connection, _, let request, _) in commands() { return (request, connection) }
        throw Unexpected()
    }
}

@Suite("Messages on streams")
struct MessageStreamsTests {
    @Test("What is sent before the stream is open waits, up to the limit")
    func queue() throws {
        var limits = MessageStreams.Limits()
        limits.queuedBytesMax = 2
        var streams = MessageStreams(owner: 9, limits: limits)
        streams.open(peer, "/x/1", over: connection)
        let (request, _) = try streams.opening()
        for value in UInt8(1)...3 { streams.send(bytes(value), to: peer) }
        #expect(streams.droppedCount == 1)
        streams.opened(request, key)
        streams.send(bytes(4), to: peer)
        let sent = streams.commands().compactMap { command -> UInt8? in
            if case .send(key, let bytes) = command { bytes.readableBytesView.first } else { nil }
        }
        #expect(sent == [1, 2, 4])
    }

    @Test("A stream that fails is opened again three times, then the peer is lost, once")
    func reopening() throws {
        var streams = MessageStreams(owner: 9)
        streams.open(peer, "/x/1", over: connection)
        for attempt in 0..<4 {
            let (request, _) = try streams.opening()
            let early = streams.nextLoss()
            #expect(early == nil)
            streams.openFailed(request, at: .zero)
            if attempt < 3 { streams.handleTimeout(at: try #require(streams.nextTimeout)) }
        }
        let losses = [streams.nextLoss(), streams.nextLoss()]
        #expect(losses == [peer, nil])
        #expect(streams.nextTimeout == nil)
    }

    @Test("When its connection closes, the stream moves to the preferred one", arguments: [true, false])
    func moves(isPreferredFirst: Bool) throws {
        var streams = MessageStreams(owner: 9)
        streams.open(peer, "/x/1", over: connection)
        streams.opened(try streams.opening().0, key)
        let second = ConnectionID(3)
        if isPreferredFirst { streams.connectionPreferred(peer, second) }
        streams.connectionClosed(connection)
        if !isPreferredFirst {
            let commands12 = streams.commands()
            #expect(commands12.isEmpty)
            streams.connectionPreferred(peer, second)
        }
        #expect(!streams.owns(key))
        let reopened = try streams.opening().1
        #expect(reopened == second)
        let loss = streams.nextLoss()
        #expect(loss == nil)
    }

    @Test("A peer that is gone is lost, and a stream that opens late is reset")
    func gone() throws {
        var streams = MessageStreams(owner: 9)
        streams.open(peer, "/x/1", over: connection)
        let (request, _) = try streams.opening()
        streams.peerDisconnected(peer)
        let loss = streams.nextLoss()
        #expect(loss == peer)
        streams.opened(request, key)
        let commands13 = streams.commands()
        #expect(commands13.contains { if case .reset(key) = $0 { true } else { false } })
        streams.send(bytes(1), to: peer)
        #expect(streams.droppedCount == 1)
    }
}

@Suite("Peers' numbers")
struct PeerTableTests {
    @Test("Numbers in use keep their meaning through a sweep, others are given out again")
    func sweep() throws {
        let ids = (0..<8).map { KeyPair(seed: Bytes32(words: (UInt64($0), 1, 0, 9))).peerID }
        var table = PeerTable(own: ids[0], countMax: 8)
        var numbers: [PeerIndex] = []
        for id in ids {
            let number = table.index(of: id)
            numbers.append(try #require(number))
        }
        #expect(table.isCrowded)
        let refused = table.index(of: peer)
        #expect(refused == nil)
        table.sweep { mark in mark(numbers[3]) }
        #expect(table.count == 2)
        #expect(table.id(of: numbers[0]) == ids[0])
        #expect(table.id(of: numbers[3]) == ids[3])
        #expect(table.id(of: numbers[4]) == nil)
        let reused = table.index(of: peer)
        let new = try #require(reused)
        #expect(table.id(of: new) == peer)
        #expect(table.keys[Int(new.value)] == KeyDerivation.sha256(peer.bytes))
        #expect(!table.isCrowded)
    }
}
