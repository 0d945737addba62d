// SPDX-License-Identifier: Apache-2.0
package import TuttiBase

/// What one or many KademliaCores do. `KademliaSettings` holds it once for all of them.
package struct KademliaConfiguration: Sendable {
    /// The prefix of the protocol's name; `/kad/1.0.0` is put behind it.
    package var protocolPrefix = "/ipfs"
    /// 256, or 160 for BitTorrent's DHT.
    package var keyBits = 256
    /// Starts in server mode: answers, and is listed in tables.
    package var isServer = false

    // MARK: Lookups

    /// Peers in a bucket, peers that hold a record, peers in an answer.
    package var k = 20
    /// Calls that a lookup has under way at once; 10 suits wide areas.
    package var alpha = 3
    /// The same where all of the k closest must answer in any case, before something is stored with them.
    package var storingAlpha = 3
    /// A search for one peer ends when this many of the closest have answered without naming it.
    package var beta = 3
    /// Disjoint paths (S/Kademlia), 1 to 8: no peer is asked on two of them.
    package var paths = 1
    /// A call counts as dead after this long.
    package var callTimeout = Duration.seconds(10)
    /// Bounds of the adaptive time-out after which a call is overtaken by another.
    package var overtakeMin = Duration.milliseconds(50)
    package var overtakeMax = Duration.seconds(5)
    /// The adaptive time-out before anything was measured.
    package var overtakeInitial = Duration.seconds(1)
    /// Provider records are sent to peers as they are found, when they are surely among the k closest.
    package var isProvideOptimistic = false
    /// When the peers nearest to a key stand too dense, stores and asks in the whole region where k honest ones live.
    package var isSybilMitigationOn = true

    // MARK: Upkeep

    /// How often one contact is asked whether it lives, when all is well.
    package var checkInterval = Duration.seconds(60)
    /// How often, while newcomers wait for a place.
    package var contestedCheckInterval = Duration.seconds(10)
    /// A bucket untouched for so long is refreshed by a lookup; zero: never.
    package var refreshInterval = Duration.seconds(3_600)
    /// A new node looks for its neighbours after this long, then at doubled pauses until its table is filled.
    package var joinDelay = Duration.milliseconds(100)
    package var joinIntervalMin = Duration.seconds(2)
    /// Targets made up for refreshes are SHA-256 of a made-up name, as the wire demands; off in the lab.
    package var areTargetsNamed = true

    /// Contacts are asked whether they live by `.ping`, which the specification no longer wants sent.
    package var areChecksPings = false
    /// Whoever answers enters the table; otherwise only `.peerIdentified` brings peers there, with their address group.
    /// Without effect while address groups are capped: the group of who answers is not known.
    package var areAnswerersAdded = false

    // MARK: Records

    package var recordLifetime = Duration.seconds(48 * 3_600)
    package var providerLifetime = Duration.seconds(48 * 3_600)
    package var republishInterval = Duration.seconds(22 * 3_600)
    /// Which values may stand under which names, beside `/pk/`.
    package var validator = KademliaValidator()

    package var limits = KademliaLimits()

    package init() {}

    /// Whether a table takes peers without asking for their address group.
    var takesAnswerers: Bool {
        areAnswerersAdded && limits.groupPerBucketMax == .max && limits.groupPerTableMax == .max
    }

    package var protocolID: ProtocolID { ProtocolID(protocolPrefix + "/kad/1.0.0") }

    /// For simulations: no rates, no caps by address group, keys that no name stands for.
    package static var lab: KademliaConfiguration {
        var configuration = KademliaConfiguration()
        configuration.isServer = true
        configuration.areTargetsNamed = false
        configuration.areChecksPings = true
        configuration.areAnswerersAdded = true
        configuration.limits.requestInterval = .zero
        configuration.limits.groupPerBucketMax = .max
        configuration.limits.groupPerTableMax = .max
        return configuration
    }
}

/// A configuration that many cores share; in the lab a million of them.
package final class KademliaSettings: Sendable {
    package let configuration: KademliaConfiguration

    package init(_ configuration: KademliaConfiguration) {
        self.configuration = configuration
    }
}

/// Every table and queue of a KademliaCore and of its wire, and how large it may become.
package struct KademliaLimits: Sendable {
    // MARK: Table

    /// Contacts from one address group; further ones are refused.
    package var groupPerBucketMax = 2
    package var groupPerTableMax = 3
    /// Newcomers that wait for a place; the oldest is dropped.
    package var replacementsMax = 16

    // MARK: Lookups

    /// Lookups, puts and provides under way; a further one ends with `.limit`.
    package var operationsMax = 64
    /// Of them those that upkeep may start.
    package var upkeepOperationsMax = 2
    /// Calls under way; lookups wait for a free one.
    package var callsMax = 512
    /// Peers that a lookup keeps; the farthest is dropped.
    package var candidatesMax = 256
    /// Peers of one answer that count.
    package var peersPerAnswerMax = 20
    package var providersPerLookupMax = 128
    /// Peers whose older record is corrected after a lookup.
    package var correctionsMax = 20
    /// Peers asked or stored at when the region of a key is searched.
    package var regionPeersMax = 96
    package var rememberedPeersMax = 64

    // MARK: Stores

    /// The record farthest from our own key gives way.
    package var recordsMax = 1_024
    package var recordBytesMax = 8 * 1_024 * 1_024
    package var recordsPerPeerMax = 64
    package var recordsPerGroupMax = 256
    package var providerKeysMax = 4_096
    /// The provider heard of longest ago gives way.
    package var providersPerKeyMax = 32
    package var providersPerKeyGroupMax = 8
    package var providerRecordsPerPeerMax = 512
    package var providerRecordsPerGroupMax = 1_024
    /// What this node itself puts and provides.
    package var publicationsMax = 1_024
    /// A peer's requests: one per interval, so many saved up; interval zero: no limit. Further ones are refused.
    package var requestInterval = Duration.milliseconds(100)
    package var requestBurst = 50
    /// Peers whose rate is remembered; the one that asked least is forgotten.
    package var requestersMax = 256
    package var answersQueuedMax = 1_024

    // MARK: Wire

    package var messageBytesMax = 64 * 1_024
    /// What we send, the record aside; addresses are left out first.
    package var sentBytesMax = 16 * 1_024
    package var valueBytesMax = 16 * 1_024
    package var nameBytesMax = 256
    package var addressesPerPeerMax = 16
    package var sentAddressesPerPeerMax = 8

    package init() {}
}

/// What may stand under a name. Names look like `/namespace/rest`.
package struct KademliaValidator: Sendable {
    /// Asked for every name that isn't in `/pk/`.
    package var accepts: @Sendable (_ name: [UInt8], _ value: [UInt8]) -> Bool
    /// Whether `value` is to replace `other`; both are accepted. Must not depend on anything else.
    package var prefers: @Sendable (_ name: [UInt8], _ value: [UInt8], _ other: [UInt8]) -> Bool

    /// Accepts nothing but `/pk/`.
    package init() {
        accepts = { _, _ in false }
        prefers = { _, _, _ in false }
    }

    package init(
        accepts: @escaping @Sendable ([UInt8], [UInt8]) -> Bool,
        prefers: @escaping @Sendable ([UInt8], [UInt8], [UInt8]) -> Bool
    ) {
        self.accepts = accepts
        self.prefers = prefers
    }
}
