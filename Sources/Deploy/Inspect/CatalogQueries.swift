/// The statements of ``DatabaseInspector``: catalogues only, each made for one server version.
///
/// They take no lock but those that reading a catalogue takes, need no superuser, and name every
/// function and table by its schema, so that no search path changes what they mean. Values that
/// are lists travel as JSON.
struct CatalogQueries {
    /// As libpq numbers it.
    var version: Int

    /// 15 of 150018.
    var major: Int { self.version / 10_000 }

    /// Schemas of users, where `n` is `pg_namespace`: not Postgres's own and not our ledger.
    static let userSchema = """
        n.nspname !~ '^(pg_|pgshare_kept_)' and n.nspname not in ('information_schema', 'pgshare')
        """

    /// Which extension an object belongs to, as a scalar query.
    static func extensionOf(_ catalog: String, _ oid: String) -> String {
        """
        (select x.extname from pg_catalog.pg_depend m
          join pg_catalog.pg_extension x on x.oid = m.refobjid
          where m.classid = 'pg_catalog.\(catalog)'::regclass and m.objid = \(oid)
            and m.refclassid = 'pg_catalog.pg_extension'::regclass and m.deptype = 'e' limit 1)
        """
    }

    /// Which functions there are and may be called: not PGlite's, not every provider's.
    static let callable = """
        select f.name from (values ('pg_control_system()'), ('pg_postmaster_start_time()'),
            ('pg_export_snapshot()')) as f(name)
          where pg_catalog.has_function_privilege(
            pg_catalog.to_regprocedure('pg_catalog.' || f.name)::oid, 'execute')
        """

    static let systemIdentifier =
        "select system_identifier from pg_catalog.pg_control_system()"

    static let startedAt =
        "select extract(epoch from pg_catalog.pg_postmaster_start_time())"

    /// Name, owner, comment, size, encoding and locale of the database.
    var database: String {
        let provider = self.major >= 15 ? "d.datlocprovider" : "'c'"
        let locale =
            switch self.major {
            case ..<15: "null"
            case 15, 16: "d.daticulocale"
            default: "d.datlocale"
            }
        return """
            select current_setting('server_version_num'), current_setting('server_version'),
              d.datname, d.oid, pg_catalog.pg_get_userbyid(d.datdba),
              pg_catalog.shobj_description(d.oid, 'pg_database'),
              case when pg_catalog.has_database_privilege(d.oid, 'connect')
                then pg_catalog.pg_database_size(d.oid) else 0 end,
              pg_catalog.pg_encoding_to_char(d.encoding),
              case \(provider) when 'i' then 'icu' when 'b' then 'builtin' else 'libc' end,
              d.datcollate, d.datctype, \(locale)
            from pg_catalog.pg_database d where d.datname = current_database()
            """
    }

    /// Settings as a session starts with them: ours has its own by now.
    var settings: String {
        """
        select pg_catalog.pg_is_in_recovery(),
          (select s.reset_val = 'on' from pg_catalog.pg_settings s
            where s.name = 'default_transaction_read_only'),
          (select s.reset_val from pg_catalog.pg_settings s where s.name = 'statement_timeout'),
          current_setting('max_connections'), current_setting('max_locks_per_transaction'),
          current_setting('max_prepared_transactions')
        """
    }

    /// Connections that this role may still open, and sessions of others in this database.
    ///
    /// Without rights `pg_stat_activity` says of a session only its database, role and pid.
    var connections: String {
        let reserved =
            self.major >= 16
            ? """
            + case when pg_catalog.pg_has_role('pg_use_reserved_connections', 'usage') then 0
                else current_setting('reserved_connections')::int end
            """ : ""
        return """
            with a as (select * from pg_catalog.pg_stat_activity where datid is not null)
            select least(
                current_setting('max_connections')::int - (select count(*) from a)
                  - case when r.rolsuper then 0
                    else current_setting('superuser_reserved_connections')::int \(reserved) end,
                case when r.rolconnlimit >= 0
                  then r.rolconnlimit - (select count(*) from a where a.usesysid = r.oid) end,
                case when d.datconnlimit >= 0 and not r.rolsuper
                  then d.datconnlimit - (select count(*) from a where a.datid = d.oid) end),
              (select count(*) from a where a.datid = d.oid and a.pid <> pg_backend_pid())
            from pg_catalog.pg_roles r, pg_catalog.pg_database d
            where r.rolname = current_user and d.datname = current_database()
            """
    }

