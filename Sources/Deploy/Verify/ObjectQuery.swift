/// One kind of object, as the catalogues of one server tell of it.
///
/// ``body`` selects `class, oid, sub, pclass, poid, bad, def`: the object by the OID of its
/// catalogue and its own, the column number or 0, what it is part of (zeros: nothing), whether it
/// cannot be relied on (an invalid index, a constraint that was not validated), and all that
/// defines it: queries that the server wrote out stand last, behind a character 1.
struct ObjectQuery: Sendable {
    var body: String
    /// What goes before the identity of an object, where it is not the object that is told of.
    var prefix = ""
    /// Whether it is part of a table, so that one at the target alone is a difference.
    var isPart = false

    /// Rows: class, oid, pclass, poid, bad, identity, hash of the definition.
    var inventory: String {
        """
        select o.class, o.oid, o.pclass, o.poid, o.bad, \(self.identity),
            pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(o.def, 'UTF8')), 'hex')
        from (\(self.body)) o
        cross join lateral pg_catalog.pg_identify_object(o.class, o.oid, o.sub) i
        where i.identity is not null
        """
    }

    /// Rows: identity, definition, of some objects.
    func definitions(_ identities: [String]) -> String {
        """
        select \(self.identity), o.def from (\(self.body)) o
        cross join lateral pg_catalog.pg_identify_object(o.class, o.oid, o.sub) i
        where \(self.identity) = any(\(SQLText.array(identities)))
        """
    }

    /// Some versions of Postgres write `on` in the identity of a transform, some do not.
    private var identity: String {
        "\(SQLText.literal(self.prefix)) || i.type || ' ' || case i.type when 'transform' "
            + "then pg_catalog.replace(i.identity, ' on language ', ' language ') "
            + "else i.identity end"
    }

    /// Every kind, those before that others are part of.
    ///
    /// - Parameters:
    ///   - version: `server_version_num`, 140000 or more.
    ///   - grants: Whether owners and grants are compared.
    /// - Returns: As many for every version.
    static func all(version: Int, grants: Bool) -> [ObjectQuery] {
        let small = [self.schemas, self.extensions, self.statistics, self.collations(version)]
        let owned = [
            ObjectQuery(
                body: self.grants.joined(separator: "\nunion all\n"),
                prefix: "owner and grants of "),
            ObjectQuery(body: self.columnGrants, prefix: "grants of "),
        ]
        return [
            ObjectQuery(body: (small + self.small(version)).joined(separator: "\nunion all\n")),
            ObjectQuery(body: self.types),
            ObjectQuery(body: self.relations),
            ObjectQuery(body: self.sequences),
            ObjectQuery(body: self.functions),
            ObjectQuery(body: self.constraints, isPart: true),
            ObjectQuery(body: self.indexes, isPart: true),
            ObjectQuery(body: self.columns, isPart: true),
            ObjectQuery(body: self.triggers, isPart: true),
            ObjectQuery(body: self.rules, isPart: true),
            ObjectQuery(body: self.policies, isPart: true),
            ObjectQuery(body: self.comments, prefix: "comment on "),
        ] + (grants ? owned : [])
    }
}

extension ObjectQuery {
    static let schemas = """
        select 2615::oid as class, oid, 0 as sub, 0::oid as pclass, 0::oid as poid, false as bad,
            '' as def from pg_catalog.pg_namespace
        """

    static let extensions = """
        select 3079::oid as class, e.oid, 0 as sub, 0::oid as pclass, 0::oid as poid, false as bad,
            n.nspname as def from pg_catalog.pg_extension e
        join pg_catalog.pg_namespace n on n.oid = e.extnamespace
        """

    static let relations = """
        select 1259::oid as class, c.oid, 0 as sub, 0::oid as pclass, 0::oid as poid, false as bad,
            concat_ws(E'\\n', c.relkind, c.relpersistence, c.relrowsecurity, c.relforcerowsecurity,
                c.relreplident, \(Self.sorted("c.reloptions")),
                c.relispartition, pg_catalog.pg_get_expr(c.relpartbound, c.oid),
                case when c.relkind = 'p' then pg_catalog.pg_get_partkeydef(c.oid) end, m.amname,
                (select string_agg(h.inhparent::regclass::text, ',' order by h.inhseqno)
                    from pg_catalog.pg_inherits h where h.inhrelid = c.oid),
                case when c.reloftype <> 0 then c.reloftype::regtype end,
                (select concat_ws(' ', s.srvname, \(Self.sorted("f.ftoptions")))
                    from pg_catalog.pg_foreign_table f
                    join pg_catalog.pg_foreign_server s on s.oid = f.ftserver
                    where f.ftrelid = c.oid),
                E'\\x01', case when c.relkind in ('v', 'm') then
                    pg_catalog.pg_get_viewdef(c.oid) end) as def
        from pg_catalog.pg_class c left join pg_catalog.pg_am m on m.oid = c.relam
        where c.oid >= 16384 and c.relkind in ('r', 'p', 'f', 'v', 'm')
            and c.relpersistence <> 't'
        """

    /// The type of an identity column's sequence follows the column when it is restored.
    static let sequences = """
        select 1259::oid as class, c.oid, 0 as sub,
            case when d.refobjid is null then 0 else 1259 end::oid as pclass,
            coalesce(d.refobjid, 0)::oid as poid, false as bad,
            concat_ws(E'\\n', c.relpersistence,
                case when d.deptype is distinct from 'i' then s.seqtypid::regtype end,
                s.seqstart, s.seqincrement, s.seqmax, s.seqmin, s.seqcache, s.seqcycle,
                d.refobjid::regclass, a.attname) as def
        from pg_catalog.pg_class c join pg_catalog.pg_sequence s on s.seqrelid = c.oid
        left join pg_catalog.pg_depend d on d.classid = 1259 and d.objid = c.oid
            and d.refclassid = 1259 and d.refobjsubid > 0 and d.deptype in ('a', 'i')
        left join pg_catalog.pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
        where c.oid >= 16384 and c.relpersistence <> 't'
        """

