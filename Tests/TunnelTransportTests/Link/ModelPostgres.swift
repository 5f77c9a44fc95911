/// SplitMix64: small, fast, the same on every machine.
struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        self.state &+= 0x9e37_79b9_7f4a_7c15
        var word = self.state
        word = (word ^ (word >> 30)) &* 0xbf58_476d_1ce4_e5b9
        word = (word ^ (word >> 27)) &* 0x94d0_49bb_1331_11eb
        return word ^ (word >> 31)
    }

    /// Below `bound`.
    mutating func number(_ bound: Int) -> Int { Int(self.next() >> 33) % bound }

    mutating func one(in many: Int) -> Bool { self.number(many) == 0 }
}

/// A message of the client, and what becomes of it.
struct Question {
    enum Outcome { case plain, fails, copyIn, twoCopyIn, copyOut, begin, commit }

    var type: Character
    var outcome = Outcome.plain
}

/// What Postgres does with messages: `tcop/postgres.c`, `commands/copyfromparse.c`. Each kind was
/// compared with PostgreSQL 15.
struct ModelPostgres {
    enum Mode: Equatable {
        case idle
        /// `ignore_till_sync`.
        case skipping
        case copying(isExtended: Bool, more: Int)
        case ended
    }

    let endsConfused: Bool
    private(set) var mode = Mode.idle
    private(set) var status: Character = "I"
    /// The extended protocol has begun a transaction that a Sync ends.
    private(set) var isImplicit = false
    /// It failed a COPY in which it had taken a Sync, and has answered nothing since: nobody who
    /// reads along can tell.
    private(set) var isUnclear = false
    /// It took a question for an error of a COPY.
    private(set) var wasConfused = false
    private var taken = 0
    var answers = ""

    init(endsConfused: Bool) { self.endsConfused = endsConfused }

    var isUnderWay: Bool { self.mode != .idle || self.status != "I" || self.isImplicit }
    var isCopying: Bool {
        if case .copying = self.mode { true } else { false }
    }

    private mutating func say(_ letters: String) {
        self.answers += letters
        self.isUnclear = false
    }

    private mutating func ready() {
        self.mode = .idle
        self.isImplicit = false
        self.answers += self.status == "I" ? "Z" : self.status == "T" ? "z" : "y"
    }

    mutating func fail(isExtended: Bool) {
        self.answers += "E"
        if self.status == "T" { self.status = "E" }
        if isExtended { self.mode = .skipping } else { self.ready() }
    }

    mutating func failCopy() {
        guard case .copying(let isExtended, _) = self.mode else { return }
        if self.taken > 0 { self.isUnclear = true }
        self.fail(isExtended: isExtended)
    }

    mutating func take(_ question: Question, _ random: inout SeededGenerator) {
        switch self.mode {
        case .ended: break
        case .skipping: if question.type == "S" { self.ready() }
        case .copying(let isExtended, let more):
            self.copy(question.type, isExtended, more, &random)
        case .idle: self.answer(question, &random)
        }
        if question.type == "X" { self.mode = .ended }
    }

    private mutating func beginCopy(isExtended: Bool, more: Int) {
        self.say("G")
        self.taken = 0
        self.mode = .copying(isExtended: isExtended, more: more)
    }

    private mutating func copy(
        _ type: Character, _ isExtended: Bool, _ more: Int, _ random: inout SeededGenerator
    ) {
        switch type {
        case "S": self.taken += 1
        case "H": break
        case "d": if random.one(in: 10) { self.failCopy() }
        case "f": self.failCopy()
        case "c":
            self.say("C")
            self.mode = .idle
            if more > 0 {
                self.beginCopy(isExtended: isExtended, more: more - 1)
            } else if !isExtended {
                self.ready()
            }
        case "X": break
        default:
            self.wasConfused = true
            self.failCopy()
            if self.endsConfused {
                self.answers += "E"
                self.mode = .ended
            }
        }
    }

    private mutating func answer(_ question: Question, _ random: inout SeededGenerator) {
        switch question.type {
        case "Q", "F": self.answerSimple(question, &random)
        case "S":
            // A constraint that was put off.
            if self.isImplicit, random.one(in: 15) {
                self.fail(isExtended: false)
            } else {
                self.ready()
            }
        case "P", "B", "D", "E", "C":
            self.isImplicit = true
            if question.outcome == .fails {
                self.fail(isExtended: true)
            } else {
                self.answerExtended(question, &random)
            }
        default: break
        }
    }

    private mutating func answerSimple(
        _ question: Question, _ random: inout SeededGenerator
    ) {
        self.isImplicit = false
        switch question.outcome {
        case .fails:
            if random.one(in: 2) { self.say("TDC") }
            self.fail(isExtended: false)
        case .copyIn: self.beginCopy(isExtended: false, more: 0)
        case .twoCopyIn: self.beginCopy(isExtended: false, more: 1)
        case .begin, .commit:
            self.status = question.outcome == .begin ? "T" : "I"
            self.say("C")
            self.ready()
        case .copyOut, .plain:
            let isCall = question.type == "F"
            let isCopy = question.outcome == .copyOut
            let answers = isCall ? ["V"] : isCopy ? ["HddcC"] : ["TDDC", "I", "C", "TCTDC"]
            self.say(answers[random.number(answers.count)])
            self.ready()
        }
    }

    private mutating func answerExtended(
        _ question: Question, _ random: inout SeededGenerator
    ) {
        let answers: [String]
        switch question.type {
        case "P": answers = ["1"]
        case "B": answers = ["2"]
        case "C": answers = ["3"]
        case "D": answers = ["T", "n", "tT", "tn"]
        default:
            guard question.outcome != .copyIn else {
                return self.beginCopy(isExtended: true, more: 0)
            }
            answers = question.outcome == .copyOut ? ["HddcC"] : ["DDC", "C", "I", "Ds"]
        }
        self.say(answers[random.number(answers.count)])
    }
}
