import Deploy
import Foundation
import Relay

/// What commands print on standard output.
enum Output {
    /// One JSON object on one line, keys in order, times in RFC 3339.
    static func printJSON(_ value: some Encodable) throws {
        let json = String(decoding: try APIJSON.encode(value), as: UTF8.self)
        print(ProgressText.safeJSON(json))
    }

    /// Lets what was printed leave, also into a pipe.
    static func flush() { fflush(nil) }

    /// Columns that line up, two spaces between them. Cells may hold anybody's text.
    static func table(_ rows: [[String]]) -> String {
        let rows = rows.map { $0.map { ProgressText.printable($0, limit: 2_000) } }
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
