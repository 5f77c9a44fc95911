import PostgresWire

extension SessionInspection {
    /// A simple Query that tells what the session holds; see ``read(_:engine:)``.
    ///
    /// Custom settings that no extension has defined are in no catalog: they are asked for by
    /// name. Superuser-only settings (`dynamic_library_path` and the like) are not seen while an
    /// unprivileged role is set.
    ///
    /// - Parameters:
    ///   - customCandidates: Names that may be custom settings.
    ///   - storedCode: Whether to look at the code stored in the database, too. That takes longer,
    ///     and is needed only when it may have changed.
    /// - Returns: One SELECT.
    package static func query(customCandidates: Set<String>, storedCode: Bool = true) -> String {
        var tables = [Self.settingsTable]
        var parts = [Self.settings, Self.roles, Self.pins]
        var candidates: [String] = []
        if !customCandidates.isEmpty {
            let names = customCandidates.sorted().map(SQLRewrite.literal).joined(separator: ", ")
            candidates.append("select pg_catalog.unnest(array[\(names)]::pg_catalog.text[])")
        }
        if storedCode {
            tables += [Self.functionsTable, Self.namesTable]
            parts += [Self.storedCode, Self.storedNames]
            candidates.append("select n.name from n")
        }
        if !candidates.isEmpty {
            parts.append(Self.custom(candidates.joined(separator: " union all ")))
        }
        return "with " + tables.joined(separator: ", ") + " "
            + parts.joined(separator: " union all ")
    }

    /// Reads the rows of ``query(customCandidates:storedCode:)``; nil if they are not its rows.
    package static func read(_ rows: [[String?]], engine: Engine) -> Inspection? {
        guard let facts = Fact.read(rows) else { return nil }
        var result = Inspection(
            settings: SessionSettings(), hasTempObjects: false, hasAdvisoryLocks: false,
            hasHoldCursors: false, storedCode: nil)
        var user: String?
        for fact in facts {
            switch fact.kind {
            case .setting, .custom: result.settings.values[fact.name] = fact.value
            case .user: user = fact.value
            case .temp: result.hasTempObjects = true
            case .lock: result.hasAdvisoryLocks = true
            case .cursor: result.hasHoldCursors = true
            case .code:
                result.storedCode = StoredCode(
                    mayTouchSession: fact.name == "t",
                    customSettings: result.storedCode?.customSettings ?? [])
            case .name: result.storedCode?.customSettings.insert(fact.name)
            case .database, .reported: return nil
            }
        }
        guard let user else { return nil }
        if user != engine.user { result.settings.values["session_authorization"] = user }
        return result
    }

    /// A simple Query for ``readEngine(_:)``.
    package static let engineQuery = """
        \(Fact.row(.database, "''", "pg_catalog.current_database()")) \
        union all \(roles) \
        union all \(Fact.row(.reported, "r.name", "pg_catalog.current_setting(r.name, true)")) \
        from (values \(reportedRows)) r (name, since) \
        where pg_catalog.current_setting(r.name, true) is not null \
        and r.since operator(pg_catalog.<=) \
        pg_catalog.current_setting('server_version_num')::pg_catalog.int4
        """

    private static let reportedRows = reportedNames.map { name, since in
        "('\(name)'::pg_catalog.text, \(since)::pg_catalog.int4)"
    }.joined(separator: ", ")

    /// Reads the rows of ``engineQuery``; nil if they are not its rows.
    package static func readEngine(_ rows: [[String?]]) -> Engine? {
        guard let facts = Fact.read(rows),
            let database = facts.first(where: { $0.kind == .database })?.value,
            let user = facts.first(where: { $0.kind == .user })?.value
        else { return nil }
        let values = facts.filter { $0.kind == .reported }
        let reported = Self.reportedNames.compactMap { name, _ in
            values.first { $0.name == name }.map { Parameter(name: name, value: $0.value) }
        }
        guard !reported.isEmpty else { return nil }
        return Engine(reported: reported, database: database, user: user)
    }

    /// What Postgres reports at the start of a session and at every change, and since which
    /// version (`server_version_num`). A server does not tell that of its settings.
    ///
    /// Source: `GUC_REPORT` in `guc_tables.c` of Postgres 14 to 18.
    static let reportedNames: [(name: String, since: Int)] = [
        ("in_hot_standby", 140_000), ("integer_datetimes", 0), ("TimeZone", 0),
        ("IntervalStyle", 0), ("search_path", 180_000), ("is_superuser", 0),
        ("application_name", 0), ("default_transaction_read_only", 140_000),
        ("scram_iterations", 160_000), ("DateStyle", 0), ("standard_conforming_strings", 0),
        ("session_authorization", 0), ("client_encoding", 0), ("server_version", 0),
        ("server_encoding", 0),
    ]
}

