/// A name as a user writes it for `--schema`, `--exclude-schema` and `--table`.
///
/// `*` stands for any characters, `?` for one, a dot parts the schema from the table. What stands
/// in double quotes is taken as it is. Case counts: nothing is folded, as the names that a plan
/// shows are what one would paste here.
public struct NamePattern: Hashable, Sendable {
    private enum Element: Hashable, Sendable {
        case character(Character)
        case anyCharacter
        case anyCharacters
    }

    private var parts: [[Element]]

    /// Reads a pattern. Any text is one: a quote that is not closed runs to the end.
    public init(_ text: String) {
        var parts: [[Element]] = [[]]
        var isQuoted = false
        var rest = text[...]
        while let character = rest.popFirst() {
            let element: Element
            switch character {
            case "\"" where isQuoted && rest.first == "\"":
                rest.removeFirst()
                element = .character("\"")
            case "\"":
                isQuoted.toggle()
                continue
            case "." where !isQuoted:
                parts.append([])
                continue
            case "*" where !isQuoted: element = .anyCharacters
            case "?" where !isQuoted: element = .anyCharacter
            case let other: element = .character(other)
            }
            parts[parts.count - 1].append(element)
        }
        self.parts = parts
    }

    /// Whether a schema is meant.
    public func matches(schema: String) -> Bool {
        self.parts.count == 1 && Self.matches(self.parts[0], schema)
    }

    /// Whether a table is meant; a pattern without a dot means a table of any schema.
    public func matches(schema: String, table: String) -> Bool {
        switch self.parts.count {
        case 1: Self.matches(self.parts[0], table)
        case 2: Self.matches(self.parts[0], schema) && Self.matches(self.parts[1], table)
        case _: false
        }
    }

    /// Greedy with one way back: to the last `*`. Takes at most pattern times name steps.
    private static func matches(_ pattern: [Element], _ name: String) -> Bool {
        let name = Array(name)
        var (at, index) = (0, 0)
        var star: (at: Int, index: Int)?
        while index < name.count {
            if at < pattern.count, pattern[at] == .anyCharacters {
                star = (at, index)
                at += 1
            } else if at < pattern.count, Self.matches(pattern[at], name[index]) {
                (at, index) = (at + 1, index + 1)
            } else if let last = star {
                star = (last.at, last.index + 1)
                (at, index) = (last.at + 1, last.index + 1)
            } else {
                return false
            }
        }
        return pattern[at...].allSatisfy { $0 == .anyCharacters }
    }

    private static func matches(_ element: Element, _ character: Character) -> Bool {
        switch element {
        case .character(let wanted): wanted == character
        case .anyCharacter: true
        case .anyCharacters: false
        }
    }
}
