// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import TuttiLabCommand

@main
struct RootCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tutti",
        abstract: "A community without a server: a peer-to-peer node that speaks libp2p.",
        discussion: """
            Examples:
              tutti up                                 run a node; its data is in ~/.tutti
              tutti up --listen /ip4/0.0.0.0/tcp/4001  let others reach it on port 4001
              tutti id                                 print the peer id of that node
              tutti ping /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW…
              tutti community create "Rare gear" --as camila
              tutti chat --data ~/.tutti
              tutti net doctor --bootstrap /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW…
              tutti perf /ip4/192.0.2.7/tcp/4001/p2p/12D3KooW… --upload 100000000

            Addresses are multiaddrs: /ip4/…/tcp/…, /ip6/…/tcp/…, /dns4/name/tcp/…, with
            /p2p/ID behind it to say who must answer there. A command that fails says why
            in one line on stderr and exits with a code other than 0.
            """,
        version: "0.1.0",
        subcommands: [
            UpCommand.self, IDCommand.self, PingCommand.self, PerfCommand.self, NetCommand.self, LabCommand.self,
            CommunityGroup.self, DeviceGroup.self, ChatGroup.self, MarketGroup.self, TradeGroup.self, JournalGroup.self,
            ExportCommand.self,
            BackupCommand.self, RestoreCommand.self, RepairCommand.self, RigCommand.self,
        ])

    static func main() async {
        // A reader that went away shows as a failed write, not as the end of the process.
        signal(SIGPIPE, SIG_IGN)
        await main(nil)
    }
}
