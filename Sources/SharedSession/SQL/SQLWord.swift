/// Key words that tell statements apart.
enum SQLWord: String, CaseIterable {
    case abort, all, analyse, analyze, `as`, atomic, authorization, begin, binary, cast
    case checkpoint, close, commit, conflict, constraints, copy, create, cursor, deallocate, declare
    case delete, discard, end, execute, explain, fetch, filter, from, function, grouping, hold
    case `in`, insert, into, listen, local, lock, materialized, merge, move, not, notify, on, or
    case over, prepare, prepared, procedure, program, recursive, release, replace, reset
    case pgSettings = "pg_settings"
    case rollback, savepoint, select, session, set, sets, show, start, stdin, stdout, table, temp
    case temporary, then, time, to, transaction, truncate, uescape, unlisten, update, values
    case verbose, with, work, zone

    /// The word of these bytes, in whatever letter case; nil if it is not one of ours.
    init?(_ bytes: ArraySlice<UInt8>) {
        guard (2...Self.maximumBytes).contains(bytes.count) else { return nil }
        var packed: UInt128 = 0
        for byte in bytes { packed = packed << 8 | UInt128(byte | 0x20) }
        guard let word = Self.byBytes[packed] else { return nil }
        self = word
    }

    private static let maximumBytes = 16

    /// By their bytes, one behind the other. Of letters bit 5 is the case.
    private static let byBytes = Dictionary(
        uniqueKeysWithValues: Self.allCases.map { word in
            (word.rawValue.utf8.reduce(UInt128(0)) { $0 << 8 | UInt128($1 | 0x20) }, word)
        })
}
