/// The queries behind ``Catalog``.
///
/// Source: PostgreSQL documentation, "System Catalogs", above all `pg_depend`; DependencyType in
/// `src/include/catalog/dependency.h`.
enum CatalogSQL {
    /// The smallest OID of what initdb did not make: `FirstNormalObjectId`.
    private static let firstOID = 16384

    /// Every object that stands for itself: kind, class, oid, schema, name, identity, owner,
    /// whether this transaction wrote it (nil: unknown), and how DDL names it (nil: by its
    /// identity). Nothing of the system's, no members of extensions. Some versions of Postgres
    /// write `on` in the identity of a transform, some do not.
    static func objects(serverVersion: Int) -> String {
        """
        \(self.tops(serverVersion)), object(classid, objid, nsp, name, owner, ddl, xid) as (
            \(self.sources.joined(separator: "\n    union all "))
        )
        select i.type, o.classid, o.objid, n.nspname, o.name,
            case i.type when 'transform' then replace(i.identity, ' on language ', ' language ')
                else i.identity end,
            case when o.owner <> 0 then pg_get_userbyid(o.owner) end,
            case when o.xid is not null then
                o.xid = coalesce(pg_current_xact_id_if_assigned()::xid::text, '') end,
            o.ddl
        from object o left join pg_namespace n on n.oid = o.nsp
            cross join lateral pg_identify_object(o.classid, o.objid, 0) i
        where (o.objid >= \(self.firstOID) or o.name = 'public')
            and i.type is not null
            and (n.nspname is null or \(self.isOrdinary("n.nspname")))
            and not exists (
                select from top t where t.classid = o.classid and t.objid = o.objid)
        order by 2, 3
        """
    }

    /// Who needs whom, between objects that stand for themselves: class and oid of the one, then
    /// of the other.
    static func edges(serverVersion: Int) -> String {
        """
        \(self.tops(serverVersion)), edge(classid, objid, upclass, upid) as (
            select coalesce(a.upclass, d.classid), coalesce(a.upid, d.objid),
                coalesce(b.upclass, d.refclassid), coalesce(b.upid, d.refobjid)
            from pg_depend d
                left join top a on a.classid = d.classid and a.objid = d.objid
                left join top b on b.classid = d.refclassid and b.objid = d.refobjid
            where d.objid >= \(self.firstOID)
                and (d.refobjid >= \(self.firstOID) or d.refclassid = 'pg_namespace'::regclass)
        )
        select distinct classid, objid, upclass, upid from edge
        where (classid, objid) <> (upclass, upid)
        """
    }

    /// `top`: which object each part belongs to, however many steps away.
    private static func tops(_ serverVersion: Int) -> String {
        """
        with recursive link(classid, objid, upclass, upid) as (
            select d.classid, d.objid, d.refclassid, d.refobjid from pg_depend d
                where d.deptype = 'e' and d.refclassid = 'pg_extension'::regclass
            union all
            select l.* from (
                \(self.parts(serverVersion).joined(separator: "\n        union all "))
            ) l(classid, objid, upclass, upid)
            where l.objid >= \(self.firstOID) and not exists (
                select from pg_depend e
                where e.classid = l.classid and e.objid = l.objid and e.deptype = 'e')
        ), up as (
            select l.*, 1 as depth from link l
            union all
            select up.classid, up.objid, l.upclass, l.upid, up.depth + 1
            from up join link l on l.classid = up.upclass and l.objid = up.upid
            where up.depth < 16
        ), top as (
            select distinct on (classid, objid) classid, objid, upclass, upid
            from up order by classid, objid, depth desc
        )
        """
    }

    /// The parts of each kind of object, with what they are parts of.
    private static func parts(_ serverVersion: Int) -> [String] {
        let always = [
            self.part("pg_class", "indexrelid", "pg_class", "indrelid", from: "pg_index"),
            self.part("pg_class", "reltoastrelid", "pg_class", "oid", from: "pg_class"),
            self.part(
                "pg_class", "oid", "pg_type", "reltype", from: "pg_class where relkind = 'c'"),
            self.part(
                "pg_type", "t.oid", "pg_class", "t.typrelid",
                from: "pg_type t join pg_class c on c.oid = t.typrelid where c.relkind <> 'c'"),
            self.part("pg_type", "typarray", "pg_type", "oid", from: "pg_type"),
            self.part("pg_type", "rngmultitypid", "pg_type", "rngtypid", from: "pg_range"),
            """
            select d.classid, d.objid, d.refclassid, d.refobjid
                from pg_depend d join pg_class c on c.oid = d.objid
                where d.classid = 'pg_class'::regclass and c.relkind = 'S'
                    and d.refclassid = 'pg_class'::regclass and d.refobjsubid > 0
                    and d.deptype in ('a', 'i')
            """,
            """
            select d.classid, d.objid, d.refclassid, d.refobjid from pg_depend d
                where d.classid in ('pg_proc'::regclass, 'pg_cast'::regclass) and d.deptype = 'i'
            """,
            self.part("pg_attrdef", "oid", "pg_class", "adrelid", from: "pg_attrdef"),
            self.part("pg_constraint", "oid", "pg_class", "conrelid", from: "pg_constraint"),
            self.part("pg_constraint", "oid", "pg_type", "contypid", from: "pg_constraint"),
            // A foreign key's triggers on the table that it refers to are the foreign key's.
            self.part(
                "pg_trigger", "oid", "pg_class", "tgrelid",
                from: "pg_trigger where not (tgisinternal and tgconstraint <> 0)"),
            self.part(
                "pg_trigger", "oid", "pg_constraint", "tgconstraint",
                from: "pg_trigger where tgisinternal"),
            self.part("pg_rewrite", "oid", "pg_class", "ev_class", from: "pg_rewrite"),
            self.part("pg_policy", "oid", "pg_class", "polrelid", from: "pg_policy"),
            self.part("pg_amop", "oid", "pg_opfamily", "amopfamily", from: "pg_amop"),
            self.part("pg_amproc", "oid", "pg_opfamily", "amprocfamily", from: "pg_amproc"),
            self.part(
                "pg_publication_rel", "oid", "pg_publication", "prpubid",
                from: "pg_publication_rel"),
        ]
        let since15 = self.part(
            "pg_publication_namespace", "oid", "pg_publication", "pnpubid",
            from: "pg_publication_namespace")
        return serverVersion >= 150_000 ? always + [since15] : always
    }

