// SPDX-License-Identifier: Apache-2.0
import Tutti
import TuttiIdentity
import TuttiJournal

extension DataFolder {
    var journalPath: String { path + "/journal.sqlite" }
    var deviceKeyPath: String { path + "/keys/device.key" }
    var witnessKeyPath: String { path + "/keys/witness.key" }
    /// Of a device that is replaced the keyring stays: its key opens no other.
    func keyringPath(of device: DeviceID) -> String {
        path + "/keys/mailbox-\(BitText.base16.encode(device.bytes.bytes.prefix(8)))"
    }
}
