// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
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
        @Argument(help: "A link of the community: any invite, or its address.") var link: String
        @OptionGroup var options: CommunityOptions
        func run() async throws {
            try await options.ask(.recover(code: try CommunityOptions.prompt("recovery code: "), link: link))
        }
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
            abstract: "Be yourself again on a fresh or restored machine; asks for your recovery code.")
        @Option(help: "A link of the community, on a machine that knows nothing of it.") var link: String?
        @OptionGroup var options: CommunityOptions
        func run() async throws {
            try await options.ask(.recover(code: try CommunityOptions.prompt("recovery code: "), link: link))
        }
    }
}
