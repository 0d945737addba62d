// SPDX-License-Identifier: Apache-2.0

/// Bounds of what the market publishes about people, and of what is made of it.
package enum StandingLimits {
    /// Of any body here; each has far fewer.
    package static let bodyBytesMax = 4_096
    package static let languagesMax = 16
    package static let languageBytesMax = 16
    package static let feePermilleMax = 200
    /// A PeerID's.
    package static let peerBytesMax = 64
    package static let scores = 1...5
    package static let ratingTextBytesMax = 1_000
    /// Consents and cards that are remembered: of each device the last.
    package static let devicesMax = 65_536
    /// Exposures, edges and ratings that are remembered. Over it nothing is known of anybody's exposure.
    package static let exposuresMax = 65_536
    package static let tradesMax = 262_144
    package static let ratingsMax = 262_144
    /// An exposure ends with its trade: ten days to pay, 90 days from then on.
    package static let exposureMilliseconds: UInt64 = 120 * 86_400_000
    /// Older news of others' exposure are no news.
    package static let exposureAgeMilliseconds: UInt64 = 24 * 3_600_000
    /// Within which a trade makes an arbiter partial.
    package static let conflictMilliseconds: UInt64 = 365 * 86_400_000
}
