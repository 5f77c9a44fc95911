/// Decides which tables can be compared, and what their sums say. Pure.
enum TableComparison {
    /// The tables to read at either side, and what is wrong before any row is read.
    struct Agenda: Sendable {
        var source: [TableReader.Job] = []
        var target: [TableReader.Job] = []
        var mismatches: [Mismatch] = []
    }

    /// Compares the catalogues; only tables of the same columns are read.
    static func agenda(
        _ tables: [VerifiedTable],
        source: [VerifiedTable: TableShape],
        target: [VerifiedTable: TableShape]
    ) -> Agenda {
        var agenda = Agenda()
        for table in tables {
            guard let here = source[table], let there = target[table] else {
                agenda.mismatches.append(self.missing(table, atSource: source[table] == nil))
                continue
            }
            if let mismatch = self.columns(table, here.columns, there.columns)
                ?? self.access(table, here, there)
            {
                agenda.mismatches.append(mismatch)
                continue
            }
            agenda.source.append(.init(table: table, shape: here, columns: here.columns))
            agenda.target.append(.init(table: table, shape: there, columns: here.columns))
        }
        return agenda
    }

    /// The tables whose sums differ, with what to say of them.
    static func compare(
        _ tables: [VerifiedTable],
        source: [VerifiedTable: TableSum],
        target: [VerifiedTable: TableSum]
    ) -> [(table: VerifiedTable, mismatch: Mismatch)] {
        tables.compactMap { table in
            guard let here = source[table], let there = target[table], here != there else {
                return nil
            }
            if here.rows != there.rows {
                let sentence =
                    "table \(table.text) has \(here.rows) rows at the source and \(there.rows) "
                    + "at the target"
                return (table, Mismatch(.rows, table.text, sentence))
            }
            let sentence =
                "table \(table.text) has \(here.rows) rows at both sides, but not the same values"
            return (table, Mismatch(.contents, table.text, sentence))
        }
    }

    private static func missing(_ table: VerifiedTable, atSource: Bool) -> Mismatch {
        let side = atSource ? "source" : "target"
        return Mismatch(
            .tableMissing, table.text, "table \(table.text) is missing at the \(side)")
    }

    private static func access(
        _ table: VerifiedTable,
        _ here: TableShape,
        _ there: TableShape
    ) -> Mismatch? {
        let side: String? =
            if !here.isReadable || here.hidesRows {
                "source"
            } else if !there.canBeRead {
                "target"
            } else {
                nil
            }
        return side.map { side in
            Mismatch(
                .unreadable, table.text,
                "table \(table.text) cannot be compared: this role may not read all of its rows at "
                    + "the \(side)")
        }
    }

    /// Columns go by name: their order does not matter to a reader who names them.
    private static func columns(
        _ table: VerifiedTable,
        _ here: [ColumnShape],
        _ there: [ColumnShape]
    ) -> Mismatch? {
        let target = Dictionary(there.map { ($0.name, $0) }, uniquingKeysWith: { old, _ in old })
        let source = Set(here.map(\.name))
        func mismatch(_ what: String) -> Mismatch {
            Mismatch(.columns, table.text, "table \(table.text): \(what)")
        }
        for column in here {
            let name = SQLText.identifier(column.name)
            guard let other = target[column.name] else {
                return mismatch("column \(name) is missing at the target")
            }
            if column.type != other.type || column.isGenerated != other.isGenerated {
                return mismatch(
                    "column \(name) is \(self.text(column)) at the source and \(self.text(other)) "
                        + "at the target")
            }
        }
        return there.first { !source.contains($0.name) }.map {
            mismatch("column \(SQLText.identifier($0.name)) is at the target only")
        }
    }

    private static func text(_ column: ColumnShape) -> String {
        column.type + (column.isGenerated ? " (generated)" : "")
    }
}
