extension CatalogQueries {
    /// Tables, views, sequences and their like.
    static let relations = """
        select n.nspname, c.relname, c.relkind, pg_catalog.pg_get_userbyid(c.relowner),
          case when c.relkind in ('r', 'm') then pg_catalog.pg_table_size(c.oid) else 0 end,
          case when c.relkind in ('r', 'm') and c.reltuples >= 0 then c.reltuples::int8 end,
          (select pg_catalog.json_agg(a.attname order by a.attnum) from pg_catalog.pg_attribute a
            where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
              and a.attgenerated = ''),
          (select pg_catalog.json_agg(a.attname order by a.attnum) from pg_catalog.pg_attribute a
            where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
              and a.attgenerated <> ''),
          x.extname, x.condition, c.relpersistence = 'u', c.relrowsecurity, c.relforcerowsecurity,
          c.relrowsecurity and pg_catalog.row_security_active(c.oid),
          pg_catalog.has_schema_privilege(n.oid, 'usage')
            and pg_catalog.has_table_privilege(c.oid, 'select'),
          (select pg_catalog.quote_ident(pn.nspname) || '.' || pg_catalog.quote_ident(p.relname)
            from pg_catalog.pg_inherits i
            join pg_catalog.pg_class p on p.oid = i.inhparent
            join pg_catalog.pg_namespace pn on pn.oid = p.relnamespace
            where c.relispartition and i.inhrelid = c.oid limit 1),
          c.relkind not in ('r', 'm') or pg_catalog.pg_relation_size(c.oid) = 0, c.relispopulated,
          pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname)
        from pg_catalog.pg_class c
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        left join lateral (
          select e.extname, case when e.extconfig is not null then
              e.extcondition[pg_catalog.array_position(e.extconfig, c.oid)] end as condition
          from pg_catalog.pg_depend m
          join pg_catalog.pg_extension e on e.oid = m.refobjid
          where m.classid = 'pg_catalog.pg_class'::regclass and m.objid = c.oid
            and m.refclassid = 'pg_catalog.pg_extension'::regclass and m.deptype = 'e' limit 1
        ) x on true
        where c.relkind in ('r', 'p', 'f', 'v', 'm', 'S') and \(userSchema)
        order by n.nspname, c.relname
        """

    /// How many locks a transaction takes that makes or drops all of it.
    static let lockableRelations = """
        select count(*) from pg_catalog.pg_class c
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where (n.nspname = 'pg_toast' and c.oid >= 16384) or (\(userSchema))
        """

    static let foreignKeys = """
        select k.conname, n.nspname, c.relname, rn.nspname, r.relname,
          pg_catalog.pg_get_constraintdef(k.oid)
        from pg_catalog.pg_constraint k
        join pg_catalog.pg_class c on c.oid = k.conrelid
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        join pg_catalog.pg_class r on r.oid = k.confrelid
        join pg_catalog.pg_namespace rn on rn.oid = r.relnamespace
        where k.contype = 'f' and k.conparentid = 0 and \(userSchema)
        order by n.nspname, c.relname, k.conname
        """

    static let triggers = """
        select t.tgname, n.nspname, c.relname, fn.nspname,
          (pg_catalog.pg_identify_object('pg_catalog.pg_proc'::regclass, p.oid, 0)).identity,
          \(extensionOf("pg_proc", "p.oid")),
          pg_catalog.pg_get_triggerdef(t.oid)
        from pg_catalog.pg_trigger t
        join pg_catalog.pg_class c on c.oid = t.tgrelid
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        join pg_catalog.pg_proc p on p.oid = t.tgfoid
        join pg_catalog.pg_namespace fn on fn.oid = p.pronamespace
        where not t.tgisinternal and t.tgparentid = 0 and \(userSchema)
        order by n.nspname, c.relname, t.tgname
        """

