// SPDX-License-Identifier: Apache-2.0
import Testing
import TuttiJournal
import TuttiMarket

@Suite("The market's kinds")
struct MarketKindsTests {
    @Test("stand outside governance")
    func ordinary() {
        #expect(![EntryKind.listing, .arbiterConsent, .exposure, .rating].contains { $0.isGovernance })
    }
}
