// SPDX-License-Identifier: Apache-2.0
import TuttiBase

/// The knobs of membership. The defaults are for nodes on the internet; `lab` has no caps by address or rate.
package struct MembershipConfiguration: Sendable {
    /// How messages reach a peer that is not connected.
    package enum Transport: Sendable {
        /// A connection is asked for first. Its loss tells of a failure.
        case connections
        /// Straight away, and no loss is ever told: the model of the SWIM papers.
        case datagrams
    }

    package var transport = Transport.connections
    package var views = ViewsConfiguration()
    package var detector = DetectorConfiguration()
    package var search = SearchConfiguration()
    package var tree = TreeConfiguration()
    package var limits = MembershipLimits()

    package init() {}

    package static var lab: Self {
        var configuration = Self()
        configuration.views.activePerGroupMax = .max
        configuration.views.provenKeptMax = 0
        configuration.search.queryInterval = .zero
        return configuration
    }

    /// Knobs that exclude each other or make no sense are put right, so that no value of theirs can trap.
    package var validated: Self {
        var valid = self
        valid.views.activeMax = min(max(1, views.activeMax), limits.activeMax)
        valid.views.passiveMax = min(max(1, views.passiveMax), limits.passiveMax)
        valid.views.shuffleInterval = max(.milliseconds(1), views.shuffleInterval)
        valid.views.neighbourTimeout = max(.milliseconds(1), views.neighbourTimeout)
        valid.detector.probeInterval = max(.milliseconds(1), detector.probeInterval)
        valid.detector.probeTimeout = max(.milliseconds(1), min(detector.probeTimeout, valid.detector.probeInterval))
        valid.detector.helpers = min(max(0, detector.helpers), 8)
        valid.detector.confirmationsMax = min(max(0, detector.confirmationsMax), Suspicion.confirmersMax)
        valid.detector.awarenessMax = min(max(0, detector.awarenessMax), 64)
        valid.detector.updatesPerMessage = min(max(1, detector.updatesPerMessage), limits.updatesPerMessageMax)
        return valid
    }
}

/// HyParView (Leitão, Pereira, Rodrigues 2007), table of section 5.1. Fanout is `activeMax - 1`.
package struct ViewsConfiguration: Sendable {
    package var activeMax = 5
    package var passiveMax = 30
    /// ARWL: how far a join walks until somebody takes the newcomer as a neighbour.
    package var activeWalkLength: UInt8 = 6
    /// PRWL: where on that walk the newcomer enters a passive view.
    package var passiveWalkLength: UInt8 = 3
    /// So long after its join a newcomer has no neighbours of its own yet, from whom a walk could go on.
    package var settleTime = Duration.seconds(1)
    /// ka and kp: how many of each view a shuffle carries, beside its origin.
    package var shuffleActive = 3
    package var shufflePassive = 4
    package var shuffleInterval = Duration.seconds(30)
    /// A candidate that has not answered by then is given up.
    package var neighbourTimeout = Duration.seconds(5)
    /// Neighbours from one `AddressGroup` at most: one party's machines must not be all that we see.
    package var activePerGroupMax = 2
    /// So many peers of the passive view that we had a link with are not displaced by mere hearsay.
    package var provenKeptMax = 8
    /// Off: no promotion and no shuffle. For the floor that the papers compare with.
    package var isRepairOn = true

    package init() {}
}

/// SWIM (Das, Gupta, Motivala 2002) and Lifeguard (Dadgar, Phillips, Currey 2017).
package struct DetectorConfiguration: Sendable {
    package enum Arm: Sendable {
        /// A failed probe is a death.
        case basic
        /// A failed probe is a suspicion, for `suspicionMultiplier * ceil(ln(n + 1))` intervals.
        case suspicion
        /// And the suspicion is long unless others confirm it, and our own slowness is taken into account.
        case lifeguard
    }

    package enum Scope: Sendable {
        /// Each neighbour once in `probeInterval`.
        case neighbours
        /// One member in `probeInterval`, all of them in turn.
        case members
    }

    package var isOn = true
    package var arm = Arm.lifeguard
    package var scope = Scope.neighbours
    package var probeInterval = Duration.seconds(5)
    package var probeTimeout = Duration.seconds(1)
    /// How long helpers are waited for. A detour is so known within interval + time-out + this.
    package var indirectTimeout = Duration.seconds(2)
    /// K: how many are asked to probe for us.
    package var helpers = 3
    /// Lambda: each update is passed on lambda * log2(n + 1) times.
    package var retransmitMultiplier = 4
    package var updatesPerMessage = 6
    package var suspicionMultiplier = 3
    /// The shortest suspicion is alpha * log10(n) intervals, the longest beta times that.
    package var alpha = 5
    package var beta = 6
    /// k: so many independent confirmations make a suspicion shortest.
    package var confirmationsMax = 3
    package var awarenessMax = 8
    /// How long a death is remembered in the table of members.
    package var tombstoneDuration = Duration.seconds(600)
    /// Peers 0..<this are members from the start; they cost no memory until their state differs.
    package var membersAtStart: UInt32 = 0
    /// Off: the first probe goes out at the start, so that periods of all are aligned.
    package var isStartJittered = true
    /// Updates also go to `gossipFanout` random members each interval, while there are any; zero: only with probes.
    package var gossipInterval = Duration.zero
    package var gossipFanout = 3

    package init() {}
}