    /// Roles that policies are for; 0 is PUBLIC.
    static let policyRoles = """
        select distinct pg_catalog.pg_get_userbyid(u.role), n.nspname,
          p.polname || ' on ' || pg_catalog.quote_ident(n.nspname) || '.'
            || pg_catalog.quote_ident(c.relname)
        from pg_catalog.pg_policy p
        join pg_catalog.pg_class c on c.oid = p.polrelid
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace,
        pg_catalog.unnest(p.polroles) as u(role)
        where u.role <> 0 and \(userSchema) order by 1, 2, 3
        """

    /// Roles that own or were granted something, with the first such object of each schema.
    ///
    /// `pg_shdepend` does not know of the role that initdb made, which is therefore looked for in
    /// the catalogues of what most often has an owner. Members of extensions are nobody's doing.
    static let roleUses = """
        with uses as (
          select d.classid, d.objid, d.refobjid as role, d.deptype = 'a' as granted
          from pg_catalog.pg_shdepend d
          join pg_catalog.pg_database b on b.oid = d.dbid and b.datname = current_database()
          where d.refclassid = 'pg_catalog.pg_authid'::regclass and d.deptype in ('o', 'a')
            and d.classid not in ('pg_catalog.pg_default_acl'::regclass,
              'pg_catalog.pg_extension'::regclass, 'pg_catalog.pg_largeobject'::regclass,
              'pg_catalog.pg_event_trigger'::regclass, 'pg_catalog.pg_publication'::regclass,
              'pg_catalog.pg_subscription'::regclass)
          union select 'pg_catalog.pg_class'::regclass, oid, relowner, false
            from pg_catalog.pg_class where oid >= 16384 and relkind not in ('i', 'I', 't')
          union select 'pg_catalog.pg_proc'::regclass, oid, proowner, false
            from pg_catalog.pg_proc where oid >= 16384
          union select 'pg_catalog.pg_namespace'::regclass, oid, nspowner, false
            from pg_catalog.pg_namespace where oid >= 16384
        )
        select pg_catalog.pg_get_userbyid(u.role), u.granted, i.schema, min(i.identity)
        from uses u, lateral (
          select case when o.type = 'schema' then o.name else o.schema end as schema, o.identity
          from pg_catalog.pg_identify_object(u.classid, u.objid, 0) o
        ) i
        where u.objid >= 16384 and i.identity is not null
          and coalesce(i.schema, '') !~ '^(pg_|pgshare_kept_)'
          and coalesce(i.schema, '') not in ('information_schema', 'pgshare')
          and not exists (select from pg_catalog.pg_depend m where m.classid = u.classid
            and m.objid = u.objid and m.deptype in ('e', 'i'))
        group by 1, 2, 3 order by 1, 2, 3
        """

    static let defaultPrivileges = """
        select pg_catalog.pg_get_userbyid(a.defaclrole), n.nspname,
          case a.defaclobjtype when 'r' then 'tables' when 'S' then 'sequences'
            when 'f' then 'functions' when 'T' then 'types' when 'n' then 'schemas'
            else 'large objects' end,
          (select coalesce(pg_catalog.json_agg(distinct pg_catalog.pg_get_userbyid(x.grantee)),
              '[]') from pg_catalog.aclexplode(a.defaclacl) x
            where x.grantee not in (0, a.defaclrole))
        from pg_catalog.pg_default_acl a
        left join pg_catalog.pg_namespace n on n.oid = a.defaclnamespace
        order by 1, 2, 3
        """

    static let tablespaces = """
        select t.spcname, pg_catalog.json_agg(pg_catalog.quote_ident(n.nspname) || '.'
            || pg_catalog.quote_ident(c.relname) order by n.nspname, c.relname)
        from pg_catalog.pg_class c
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        join pg_catalog.pg_tablespace t on t.oid = c.reltablespace
        where t.spcname not in ('pg_default', 'pg_global') and \(userSchema) group by 1 order by 1
        """
}
