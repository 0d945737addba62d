// SPDX-License-Identifier: Apache-2.0
import Foundation
import NIOCore
import Testing
import Tutti
import TuttiBase
import TuttiConnection
import TuttiIdentity
import TuttiTransport

/// What others do wrong reaches the caller as one typed error that names peer, stage and cause.
@Suite("Bad input", .timeLimit(.minutes(2)))
struct BadInputTests {
    /// How the other side breaks the rules, and what a dial then says.
    struct Misdeed: Sendable, CustomTestStringConvertible {
        let name: String
        let code: NodeError.Code
        let stage: NodeError.Stage
        var securities: [NodeConfiguration.Security] = [.noise]
        let act: @Sendable (RawSocket) throws -> Void

        var testDescription: String { name }
    }

    static let misdeeds: [Misdeed] = [
        Misdeed(name: "never speaks", code: .deadline, stage: .negotiate) { _ = $0.isClosed(within: 10_000) },
        Misdeed(name: "speaks another language", code: .protocolViolation, stage: .negotiate) { socket in
            socket.send(
                ByteBuffer(
                    string:
                        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n<h1>That is no request</h1>\n"
                ))
            _ = socket.isClosed(within: 5000)
        },
        Misdeed(name: "hangs up at once", code: .unreachable, stage: .negotiate) { _ in },
        Misdeed(name: "refuses to be secured", code: .protocolRefused, stage: .negotiate) { socket in
            socket.send(RawPeer.multistream("/multistream/1.0.0", "na"))
            _ = socket.isClosed(within: 5000)
        },
        Misdeed(name: "declares a message of 4 GiB", code: .protocolViolation, stage: .negotiate) { socket in
            socket.send(ByteBuffer(bytes: [0x80, 0x80, 0x80, 0x80, 0x10]))
            _ = socket.isClosed(within: 5000)
        },
        Misdeed(name: "sends garbage in the handshake", code: .protocolViolation, stage: .secure) { socket in
            socket.send(RawPeer.greeting("/noise") + ByteBuffer(bytes: [0, 200] + [UInt8](repeating: 7, count: 200)))
            _ = socket.isClosed(within: 5000)
        },
        Misdeed(name: "sends an oversized handshake", code: .protocolViolation, stage: .secure) { socket in
            socket.send(RawPeer.greeting("/noise") + ByteBuffer(bytes: [0xFF, 0xFF, 1]))
            _ = socket.isClosed(within: 5000)
        },
        Misdeed(name: "hangs up in the handshake", code: .unreachable, stage: .secure) { socket in
            socket.send(RawPeer.greeting("/noise") + ByteBuffer(bytes: [0, 200, 1, 2, 3]))
            // Read first: closing with unread bytes would reset the connection.
            _ = socket.receive()
        },
        Misdeed(name: "falls silent in the handshake", code: .deadline, stage: .secure) { socket in
            socket.send(RawPeer.greeting("/noise"))
            _ = socket.isClosed(within: 10_000)
        },
        Misdeed(name: "sends garbage as TLS", code: .protocolViolation, stage: .secure, securities: [.tls]) { socket in
            socket.send(RawPeer.greeting("/tls/1.0.0") + ByteBuffer(bytes: [UInt8](repeating: 7, count: 200)))
            _ = socket.isClosed(within: 5000)
        },
        Misdeed(
            name: "shows a certificate without an identity", code: .protocolViolation, stage: .secure,
            securities: [.tls]
        ) { socket in
            var contents = TLSCertificate.Contents(identity: KeyPair())
            contents.extensions = { _ in [] }
            try serveTLS(socket, TLSCertificate(contents))
        },
        Misdeed(
            name: "shows a certificate that another key signed", code: .protocolViolation, stage: .secure,
            securities: [.tls]
        ) { socket in
            let (claimed, other) = (KeyPair(), KeyPair())
            var contents = TLSCertificate.Contents(identity: claimed)
            contents.extensions = { info in
                let signature = other.sign(TLSCertificate.signedMessage(for: info))
                let value = TLSCertificate.signedKey(publicKey: claimed.publicKey.protobuf, signature: signature)
                return [.init(oid: TLSCertificate.extensionOID, isCritical: true, value: value)]
            }
            try serveTLS(socket, TLSCertificate(contents))
        },
        Misdeed(name: "is somebody else", code: .wrongPeer, stage: .secure) { socket in
            _ = try RawPeer(socket, .inbound, .noise, identity: KeyPair())
            _ = socket.isClosed(within: 5000)
        },
        Misdeed(name: "is somebody else, over TLS", code: .wrongPeer, stage: .secure, securities: [.tls]) { socket in
            _ = try RawPeer(socket, .inbound, .tls, identity: KeyPair())
            _ = socket.isClosed(within: 5000)
        },
    ]

    private static func serveTLS(_ socket: RawSocket, _ certificate: TLSCertificate) throws {
        var input = try RawPeer.expect(RawPeer.greeting("/tls/1.0.0"), on: socket)
        socket.send(RawPeer.greeting("/tls/1.0.0"))
        let context = try TLSContext(certificate: certificate, muxers: [.yamux])
        let engine = try TLSEngine(context: context, direction: .inbound, expectedPeer: nil)
        while true {
            var (plaintext, output) = (ByteBuffer(), ByteBuffer())
            let progress = try engine.receive(&input, plaintext: &plaintext, output: &output)
            socket.send(output)
            guard case .handshaking = progress, case .bytes(let more) = socket.receive() else { break }
            input = more
        }
        _ = socket.isClosed(within: 5000)
    }

