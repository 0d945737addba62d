// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import Tutti
import TuttiCommunity

/// What commands on a community share.
struct CommunityOptions: ParsableArguments {
    @OptionGroup var data: DataOptions

    @Flag(help: "Print JSON.")
    var json = false

    @Option(help: "A node to dial, when none runs in the folder; may be repeated.", transform: Console.address)
    var bootstrap: [Multiaddr] = []

    /// Asks the node of the folder, or one that is started for it, and shows each answer.
    /// - Parameter before: what is done with an answer before it is shown.
    /// - Returns: whether a node ran in the folder, and so goes on.
    @discardableResult
    func ask(
        _ command: CommunityCommand, before: @escaping @Sendable (CommunityReply) throws -> Void = { _ in }
    ) async throws -> Bool {
        let json = json
        return try await exchange(command) { reply in
            try before(reply)
            if case .searching = reply {
                for line in CommunityText.lines(reply) { Console.note(line) }
            } else if json {
                Console.print(try CommunityText.json(reply))
            } else {
                for line in CommunityText.lines(reply) { Console.print(line) }
            }
        }
    }

    /// Asks, and shows nothing.
    @discardableResult
    func exchange(
        _ command: CommunityCommand, reply: @escaping @Sendable (CommunityReply) async throws -> Void
    ) async throws -> Bool {
        try await CommunityDoor.ask(command, configuration: try configuration(), reply: reply)
    }

    /// A node that runs in the folder answers all that is asked meanwhile.
    func keepOpen(_ body: @escaping @Sendable () async throws -> Void) async throws {
        try await CommunityDoor.keepOpen(configuration: try configuration(), body)
    }

    private func configuration() throws -> CommunityNodeConfiguration {
        var configuration = CommunityNodeConfiguration(folder: data.folder)
        configuration.passphrase = try data.passphrase()
        configuration.node.bootstrap = bootstrap
        configuration.node.listen = NodeConfiguration.anyInterface()
        configuration.node.multicastDNS = true
        configuration.node.logger = Console.logger(.error)
        return configuration
    }

    /// One line typed at the terminal, or read from a pipe.
    static func prompt(_ question: String) throws -> String {
        if Console.isTerminal { Console.progress(question) }
        guard let line = readLine(), !line.isEmpty else { throw ValidationError("nothing was typed") }
        return line
    }
}
