extension ObjectQuery {
    static let types = """
        select 1247::oid as class, t.oid, 0 as sub, 0::oid as pclass, 0::oid as poid, false as bad,
            concat_ws(E'\\n', t.typtype, t.typisdefined,
                (select string_agg(quote_literal(e.enumlabel), ',' order by e.enumsortorder)
                    from pg_catalog.pg_enum e where e.enumtypid = t.oid),
                case when t.typtype = 'd' then
                    pg_catalog.format_type(t.typbasetype, t.typtypmod) end,
                t.typnotnull, t.typdefault, t.typcollation::regcollation,
                (select concat_ws(',', r.rngsubtype::regtype, r.rngmultitypid::regtype,
                        r.rngcollation::regcollation, r.rngcanonical, r.rngsubdiff)
                    from pg_catalog.pg_range r where r.rngtypid = t.oid),
                case when t.typtype = 'b' then concat_ws(',', t.typinput, t.typoutput,
                    t.typreceive, t.typsend, t.typmodin, t.typmodout, t.typlen, t.typbyval,
                    t.typalign, t.typstorage, t.typdelim, t.typcategory, t.typispreferred) end)
                as def
        from pg_catalog.pg_type t left join pg_catalog.pg_class c on c.oid = t.typrelid
        where t.oid >= 16384 and t.typtype in ('e', 'd', 'r', 'b', 'p', 'c')
            and (t.typtype <> 'c' or c.relkind = 'c')
            and (t.typtype <> 'b' or t.typelem = 0 or t.typinput <> 'array_in'::regproc)
        """

    static let functions = """
        select 1255::oid as class, p.oid, 0 as sub, 0::oid as pclass, 0::oid as poid, false as bad,
            concat_ws(E'\\n', p.prokind, l.lanname, pg_catalog.pg_get_function_arguments(p.oid),
                pg_catalog.pg_get_function_result(p.oid), p.provolatile, p.proisstrict,
                p.prosecdef, p.proleakproof, p.proparallel, p.procost, p.prorows, p.prosupport,
                p.protrftypes::regtype[], p.proconfig, p.probin, p.prosrc,
                (select concat_ws(',', a.aggkind, a.aggnumdirectargs, a.aggtransfn, a.aggfinalfn,
                        a.aggcombinefn, a.aggserialfn, a.aggdeserialfn, a.aggmtransfn,
                        a.aggminvtransfn, a.aggmfinalfn, a.aggfinalextra, a.aggmfinalextra,
                        a.aggfinalmodify, a.aggmfinalmodify, a.aggsortop::regoperator,
                        a.aggtranstype::regtype, a.aggtransspace, a.aggmtranstype::regtype,
                        a.aggmtransspace, a.agginitval, a.aggminitval)
                    from pg_catalog.pg_aggregate a where a.aggfnoid = p.oid),
                E'\\x01', pg_catalog.pg_get_function_sqlbody(p.oid)) as def
        from pg_catalog.pg_proc p join pg_catalog.pg_language l on l.oid = p.prolang
        where p.oid >= 16384
        """

    /// 15 and 16 have a column for ICU's locale, 17 one for everybody's.
    static func collations(_ version: Int) -> String {
        let locale =
            version >= 170_000
            ? "coalesce(c.colllocale, c.collcollate)"
            : version >= 150_000
                ? "coalesce(c.colliculocale, c.collcollate)" : "c.collcollate"
        return self.simple(
            3456, "pg_collation c where c.oid >= 16384",
            "c.collprovider, c.collisdeterministic, \(locale)")
    }

    /// Kinds of which a line says enough.
    static func small(_ version: Int) -> [String] {
        let publicationSchemas =
            version >= 150_000
            ? [self.simple(6237, "pg_publication_namespace c", "''")] : []
        return [
            self.simple(
                2617, "pg_operator c where c.oid >= 16384",
                """
                c.oprcode, c.oprresult::regtype, c.oprcom::regoperator, c.oprnegate::regoperator,
                c.oprrest, c.oprjoin, c.oprcanmerge, c.oprcanhash
                """),
            self.simple(
                2616, "pg_opclass c where c.oid >= 16384",
                "c.opcintype::regtype, c.opckeytype::regtype, c.opcdefault"),
            self.simple(2753, "pg_opfamily c where c.oid >= 16384", self.familyMembers),
            self.simple(
                2605, "pg_cast c where c.oid >= 16384",
                "c.castfunc::regprocedure, c.castcontext, c.castmethod"),
            self.simple(
                2607, "pg_conversion c where c.oid >= 16384",
                "c.conproc, c.conforencoding, c.contoencoding, c.condefault"),
            self.simple(3602, "pg_ts_config c where c.oid >= 16384", self.textSearchMap),
            self.simple(
                3600, "pg_ts_dict c where c.oid >= 16384",
                "(select tmplname from pg_catalog.pg_ts_template where oid = c.dicttemplate), "
                    + "c.dictinitoption"),
            self.simple(
                3601, "pg_ts_parser c where c.oid >= 16384",
                "c.prsstart, c.prstoken, c.prsend, c.prsheadline, c.prslextype"),
            self.simple(
                3764, "pg_ts_template c where c.oid >= 16384", "c.tmplinit, c.tmpllexize"),
            self.simple(
                2328, "pg_foreign_data_wrapper c",
                "nullif(c.fdwhandler, 0)::regproc, nullif(c.fdwvalidator, 0)::regproc, "
                    + self.sorted("c.fdwoptions")
            ),
            self.simple(
                1417, "pg_foreign_server c",
                "c.srvtype, c.srvversion, " + self.sorted("c.srvoptions")),
            // The table is the superuser's; the view hides options and tells the rest.
            self.simple(1418, "(select umid as oid from pg_catalog.pg_user_mappings) c", "''"),
            self.simple(
                3466, "pg_event_trigger c",
                "c.evtevent, c.evtfoid::regprocedure, c.evtenabled, c.evttags"),
            self.simple(
                6104, "pg_publication c",
                "c.puballtables, c.pubinsert, c.pubupdate, c.pubdelete, c.pubtruncate"),
            self.simple(6106, "pg_publication_rel c", "''"),
            self.simple(2612, "pg_language c where c.oid >= 16384", "c.lanpltrusted"),
            self.simple(
                3576, "pg_transform c", "c.trffromsql::regprocedure, c.trftosql::regprocedure"),
            self.simple(2601, "pg_am c where c.oid >= 16384", "c.amhandler, c.amtype"),
        ] + publicationSchemas
    }

