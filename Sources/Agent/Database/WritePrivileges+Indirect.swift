import PostgresClient

/// Ways to write that need no privilege on what is written.
extension WritePrivileges {
    /// Every role may make temporary tables, and that fires event triggers; so does logging in.
    static let eventTriggers = """
        select 'event trigger ' || pg_catalog.quote_ident(e.evtname) || ' runs '
            || p.oid::pg_catalog.regprocedure || ' as its owner'
        from pg_catalog.pg_event_trigger e join pg_catalog.pg_proc p on p.oid = e.evtfoid
        where p.prosecdef and e.evtenabled in ('O', 'A')
        """

    /// What such a function does, it does as the server's own user.
    static let untrusted = """
        select distinct 'function ' || p.oid::pg_catalog.regprocedure || ' in '
            || pg_catalog.quote_ident(l.lanname)
        from pg_catalog.pg_proc p join pg_catalog.pg_language l on l.oid = p.prolang, reachable r
        where not l.lanpltrusted and l.lanname not in ('internal', 'c') and p.prorettype <> 3838
            and pg_catalog.has_function_privilege(r.oid, p.oid, 'EXECUTE')
        """

    /// Functions of Postgres and its own extensions that write files, or connect to anywhere: with
    /// a password that is found in the catalogs as its owner, with one that a client gives the
    /// share's role as that, in every other database. 25 is `text`: the first one is a connection.
    static let waysOut = """
        select distinct 'EXECUTE on ' || p.oid::pg_catalog.regprocedure
        from pg_catalog.pg_proc p join pg_catalog.pg_language l on l.oid = p.prolang, reachable r
        where l.lanname in ('internal', 'c')
            and (p.proname in ('lo_export', 'be_lo_export', 'pg_file_write', 'pg_file_rename',
                    'pg_file_unlink', 'dblink_connect', 'dblink_connect_u')
                or (p.proname in ('dblink', 'dblink_exec') and p.proargtypes[1] = 25))
            and pg_catalog.has_function_privilege(r.oid, p.oid, 'EXECUTE')
        """

    static let foreignDataWrappers = """
        select distinct 'USAGE of foreign data wrapper ' || pg_catalog.quote_ident(fdwname)
        from pg_catalog.pg_foreign_data_wrapper w, reachable r
        where pg_catalog.has_foreign_data_wrapper_privilege(r.oid, w.oid, 'USAGE')
        """

    /// Settings of the server's file, and the one that opens all large objects. Since Postgres 15.
    static let parameters = """
        select distinct 'ALTER SYSTEM or SET of parameter ' || a.parname
        from pg_catalog.pg_parameter_acl a, reachable r
        where pg_catalog.has_parameter_privilege(r.oid, a.parname, 'ALTER SYSTEM')
            or (a.parname = 'lo_compat_privileges'
                and pg_catalog.has_parameter_privilege(r.oid, a.parname, 'SET'))
        """

    /// REFRESH MATERIALIZED VIEW, CLUSTER, REINDEX. Since Postgres 17.
    static let upkeep = """
        select distinct 'MAINTAIN on ' || c.oid::pg_catalog.regclass
        from pg_catalog.pg_class c, reachable r
        where c.relkind in ('r', 'p', 'm') and c.relpersistence <> 't'
            and pg_catalog.has_table_privilege(r.oid, c.oid, 'MAINTAIN')
        """
}
