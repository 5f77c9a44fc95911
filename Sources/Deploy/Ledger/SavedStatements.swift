/// What cannot be moved is dropped, and made anew when it is wanted back: casts, transforms, user
/// mappings, default privileges.
struct SavedStatements: Sendable {
    /// What makes each anew, in order.
    var saved: [LedgerRecords.Saved] = []
    /// What takes each away now.
    var drops: [String] = []

    /// Reads the definitions. Nothing may have been moved yet: the statements hold names.
    static func read(
        _ session: any SQLSession,
        _ addresses: Set<ObjectAddress>,
        _ catalog: Catalog
    ) async throws(SQLFailure) -> SavedStatements {
        var statements = SavedStatements()
        let entries = addresses.compactMap { catalog.entries[$0] }.sorted { $0.object < $1.object }
        for (kind, query) in self.queries {
            let chosen = entries.filter { $0.object.kind == kind }
            guard !chosen.isEmpty else { continue }
            let oids = chosen.map { "\($0.object.oid)" }.joined(separator: ", ")
            let rows = try await session.rows(query.replacing("$oids", with: oids))
            let made = Dictionary(rows.map { ($0[0] ?? "", $0[1] ?? "") }) { first, _ in first }
            for entry in chosen {
                guard let sql = made["\(entry.object.oid)"] else { continue }
                statements.saved.append(.init(identity: entry.object.title, sql: sql))
                statements.drops += ObjectSQL.drop([entry])
            }
        }
        try await statements.readDefaults(
            session, entries.map(\.object).filter { $0.kind == .defaultPrivileges })
        return statements
    }

    private mutating func readDefaults(
        _ session: any SQLSession,
        _ objects: [DeployedObject]
    ) async throws(SQLFailure) {
        guard !objects.isEmpty else { return }
        let oids = objects.map { "\($0.oid)" }.joined(separator: ", ")
        let settings = try await Setting.readDefaults(session, where: "d.oid in (\(oids))")
        for setting in settings {
            let back = setting.unset.statements(to: setting)
            self.saved.append(
                .init(identity: setting.key, sql: back.joined(separator: "; ")))
            self.drops += setting.statements(to: setting.unset)
        }
    }

    /// By kind: oid and statements. pg_dump writes them the same way.
    private static let queries: [(ObjectKind, String)] = [
        (
            .cast,
            """
            select c.oid, format('create cast (%s as %s) %s%s',
                    format_type(castsource, null), format_type(casttarget, null),
                    case castmethod when 'f' then 'with function ' || (select identity
                            from pg_identify_object('pg_proc'::regclass, castfunc, 0))
                        when 'i' then 'with inout' else 'without function' end,
                    case castcontext when 'a' then ' as assignment' when 'i' then ' as implicit'
                        else '' end)
                || coalesce(format('; comment on cast (%s as %s) is %L',
                    format_type(castsource, null), format_type(casttarget, null),
                    obj_description(c.oid, 'pg_cast')), '')
            from pg_cast c where c.oid in ($oids)
            """
        ),
        (
            .transform,
            """
            select t.oid, format('create transform for %s language %I (%s)',
                    format_type(trftype, null), lanname, concat_ws(', ',
                    'from sql with function ' || nullif((select identity
                        from pg_identify_object('pg_proc'::regclass, trffromsql, 0)), ''),
                    'to sql with function ' || nullif((select identity
                        from pg_identify_object('pg_proc'::regclass, trftosql, 0)), '')))
                || coalesce(format('; comment on transform for %s language %I is %L',
                    format_type(trftype, null), lanname,
                    obj_description(t.oid, 'pg_transform')), '')
            from pg_transform t join pg_language l on l.oid = trflang where t.oid in ($oids)
            """
        ),
        (
            .userMapping,
            """
            select umid, format('create user mapping for %s server %I%s',
                case umuser when 0 then 'public' else quote_ident(usename) end, srvname,
                coalesce(' options (' || (
                    select string_agg(format('%I %L', option_name, option_value), ', ' order by n)
                    from pg_options_to_table(umoptions)
                        with ordinality as o(option_name, option_value, n)) || ')', ''))
            from pg_user_mappings where umid in ($oids)
            """
        ),
    ]
}
