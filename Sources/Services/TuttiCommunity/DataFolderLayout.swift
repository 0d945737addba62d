// SPDX-License-Identifier: Apache-2.0
import Tutti

extension DataFolder {
    var journalPath: String { path + "/journal.sqlite" }
    var deviceKeyPath: String { path + "/keys/device.key" }
}
