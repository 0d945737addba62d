// SPDX-License-Identifier: Apache-2.0

package struct MembershipConfiguration: Sendable {
    package init() {}
}
