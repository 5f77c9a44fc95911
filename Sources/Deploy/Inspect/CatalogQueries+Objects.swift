extension CatalogQueries {
    /// An index that is not valid does not come with a dump, unless it is of a partitioned table.
    static let invalidIndexes = """
        select n.nspname,
          pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname)
        from pg_catalog.pg_index i
        join pg_catalog.pg_class c on c.oid = i.indexrelid
        join pg_catalog.pg_namespace n on n.oid = c.relnamespace
        where not i.indisvalid and c.relkind = 'i' and \(userSchema) order by 2
        """

    static let unvalidatedConstraints = """
        select n.nspname,
          pg_catalog.quote_ident(k.conname) || ' on ' || pg_catalog.quote_ident(n.nspname) || '.'
          || pg_catalog.quote_ident(coalesce(c.relname, t.typname))
        from pg_catalog.pg_constraint k
        left join pg_catalog.pg_class c on c.oid = k.conrelid
        left join pg_catalog.pg_type t on t.oid = k.contypid
        join pg_catalog.pg_namespace n on n.oid = coalesce(c.relnamespace, t.typnamespace)
        where not k.convalidated and \(userSchema) order by 2
        """

    /// Those of `pg_catalog`; the ones a user made are objects like others.
    static let usedCollations = """
        select distinct c.collname from pg_catalog.pg_depend d
        join pg_catalog.pg_collation c on c.oid = d.refobjid
        where d.refclassid = 'pg_catalog.pg_collation'::regclass and d.objid >= 16384
          and c.collnamespace = 'pg_catalog'::regnamespace order by 1
        """

    static let systemCollations = """
        select c.collname from pg_catalog.pg_collation c
        join pg_catalog.pg_database d on d.datname = current_database()
        where c.collnamespace = 'pg_catalog'::regnamespace
          and c.collencoding in (-1, d.encoding)
        """

    /// The library sorts otherwise than when the collation was made: its indexes may be wrong.
    var changedCollations: String {
        let database =
            self.major >= 15
            ? """
            union all select 'database ' || pg_catalog.quote_ident(datname), datcollversion,
              pg_catalog.pg_database_collation_actual_version(oid)
            from pg_catalog.pg_database
            where datname = current_database() and datcollversion is not null
            """ : ""
        return """
            select v.name || ' (made with ' || v.made || ', the library is now '
              || coalesce(v.now, 'without version') || ')' from (
              select 'collation ' || pg_catalog.quote_ident(n.nspname) || '.'
                  || pg_catalog.quote_ident(c.collname), c.collversion,
                pg_catalog.pg_collation_actual_version(c.oid)
              from pg_catalog.pg_collation c
              join pg_catalog.pg_namespace n on n.oid = c.collnamespace
              where c.collversion is not null and (c.oid >= 16384 or exists (
                select from pg_catalog.pg_depend d where d.refobjid = c.oid
                  and d.refclassid = 'pg_catalog.pg_collation'::regclass and d.objid >= 16384))
              \(database)
            ) v(name, made, now) where v.made is distinct from v.now order by 1
            """
    }

    /// What a server before ``FeatureUse/since`` does not understand, of what this one has.
    var features: String {
        var parts: [String] = []
        let relation =
            "pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname)"
        func add(_ since: Int, _ feature: String, _ object: String, _ rest: String) {
            guard self.major >= since else { return }
            parts.append(
                """
                (select \(SQLText.literal(feature)), \(since), \(object), n.nspname \(rest)
                  and \(Self.userSchema) order by 3 limit 1)
                """)
        }
        let ofClass = "join pg_catalog.pg_namespace n on n.oid = c.relnamespace where"
        let ofIndex =
            "from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid"
        let ofKey =
            "from pg_catalog.pg_constraint k join pg_catalog.pg_class c on c.oid = k.conrelid"
        let ofColumn =
            "from pg_catalog.pg_attribute a join pg_catalog.pg_class c on c.oid = a.attrelid"
        add(
            15, "UNIQUE NULLS NOT DISTINCT", relation, "\(ofIndex) \(ofClass) i.indnullsnotdistinct"
        )
        add(
            15, "ON DELETE SET NULL of chosen columns", relation,
            "\(ofKey) \(ofClass) k.confdelsetcols is not null")
        add(
            15, "a view with security_invoker", relation,
            "from pg_catalog.pg_class c \(ofClass) c.reloptions::text ~ 'security_invoker'")
        add(
            16, "a collation with ICU rules",
            "pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.collname)",
            """
            from pg_catalog.pg_collation c
              join pg_catalog.pg_namespace n on n.oid = c.collnamespace
              where c.collicurules is not null
            """)
        add(
            17, "a built-in collation",
            "pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.collname)",
            """
            from pg_catalog.pg_collation c
              join pg_catalog.pg_namespace n on n.oid = c.collnamespace where c.collprovider = 'b'
            """)
        add(
            17, "an identity column of a partitioned table", relation,
            "\(ofColumn) \(ofClass) a.attidentity <> '' and c.relkind = 'p'")
        add(
            18, "a virtual generated column", relation,
            "\(ofColumn) \(ofClass) a.attgenerated = 'v'")
        add(18, "WITHOUT OVERLAPS or PERIOD", relation, "\(ofKey) \(ofClass) k.conperiod")
        add(
            18, "a constraint that is NOT ENFORCED", relation,
            "\(ofKey) \(ofClass) not k.conenforced")
        add(
            18, "NOT NULL that is NOT VALID", relation,
            "\(ofKey) \(ofClass) k.contype = 'n' and not k.convalidated")
        let none = "select null, null, null, null where false"
        return ([none] + parts).joined(separator: "\nunion all ")
    }

    /// Who needs whom.
    ///
    /// `host` leads from parts (rules of views, defaults, constraints, triggers, policies, indexes,
    /// row types) to what they are parts of.
    static let dependencies = """
        with host(classid, objid, hostclass, host) as (
          select 'pg_catalog.pg_rewrite'::regclass, oid, 'pg_catalog.pg_class'::regclass, ev_class
            from pg_catalog.pg_rewrite where oid >= 16384
          union all select 'pg_catalog.pg_attrdef'::regclass, oid,
            'pg_catalog.pg_class'::regclass, adrelid from pg_catalog.pg_attrdef
          union all select 'pg_catalog.pg_constraint'::regclass, oid,
            case when conrelid <> 0 then 'pg_catalog.pg_class'::regclass
              else 'pg_catalog.pg_type'::regclass end,
            case when conrelid <> 0 then conrelid else contypid end
            from pg_catalog.pg_constraint where oid >= 16384
          union all select 'pg_catalog.pg_trigger'::regclass, oid,
            'pg_catalog.pg_class'::regclass, tgrelid from pg_catalog.pg_trigger
          union all select 'pg_catalog.pg_policy'::regclass, oid,
            'pg_catalog.pg_class'::regclass, polrelid from pg_catalog.pg_policy
          union all select 'pg_catalog.pg_class'::regclass, indexrelid,
            'pg_catalog.pg_class'::regclass, indrelid
            from pg_catalog.pg_index where indexrelid >= 16384
          union all select 'pg_catalog.pg_type'::regclass, t.oid,
            case when e.typrelid <> 0 then 'pg_catalog.pg_class'::regclass
              else 'pg_catalog.pg_type'::regclass end,
            case when e.typrelid <> 0 then e.typrelid else e.oid end
            from pg_catalog.pg_type t join pg_catalog.pg_type e
              on e.oid = case when t.typrelid <> 0 then t.oid else t.typelem end
            where t.oid >= 16384 and (t.typrelid <> 0 or t.typcategory = 'A')
        ), edge as (
          select distinct d.classid, d.objid, coalesce(h.hostclass, d.classid) as hostclass,
            coalesce(h.host, d.objid) as host, coalesce(r.hostclass, d.refclassid) as needclass,
            coalesce(r.host, d.refobjid) as need
          from pg_catalog.pg_depend d
          left join host h on h.classid = d.classid and h.objid = d.objid
          left join host r on r.classid = d.refclassid and r.objid = d.refobjid
          where d.deptype in ('n', 'a') and d.objid >= 16384 and d.refobjid >= 16384
            and d.refclassid <> 'pg_catalog.pg_namespace'::regclass
            and d.classid not in ('pg_catalog.pg_default_acl'::regclass,
              'pg_catalog.pg_publication_rel'::regclass, 'pg_catalog.pg_extension'::regclass)
        )
        select distinct ho.schema,
          case when o.type = 'rule' and o.identity ~ '^"_RETURN" on ' then ho.type else o.type end,
          case when o.type = 'rule' and o.identity ~ '^"_RETURN" on ' then ho.identity
            else o.identity end,
          ho.identity,
          coalesce(ne.schema, x.schema), ne.type, ne.identity, x.name
        from edge e
        cross join lateral pg_catalog.pg_identify_object(e.classid, e.objid, 0) o
        cross join lateral pg_catalog.pg_identify_object(e.hostclass, e.host, 0) ho
        cross join lateral pg_catalog.pg_identify_object(e.needclass, e.need, 0) ne
        left join lateral (
          select x.extname, pg_catalog.quote_ident(xn.nspname) from pg_catalog.pg_depend m
          join pg_catalog.pg_extension x on x.oid = m.refobjid
          join pg_catalog.pg_namespace xn on xn.oid = x.extnamespace
          where m.refclassid = 'pg_catalog.pg_extension'::regclass and m.deptype = 'e'
            and m.classid = e.needclass and m.objid = e.need limit 1
        ) x(name, schema) on true
        where coalesce(ho.schema, '') !~ '^(pg_|pgshare_kept_)'
          and coalesce(ho.schema, '') not in ('information_schema', 'pgshare')
          and (e.hostclass <> e.needclass or e.host <> e.need)
          and not exists (select from pg_catalog.pg_depend m where m.deptype = 'e'
            and ((m.classid = e.hostclass and m.objid = e.host)
              or (m.classid = e.classid and m.objid = e.objid)))
        order by 1, 2, 3, 4, 5, 6, 7
        """
}
