// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import TuttiSimulator

@main
struct LabMain: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tutti-lab", abstract: "Run Tutti's protocols in virtual time.")
}
