/// A table whose contents are compared: one that holds rows itself, so no partitioned parent.
public struct VerifiedTable: Codable, Hashable, Sendable {
    /// The schema's name.
    public var schema: String
    /// The table's name.
    public var name: String
    /// The condition of an extension's configuration table as `pg_extension.extcondition` has it
    /// (`WHERE …`), or nil: all rows.
    public var filter: String?

    /// Creates a table.
    public init(schema: String, name: String, filter: String? = nil) {
        self.schema = schema
        self.name = name
        self.filter = filter
    }

    /// `schema.name`, for people.
    public var text: String { "\(self.schema).\(self.name)" }

    /// What follows FROM: the rows of this table alone, as `r`.
    var rows: String {
        let table = "only " + SQLText.identifier(self.schema, self.name)
        guard let filter = self.filter, !filter.isEmpty else { return table + " as r" }
        return "(select * from \(table) \(filter)) as r"
    }
}

/// A column as the catalogue of one side has it.
struct ColumnShape: Hashable, Sendable {
    var name: String
    /// As `format_type` writes it, with its modifier.
    var type: String
    /// The type below every domain.
    var baseType: UInt32
    var isGenerated: Bool
}

/// What one side's catalogue says of a table.
struct TableShape: Hashable, Sendable {
    var columns: [ColumnShape]
    /// The only column of the primary key, if that is an integer.
    var integerKey: String?
    /// Pages of the table itself; 0 where its storage has no pages that can be asked for.
    var pages: Int64
    /// Bytes with TOAST.
    var bytes: Int64
    var isReadable: Bool
    /// Row security would leave out rows, or refuse.
    var hidesRows: Bool
    /// This role may switch off what hides them.
    var mayUnhideRows: Bool

    /// Whether rows can be read at all.
    var canBeRead: Bool { self.isReadable && (!self.hidesRows || self.mayUnhideRows) }
}

/// Reads the shapes of tables.
enum TableShapes {
    /// Rows: schema, table, key, pages, bytes, readable, hides, unhides, column, type, base type,
    /// generated. A table without columns has one row with a NULL column.
    ///
    /// Virtual generated columns (18) hold nothing: their expression is compared instead.
    static func query(_ tables: [VerifiedTable]) -> String {
        """
        with recursive base(oid, base) as (
            select t.oid, t.oid from pg_catalog.pg_type t where t.typtype <> 'd'
            union all
            select t.oid, b.base from pg_catalog.pg_type t join base b on t.typbasetype = b.oid
            where t.typtype = 'd')
        select w.schema, w.name, k.attname,
            case when m.amname = 'heap' then pg_catalog.pg_relation_size(c.oid)
                / pg_catalog.current_setting('block_size')::bigint else 0 end,
            pg_catalog.pg_table_size(c.oid),
            pg_catalog.has_schema_privilege(n.oid, 'usage')
                and pg_catalog.has_table_privilege(c.oid, 'select'),
            pg_catalog.row_security_active(c.oid),
            pg_catalog.pg_has_role(c.relowner, 'usage') and c.relforcerowsecurity,
            a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), b.base,
            a.attgenerated <> ''
        from unnest(\(SQLText.array(tables.map(\.schema))),
            \(SQLText.array(tables.map(\.name)))) as w(schema, name)
        join pg_catalog.pg_namespace n on n.nspname = w.schema
        join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = w.name
            and c.relkind = 'r'
        left join pg_catalog.pg_am m on m.oid = c.relam
        left join pg_catalog.pg_index i on i.indrelid = c.oid and i.indisprimary
            and i.indnkeyatts = 1
        left join pg_catalog.pg_attribute k on k.attrelid = c.oid and k.attnum = i.indkey[0]
            and k.atttypid in (20, 21, 23)
        left join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0
            and not a.attisdropped and a.attgenerated <> 'v'
        left join base b on b.oid = a.atttypid
        order by w.schema, w.name, a.attnum
        """
    }

    static func read(
        _ session: any SQLSession,
        _ tables: [VerifiedTable]
    ) async throws(SQLFailure) -> [VerifiedTable: TableShape] {
        var found: [VerifiedTable: TableShape] = [:]
        let byName = Dictionary(
            tables.map { ([$0.schema, $0.name], $0) }, uniquingKeysWith: { first, _ in first })
        var rest = tables[...]
        while !rest.isEmpty {
            let batch = Array(rest.prefix(Self.tablesAQuery))
            rest = rest.dropFirst(batch.count)
            for row in try await session.rows(self.query(batch)) {
                guard row.count == 12, let table = byName[row[0...1].map { $0 ?? "" }] else {
                    throw SQLFailure(
                        sqlState: nil, message: "the catalogue's answer is not legible")
                }
                self.add(row, to: &found[table])
            }
        }
        return found
    }

    /// A statement stays below a few hundred kilobytes, its answer too.
    private static let tablesAQuery = 1_000

    private static func add(_ row: [String?], to shape: inout TableShape?) {
        var new =
            shape
            ?? TableShape(
                columns: [], integerKey: row[2], pages: row[3].flatMap { Int64($0) } ?? 0,
                bytes: row[4].flatMap { Int64($0) } ?? 0, isReadable: row[5] == "t",
                hidesRows: row[6] == "t", mayUnhideRows: row[7] == "t")
        if let name = row[8], let type = row[9] {
            new.columns.append(
                ColumnShape(
                    name: name, type: type, baseType: row[10].flatMap { UInt32($0) } ?? 0,
                    isGenerated: row[11] == "t"))
        }
        shape = new
    }
}
