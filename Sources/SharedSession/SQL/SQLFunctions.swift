/// What the call of a function may leave behind in the session.
enum SQLFunctions {
    enum Effect: Equatable {
        case none
        /// Nobody knows the function.
        case unknown
        case flags(SQLStatement.Flags)
    }

    /// The effect of a call.
    ///
    /// - Parameters:
    ///   - name: As Postgres takes it, see ``SQLName``.
    ///   - schema: The schema named, in the same way; nil where none is.
    ///   - isQuoted: Whether the name stands in quotes, and so is no word of the grammar.
    ///   - known: Functions that leave nothing behind.
    /// - Returns: What it may leave behind.
    static func effect(
        of name: String, schema: String?, isQuoted: Bool, known: KnownFunctions
    ) -> Effect {
        switch schema {
        case nil where !isQuoted && self.grammar.contains(name):
            return .none
        case nil, "pg_catalog":
            // Without a schema, somebody's own function of that name may be meant.
            if known.names.contains(name) {
                return schema == nil ? .flags(.mayRunStoredCode) : .none
            }
            return self.session[name].map(Effect.flags) ?? .unknown
        case "information_schema":
            return .none
        case .some:
            return .unknown
        }
    }

    /// Functions of `pg_catalog` that do nothing but touch the session.
    static let session: [String: SQLStatement.Flags] = [
        "set_config": .mayChangeSettings,
        "pg_advisory_lock": .mayLockAdvisory,
        "pg_advisory_lock_shared": .mayLockAdvisory,
        "pg_try_advisory_lock": .mayLockAdvisory,
        "pg_try_advisory_lock_shared": .mayLockAdvisory,
        "pg_advisory_unlock": .mayLockAdvisory,
        "pg_advisory_unlock_shared": .mayLockAdvisory,
        "pg_advisory_unlock_all": .mayLockAdvisory,
    ]

    /// Words that Postgres's grammar takes before a parenthesis. Those that are reserved, or may
    /// name columns only, name no function without quotes.
    ///
    /// Source: `pg_get_keywords()` of Postgres 15 to 18, `catcode` R and C.
    private static let grammar = Set(
        """
        all analyse analyze and any array as asc asymmetric between bigint bit boolean
        both case cast char character check coalesce collate column columns constraint
        create current_catalog current_date current_role current_time current_timestamp
        current_user dec decimal default deferrable desc distinct do else end except
        exists extract false fetch float for foreign from grant greatest group grouping
        having in initially inout int integer intersect interval into json json_array
        json_arrayagg json_exists json_object json_objectagg json_query json_scalar
        json_serialize json_table json_value lateral leading least limit localtime
        localtimestamp merge_action national nchar none normalize not null nullif
        numeric offset on only or order out overlay placing position precision primary
        real references returning row select session_user setof smallint some substring
        symmetric system_user table then time timestamp to trailing treat trim true
        union unique user using values varchar variadic varying when where window with
        xmlattributes xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse
        xmlpi xmlroot xmlserialize xmltable
        """.split { $0 == " " || $0 == "\n" }.map(String.init))
}