extension SessionInspection {
    /// A row of an answer: what it is about, a name, a value.
    private struct Fact {
        enum Kind: String {
            case setting = "s"
            case custom = "c"
            case user = "u"
            case temp = "t"
            case lock = "l"
            case cursor = "h"
            case code = "w"
            case name = "n"
            case database = "d"
            case reported = "r"
        }

        var kind: Kind
        var name: String
        var value: String

        /// SQL that makes a row of two texts. They travel in hexadecimal UTF-8, so that they come
        /// whole in whatever client_encoding.
        static func row(_ kind: Kind, _ name: String, _ value: String = "''") -> String {
            let columns = [name, value].map {
                "pg_catalog.encode(pg_catalog.convert_to(\($0), 'UTF8'), 'hex')"
            }
            return "select '\(kind.rawValue)', " + columns.joined(separator: ", ")
        }

        static func read(_ rows: [[String?]]) -> [Fact]? {
            var facts: [Fact] = []
            for row in rows {
                guard row.count == 3, let kind = row[0].flatMap(Kind.init(rawValue:)),
                    let name = row[1].flatMap(self.text), let value = row[2].flatMap(self.text)
                else { return nil }
                facts.append(Fact(kind: kind, name: name, value: value))
            }
            return facts
        }

        private static func text(_ hexadecimal: String) -> String? {
            var bytes: [UInt8] = []
            var high: UInt8?
            for digit in hexadecimal.utf8 {
                guard let value = Character(Unicode.Scalar(digit)).hexDigitValue else { return nil }
                if let first = high {
                    bytes.append(first << 4 | UInt8(value))
                    high = nil
                } else {
                    high = UInt8(value)
                }
            }
            return high == nil ? String(decoding: bytes, as: UTF8.self) : nil
        }
    }

    /// Names are qualified, operators too: `search_path` may put others before Postgres's own.
    private static func isOneOf(_ value: String, _ names: [String]) -> String {
        "\(value) operator(pg_catalog.=) any (\(self.textArray(names)))"
    }

    private static func textArray(_ names: [String]) -> String {
        let list = names.map { "'\($0)'" }.joined(separator: ", ")
        return "array[\(list)]::pg_catalog.text[]"
    }

    private static let settingsTable = """
        s as materialized (select s.name, s.setting, s.source, s.context \
        from pg_catalog.pg_show_all_settings() s)
        """

    /// Settings of a transaction are not of the session; `temp_buffers` cannot be changed any more
    /// once a temporary table was used.
    private static let settings = """
        \(Fact.row(.setting, "s.name", "coalesce(s.setting, '')")) from s \
        where s.source operator(pg_catalog.=) 'session' \
        and \(isOneOf("s.context", ["user", "superuser"])) \
        and not \(isOneOf("s.name", notOfSession))
        """

    private static let notOfSession = [
        "transaction_isolation", "transaction_read_only", "transaction_deferrable", "temp_buffers",
    ]

    private static let roles = """
        \(Fact.row(.user, "''", "pg_catalog.current_setting('session_authorization')")) \
        union all \(Fact.row(.setting, "'role'", "pg_catalog.current_setting('role')")) \
        where pg_catalog.current_setting('role') operator(pg_catalog.<>) 'none'
        """

    /// Everything in the schema of temporary objects depends on it. Locks and cursors of the
    /// session alone are there when no transaction is open. PGlite is process 0, and its locks name
    /// none.
    private static let pins = """
        \(Fact.row(.temp, "''")) where exists (select from pg_catalog.pg_depend d \
        where d.refclassid operator(pg_catalog.=) '2615'::pg_catalog.oid and d.refobjid \
        operator(pg_catalog.=) pg_catalog.pg_my_temp_schema()) \
        union all \(Fact.row(.lock, "''")) where exists (select \
        from pg_catalog.pg_lock_status() l where l.locktype operator(pg_catalog.=) 'advisory' \
        and coalesce(l.pid, 0) operator(pg_catalog.=) pg_catalog.pg_backend_pid()) \
        union all \(Fact.row(.cursor, "''")) where exists (select \
        from pg_catalog.pg_cursor() c where c.is_holdable)
        """

