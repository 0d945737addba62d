// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import Foundation
import TuttiCommunity

extension CommunityGroup {
    struct Invite: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a link by which others join.",
            discussion: """
                It ends by itself when it is used up or expired; `tutti community invites`
                lists those that are open, and `tutti community invites close` ends one.
                """)
        @Option(help: "How many may join by it.") var uses = 1
        @Option(help: "For how many days.") var days = 7
        @Option(help: "What it makes of them: member, guest or observer.") var role = "member"
        @Option(help: "A note that everybody can read.") var note = ""
        @Flag(help: "Show the link as a QR code as well.") var qr = false
        @Option(
            help: "Write the link as a QR code to a file, .svg or .png.", completion: .file(extensions: ["svg", "png"]))
        var qrFile: String?
        @OptionGroup var options: CommunityOptions

        func validate() throws {
            guard let qrFile else { return }
            guard qrFile.hasSuffix(".svg") || qrFile.hasSuffix(".png") else {
                throw ValidationError("--qr-file writes .svg or .png")
            }
        }

        func run() async throws {
            let goesOn = try await options.ask(
                .govern(.invite(uses: uses, days: days, role: role, note: note))
            ) { reply in
                guard case .invited(let link) = reply, qr || qrFile != nil else { return }
                guard let code = QRCode(link) else { throw ValidationError("the link is too long for a QR code") }
                if let qrFile {
                    let picture = qrFile.hasSuffix(".svg") ? Array(code.svg.utf8) : code.png()
                    try Data(picture).write(to: URL(fileURLWithPath: qrFile))
                }
                if qr { show(code) }
            }
            if !goesOn {
                Console.note(
                    "no node runs in this folder: others reach nobody by this link; run `tutti up` and invite again")
            }
        }

        /// Above the link, which stays the last line.
        private func show(_ code: QRCode) {
            if let columns = Console.columns, columns < code.columnsCount {
                Console.note("this terminal has \(columns) columns, the code needs \(code.columnsCount): use --qr-file")
            } else {
                for line in code.lines { Console.print(line) }
            }
        }
    }

    struct Invites: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Invites by which people may still join.", subcommands: [List.self, End.self],
            defaultSubcommand: List.self)

        struct List: AsyncParsableCommand {
            static let configuration = CommandConfiguration(abstract: "List them.")
            @Flag(help: "Also those that have ended.") var all = false
            @OptionGroup var options: CommunityOptions
            func run() async throws { try await options.ask(.govern(.invites(all: all))) }
        }

        struct End: AsyncParsableCommand {
            static let configuration = CommandConfiguration(
                commandName: "close", abstract: "End one; those who have joined by it stay.")
            @Argument(help: "The invite's id, or how it begins.") var invite: String
            @OptionGroup var options: CommunityOptions
            func run() async throws { try await options.ask(.govern(.closeInvite(invite: invite))) }
        }
    }
}
