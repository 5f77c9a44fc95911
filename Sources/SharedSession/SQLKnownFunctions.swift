/// Functions that leave nothing behind in a session, by name.
package struct KnownFunctions: Sendable {
    /// In lower case, without a schema.
    package var names: Set<String>

    package init(names: Set<String>) { self.names = names }

    /// Common functions of `pg_catalog`.
    package static let assumed = KnownFunctions(names: [])
}
