// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Tutti
import TuttiCommunity

struct DeviceGroup: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "device", abstract: "Your devices in the community.",
        subcommands: [List.self, Add.self, Revoke.self, Recover.self], defaultSubcommand: List.self)
}

extension DeviceGroup {
    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Which devices are yours.")
        @OptionGroup var options: CommunityOptions
        func run() async throws { try await options.ask(.devices) }
    }

    struct Add: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make this machine another device of yours; asks for your recovery code.")
        @OptionGroup var recovery: RecoveryOptions
        func run() async throws { try await recovery.ask() }
    }

    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "End a device of yours, a lost one for instance; asks for your recovery code.")
        @Argument(help: "The device's id, or how it begins.") var device: String
        @Option(help: "Why.") var reason = ""
        @OptionGroup var options: CommunityOptions
        func run() async throws {
            let code = try CommunityOptions.prompt("recovery code: ")
            try await options.ask(.revokeDevice(device: device, code: code, reason: reason))
        }
    }

    struct Recover: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Be yourself again on a fresh or restored machine; asks for your recovery code.",
            discussion: """
                The code is all that is needed, and any way to a member's node: in one local
                network they find each other; peers of before, --bootstrap nodes and the DHT are
                asked too. Your other devices stay what they are; end lost ones with
                `tutti device revoke`.

                Examples:
                  tutti device recover
                  tutti device recover --peer /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW…
                """)
        @OptionGroup var recovery: RecoveryOptions
        func run() async throws { try await recovery.ask() }
    }
}

/// Whom to ask for what the recovery code opens.
struct RecoveryOptions: ParsableArguments {
    @Option(help: "A node to ask, beside those that are found; may be repeated.", transform: Console.address)
    var peer: [Multiaddr] = []
    @Option(help: "A link of the community, for the addresses in it.") var link: String?
    @OptionGroup var options: CommunityOptions

    func ask() async throws {
        let code = try CommunityOptions.prompt("recovery code: ")
        try await options.ask(.recover(code: code, peers: peer.map(\.description), link: link))
    }
}
