import Foundation
import Relay

/// What commands print on standard output.
enum Output {
    /// One JSON object on one line, keys in order, times in RFC 3339.
    static func printJSON(_ value: some Encodable) throws {
        print(Self.inert(String(decoding: try APIJSON.encode(value), as: UTF8.self)))
    }

    /// The same JSON, with escapes in the place of what a terminal acts on: JSON itself asks for
    /// them below 0x20 only, and a stranger chooses an `application_name`.
    static func inert(_ json: String) -> String {
        guard json.unicodeScalars.contains(where: Self.isActive) else { return json }
        var result = ""
        for scalar in json.unicodeScalars {
            guard Self.isActive(scalar) else {
                result.unicodeScalars.append(scalar)
                continue
            }
            for unit in String(scalar).utf16 {
                let hex = String(unit, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - hex.count) + hex
            }
        }
        return result
    }

    /// Controls, what turns the direction of a line, and what some readers take for its end.
    static func isActive(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator: true
        default: false
        }
    }

    /// Lets what was printed leave, also into a pipe.
    static func flush() { fflush(nil) }

    /// Columns that line up, two spaces between them.
    static func table(_ rows: [[String]]) -> String {
        let columns = rows.map(\.count).max() ?? 0
        let widths = (0..<columns).map { column in
            rows.map { column < $0.count ? $0[column].count : 0 }.max() ?? 0
        }
        return rows.map { row in
            let cells = row.enumerated().map { index, cell in
                cell.padding(toLength: max(widths[index], 1), withPad: " ", startingAt: 0)
            }
            let line = cells.joined(separator: "  ")
            return String(line.reversed().drop { $0 == " " }.reversed())
        }
        .joined(separator: "\n")
    }

    /// A time for people, in UTC.
    static func time(_ date: Date?) -> String {
        date.map { $0.formatted(.iso8601) } ?? "-"
    }
}
