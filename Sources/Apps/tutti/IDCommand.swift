// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Tutti

struct IDCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "id",
        abstract: "Print the peer id of the node in a data folder.",
        discussion: """
            Changes nothing; a folder without a key is an error.

            Examples:
              tutti id
              tutti id --data /srv/tutti
            """)

    @OptionGroup var data: DataOptions

    func run() async throws {
        let key = try DataFolder(path: data.folder).existingKey(passphrase: try data.passphrase())
        Console.print("\(key.peerID)")
    }
}