package struct SearchConfiguration: Sendable {
    package var walkCheckSteps: UInt8 = 4
    /// How long a search is remembered, to know it again.
    package var seenDuration = Duration.seconds(60)
    /// One query in this time from each peer, on average; zero: no limit.
    package var queryInterval = Duration.milliseconds(20)
    package var queryBurst = 256

    package init() {}
}

/// Plumtree (Leitão, Pereira, Rodrigues 2007).
package struct TreeConfiguration: Sendable {
    /// How long an announced message may fail to come before the announcer is asked.
    package var graftTimeout = Duration.milliseconds(500)
    /// The same for the second and further announcers.
    package var graftRetryTimeout = Duration.milliseconds(250)
    /// A lazy link that is shorter by this many hops becomes eager; zero: never.
    package var optimisationThreshold: UInt16 = 7
    package var cacheDuration = Duration.seconds(60)

    package init() {}
}

/// What membership holds and accepts at most; each comment says what happens at the limit.
package struct MembershipLimits: Sendable {
    /// A longer message ends the stream.
    package var messageBytesMax = 64 * 1_024
    /// Further addresses of a peer are left out.
    package var addressesPerPeerMax = 4
    /// A longer address is refused when read and left out when written.
    package var addressBytesMax = 256
    /// A longer record is refused when read; addresses are written in its place.
    package var recordBytesMax = 1_024
    /// Peers of a shuffle; further ones are left out.
    package var peersPerMessageMax = 32
    /// Peers that a message names in all (an update names two); more are refused.
    package var peersNamedMax = 65
    /// A longer list in a message is refused.
    package var updatesPerMessageMax = 32
    package var announcementsPerMessageMax = 64
    /// Longer ones are refused, from the application as from peers.
    package var questionBytesMax = 1_024
    package var hitBytesMax = 8 * 1_024
    package var payloadBytesMax = 32 * 1_024

    package var activeMax = 64
    package var passiveMax = 512
    /// Further members are not taken in.
    package var membersMax = 65_536
    /// Further suspicions run without a time-out of ours.
    package var suspicionsMax = 1_024
    /// The update that was passed on most goes.
    package var updatesQueuedMax = 1_024
    /// An incarnation further ahead is believed only from the member itself.
    package var incarnationJumpMax: UInt32 = 65_536
    /// Further probes wait for the next turn.
    package var probesMax = 128
    /// Requests of others to probe for them; further ones are not served.
    package var relaysMax = 64
    package var relaysPerPeerMax = 16
    /// Peers with a broken path that we keep probing; the oldest goes.
    package var pathsDownMax = 32

    /// Further messages to peers that are not connected are dropped.
    package var connectsMax = 64
    package var messagesPerConnectMax = 8
    package var temporaryLinksMax = 64

    /// Own searches; further ones finish at once.
    package var searchesMax = 64
    package var walkersMax = 64
    package var floodTimeToLiveMax: UInt8 = 8
    /// Searches of others that are remembered; the oldest goes.
    package var searchesSeenMax = 4_096
    /// Walkers that rest here for an answer; the oldest goes.
    package var walkersRestingMax = 256
    /// Hits passed back for one search.
    package var hitsPerSearchMax = 64

    /// Broadcasts kept for those who ask; the oldest goes.
    package var broadcastsCachedMax = 256
    package var broadcastsCachedBytesMax = 4 << 20
    /// Ids known as received; the oldest goes.
    package var broadcastsSeenMax = 4_096
    /// Announced and not yet received; further announcements are ignored.
    package var broadcastsMissingMax = 256
    package var announcersPerBroadcastMax = 8

    package init() {}
}
