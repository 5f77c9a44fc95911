/// What an archive of `pg_dump` holds, entry by entry, with the names as they are.
///
/// `pg_restore -l` prints the same, but without quotes and with line breaks made blanks, so that
/// its text cannot tell schema, name and owner apart. So the archive's own table is read
/// (``init(archive:)``); ``Entry/line`` is what `pg_restore -l` prints.
public struct TableOfContents: Codable, Hashable, Sendable {
    /// When `pg_restore` runs an entry.
    public enum Section: String, Codable, Hashable, Sendable {
        /// What must be there before the rows: types, functions, tables, …
        case preData
        /// Rows, positions of sequences, large objects.
        case data
        /// What is quicker or only right behind the rows: indexes, constraints, triggers, …
        case postData
    }

    /// One entry: an object, or something about one.
    public struct Entry: Codable, Hashable, Sendable {
        /// The number within the archive; what a `-L` file names.
        public var dumpID: Int
        /// The OID of the catalog at the source; 0 where the entry is no object of its own.
        public var catalogOID: UInt32
        /// The OID of the object in that catalog, or 0.
        public var oid: UInt32
        /// pg_dump's word for the kind: `TABLE`, `FK CONSTRAINT`, `DEFAULT ACL`, …
        public var kind: String
        /// When it is restored.
        public var section: Section
        /// The schema of the object, exactly; nil for what has none.
        public var schema: String?
        /// pg_dump's name for it: a name, `table constraint`, `TABLE "name"` of a comment, …
        public var tag: String
        /// The owner at the source; empty where there is none.
        public var owner: String
        /// The tablespace it asks for, or nil.
        public var tablespace: String?
        /// The table access method it asks for, or nil.
        public var accessMethod: String?
        /// The entries that it needs, by ``dumpID``.
        public var dependencies: [Int]
        /// The SQL that makes it.
        public var definition: String

        /// Creates an entry; see the properties.
        public init(
            dumpID: Int,
            kind: String,
            section: Section = .preData,
            schema: String? = nil,
            tag: String,
            owner: String = "",
            catalogOID: UInt32 = 0,
            oid: UInt32 = 0,
            tablespace: String? = nil,
            accessMethod: String? = nil,
            dependencies: [Int] = [],
            definition: String = ""
        ) {
            self.dumpID = dumpID
            self.catalogOID = catalogOID
            self.oid = oid
            self.kind = kind
            self.section = section
            self.schema = schema
            self.tag = tag
            self.owner = owner
            self.tablespace = tablespace
            self.accessMethod = accessMethod
            self.dependencies = dependencies
            self.definition = definition
        }

        /// The line of `pg_restore -l`; its line breaks are blanks.
        public var line: String {
            let words = [self.kind, self.schema ?? "-", self.tag, self.owner].map(Self.oneLine)
            let start = "\(self.dumpID); \(self.catalogOID) \(self.oid)"
            return start + " " + words.joined(separator: " ")
        }

        /// Whether it is about the database itself, which is the target's own; pg_restore neither
        /// lists nor restores it.
        public var isAboutDatabase: Bool {
            switch self.kind {
            case "DATABASE", "DATABASE PROPERTIES": true
            case "COMMENT", "ACL", "SECURITY LABEL":
                self.schema == nil && self.tag.hasPrefix("DATABASE ")
            default: false
            }
        }

        /// For a person: `TABLE public.orders`.
        public var identity: String {
            let name = self.schema.map { "\($0).\(self.tag)" } ?? self.tag
            return "\(self.kind) \(name)"
        }

        /// Characters are taken one scalar at a time: CR LF is one `Character` and two blanks.
        private static func oneLine(_ text: String) -> String {
            var line = String.UnicodeScalarView()
            line.append(contentsOf: text.unicodeScalars.map { $0 == "\n" || $0 == "\r" ? " " : $0 })
            return String(line)
        }
    }

    /// In the order of the archive, which is one that can be restored.
    public var entries: [Entry]
    /// The version of the server that was dumped, as it says it: `15.20 (Debian …)`.
    public var serverVersion: String?

    /// Creates a table of contents.
    public init(entries: [Entry], serverVersion: String? = nil) {
        self.entries = entries
        self.serverVersion = serverVersion
    }

    /// The text of a `-L` file that selects these entries in this order.
    ///
    /// Only the number counts; the rest of a line is a comment for whoever reads the file.
    public static func listing(of entries: some Sequence<Entry>) -> String {
        entries.map { $0.line + "\n" }.joined()
    }
}
