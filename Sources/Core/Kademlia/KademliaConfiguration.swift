// SPDX-License-Identifier: Apache-2.0

package struct KademliaConfiguration: Sendable {
    /// The prefix of the protocol's name; `/kad/1.0.0` is put behind it.
    package var protocolPrefix = "/ipfs"
    /// 256, or 160 for BitTorrent's DHT.
    package var keyBits = 256

    package init() {}
}
