import PostgresClient

/// What a role could write in this database: the question behind a read-only share.
enum WritePrivileges {
    /// As many findings as a person wants to read.
    private static let maximumFindings = 5

    /// Predefined roles that only read. Every other predefined role is a finding.
    ///
    /// Source: PostgreSQL documentation, "Predefined Roles".
    private static let harmless = """
        'pg_read_all_data', 'pg_read_all_settings', 'pg_read_all_stats', 'pg_stat_scan_tables',
        'pg_monitor'
        """

    /// Looks at `role` and every role that it can become with SET ROLE, at what PUBLIC may do, and
    /// at functions that run as somebody else.
    ///
    /// - Parameters:
    ///   - role: The role.
    ///   - connection: To the database.
    ///   - onReplica: Whether the server refuses every write as long as nobody promotes it. Then
    ///     only who could do that, or run programs of the server, can write.
    /// - Returns: Sentences, none if nothing can be written; a few of many.
    /// - Throws: ``DatabaseSettingsError`` if Postgres does not answer.
    static func find(
        of role: String,
        _ connection: LibpqConnection,
        onReplica: Bool = false
    ) throws(DatabaseSettingsError) -> [String] {
        var findings: [String] = []
        let version = connection.serverVersion
        let queries = onReplica ? Self.replicaQueries(version) : Self.queries(version)
        for query in queries {
            let rows = try connection.query(
                "\(Self.reachable) \(query) limit \(Self.maximumFindings)", [role])
            findings += rows.compactMap { $0.first.flatMap { $0 } }
            // Of a superuser, or of the writer of everything, the rest follows.
            if findings.count >= Self.maximumFindings { break }
        }
        return Array(findings.prefix(Self.maximumFindings))
    }

    /// The findings in one sentence.
    static func sentence(_ findings: [String]) -> String {
        findings.joined(separator: "; ")
    }

    /// `reachable`: the role `$1` and all it is a member of, inheriting or not.
    private static let reachable = """
        with reachable as (
            select oid, rolname, rolsuper, rolreplication, rolcreaterole, rolcreatedb
            from pg_catalog.pg_roles where pg_catalog.pg_has_role($1::name, oid, 'MEMBER')
        )
        """

    private static func queries(_ version: Int) -> [String] {
        [
            Self.attributes, Self.predefined, Self.settings, Self.database, Self.schemas,
            Self.owned, Self.tables, Self.columns, Self.sequences, Self.functions,
            Self.largeObjects, Self.foreignServers, Self.foreignDataWrappers,
            Self.eventTriggers, Self.untrusted, Self.waysOut,
        ] + (version >= 150_000 ? [Self.parameters] : [])
            + (version >= 170_000 ? [Self.upkeep] : [])
    }

    private static func replicaQueries(_ version: Int) -> [String] {
        [Self.attributes, Self.predefined, Self.promotion, Self.untrusted, Self.waysOut]
            + (version >= 150_000 ? [Self.parameters] : [])
    }

    private static let promotion = """
        select distinct 'EXECUTE on ' || p.oid::pg_catalog.regprocedure
        from pg_catalog.pg_proc p, reachable r
        where p.proname = 'pg_promote' and p.pronamespace = 11
            and pg_catalog.has_function_privilege(r.oid, p.oid, 'EXECUTE')
        """

    private static let attributes = """
        select 'role ' || pg_catalog.quote_ident(rolname) || ' is a superuser, or may replicate or'
            || ' make roles or databases'
        from reachable where rolsuper or rolreplication or rolcreaterole or rolcreatedb
        """

    private static let predefined = """
        select 'role ' || rolname || ' is granted' from reachable
        where rolname like 'pg\\_%' and rolname not in (\(Self.harmless))
        """

    private static let settings = """
        select 'lo_compat_privileges is on' where
            pg_catalog.current_setting('lo_compat_privileges') = 'on'
        """

    private static let database = """
        select 'CREATE on database ' || pg_catalog.quote_ident(datname)
        from pg_catalog.pg_database d, reachable r
        where datname = current_database()
            and pg_catalog.has_database_privilege(r.oid, d.oid, 'CREATE')
        """

    private static let schemas = """
        select distinct 'CREATE on schema ' || pg_catalog.quote_ident(nspname)
        from pg_catalog.pg_namespace n, reachable r
        where nspname not like 'pg\\_temp\\_%' and nspname not like 'pg\\_toast%'
            and pg_catalog.has_schema_privilege(r.oid, n.oid, 'CREATE')
        """

    /// An owner may drop or alter, whatever is granted.
    private static let owned = """
        select distinct 'ownership of '
            || pg_catalog.pg_describe_object(s.classid, s.objid, s.objsubid)
        from pg_catalog.pg_shdepend s
        join reachable r on s.refobjid = r.oid
            and s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
        join pg_catalog.pg_database d on d.datname = current_database() and s.dbid in (0, d.oid)
        where s.deptype = 'o'
        """

    /// `pg_settings` is a view whose UPDATE is a SET of the session.
    private static let tables = """
        select distinct 'write access to table ' || c.oid::pg_catalog.regclass
        from pg_catalog.pg_class c, reachable r
        where c.relkind in ('r', 'p', 'v', 'f', 'm') and c.relpersistence <> 't'
            and not (c.relname = 'pg_settings' and c.relnamespace = 11)
            and pg_catalog.has_table_privilege(r.oid, c.oid,
                'INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER, REFERENCES')
        """

    private static let columns = """
        select distinct 'write access to a column of ' || c.oid::pg_catalog.regclass
        from pg_catalog.pg_class c, reachable r
        where c.relkind in ('r', 'p', 'v', 'f') and c.relpersistence <> 't'
            and not (c.relname = 'pg_settings' and c.relnamespace = 11)
            and pg_catalog.has_any_column_privilege(r.oid, c.oid, 'INSERT, UPDATE')
        """

    private static let sequences = """
        select distinct 'nextval or setval of sequence ' || c.oid::pg_catalog.regclass
        from pg_catalog.pg_class c, reachable r
        where c.relkind = 'S' and c.relpersistence <> 't'
            and pg_catalog.has_sequence_privilege(r.oid, c.oid, 'USAGE, UPDATE')
        """

    /// A function that runs as its owner does what its owner may. Which of them only read, nobody
    /// can know. That of a trigger counts: a client makes a temporary table and puts it on that.
    /// One in a schema that is closed counts, too: views, operators and casts lead there. 3838 is
    /// `event_trigger`: those nobody can call or put on anything.
    private static let functions = """
        select distinct 'SECURITY DEFINER function ' || p.oid::pg_catalog.regprocedure
        from pg_catalog.pg_proc p, reachable r
        where p.prosecdef and p.prorettype <> 3838
            and pg_catalog.has_function_privilege(r.oid, p.oid, 'EXECUTE')
        """

    private static let largeObjects = """
        select distinct 'write access to large object ' || l.oid
        from pg_catalog.pg_largeobject_metadata l
        left join lateral pg_catalog.aclexplode(l.lomacl) a on true, reachable r
        where l.lomowner = r.oid
            or (a.privilege_type = 'UPDATE' and a.grantee in (0, r.oid))
        """

    private static let foreignServers = """
        select distinct 'USAGE of foreign server ' || pg_catalog.quote_ident(srvname)
        from pg_catalog.pg_foreign_server s, reachable r
        where pg_catalog.has_server_privilege(r.oid, s.oid, 'USAGE')
        """
}
