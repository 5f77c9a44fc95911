/// An element of an answer in XML: its name without prefix, its own text, its children.
///
/// Only what AWS's query protocol sends is understood: elements, attributes (skipped), text,
/// CDATA, comments, a declaration, the five named entities and numbered ones. A document type,
/// and so every entity of its own, is refused: nothing here can be made to grow or to read a file.
struct XMLTree: Equatable {
    /// The most bytes of a document. A page of 100 instances is about 500 kB.
    static let maximumBytes = 8 * 1024 * 1024
    /// The most elements inside each other. AWS's answers have fewer than 12.
    static let maximumDepth = 64

    /// Without prefix.
    var name: String
    /// The text right inside, entities replaced; of an element with children, what is between.
    var text = ""
    /// In the order of the document.
    var children: [XMLTree] = []

    /// The first element on the way `names`, or nil.
    func first(_ names: String...) -> XMLTree? {
        var place = self
        for name in names {
            guard let next = place.children.first(where: { $0.name == name }) else { return nil }
            place = next
        }
        return place
    }

    /// All children of that name.
    func all(_ name: String) -> [XMLTree] {
        self.children.filter { $0.name == name }
    }

    /// The text of the first child of that name, unless it is empty.
    subscript(name: String) -> String? {
        self.first(name).flatMap { $0.text.isEmpty ? nil : $0.text }
    }

    /// Reads a document.
    ///
    /// - Throws: ``XMLViolation`` if it is none, or is none that AWS would send.
    init(parsing bytes: [UInt8]) throws(XMLViolation) {
        guard bytes.count <= Self.maximumBytes else { throw .tooLarge(bytes: bytes.count) }
        var reader = XMLReader(bytes: bytes)
        self = try reader.document()
    }

    fileprivate init(name: String) {
        self.name = name
    }
}

/// Why bytes are no answer in XML.
enum XMLViolation: Error, Hashable {
    /// More than ``XMLTree/maximumBytes``.
    case tooLarge(bytes: Int)
    /// More elements inside each other than ``XMLTree/maximumDepth``.
    case tooDeep
    /// It has a document type.
    case documentType
    /// It ends too early.
    case truncated
    /// Something else, at that byte.
    case malformed(at: Int)
}

/// Walks over the bytes once; the open elements are a stack, not recursion.
private struct XMLReader {
    let bytes: [UInt8]
    var place = 0

    init(bytes: [UInt8]) {
        self.bytes = bytes
    }

    mutating func document() throws(XMLViolation) -> XMLTree {
        var open: [XMLTree] = []
        while self.place < self.bytes.count {
            if self.skips("<?") {
                try self.skip(past: "?>")
            } else if self.skips("<!--") {
                try self.skip(past: "-->")
            } else if self.skips("<![CDATA[") {
                let start = self.place
                try self.skip(past: "]]>")
                guard !open.isEmpty else { throw .malformed(at: start) }
                open[open.count - 1].text += self.string(start, self.place - 3)
            } else if self.skips("<!") {
                throw .documentType
            } else if self.skips("</") {
                let name = try self.name()
                self.skipSpace()
                try self.expect(">")
                guard let last = open.popLast(), last.name == name else {
                    throw .malformed(at: self.place)
                }
                if open.isEmpty { return last }
                open[open.count - 1].children.append(last)
            } else if self.skips("<") {
                let element = XMLTree(name: try self.name())
                guard try self.isEmptyTag() else {
                    guard open.count < XMLTree.maximumDepth else { throw .tooDeep }
                    open.append(element)
                    continue
                }
                if open.isEmpty { return element }
                open[open.count - 1].children.append(element)
            } else {
                let text = try self.text()
                if open.isEmpty {
                    guard text.allSatisfy(\.isWhitespace) else { throw .malformed(at: self.place) }
                } else {
                    open[open.count - 1].text += text
                }
            }
        }
        throw .truncated
    }

    /// Reads a name and gives what stands behind its prefix.
    private mutating func name() throws(XMLViolation) -> String {
        let start = self.place
        while let byte = self.current, !Self.endsName(byte) { self.place += 1 }
        let whole = self.string(start, self.place)
        guard let name = whole.split(separator: ":").last else { throw .malformed(at: start) }
        return String(name)
    }

    /// Skips attributes up to the end of an opening tag; true if it closed itself.
    private mutating func isEmptyTag() throws(XMLViolation) -> Bool {
        while true {
            self.skipSpace()
            if self.skips("/>") { return true }
            if self.skips(">") { return false }
            _ = try self.name()
            self.skipSpace()
            try self.expect("=")
            self.skipSpace()
            if self.skips("\"") {
                try self.skip(past: "\"")
            } else {
                try self.expect("'")
                try self.skip(past: "'")
            }
        }
    }

    /// Text up to the next tag, entities replaced.
    private mutating func text() throws(XMLViolation) -> String {
        var result = ""
        var start = self.place
        while let byte = self.current, byte != UInt8(ascii: "<") {
            self.place += 1
            guard byte == UInt8(ascii: "&") else { continue }
            result += self.string(start, self.place - 1)
            result.append(try self.entity())
            start = self.place
        }
        return result + self.string(start, self.place)
    }

    private mutating func entity() throws(XMLViolation) -> Character {
        let start = self.place
        try self.skip(past: ";")
        let name = self.string(start, self.place - 1)
        switch name {
        case "lt": return "<"
        case "gt": return ">"
        case "amp": return "&"
        case "quot": return "\""
        case "apos": return "'"
        default: break
        }
        let code =
            name.hasPrefix("#x")
            ? UInt32(name.dropFirst(2), radix: 16)
            : name.hasPrefix("#") ? UInt32(name.dropFirst()) : nil
        guard let code, code > 0, let scalar = Unicode.Scalar(code) else {
            throw .malformed(at: start)
        }
        return Character(scalar)
    }

    // Bytes

    private var current: UInt8? {
        self.place < self.bytes.count ? self.bytes[self.place] : nil
    }

    private func string(_ start: Int, _ end: Int) -> String {
        String(decoding: self.bytes[start..<end], as: UTF8.self)
    }

    /// Whether `word` stands here; then it is read.
    private mutating func skips(_ word: StaticString) -> Bool {
        let end = self.place + word.utf8CodeUnitCount
        guard end <= self.bytes.count else { return false }
        let here = self.bytes[self.place..<end]
        guard word.withUTF8Buffer({ here.elementsEqual($0) }) else { return false }
        self.place = end
        return true
    }

    private mutating func expect(_ word: StaticString) throws(XMLViolation) {
        if self.skips(word) { return }
        if self.place >= self.bytes.count { throw .truncated }
        throw .malformed(at: self.place)
    }

    private mutating func skip(past word: StaticString) throws(XMLViolation) {
        while !self.skips(word) {
            guard self.place < self.bytes.count else { throw .truncated }
            self.place += 1
        }
    }

    private mutating func skipSpace() {
        while let byte = self.current, Self.isSpace(byte) { self.place += 1 }
    }

    private static func isSpace(_ byte: UInt8) -> Bool {
        byte == 0x20 || byte == 0x09 || byte == 0x0A || byte == 0x0D
    }

    private static func endsName(_ byte: UInt8) -> Bool {
        Self.isSpace(byte) || byte == UInt8(ascii: ">") || byte == UInt8(ascii: "/")
            || byte == UInt8(ascii: "=") || byte == UInt8(ascii: "<")
    }
}