    private static func part(
        _ catalog: String,
        _ column: String,
        _ upCatalog: String,
        _ upColumn: String,
        from rows: String
    ) -> String {
        let and = rows.contains(" where ") ? "and" : "where"
        return """
            select '\(catalog)'::regclass::oid, \(column),
                '\(upCatalog)'::regclass::oid, \(upColumn)
                from \(rows) \(and) \(upColumn) <> 0
            """
    }

    /// A schema that is not the system's.
    private static func isOrdinary(_ column: String) -> String {
        "\(column) !~ '^pg_' and \(column) <> 'information_schema'"
    }

    /// One line for each catalog of objects that stand for themselves: class, oid, schema's oid,
    /// name, owner's oid (0: none), DDL's name for it, the row's transaction.
    private static var sources: [String] {
        [
            self.source("pg_class", "rel", where: "relkind in ('r', 'p', 'v', 'm', 'S', 'f')"),
            self.source("pg_type", "typ"),
            self.source(
                "pg_proc", "pro",
                ddl: """
                    case when prokind = 'p' then pronamespace::regnamespace || '.'
                        || quote_ident(proname)
                        || '(' || pg_get_function_identity_arguments(oid) || ')'
                    end
                    """),
            self.source("pg_operator", "opr"),
            self.source("pg_opclass", "opc"),
            self.source("pg_opfamily", "opf"),
            self.source("pg_collation", "coll"),
            self.source("pg_conversion", "con"),
            self.source("pg_ts_config", "cfg"),
            self.source("pg_ts_dict", "dict"),
            self.source("pg_ts_parser", "prs", owner: "0"),
            self.source("pg_ts_template", "tmpl", owner: "0"),
            self.source("pg_statistic_ext", "stx"),
            self.source("pg_namespace", "nsp", schema: "0", where: self.isOrdinary("nspname")),
            self.source("pg_language", "lan", schema: "0"),
            self.source("pg_foreign_data_wrapper", "fdw", schema: "0"),
            self.source("pg_foreign_server", "srv", schema: "0"),
            self.source("pg_extension", "ext", schema: "0"),
            self.source("pg_event_trigger", "evt", schema: "0"),
            self.source("pg_publication", "pub", schema: "0"),
            self.source(
                "pg_subscription", "sub", schema: "0", row: "null",
                where: """
                    subdbid = (select oid from pg_database where datname = current_database())
                    """),
            self.source("pg_am", "am", schema: "0", owner: "0"),
            self.nameless("pg_cast"),
            self.nameless(
                "pg_transform",
                ddl: """
                    'for ' || format_type(trftype, null) || ' language '
                        || (select quote_ident(lanname) from pg_language l where l.oid = trflang)
                    """),
            self.nameless("pg_default_acl", owner: "defaclrole"),
            """
            select 'pg_user_mapping'::regclass::oid, umid, 0::oid, null, 0::oid, 'for '
                || case umuser when 0 then 'public' else quote_ident(usename) end
                || ' server ' || quote_ident(srvname), null from pg_user_mappings
            """,
        ]
    }

    /// Columns begin with `prefix`, as they do in the catalogs.
    private static func source(
        _ catalog: String,
        _ prefix: String,
        schema: String? = nil,
        owner: String? = nil,
        ddl: String = "null",
        row: String = "xmin",
        where condition: String = "true"
    ) -> String {
        """
        select '\(catalog)'::regclass::oid, oid, \(schema ?? prefix + "namespace")::oid,
            \(prefix)name::text, \(owner ?? prefix + "owner")::oid, (\(ddl))::text, \(row)::text
            from \(catalog) where \(condition)
        """
    }

    private static func nameless(
        _ catalog: String,
        owner: String = "0",
        ddl: String = "null"
    ) -> String {
        """
        select '\(catalog)'::regclass::oid, oid, 0::oid, null, \(owner)::oid,
            (\(ddl))::text, xmin::text
            from \(catalog)
        """
    }
}
