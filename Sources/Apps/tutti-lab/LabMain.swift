// SPDX-License-Identifier: Apache-2.0
import TuttiLabCommand

@main
enum LabMain {
    static func main() async { await LabCommand.main() }
}