    /// Owners, and what others than the owner may. MAINTAIN is younger than some servers.
    static var grants: [String] {
        [
            self.grant(2615, "pg_namespace", "nspowner", "nspacl", "'n'", "true"),
            self.grant(
                1259, "pg_class", "relowner", "relacl",
                "case when c.relkind = 'S' then 's' else 'r' end::\"char\"",
                "c.oid >= 16384 and c.relkind in ('r', 'p', 'f', 'v', 'm', 'S')"),
            self.grant(1255, "pg_proc", "proowner", "proacl", "'f'", "c.oid >= 16384"),
            self.grant(
                1247, "pg_type", "typowner", "typacl", "'T'",
                "c.oid >= 16384 and c.typtype in ('e', 'd', 'r', 'c')"),
            self.grant(1417, "pg_foreign_server", "srvowner", "srvacl", "'S'", "true"),
        ]
    }

    /// Grants of single columns.
    static var columnGrants: String {
        """
        select 1259::oid as class, a.attrelid as oid, a.attnum::int as sub, 1259::oid as pclass,
            a.attrelid as poid, false as bad, \(self.privileges("a.attacl", "0")) as def
        from pg_catalog.pg_attribute a where a.attacl is not null and a.attrelid >= 16384
        """
    }

    private static func grant(
        _ catalogue: Int, _ table: String, _ owner: String, _ acl: String, _ kind: String,
        _ condition: String
    ) -> String {
        let list = "coalesce(c.\(acl), pg_catalog.acldefault(\(kind), c.\(owner)))"
        return """
            select \(catalogue)::oid as class, c.oid, 0 as sub, \(catalogue)::oid as pclass,
                c.oid as poid, false as bad, pg_catalog.pg_get_userbyid(c.\(owner)) || ' grants '
                || \(self.privileges(list, "c.\(owner)")) as def
            from pg_catalog.\(table) c where \(condition)
            """
    }

    private static func privileges(_ list: String, _ owner: String) -> String {
        """
        coalesce((select string_agg(x, ',' order by x collate "C") from (
            select concat_ws(' ', case when g.grantee = 0 then 'public'
                else pg_catalog.pg_get_userbyid(g.grantee) end, g.privilege_type,
                g.is_grantable) as x
            from pg_catalog.aclexplode(\(list)) g
            where g.grantee <> \(owner) and g.privilege_type <> 'MAINTAIN') y), '')
        """
    }

    /// Options in an order of their own: pg_dump writes them by name.
    static func sorted(_ options: String) -> String {
        "(select string_agg(o, ',' order by o collate \"C\") from unnest(\(options)) o)"
    }

    private static func simple(_ catalogue: Int, _ from: String, _ columns: String) -> String {
        let table = from.hasPrefix("(") ? from : "pg_catalog." + from
        return """
            select \(catalogue)::oid as class, c.oid, 0 as sub, 0::oid as pclass, 0::oid as poid,
                false as bad, concat_ws(E'\\n', \(columns)) as def from \(table)
            """
    }

    private static let familyMembers = """
        (select string_agg(concat_ws(' ', o.amopstrategy, o.amoppurpose,
                o.amopopr::regoperator), ','
                order by o.amopstrategy, o.amopopr::regoperator::text collate "C")
            from pg_catalog.pg_amop o where o.amopfamily = c.oid),
        (select string_agg(concat_ws(' ', p.amprocnum, p.amproc::regprocedure), ','
                order by p.amprocnum, p.amproc::regprocedure::text collate "C")
            from pg_catalog.pg_amproc p where p.amprocfamily = c.oid)
        """

    private static let textSearchMap = """
        (select prsname from pg_catalog.pg_ts_parser where oid = c.cfgparser),
        (select string_agg(concat_ws(' ', m.maptokentype, m.mapseqno, d.dictname), ','
                order by m.maptokentype, m.mapseqno)
            from pg_catalog.pg_ts_config_map m join pg_catalog.pg_ts_dict d on d.oid = m.mapdict
            where m.mapcfg = c.oid)
        """
}
