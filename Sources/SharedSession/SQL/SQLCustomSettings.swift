/// Finds names of custom settings in a text of SQL, and in texts within it: bodies of functions,
/// of DO, of EXECUTE.
enum SQLCustomSettings {
    private static let maximumNames = 64
    private static let maximumBytes = 255

    /// Names with a point behind SET, and where `set_config` occurs, those that a constant is all
    /// of; in lower case, each once.
    static func names(in bytes: [UInt8], _ range: Range<Int>) -> [String] {
        var search = Search(bytes: bytes, index: range.lowerBound, end: range.upperBound)
        var names = search.namesBehindSet()
        if search.sawSetConfig {
            search.index = range.lowerBound
            names += search.namesInConstants()
        }
        var seen: Set<String> = []
        return Array(names.filter { seen.insert($0).inserted }.prefix(self.maximumNames))
    }

    /// Whether a name may be one of a custom setting: parts with points between them.
    ///
    /// Source: `valid_custom_variable_name` in PostgreSQL's `guc.c`.
    static func isValid(_ name: String) -> Bool {
        let bytes = Array(name.utf8)
        var search = Search(bytes: bytes, index: 0, end: bytes.count)
        return search.dottedName() != nil && search.index == bytes.count
    }

    private struct Search {
        let bytes: [UInt8]
        var index: Int
        let end: Int
        var sawSetConfig = false

        mutating func namesBehindSet() -> [String] {
            var names: [String] = []
            while self.index < self.end {
                guard SQLScanner.startsWord(self.bytes[self.index]) else {
                    self.index += 1
                    continue
                }
                let word = self.word()
                if self.isWord(word, "set_config") { self.sawSetConfig = true }
                guard self.isWord(word, "set"), names.count < maximumNames else { continue }
                self.skipSpace()
                let behind = self.index
                let next = self.word()
                if self.isWord(next, "session") || self.isWord(next, "local") {
                    self.skipSpace()
                } else {
                    self.index = behind
                }
                let start = self.index
                if let name = self.dottedName() { names.append(name) } else { self.index = start }
            }
            return names
        }

        mutating func namesInConstants() -> [String] {
            var names: [String] = []
            while self.index < self.end, names.count < maximumNames {
                let isQuote = self.bytes[self.index] == UInt8(ascii: "'")
                self.index += 1
                guard isQuote, let name = self.dottedName(), self.index < self.end,
                    self.bytes[self.index] == UInt8(ascii: "'")
                else { continue }
                names.append(name)
            }
            return names
        }

        /// Reads `a.b` or `a.b.c`, the parts with quotes or without; nil if that is not here.
        mutating func dottedName() -> String? {
            var name: [UInt8] = []
            var points = 0
            while true {
                let isQuoted = self.index < self.end && self.bytes[self.index] == UInt8(ascii: "\"")
                if isQuoted { self.index += 1 }
                let part = self.word()
                guard !part.isEmpty else { return nil }
                name += part.map { (0x41...0x5a).contains($0) ? $0 | 0x20 : $0 }
                if isQuoted {
                    guard self.index < self.end, self.bytes[self.index] == UInt8(ascii: "\"") else {
                        return nil
                    }
                    self.index += 1
                }
                guard self.index < self.end, self.bytes[self.index] == UInt8(ascii: ".") else {
                    break
                }
                name.append(UInt8(ascii: "."))
                self.index += 1
                points += 1
            }
            guard points > 0, name.count <= maximumBytes else { return nil }
            return String(validating: name, as: UTF8.self)
        }

        private mutating func word() -> ArraySlice<UInt8> {
            let start = self.index
            guard start < self.end, SQLScanner.startsWord(self.bytes[start]) else { return [] }
            while self.index < self.end, SQLScanner.continuesWord(self.bytes[self.index]) {
                self.index += 1
            }
            return self.bytes[start..<self.index]
        }

        private mutating func skipSpace() {
            while self.index < self.end, SQLScanner.isSpace(self.bytes[self.index]) {
                self.index += 1
            }
        }

        private func isWord(_ word: ArraySlice<UInt8>, _ text: StaticString) -> Bool {
            word.count == text.utf8CodeUnitCount
                && text.withUTF8Buffer { zip(word, $0).allSatisfy { $0 | 0x20 == $1 | 0x20 } }
        }
    }
}
