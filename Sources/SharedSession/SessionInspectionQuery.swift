extension SessionInspection {
    /// A simple Query that tells what the session holds; see ``read(_:engine:)``.
    ///
    /// - Parameters:
    ///   - customCandidates: Names that may be custom settings.
    ///   - storedCode: Whether to look at the code stored in the database, too. That takes longer,
    ///     and is needed only when it may have changed.
    package static func query(customCandidates: Set<String>, storedCode: Bool = true) -> String {
        var parts = [Self.settings, Self.role, Self.pins]
        if !customCandidates.isEmpty { parts.append(Self.custom(customCandidates)) }
        if storedCode { parts.append(Self.storedCode) }
        return parts.joined(separator: " union all ")
    }

    /// Reads the rows of ``query(customCandidates:storedCode:)``; nil if they are not its rows.
    package static func read(_ rows: [[String?]], engine: Engine) -> Inspection? {
        nil
    }

    /// A simple Query for ``readEngine(_:)``.
    package static let engineQuery = ""

    /// Reads the row of ``engineQuery``; nil if it is not its row.
    package static func readEngine(_ rows: [[String?]]) -> Engine? {
        nil
    }

    static let settings = ""
    static let role = ""
    static let pins = ""
    static func custom(_ names: Set<String>) -> String { "" }
    static let storedCode = ""
}
