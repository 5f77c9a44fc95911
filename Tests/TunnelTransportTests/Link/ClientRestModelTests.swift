import NIOCore
import Testing

@testable import TunnelTransport

/// Random clients, and a model of Postgres that knows what is under way.
struct ClientRestModelTests {
    /// Scripts of each kind.
    private static let scripts: UInt64 = 1500

    /// Since version 14 Postgres ends a connection that sends a question amid a COPY; before, it
    /// took the question for an error.
    @Test(arguments: [true, false])
    func `a client is at rest where Postgres says so, and never in the middle`(
        endsConfused: Bool
    ) {
        for seed in 0..<Self.scripts {
            var bench = RestBench(seed: seed, endsConfused: endsConfused)
            guard let fault = bench.run() else { continue }
            Issue.record("seed \(seed), endsConfused \(endsConfused): \(fault)\n\(bench.log)")
            return
        }
    }
}

/// A client, the watched wire, and the model at its end.
private struct RestBench {
    private var random: SeededGenerator
    private var server: ModelPostgres
    private var rest = ClientRest()
    private var isGreeted = false
    /// What the client is to send; of the first so many bytes are sent.
    private var script: [Question] = []
    private var sentBytes = 0
    private var inbox: [Question] = []
    /// What the server answered and the client has not: bytes, and how many of them matter.
    private var answers: [UInt8] = []
    private var mattering = 0
    private(set) var log = ""

    init(seed: UInt64, endsConfused: Bool) {
        self.random = SeededGenerator(state: seed)
        self.server = ModelPostgres(endsConfused: endsConfused)
    }

    /// - Returns: what is wrong.
    mutating func run() -> String? {
        if self.random.one(in: 2) { self.greet() }
        for _ in 0..<(2 + self.random.number(6)) {
            self.script += self.exchange()
            // On to the next one, whatever was answered; or wait.
            let steps = self.random.one(in: 2) ? self.random.number(20) : Int.max
            if let fault = self.play(steps) { return fault }
            self.greet()
        }
        if let fault = self.play() { return fault }
        return self.end()
    }

    private mutating func greet() {
        guard !self.isGreeted else { return }
        self.isGreeted = true
        self.rest.greeted(ByteBuffer(bytes: "KNZ".flatMap { Self.message($0) }))
    }

    /// Brings the client out of all that it is in the middle of.
    private mutating func end() -> String? {
        while self.server.isCopying {
            self.script += [Question(type: "f"), Question(type: "S")]
            if let fault = self.play() { return fault }
        }
        self.script += [
            Question(type: "S"), Question(type: "Q", outcome: .commit), Question(type: "Q"),
        ]
        if let fault = self.play() { return fault }
        guard self.server.mode != .ended, !self.server.wasConfused else { return nil }
        return self.rest.isAtRest ? nil : "under way for ever"
    }

    /// At most so many steps, or until nothing moves.
    private mutating func play(_ steps: Int = Int.max) -> String? {
        for _ in 0..<steps {
            guard self.server.mode != .ended else { return nil }
            let canSend = !self.script.isEmpty
            let canTake = self.isGreeted && (!self.inbox.isEmpty || self.server.isCopying)
            guard canSend || (canTake && !self.inbox.isEmpty) || !self.answers.isEmpty else {
                return nil
            }
            switch self.random.number(3) {
            case 0: if canSend { self.send() }
            case 1: if canTake { self.take() }
            default: if !self.answers.isEmpty { self.deliver() }
            }
            if let fault = self.check() { return fault }
        }
        return nil
    }

    private func check() -> String? {
        guard self.server.mode != .ended else { return nil }
        // Data behind the end of a COPY is read by and by and has no effect.
        let asksSomething = self.inbox.contains { !"dcfHX".contains($0.type) }
        let isUnderWay =
            !self.isGreeted || self.server.isUnderWay || asksSomething || self.mattering > 0
            || self.sentBytes > 0
        if isUnderWay { return self.rest.isAtRest ? "at rest in the middle" : nil }
        let isTold = self.answers.isEmpty && !self.server.isUnclear && !self.server.wasConfused
        return isTold && !self.rest.isAtRest ? "under way, but all was answered" : nil
    }

    // MARK: The wire

    /// A letter as a message; every row looks like a ReadyForQuery at its end.
    private static func message(_ type: Character) -> [UInt8] {
        let body: StaticString
        var letter = type.asciiValue ?? 0
        switch type {
        case "Z": body = "I"
        case "z": body = "T"
        case "y": body = "E"
        case "D", "d": body = "Z\0\0\0\u{5}I"
        case "c", "S", "H", "1", "2", "3", "n", "s", "I", "X": body = ""
        default: body = "xyz"
        }
        if type == "y" || type == "z" { letter = UInt8(ascii: "Z") }
        return body.withUTF8Buffer { [letter, 0, 0, 0, UInt8(4 + $0.count)] + $0 }
    }

