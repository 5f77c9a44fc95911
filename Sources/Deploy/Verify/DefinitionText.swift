/// What a server writes of an expression or a query, without what a restore changes in it.
///
/// Writing a definition out and reading it back adds parentheses and casts: `a in ('x')` of a
/// varchar comes back as `((a)::text = any ((array['x'::character varying])::text[]))`, and after a
/// restore with the casts elsewhere. So two definitions that differ are compared once more without
/// parentheses, casts and white space; texts and quoted names stay as they are.
enum DefinitionText {
    /// The text without casts, parentheses and white space.
    static func canonical(_ text: String) -> String {
        var reader = Reader(Array(text.utf8))
        reader.run()
        return String(decoding: reader.result, as: UTF8.self)
    }

    private struct Reader {
        let bytes: [UInt8]
        var position = 0
        var result: [UInt8] = []

        init(_ bytes: [UInt8]) {
            self.bytes = bytes
        }

        mutating func run() {
            while let byte = self.peek() {
                switch byte {
                case UInt8(ascii: "'"), UInt8(ascii: "\""): self.quoted(byte)
                case UInt8(ascii: ":") where self.peek(1) == byte: self.cast()
                case UInt8(ascii: "("), UInt8(ascii: ")"): self.position += 1
                case 9, 10, 13, 32: self.position += 1
                case _:
                    self.result.append(byte)
                    self.position += 1
                }
            }
        }

        func peek(_ ahead: Int = 0) -> UInt8? {
            let index = self.position + ahead
            return index < self.bytes.count ? self.bytes[index] : nil
        }

        /// A doubled quote within is two quoted parts side by side: the bytes are the same.
        mutating func quoted(_ quote: UInt8, keeps: Bool = true) {
            let start = self.position
            self.position += 1
            while let byte = self.peek(), byte != quote {
                self.position += 1
            }
            self.position = min(self.position + 1, self.bytes.count)
            if keeps { self.result += self.bytes[start..<self.position] }
        }

        /// `::`, a type's name, its modifier, and brackets.
        mutating func cast() {
            self.position += 2
            self.typeName()
            while true {
                if self.skip("(") {
                    while let byte = self.peek(), byte != UInt8(ascii: ")") { self.position += 1 }
                    self.position = min(self.position + 1, self.bytes.count)
                } else if self.skip("[]") || self.skip(" with time zone")
                    || self.skip(" without time zone")
                {
                    continue
                } else {
                    return
                }
            }
        }

        mutating func typeName() {
            for name in Self.longNames where self.skip(name) { return }
            repeat {
                if self.peek() == UInt8(ascii: "\"") {
                    while self.peek() == UInt8(ascii: "\"") {
                        self.quoted(UInt8(ascii: "\""), keeps: false)
                    }
                } else {
                    while let byte = self.peek(), Self.isWord(byte) { self.position += 1 }
                }
            } while self.skip(".")
        }

        mutating func skip(_ text: String) -> Bool {
            let wanted = Array(text.utf8)
            guard self.bytes[self.position...].starts(with: wanted) else { return false }
            self.position += wanted.count
            return true
        }

        /// Names of types with a blank in them, as `format_type` writes them.
        static let longNames = ["character varying", "double precision", "bit varying"]

        static func isWord(_ byte: UInt8) -> Bool {
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"), UInt8(ascii: "$"),
                128...255:
                true
            case _: false
            }
        }
    }
}
