// SPDX-License-Identifier: Apache-2.0
import TuttiBase

struct Suspicion: Sendable {
    static let confirmersMax = 3
}