    /// Those that an extension has defined are among the others.
    private static func custom(_ candidates: String) -> String {
        """
        \(Fact.row(.custom, "c.name", "pg_catalog.current_setting(c.name, true)")) \
        from (select distinct pg_catalog.lower(x.name) from (\(candidates)) x (name)) c (name) \
        where pg_catalog.current_setting(c.name, true) operator(pg_catalog.<>) '' \
        and not exists (select from s where pg_catalog.lower(s.name) operator(pg_catalog.=) c.name)
        """
    }
}

extension SessionInspection {
    /// Sources of functions, in lower case. Objects that did not come with Postgres itself have
    /// oids from 16384 on (`FirstNormalObjectId`). A function in C is taken for harmless.
    private static let functionsTable = """
        f (source) as materialized (select pg_catalog.lower(case when p.prosqlbody is null \
        then p.prosrc else pg_catalog.pg_get_function_sqlbody(p.oid) end) \
        from pg_catalog.pg_proc p, pg_catalog.pg_language l \
        where p.oid operator(pg_catalog.>=) '16384'::pg_catalog.oid \
        and l.oid operator(pg_catalog.=) p.prolang and l.lanname operator(pg_catalog.<>) 'c')
        """

    private static let namesTable = """
        n (name) as materialized (select distinct (m.found)[1] from (\
        select pg_catalog.regexp_matches(f.source, \(SQLRewrite.literal(behindSetConfig)), 'g') \
        from f where pg_catalog.strpos(f.source, 'set_config') operator(pg_catalog.>) 0 \
        union all \
        select pg_catalog.regexp_matches(f.source, \(SQLRewrite.literal(behindSet)), 'g') \
        from f) m (found) limit 200)
        """

    private static let dottedName = "[a-z_][a-z0-9_$]*(?:[.][a-z_][a-z0-9_$]*)+"
    private static let behindSetConfig = "set_config\\s*\\(\\s*'+(\(dottedName))'"
    private static let behindSet =
        "\\mset\\s+(?:session\\s+|local\\s+)?(\(dottedName))\\s*(?:=|to\\M)"

    private static let storedNames = Fact.row(.name, "n.name") + " from n"

    /// Whether a function's source has a word by which a session could be touched, or a view, rule,
    /// default, constraint, policy or trigger calls a function of Postgres that does.
    private static let storedCode = Fact.row(
        .code, "case when \(harmfulFunction) or \(harmfulExpression) then 't' else 'f' end")

    /// SET is a word of UPDATE, too.
    private static let harmfulFunction = """
        exists (select from f where f.source operator(pg_catalog.~) \
        \(SQLRewrite.literal(harmfulWords)) or (pg_catalog.strpos(f.source, 'set') \
        operator(pg_catalog.>) 0 and pg_catalog.regexp_replace(f.source, \
        \(SQLRewrite.literal(setOfUpdate)), '', 'g') operator(pg_catalog.~) \
        \(SQLRewrite.literal("\\mset\\M"))))
        """

    private static let harmfulWords = """
        set_config|advisory|pg_temp|pg_settings|query_to_xml|ts_stat|\\m(temp|temporary|execute\
        |hold|discard|load|reset|create|alter)\\M|\\mdo\\s*(language|[$']|e')
        """
    private static let setOfUpdate = "\\mupdate\\s+(only\\s+)?([^\\s;]+\\s+){0,3}?set\\M"

    private static let harmfulExpression = """
        exists (select from (select r.ev_action::pg_catalog.text from pg_catalog.pg_rewrite r \
        where r.oid operator(pg_catalog.>=) '16384'::pg_catalog.oid \
        union all select a.adbin::pg_catalog.text from pg_catalog.pg_attrdef a \
        union all select k.conbin::pg_catalog.text from pg_catalog.pg_constraint k \
        where k.oid operator(pg_catalog.>=) '16384'::pg_catalog.oid \
        union all select pg_catalog.concat(o.polqual::pg_catalog.text, \
        o.polwithcheck::pg_catalog.text) from pg_catalog.pg_policy o \
        union all select t.tgqual::pg_catalog.text from pg_catalog.pg_trigger t) x (tree) \
        where x.tree operator(pg_catalog.~) (select pg_catalog.concat(':funcid (', \
        pg_catalog.string_agg(p.oid::pg_catalog.text, '|'), ') ') from pg_catalog.pg_proc p \
        where p.pronamespace operator(pg_catalog.=) '11'::pg_catalog.oid \
        and p.proname::pg_catalog.text operator(pg_catalog.=) any (\(harmfulBuiltins))))
        """

    private static let harmfulBuiltins = textArray(SQLFunctions.session.keys.sorted())
}