    static let otherDatabases = """
        select datname from pg_catalog.pg_database
          where datallowconn and datname <> current_database()
            and pg_catalog.has_database_privilege(oid, 'connect') order by datname
        """

    /// Who we are and for whom we may act.
    var role: String {
        let right = self.major >= 16 ? "set" : "member"
        return """
            select r.rolname, r.rolsuper, r.rolcreatedb, r.rolcreaterole, r.rolbypassrls,
              pg_catalog.has_database_privilege(d.oid, 'create'),
              pg_catalog.pg_has_role(d.datdba, 'usage'),
              (select pg_catalog.json_agg(m.rolname order by m.rolname) from pg_catalog.pg_roles m
                where pg_catalog.pg_has_role(m.oid, '\(right)'))
            from pg_catalog.pg_roles r, pg_catalog.pg_database d
            where r.rolname = current_user and d.datname = current_database()
            """
    }

    static let roles = "select rolname from pg_catalog.pg_roles"

    static let extensions = """
        select e.extname, e.extversion, n.nspname, e.extrelocatable
        from pg_catalog.pg_extension e join pg_catalog.pg_namespace n on n.oid = e.extnamespace
        order by e.extname
        """

    static let availableExtensions = """
        select v.name, coalesce(a.default_version, ''), pg_catalog.json_agg(v.version),
          pg_catalog.bool_or(v.superuser and not v.trusted)
        from pg_catalog.pg_available_extension_versions v
        left join pg_catalog.pg_available_extensions a on a.name = v.name
        group by v.name, a.default_version
        """

    static let schemas = """
        select n.nspname, pg_catalog.pg_get_userbyid(n.nspowner),
          \(extensionOf("pg_namespace", "n.oid")),
          pg_catalog.has_schema_privilege(n.oid, 'create'),
          pg_catalog.has_schema_privilege(n.oid, 'usage')
        from pg_catalog.pg_namespace n where \(userSchema) order by n.nspname
        """

    /// Our ledger, and what it keeps for a rollback.
    static let ownSchemas = """
        select nspname from pg_catalog.pg_namespace
          where nspname = 'pgshare' or nspname ~ '^pgshare_kept_' order by nspname
        """

    static let languages = """
        select lanname from pg_catalog.pg_language
          where lanpltrusted and pg_catalog.has_language_privilege(oid, 'usage')
            or (select rolsuper from pg_catalog.pg_roles where rolname = current_user)
        """

    static let eventTriggers = """
        select evtname from pg_catalog.pg_event_trigger t
          where \(extensionOf("pg_event_trigger", "t.oid")) is null order by evtname
        """

    static let publications = "select pubname from pg_catalog.pg_publication order by pubname"

    /// `subconninfo` is a superuser's to read; the rest is everybody's.
    static let subscriptions = """
        select s.subname from pg_catalog.pg_subscription s
          join pg_catalog.pg_database d on d.oid = s.subdbid
          where d.datname = current_database() order by s.subname
        """

    static let securityLabels = """
        select provider || ' on ' || objtype || ' ' || objname from pg_catalog.pg_seclabels
          where objtype not in ('database', 'role', 'tablespace') order by 1
        """

    static let preparedTransactions = """
        select gid from pg_catalog.pg_prepared_xacts where database = current_database()
        """

    static let largeObjects = """
        select count(*), case when count(*) = 0 then 0
          else pg_catalog.pg_table_size('pg_catalog.pg_largeobject') end
        from pg_catalog.pg_largeobject_metadata
        """
}
