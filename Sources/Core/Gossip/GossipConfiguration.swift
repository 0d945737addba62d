// SPDX-License-Identifier: Apache-2.0

package struct GossipConfiguration: Sendable {
    package init() {}
}
