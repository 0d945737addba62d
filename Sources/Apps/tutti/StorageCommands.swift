// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import TuttiCommunity

struct ExportCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export", abstract: "Write every entry to a new file that anybody can verify.")
    @Argument(help: "The file.", completion: .file()) var file: String
    @OptionGroup var options: CommunityOptions
    func run() async throws { try await options.ask(.export(path: Console.path(file))) }
}

struct BackupCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup",
        abstract: "Copy the journal to a new file, while the node runs. It holds no keys.")
    @Argument(help: "The file.", completion: .file()) var file: String
    @OptionGroup var options: CommunityOptions
    func run() async throws { try await options.ask(.backup(path: Console.path(file))) }
}

struct RestoreCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore",
        abstract: "Make a folder's journal out of a backup; then run `tutti device recover`.")
    @Argument(help: "The backup.", completion: .file()) var file: String
    @OptionGroup var data: DataOptions
    func run() async throws { try CommunityFiles.restore(Console.path(file), to: data.folder) }
}

struct RepairCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "repair",
        abstract: "Make the views anew, and out of a damaged journal a whole one; while no node runs.")
    @OptionGroup var data: DataOptions
    func run() async throws {
        for line in try CommunityFiles.repair(data.folder) { Console.print(line) }
    }
}
