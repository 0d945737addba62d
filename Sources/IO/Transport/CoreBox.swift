// SPDX-License-Identifier: Apache-2.0
import TuttiConnection

/// Where a connection's core lives, so that the driver and its stream table can both call it in place.
final class CoreBox {
    var core: ConnectionCore

    init(_ core: consuming ConnectionCore) {
        self.core = core
    }
}