    /// The order of columns counts, except in children: a restore puts what they inherit first.
    /// Options `pg_…` are the server's own (15.20 numbers its columns' versions in `pg_attver`).
    static let columns = """
        select 1259::oid as class, c.oid, a.attnum::int as sub,
            case when c.relkind = 'c' then 1247 else 1259 end::oid as pclass,
            case when c.relkind = 'c' then c.reltype else c.oid end as poid, false as bad,
            concat_ws(E'\\n', pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull,
                (select l.collnamespace::regnamespace || '.' || l.collname
                    from pg_catalog.pg_collation l where l.oid = a.attcollation),
                case when not c.relispartition then a.attidentity end, a.attgenerated,
                a.attstorage, a.attcompression,
                coalesce(a.attstattarget, -1),
                (select string_agg(o, ',' order by o collate "C") from unnest(a.attoptions) o
                    where o not like 'pg\\_%'), \(Self.sorted("a.attfdwoptions")),
                case when not exists (select from pg_catalog.pg_inherits h
                        where h.inhrelid = c.oid)
                    then row_number() over (partition by c.oid order by a.attnum) end,
                pg_catalog.pg_get_expr(e.adbin, e.adrelid)) as def
        from pg_catalog.pg_class c
        join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0
            and not a.attisdropped
        left join pg_catalog.pg_attrdef e on e.adrelid = c.oid and e.adnum = a.attnum
        where c.oid >= 16384 and c.relkind in ('r', 'p', 'f', 'v', 'm', 'c')
            and c.relpersistence <> 't'
        """

    /// Without NOT NULL (18 has a constraint for it; the column tells) and the copies that
    /// partitions have of a parent's foreign key.
    static let constraints = """
        select 2606::oid as class, t.oid, 0 as sub,
            case when t.conrelid <> 0 then 1259 else 1247 end::oid as pclass,
            case when t.conrelid <> 0 then t.conrelid else t.contypid end as poid,
            not t.convalidated as bad,
            regexp_replace(pg_catalog.pg_get_constraintdef(t.oid), ' NOT VALID$', '') as def
        from pg_catalog.pg_constraint t left join pg_catalog.pg_class c on c.oid = t.conrelid
        where t.oid >= 16384 and t.contype not in ('n', 't')
            and (t.conparentid = 0 or t.contype <> 'f')
            and coalesce(c.relpersistence, 'p') <> 't'
        """

    static let indexes = """
        select 1259::oid as class, c.oid, 0 as sub,
            case when t.oid is null then 1259 else 2606 end::oid as pclass,
            coalesce(t.oid, i.indrelid) as poid, not i.indisvalid or not i.indisready as bad,
            concat_ws(E'\\n', i.indisunique, i.indisclustered, i.indisreplident, c.reloptions,
                pg_catalog.pg_get_indexdef(c.oid)) as def
        from pg_catalog.pg_class c join pg_catalog.pg_index i on i.indexrelid = c.oid
        left join pg_catalog.pg_constraint t on t.conindid = c.oid and t.conrelid = i.indrelid
            and t.contype in ('p', 'u', 'x')
        where c.oid >= 16384 and i.indrelid >= 16384 and c.relpersistence <> 't'
            and c.relnamespace <> 99
        """

    static let triggers = """
        select 2620::oid as class, t.oid, 0 as sub, 1259::oid as pclass, t.tgrelid as poid,
            false as bad, t.tgenabled::text || pg_catalog.pg_get_triggerdef(t.oid) as def
        from pg_catalog.pg_trigger t where not t.tgisinternal
        """

    /// A view's own rule has an entry where views refer to each other in a circle; the view is
    /// compared already.
    static let rules = """
        select 2618::oid as class, r.oid, 0 as sub, 1259::oid as pclass, r.ev_class as poid,
            false as bad, concat_ws(E'\\n', r.ev_enabled, r.ev_type, r.is_instead, E'\\x01',
                case when r.rulename <> '_RETURN' then pg_catalog.pg_get_ruledef(r.oid) end) as def
        from pg_catalog.pg_rewrite r where r.oid >= 16384
        """

    static let policies = """
        select 3256::oid as class, p.oid, 0 as sub, 1259::oid as pclass, p.polrelid as poid,
            false as bad, concat_ws(E'\\n', p.polcmd, p.polpermissive,
                (select string_agg(coalesce(r.rolname, 'public'), ','
                        order by r.rolname collate "C")
                    from unnest(p.polroles) u(oid) left join pg_catalog.pg_roles r using (oid)),
                E'\\x01', pg_catalog.pg_get_expr(p.polqual, p.polrelid), 'check',
                pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)) as def
        from pg_catalog.pg_policy p
        """

    static let statistics = """
        select 3381::oid as class, s.oid, 0 as sub, 0::oid as pclass, 0::oid as poid, false as bad,
            concat_ws(E'\\n', coalesce(s.stxstattarget, -1),
                pg_catalog.pg_get_statisticsobjdef(s.oid)) as def
        from pg_catalog.pg_statistic_ext s
        """

    /// Not on extensions: their owner may write it, a deploy's role often may not.
    static let comments = """
        select d.classoid as class, d.objoid as oid, d.objsubid as sub, d.classoid as pclass,
            d.objoid as poid, false as bad, d.description as def
        from pg_catalog.pg_description d
        where d.classoid <> 3079 and (d.objoid >= 16384 or d.classoid = 2615)
        """
}