    /// A piece of a message, or a whole one, or more.
    private mutating func send() {
        var bytes: [UInt8] = []
        for _ in 0...self.random.number(3) {
            guard let question = self.script.first else { break }
            let message = Self.message(question.type)
            let isWhole = self.random.number(3) > 0
            let end = isWhole ? message.count : self.random.number(message.count + 1)
            guard end > self.sentBytes else { continue }
            bytes += message[self.sentBytes..<end]
            self.sentBytes = end
            guard end == message.count else { break }
            self.sentBytes = 0
            self.inbox.append(self.script.removeFirst())
            self.log.append(question.type)
        }
        self.rest.sent(ByteBuffer(bytes: bytes))
    }

    private mutating func take() {
        if self.random.one(in: 20) { self.answer(["A", "N", "S"][self.random.number(3)], false) }
        if self.server.isCopying, self.random.one(in: 20) {
            self.server.failCopy()
        } else if !self.inbox.isEmpty {
            self.server.take(self.inbox.removeFirst(), &self.random)
        }
        for letter in self.server.answers { self.answer(letter, true) }
        self.server.answers = ""
    }

    private mutating func answer(_ letter: Character, _ matters: Bool) {
        self.answers += Self.message(letter)
        if matters { self.mattering = self.answers.count }
        self.log += "<\(letter)"
    }

    private mutating func deliver() {
        let most = self.random.one(in: 2) ? 12 : 100
        let count = min(self.answers.count, 1 + self.random.number(most))
        self.rest.delivered(ByteBuffer(bytes: self.answers[..<count]))
        self.answers.removeFirst(count)
        self.mattering = max(0, self.mattering - count)
    }

    // MARK: The client

    private mutating func fallible(_ type: Character) -> Question {
        Question(type: type, outcome: self.random.one(in: 10) ? .fails : .plain)
    }

    private mutating func exchange() -> [Question] {
        switch self.random.number(16) {
        case 0, 1: return [self.fallible("Q")]
        case 2: return [self.fallible("F")]
        case 3: return [Question(type: "Q", outcome: .begin), self.fallible("Q")]
        case 4: return [Question(type: "Q", outcome: .commit)]
        case 5: return [Question(type: "Q", outcome: .copyOut)]
        case 6, 7: return self.batch() + [Question(type: "S")]
        case 8: return (0..<4).flatMap { _ in self.batch() + [Question(type: "S")] }
        // No Sync: a flush, or a question of the other protocol.
        case 9: return self.batch() + [Question(type: "H")]
        case 10: return self.batch() + [self.fallible(self.random.one(in: 2) ? "Q" : "F")]
        case 11: return self.batch() + [self.fallible("Q")] + self.batch() + [Question(type: "S")]
        case 12: return self.noise(of: "dcfHS") + (self.random.one(in: 9) ? [.init(type: "X")] : [])
        case 13: return self.simpleCopy()
        default: return self.extendedCopy()
        }
    }

    private mutating func noise(of types: String) -> [Question] {
        let types = Array(types)
        return (0..<self.random.number(4)).map { _ in
            Question(type: types[self.random.number(types.count)])
        }
    }

    private mutating func batch() -> [Question] {
        let shapes = ["PBDE", "PDH", "BEBE", "CPBE", "E", "BEHBE", "C"]
        var batch = shapes[self.random.number(shapes.count)].map { self.fallible($0) }
        if batch.last?.type == "E", self.random.one(in: 8) {
            batch[batch.count - 1].outcome = .copyOut
        }
        return batch
    }

    /// CopyDone or CopyFail.
    private mutating func copyEnd() -> Question {
        Question(type: self.random.one(in: 4) ? "f" : "c")
    }

    private mutating func simpleCopy() -> [Question] {
        let isTwo = self.random.one(in: 3)
        var script = [Question(type: "Q", outcome: isTwo ? .twoCopyIn : .copyIn)]
        for _ in 0..<(isTwo ? 2 : 1) { script += self.noise(of: "ddHS") + [self.copyEnd()] }
        return script
    }

    /// As clients do it: a Sync ahead of the data, as of any Execute, and one behind them.
    private mutating func extendedCopy() -> [Question] {
        var script = self.batch() + [Question(type: "E", outcome: .copyIn)]
        // A client that does not know what it executed.
        if self.random.one(in: 6) { script += self.batch() }
        if self.random.number(3) > 0 { script.append(Question(type: "S")) }
        script += self.noise(of: "ddHS") + [self.copyEnd(), Question(type: "S")]
        return script
    }
}
