// SPDX-License-Identifier: Apache-2.0
import TuttiBase
import TuttiIdentity

import struct NIOCore.ByteBuffer

/// A protocol of questions and answers: ours go out over `RequestStreams`, peers' come on the streams that they open.
struct QuestionStreams: Sendable {
    /// What a peer asks; the port answers on the same stream, in order, or refuses it.
    struct Question {
        let peer: PeerID
        let key: StreamKey
        let bytes: ByteBuffer
    }

    var calls: RequestStreams
    private var arrived = ArrivedStreams()

    init(calls: RequestStreams) { self.calls = calls }

    /// What happens to streams, connections and dials, whoever opened them; what concerns peers is the port's own.
    mutating func handle(_ input: PortInput, at now: Instant, _ context: inout NodeContext) -> Question? {
        switch input {
        case .streamArrived(let key, _, let peer): arrived.add(key, peer)
        case .message(let key, let bytes):
            if let peer = arrived[key] { return Question(peer: peer, key: key, bytes: bytes) }
            calls.message(key, bytes, at: now)
        case .streamEnded(let key): if !arrived.ended(key, &context) { calls.lost(key, at: now) }
        case .streamFailed(let key): if !arrived.failed(key) { calls.lost(key, at: now) }
        case .connectionClosed(let id):
            arrived.connectionClosed(id)
            calls.connectionClosed(id)
        case .streamOpened(let request, let key): calls.opened(request, key, at: now)
        case .openFailed(let request): calls.openFailed(request)
        case .dialed(let request, let id): calls.dialed(request, id, at: now)
        case .dialFailed(let request): calls.dialFailed(request)
        case .peerIdentified, .peerDisconnected, .connectionPreferred: break
        }
        return nil
    }

    /// Nothing more is read from it.
    mutating func refuse(_ key: StreamKey, _ context: inout NodeContext) {
        arrived.refuse(key, &context)
    }
}