    @Test("A dial to a peer that breaks the rules says who, at what stage and why", arguments: misdeeds)
    func dial(_ misdeed: Misdeed) async throws {
        let listener = try RawListener(misdeed.act)
        let bystander = try Node()
        var configuration = Scene.configuration
        configuration.securities = misdeed.securities
        let expected = KeyPair().peerID
        try await withNode(bystander) { [configuration] bystander in
            let addresses = try await bystander.listenAddresses
            try await withNode(configuration) { node in
                try await node.dial(at: addresses)
                let address = try #require(Multiaddr("/ip4/127.0.0.1/tcp/\(listener.port)"))
                let error = await #expect(throws: NodeError.self) { try await node.dial(expected, at: [address]) }
                #expect(error?.code == misdeed.code)
                #expect(error?.stage == misdeed.stage)
                #expect(error?.peer == expected)
                #expect(error?.cause != nil)
                #expect(error?.message.contains("\(address)") == true)
                #expect(error?.message.contains("\n") == false)
                // Nobody else noticed.
                #expect(try await node.ping(bystander.peerID).count == 1)
            }
        }
    }

    @Test("Frames that break the rules end their connection, and the end is told", arguments: RawPeer.Security.allCases)
    func frames(_ security: RawPeer.Security) async throws {
        let identity = KeyPair()
        let frames: [(String, [YamuxHeader])] = [
            ("Yamux: more data than credit", [YamuxHeader(.data, .syn, stream: 2, length: .max)]),
            ("Yamux: a ping on a stream", [YamuxHeader(.ping, .syn, stream: 2, length: 1)]),
            ("Yamux: a stream number of the wrong side", [YamuxHeader(.data, .syn, stream: 77, length: 0)]),
            ("Yamux: a stream frame on the session", [YamuxHeader(.data, [], stream: 0, length: 0)]),
        ]
        for (words, headers) in frames {
            let listener = try RawListener { socket in
                let peer = try RawPeer(socket, .inbound, security, identity: identity)
                for header in headers { try peer.send(header) }
                let ending = try peer.read()
                #expect(ending.goAway == YamuxGoAway.protocolError.rawValue)
                #expect(ending.isClosed)
            }
            var configuration = Scene.configuration
            configuration.securities = security == .tls ? [.tls] : [.noise]
            try await withNode(configuration) { node in
                let events = node.events
                let address = try #require(Multiaddr("/ip4/127.0.0.1/tcp/\(listener.port)"))
                try await node.dial(identity.peerID, at: [address])
                for await event in events {
                    guard case .peerDisconnected(let peer, let reason) = event else { continue }
                    #expect(peer == identity.peerID)
                    #expect(reason == "rules broken at stage stream, \(words)")
                    break
                }
            }
        }
    }

    @Test("A connection that is cut in the middle of a frame is lost for that reason")
    func truncated() async throws {
        let identity = KeyPair()
        let listener = try RawListener { socket in
            let peer = try RawPeer(socket, .inbound, .noise, identity: identity)
            socket.send(try peer.seal(ByteBuffer(repeating: 0, count: 6)))
            try peer.read(within: .milliseconds(100))
            socket.finishWriting()
            try peer.read()
        }
        try await withNode(Scene.configuration) { node in
            let events = node.events
            let address = try #require(Multiaddr("/ip4/127.0.0.1/tcp/\(listener.port)"))
            try await node.dial(identity.peerID, at: [address])
            for await event in events {
                guard case .peerDisconnected(_, let reason) = event else { continue }
                #expect(reason == "the byte stream ended in the middle of a frame")
                break
            }
        }
    }

    @Test("A protocol that the peer doesn't speak, and a peer that stops reading, fail their own stream alone")
    func streams() async throws {
        let listener = try Node()
        listener.handle("/stuck") { _ in await untilCancelled() }
        try await withNode(listener) { listener in
            let addresses = try await listener.listenAddresses
            try await withNode(Scene.configuration) { node in
                try await node.dial(at: addresses)
                let unknown = try await node.open("/none", to: listener.peerID)
                let refused = await #expect(throws: NodeError.self) { _ = try await unknown.read() }
                #expect(refused?.code == .protocolRefused)
                #expect(refused?.stage == .stream)
                #expect(refused?.peer == listener.peerID)
                #expect(refused?.message.contains("/none") == true)
                let stuck = try await node.open("/stuck", to: listener.peerID)
                let late = await #expect(throws: NodeError.self) {
                    while true {
                        try await stuck.write(ByteBuffer(repeating: 0, count: 256 * 1024), deadline: .milliseconds(200))
                    }
                }
                #expect(late?.code == .deadline)
                #expect(late?.stage == .stream)
                #expect(late?.peer == listener.peerID)
                #expect(try await node.ping(listener.peerID, count: 3).count == 3)
            }
        }
    }
}
