// SPDX-License-Identifier: Apache-2.0

/// What the encodings of the journal allow, for everybody alike: nodes must agree on what is an entry.
package enum JournalLimits {
    /// Larger things go to the swarm and are named by their content id.
    package static let bodyBytesMax = 65_536
    /// Feeds of one community. At it: entries of further devices are refused.
    package static let feedsMax = 16_384
}
