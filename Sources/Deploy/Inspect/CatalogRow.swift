import Foundation

/// Reads the values of one row from left to right. The statement that made it is ours, so that a
/// value that is not there or not of its kind is 0, empty or nil.
struct CatalogRow {
    private var values: ArraySlice<String?>

    init(_ values: [String?]) {
        self.values = values[...]
    }

    /// The next value as text; nil is NULL.
    mutating func optional() -> String? {
        self.values.popFirst() ?? nil
    }

    /// The next value as text; empty is NULL.
    mutating func text() -> String {
        self.optional() ?? ""
    }

    /// The next value as a name that `pg_identify_object` quoted where it had to; nil is NULL.
    mutating func unquoted() -> String? {
        let name = self.optional()
        guard let name, name.unicodeScalars.first == "\"", name.utf8.count > 1 else { return name }
        return String(name.unicodeScalars.dropFirst().dropLast()).replacingScalars(
            "\"\"", with: "\"")
    }

    /// The next value as a whole number.
    mutating func int() -> Int {
        Int(self.text()) ?? 0
    }

    /// The next value as a whole number.
    mutating func int64() -> Int64 {
        Int64(self.text()) ?? 0
    }

    /// The next value as a truth.
    mutating func bool() -> Bool {
        self.text() == "t"
    }

    /// The next value as a JSON array of texts.
    mutating func list() -> [String] {
        guard let json = self.optional() else { return [] }
        return (try? JSONDecoder().decode([String].self, from: Data(json.utf8))) ?? []
    }
}
