// SPDX-License-Identifier: Apache-2.0
package import TuttiBase
package import TuttiIdentity

package import struct NIOCore.ByteBuffer

/// The Noise handshake of one connection: Noise_XX_25519_ChaChaPoly_SHA256 with an empty prologue.
///
/// Follows libp2p/specs noise/README.md r5 and connections/inlined-muxer-negotiation.md; Noise itself is revision 34.
/// It frames and checks handshake messages, proves who the peer is and agrees on the multiplexer. It does not negotiate
/// `/noise`, does not carry data (`RecordCipher` does), and has no timers: its owner's deadline covers it.
///
/// ```
/// dialer    starting --start, sends e--> awaitingReply --e, ee, s, es; sends s, se--> established
/// listener  awaitingHello --e; sends e, ee, s, es--> awaitingProof --s, se--> established
/// any state before established --violation--> failed
/// ```
///
/// Calls that a state doesn't expect:
/// - our bug: `start` twice by a dialer or after `awaitingHello` by a listener, `receive` before a dialer's `start` or
///   after `established`. The machine is then poisoned.
/// - the peer's fault: everything thrown. The machine is then failed.
/// - legal and late: `receive` after a failure; dropped.
///
/// Invariants: nothing of a payload leaves the machine before its signature and the expected peer were checked; a
/// signature is verified at most once, after everything cheaper; no more than one frame is asked for at a time.
package struct NoiseMachine {
    package enum OnReceive {
        case needsMoreBytes
        case established(NoiseSession)
    }

    private enum State {
        case starting
        case awaitingReply(NoiseSymmetricState)
        case awaitingHello
        case awaitingProof(NoiseSymmetricState)
        case established
        case failed
    }

    private static let publicKeyBytes = 32
    private static let sealedKeyBytes = publicKeyBytes + RecordCipher.tagBytes

    private var state: State
    private let identity: NoiseIdentity
    private let ephemeral: Bytes32
    private let expectedPeer: PeerID?
    private let muxers: [ProtocolID]

    /// With a static key for this connection alone: a signature and a key more than the other initialiser costs.
    package init(
        direction: Direction, identity: KeyPair, expectedPeer: PeerID?, muxers: [ProtocolID],
        keySource: inout KeySource
    ) {
        let identity = NoiseIdentity(identity, keySource: &keySource)
        self.init(
            direction: direction, identity: identity, expectedPeer: expectedPeer, muxers: muxers,
            keySource: &keySource)
    }

    /// - Parameters:
    ///   - identity: shared by all connections of the node.
    ///   - expectedPeer: who must be at the other end; nil accepts everyone.
    ///   - muxers: what we offer for early negotiation, best first; none leaves it to multistream-select.
    package init(
        direction: Direction, identity: NoiseIdentity, expectedPeer: PeerID?, muxers: [ProtocolID],
        keySource: inout KeySource
    ) {
        self.identity = identity
        self.expectedPeer = expectedPeer
        self.muxers = muxers
        ephemeral = keySource.nextBytes32()
        switch direction {
        case .outbound: state = .starting
        case .inbound: state = .awaitingHello
        }
    }

    /// Dialer: appends message 1, framed. Listener: nothing.
    package mutating func start(into output: inout ByteBuffer) {
        switch state {
        case .starting:
            var symmetric = NoiseSymmetricState()
            let publicKey = X25519.publicKey(of: ephemeral)
            symmetric.mixHash(publicKey)
            symmetric.mixHash(UnsafeRawBufferPointer(start: nil, count: 0))
            output.writeInteger(UInt16(NoiseMachine.publicKeyBytes))
            _ = publicKey.withUnsafeBytes { output.writeBytes($0) }
            state = .awaitingReply(symmetric)
        case .awaitingHello:
            return
        case .awaitingReply, .awaitingProof, .established, .failed:
            assertionFailure("a handshake starts once")
            state = .failed
        }
    }

    /// Consumes whole handshake frames from `input`, appends answers; what follows message 3 stays in `input`. Short of
    /// a frame it consumes nothing.
    package mutating func receive(
        _ input: inout ByteBuffer, into output: inout ByteBuffer
    ) throws(ConnectionViolation) -> OnReceive {
        do throws(ConnectionViolation) {
            return try advance(&input, into: &output)
        } catch {
            state = .failed
            throw error
        }
    }

    private mutating func advance(
        _ input: inout ByteBuffer, into output: inout ByteBuffer
    ) throws(ConnectionViolation) -> OnReceive {
        switch state {
        case .awaitingHello:
            let size = NoiseMachine.publicKeyBytes
            guard let message = try readFrame(&input, smallest: size, largest: size) else { return .needsMoreBytes }
            state = .awaitingProof(try answer(message, into: &output))
            // An honest dialer waits for the answer before it proves itself, so nothing more is here yet; a hasty one's
            // bytes keep until the next call.
            return .needsMoreBytes
        case .awaitingReply(let symmetric):
            let smallest = NoiseMachine.publicKeyBytes + NoiseMachine.sealedKeyBytes + RecordCipher.tagBytes
            guard let message = try readFrame(&input, smallest: smallest) else { return .needsMoreBytes }
            let session = try finishDialing(message, symmetric, into: &output)
            state = .established
            return .established(session)
        case .awaitingProof(let symmetric):
            let smallest = NoiseMachine.sealedKeyBytes + RecordCipher.tagBytes
            guard let message = try readFrame(&input, smallest: smallest) else { return .needsMoreBytes }
            let session = try finishListening(message, symmetric)
            state = .established
            return .established(session)
        case .starting, .established:
            assertionFailure("bytes belong to the machine only between its start and its end")
            state = .failed
            return .needsMoreBytes
        case .failed:
            return .needsMoreBytes
        }
    }

    // MARK: The three messages

    /// Message 1 in, message 2 out.
    private func answer(
        _ message: ByteBuffer, into output: inout ByteBuffer
    ) throws(ConnectionViolation) -> NoiseSymmetricState {
        guard let hello = Bytes32(message.readableBytesView) else { throw .noise(.malformed("Noise message 1")) }
        var symmetric = NoiseSymmetricState()
        symmetric.mixHash(hello)
        symmetric.mixHash(UnsafeRawBufferPointer(start: nil, count: 0))

        let start = output.writerIndex
        output.writeInteger(UInt16(0))
        let publicKey = X25519.publicKey(of: ephemeral)
        symmetric.mixHash(publicKey)
        _ = publicKey.withUnsafeBytes { output.writeBytes($0) }
        symmetric.mixKey(try secret(ephemeral, hello))
        identity.publicKey.withUnsafeBytes { symmetric.encryptAndHash($0, into: &output) }
        symmetric.mixKey(try secret(identity.privateKey, hello))
        writePayload(&symmetric, into: &output)
        setFrameLength(at: start, in: &output)
        return symmetric
    }

    /// Message 2 in, message 3 out.
    private func finishDialing(
        _ message: ByteBuffer, _ symmetric: NoiseSymmetricState, into output: inout ByteBuffer
    ) throws(ConnectionViolation) -> NoiseSession {
        var symmetric = symmetric
        var message = message
        guard let reply = message.readSlice(length: NoiseMachine.publicKeyBytes),
            let theirEphemeral = Bytes32(reply.readableBytesView)
        else { throw .noise(.truncated("Noise message 2")) }
        symmetric.mixHash(theirEphemeral)
        symmetric.mixKey(try secret(ephemeral, theirEphemeral))
        let theirStatic = try readStaticKey(&message, &symmetric)
        symmetric.mixKey(try secret(ephemeral, theirStatic))
        let payload = try readPayload(&message, &symmetric, from: theirStatic)
        let muxer = try agree(dialer: muxers, listener: payload.muxers)

        let start = output.writerIndex
        output.writeInteger(UInt16(0))
        identity.publicKey.withUnsafeBytes { symmetric.encryptAndHash($0, into: &output) }
        symmetric.mixKey(try secret(identity.privateKey, theirEphemeral))
        writePayload(&symmetric, into: &output)
        setFrameLength(at: start, in: &output)

        let (ours, theirs) = symmetric.split()
        return NoiseSession(
            peer: payload.identityKey.peerID, publicKey: payload.identityKey, muxer: muxer,
            sealing: RecordCipher(key: ours), opening: RecordCipher(key: theirs))
    }

    /// Message 3 in.
    private func finishListening(
        _ message: ByteBuffer, _ symmetric: NoiseSymmetricState
    ) throws(ConnectionViolation) -> NoiseSession {
        var symmetric = symmetric
        var message = message
        let theirStatic = try readStaticKey(&message, &symmetric)
        symmetric.mixKey(try secret(ephemeral, theirStatic))
        let payload = try readPayload(&message, &symmetric, from: theirStatic)
        let muxer = try agree(dialer: payload.muxers, listener: muxers)

        let (theirs, ours) = symmetric.split()
        return NoiseSession(
            peer: payload.identityKey.peerID, publicKey: payload.identityKey, muxer: muxer,
            sealing: RecordCipher(key: ours), opening: RecordCipher(key: theirs))
    }

    // MARK: Their parts

    private func readFrame(
        _ input: inout ByteBuffer, smallest: Int, largest: Int = NoiseLimits.handshakeFrameBytesMax
    ) throws(ConnectionViolation) -> ByteBuffer? {
        guard let length = input.getInteger(at: input.readerIndex, as: UInt16.self) else { return nil }
        guard Int(length) <= largest else { throw .noise(.tooLarge("Noise handshake frame", limit: largest)) }
        guard Int(length) >= smallest else { throw .noise(.truncated("Noise handshake frame")) }
        guard input.readableBytes >= 2 + Int(length) else { return nil }
        input.moveReaderIndex(forwardBy: 2)
        return input.readSlice(length: Int(length))
    }

    private func secret(_ privateKey: Bytes32, _ publicKey: Bytes32) throws(ConnectionViolation) -> Bytes32 {
        guard let secret = X25519.secret(of: privateKey, with: publicKey) else {
            throw .noise(.malformed("Noise key (low order)"))
        }
        return secret
    }

    private func readStaticKey(
        _ message: inout ByteBuffer, _ symmetric: inout NoiseSymmetricState
    ) throws(ConnectionViolation) -> Bytes32 {
        guard let bytes = symmetric.decryptAndHash(&message, count: NoiseMachine.sealedKeyBytes),
            let key = Bytes32(bytes.readableBytesView)
        else { throw .noise(.malformed("Noise static key")) }
        return key
    }

    private func readPayload(
        _ message: inout ByteBuffer, _ symmetric: inout NoiseSymmetricState, from staticKey: Bytes32
    ) throws(ConnectionViolation) -> NoisePayload {
        guard let bytes = symmetric.decryptAndHash(&message, count: message.readableBytes) else {
            throw .noise(.malformed("Noise payload (forged)"))
        }
        let payload: NoisePayload
        do {
            payload = try NoisePayload(bytes)
        } catch {
            throw .noise(error)
        }
        guard
            payload.identityKey.isValidSignature(
                payload.signature, for: NoiseIdentity.signedMessage(for: staticKey))
        else { throw .noise(.malformed("Noise identity signature")) }
        // The proof comes first, so that the id in the error is a proven one.
        let peer = payload.identityKey.peerID
        if let expectedPeer, expectedPeer != peer { throw .wrongPeer(expected: expectedPeer, actual: peer) }
        return payload
    }

    private func agree(
        dialer: [ProtocolID], listener: [ProtocolID]
    ) throws(ConnectionViolation) -> ProtocolID? {
        do {
            return try NoisePayload.agree(dialer: dialer, listener: listener)
        } catch {
            throw .noise(error)
        }
    }

    // MARK: Our parts

    private func writePayload(_ symmetric: inout NoiseSymmetricState, into output: inout ByteBuffer) {
        NoisePayload.encode(identity, muxers: muxers).withUnsafeReadableBytes { payload in
            symmetric.encryptAndHash(payload, into: &output)
        }
    }

    /// Our own payload is far below 64 KiB: a key, a signature and our short list of muxers.
    private func setFrameLength(at start: Int, in output: inout ByteBuffer) {
        let count = output.writerIndex - start - 2
        precondition(count <= NoiseLimits.handshakeFrameBytesMax, "our own handshake message must fit our own limit")
        output.setInteger(UInt16(count), at: start)
    }
}

/// What the handshake leaves: two ciphers, and who the peer is.
package struct NoiseSession {
    package let peer: PeerID
    package let publicKey: PublicKey
    /// Agreed by the early-muxer extension.
    package let muxer: ProtocolID?
    package let sealing: RecordCipher
    package let opening: RecordCipher

    package init(
        peer: PeerID, publicKey: PublicKey, muxer: ProtocolID?, sealing: RecordCipher, opening: RecordCipher
    ) {
        self.peer = peer
        self.publicKey = publicKey
        self.muxer = muxer
        self.sealing = sealing
        self.opening = opening
    }
}
