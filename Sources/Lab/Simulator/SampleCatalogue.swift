// SPDX-License-Identifier: Apache-2.0
import TuttiBase
package import TuttiMarket

import enum TuttiJournal.ListingCondition

/// Made-up listings of used instruments, as a market of musicians has them: for tests, benchmarks and demonstrations.
/// A seed makes the same ones everywhere.
package struct SampleCatalogue: Sendable {
    private struct Shelf: Sendable {
        let category: String
        /// What a good one costs in whole units of the currency, from and to.
        let price: ClosedRange<Int>
        let models: [String]
        let details: [String]

        init(_ category: String, _ price: ClosedRange<Int>, _ models: [String], _ details: [String]) {
            (self.category, self.price, self.models, self.details) = (category, price, models, details)
        }
    }

    private var generator: SeededGenerator
    private var count = 0
    /// Milliseconds since 1970 at which all of them are listed.
    private let now: UInt64

    package init(seed: UInt64, now: UInt64) {
        generator = SeededGenerator(seed: seed)
        self.now = now
    }

    package mutating func next() -> ListingTerms {
        count += 1
        let shelf = pick(Self.shelves)
        let model = pick(shelf.models)
        let finish = pick(Self.finishes)
        let year = 1958 + Int(generator.next(upperBound: UInt(66)))
        let condition = pick(Self.conditions)
        let currency = pick(Self.currencies)
        let opening = pick(Self.openings).replacing("MODEL", with: model).replacing("YEAR", with: "\(year)")
        var sentences = [opening.replacing("FINISH", with: finish), pick(shelf.details)]
        for _ in 0..<(2 + Int(generator.next(upperBound: UInt(5)))) { sentences.append(pick(Self.sentences)) }
        sentences.append(pick(Self.closings))
        let unit = currency.decimals == 0 ? Int64(100) : currency.decimals == 3 ? 1_000 : 100
        let base = shelf.price.lowerBound + Int(generator.next(upperBound: UInt(shelf.price.count)))
        let worth = max(1, base * (12 - Int(condition.rawValue)) / 10)
        let shipping = Int64(8 + worth / 40) * unit
        return ListingTerms(
            title: "\(year) \(model), \(finish)",
            text: sentences.joined(separator: " "), category: shelf.category, condition: condition,
            price: Int64(worth) * unit, currency: currency,
            quantity: generator.next(upperBound: UInt(20)) == 0 ? 3 : 1, language: "en",
            expiry: now + ListingLimits.millisecondsMax - generator.next(upperBound: UInt64(5 * 86_400_000)),
            reference: "C-\(count)",
            delivery: [
                ListingDelivery(.inPerson), ListingDelivery(.domestic, cost: shipping),
                ListingDelivery(.worldwide, cost: 3 * shipping),
            ])
    }

    private mutating func pick<Value>(_ values: [Value]) -> Value {
        values[Int(generator.next(upperBound: UInt(values.count)))]
    }

    private static let conditions: [ListingCondition] = [
        .mint, .excellent, .excellent, .excellent, .veryGood, .veryGood, .veryGood, .good, .good, .fair, .poor,
        .brandNew, .nonFunctioning,
    ]
    private static let currencies = ["EUR", "EUR", "EUR", "EUR", "USD", "USD", "GBP", "JPY"].compactMap {
        CurrencyCode($0)
    }
    private static let finishes = [
        "sunburst", "olympic white", "black", "natural", "cherry red", "surf green", "lake placid blue", "butterscotch",
        "gold top", "walnut", "silver", "ivory", "seafoam green", "tobacco burst", "oxblood", "matte grey",
    ]
    private static let openings = [
        "Selling my MODEL from YEAR.", "Here is a lovely MODEL in FINISH.", "A real YEAR MODEL, not a reissue.",
        "I bought this MODEL from the first owner.", "This MODEL comes from a studio that closed.",
        "The MODEL needs no introduction.", "Up for sale because I need the room: MODEL, FINISH.",
        "My MODEL looks for a new home.",
    ]
    private static let sentences = [
        "It plays beautifully and stays in tune.", "There is a small scratch on the back, see the photos.",
        "All electronics were cleaned and checked last month.", "The original case is included.",
        "It comes with a gig bag, cables and the manual.", "Serviced by a technician two years ago.",
        "It was never on stage and lived in a smoke free home.", "One knob was replaced, the old one is included.",
        "The frets have plenty of life left.", "Some wear from honest use, nothing that affects the sound.",
        "The sound is warm and full, with a lot of headroom.", "No cracks, no repairs, no surprises.",
        "I can send more photos and a recording.", "The serial number is known to me and pinned by this listing.",
        "Weight is about four kilos.", "It runs on 230 volts; a transformer for 110 volts is available.",
        "The tubes were matched and replaced this spring.", "A few buckle marks, the finish has not faded.",
        "Trades for a good tape echo are welcome.", "The strings are new and the action is low.",
        "Tested with bass and guitar, both are great through it.", "The power supply is included.",
        "The neck is straight and the truss rod works.", "It has been modified: true bypass, easy to undo.",
    ]
    private static let closings = [
        "Pick up is welcome, try it before you buy.", "Shipping is insured and tracked.",
        "Please ask before you make an offer.", "The price is fair, low offers are not answered.",
        "It will be packed very well.", "See you at the rehearsal room.",
    ]
    private static let shelves = [
        Shelf(
            "electric guitars", 300...4_500,
            [
                "Fender Stratocaster", "Fender Telecaster", "Fender Jazzmaster", "Fender Mustang",
                "Gibson Les Paul Standard",
                "Gibson SG Special", "Gibson ES-335", "Gretsch 6120", "Ibanez RG550", "PRS Custom 24",
                "Rickenbacker 330",
                "Yamaha Revstar", "Epiphone Casino", "Danelectro 59",
            ],
            ["Rosewood board with dot inlays.", "Maple neck with a thin satin finish.", "Humbuckers with coil split."]),
        Shelf(
            "bass guitars", 250...3_500,
            [
                "Fender Precision Bass", "Fender Jazz Bass", "Music Man StingRay", "Höfner 500/1 Violin Bass",
                "Rickenbacker 4003", "Warwick Thumb", "Ibanez SR500", "Sandberg California",
            ],
            ["Flatwound strings, very deep tone.", "Active preamp with three bands.", "Short scale, easy to play."]),
        Shelf(
            "acoustic guitars", 150...4_000,
            [
                "Martin D-28", "Martin 000-15M", "Gibson J-45", "Taylor 314ce", "Guild F-512 twelve string",
                "Yamaha FG800",
                "Lowden O-22", "Takamine EF341",
            ],
            ["Solid spruce top over rosewood.", "Piezo pickup under the saddle.", "Loud and balanced, low action."]),
        Shelf(
            "guitar amps", 200...3_000,
            [
                "Vox AC30", "Fender Twin Reverb", "Fender Deluxe Reverb", "Marshall JCM800 2203", "Marshall Plexi 1959",
                "Orange Rockerverb", "Hiwatt DR103", "Mesa Boogie Mark IV", "Roland JC-120", "Supro Thunderbolt",
            ],
            ["Spring reverb and tremolo work.", "The speakers are original.", "Two channels with a foot switch."]),
        Shelf(
            "effect pedals", 40...600,
            [
                "Boss DS-1 Distortion", "Boss DM-2 Delay", "Ibanez TS9 Tube Screamer", "Electro-Harmonix Big Muff",
                "Electro-Harmonix Memory Man", "Klon Centaur", "MXR Phase 90", "ProCo RAT", "Strymon Timeline",
                "Dunlop Cry Baby Wah", "Eventide H9", "Maestro Echoplex",
            ],
            ["True bypass, nine volts.", "Old chip, the good one.", "Velcro on the bottom."]),
        Shelf(
            "synthesizers", 200...6_000,
            [
                "Moog Minimoog Model D", "Roland Juno-106", "Roland Jupiter-8", "Korg MS-20", "Sequential Prophet-5",
                "Yamaha DX7", "Oberheim OB-X8", "Arturia MiniBrute", "Elektron Digitone", "Waldorf Blofeld",
                "Korg Minilogue",
            ],
            ["All voices work and are calibrated.", "New battery, factory presets loaded.", "MIDI was retrofitted."]),
        Shelf(
            "drum machines", 100...4_000,
            [
                "Roland TR-808", "Roland TR-909", "LinnDrum LM-2", "Elektron Digitakt", "Akai MPC60", "E-mu SP-1200",
                "Boss DR-110",
            ],
            ["The pads respond well.", "All outputs tested.", "Comes with a card of sounds."]),
        Shelf(
            "drums", 80...2_800,
            [
                "Ludwig Supraphonic snare", "Gretsch Broadkaster kit", "Sonor Phonic kit", "Zildjian K ride cymbal",
                "Paiste 2002 crash cymbal", "Tama Starclassic kit", "Slingerland Radio King snare", "Meinl cajon",
            ],
            ["New heads all around.", "No keyholes, no cracks.", "Hardware and bags included."]),
        Shelf(
            "microphones", 80...5_000,
            [
                "Neumann U 87", "Shure SM57", "Shure SM7B", "AKG C414", "Sennheiser MD 421", "Coles 4038 ribbon",
                "Electro-Voice RE20", "Røde NT1", "Beyerdynamic M 160",
            ],
            ["With shock mount and case.", "Capsule was cleaned.", "Matched pair on request."]),
        Shelf(
            "keyboards", 200...3_800,
            [
                "Fender Rhodes Mark I", "Wurlitzer 200A", "Hohner Clavinet D6", "Nord Stage 3", "Hammond M3 organ",
                "Yamaha CP-70", "Vox Continental",
            ],
            ["All keys play evenly.", "Sustain pedal and legs included.", "Tines tuned last winter."]),
        Shelf(
            "brass", 150...3_200,
            [
                "Bach Stradivarius trumpet", "Conn 88H trombone", "Yamaha YTR-2330 trumpet", "Alexander 103 horn",
                "Besson euphonium", "Getzen flugelhorn",
            ],
            ["Valves are fast and quiet.", "Mouthpiece included.", "The slide was aligned."]),
        Shelf(
            "woodwinds", 120...5_500,
            [
                "Selmer Mark VI alto saxophone", "Yanagisawa tenor saxophone", "Buffet R13 clarinet",
                "Yamaha YFL-222 flute", "Fox bassoon", "Moeck recorder",
            ],
            ["All pads seal.", "Overhauled with new cork.", "The lacquer is original."]),
        Shelf(
            "strings", 200...6_000,
            [
                "German violin", "Mirecourt viola", "Czech cello", "Double bass three quarter", "Yamaha silent violin",
                "Appalachian dulcimer",
            ],
            ["Bow and case included.", "Appraisal available.", "The sound post was set by a luthier."]),
        Shelf(
            "recording", 60...4_500,
            [
                "Tascam Portastudio 424", "Roland RE-201 Space Echo", "Universal Audio 1176 compressor",
                "Neve 1073 preamp",
                "Studer A80 tape machine", "RME Babyface interface", "Yamaha NS-10 monitors", "Lexicon PCM 70 reverb",
            ],
            ["Heads are relapped.", "Rack ears included.", "Meters and lamps work."]),
    ]
}
