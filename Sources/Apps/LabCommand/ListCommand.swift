// SPDX-License-Identifier: Apache-2.0
import ArgumentParser
import TuttiSimulator

struct ListCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "Name the scenarios and their parameters.")

    func run() {
        for scenario in Scenario.all {
            print("\(scenario.name): \(scenario.summary)")
            for parameter in scenario.parameters where parameter.name != "seed" {
                print(
                    "    --\(parameter.name) \(parameter.initial)  \(parameter.meaning), "
                        + "\(parameter.range.lowerBound) to \(parameter.range.upperBound)")
            }
        }
    }
}
