/// Reads the head of a custom-format archive (`pg_dump -Fc`): its table of contents.
///
/// Source: `pg_backup_archiver.c` (`ReadHead`, `ReadToc`) and `pg_backup_custom.c` of PostgreSQL
/// 12 to 18. A table of contents that ends early or holds a length that cannot be is refused;
/// nothing is allocated for a length that the bytes do not have.
struct ArchiveReader {
    /// Why the bytes are no archive that we can read.
    enum Failure: Error, Hashable, CustomStringConvertible {
        /// It does not begin as an archive does.
        case notAnArchive
        /// It is an archive of another format than `-Fc`.
        case notCustomFormat
        /// Of this version; we know 1.14 to 1.16.
        case unknownVersion(major: Int, minor: Int)
        /// It ends within the table.
        case truncated
        /// A number or a text in it cannot be.
        case malformed

        var description: String {
            switch self {
            case .notAnArchive: "it does not begin as an archive of pg_dump does"
            case .notCustomFormat: "it is not of the custom format"
            case .unknownVersion(let major, let minor):
                "its format, \(major).\(minor), is not known here; use pg_dump of 14 to 18"
            case .truncated: "it ends within its table of contents"
            case .malformed: "its table of contents is damaged"
            }
        }
    }

    /// What begins the archives of PostgreSQL 12 to 15, 16, and 17 to 18.
    private static let knownMinorVersions = 14...16

    private var bytes: ArraySlice<UInt8>
    private var minorVersion = 0
    private var intBytes = 4
    private var offsetBytes = 8
    private var currentSection = TableOfContents.Section.preData

    private init(_ bytes: [UInt8]) {
        self.bytes = bytes[...]
    }

    static func contents(of archive: [UInt8]) throws(Failure) -> TableOfContents {
        var reader = ArchiveReader(archive)
        return try reader.readArchive()
    }

    private mutating func readArchive() throws(Failure) -> TableOfContents {
        try self.readHead()
        _ = try self.text()  // the name of the database
        let serverVersion = try self.text()
        _ = try self.text()  // the version of pg_dump
        let count = try self.int()
        guard count >= 0, count <= self.bytes.count else { throw .malformed }
        var entries: [TableOfContents.Entry] = []
        var dumpIDs: Set<Int> = []
        for _ in 0..<count {
            let entry = try self.entry()
            // Entries are left out by their numbers.
            guard dumpIDs.insert(entry.dumpID).inserted else { throw .malformed }
            // ENCODING, STDSTRINGS and SEARCHPATH are settings, and pg_restore lists none of them.
            if !Self.settings.contains(entry.kind) { entries.append(entry) }
        }
        return TableOfContents(entries: entries, serverVersion: serverVersion)
    }

    private static let settings: Set<String> = ["ENCODING", "STDSTRINGS", "SEARCHPATH"]

    private mutating func readHead() throws(Failure) {
        guard self.bytes.starts(with: Array("PGDMP".utf8)) else { throw .notAnArchive }
        self.bytes = self.bytes.dropFirst(5)
        let major = Int(try self.byte())
        self.minorVersion = Int(try self.byte())
        _ = try self.byte()  // revision
        guard major == 1, Self.knownMinorVersions.contains(self.minorVersion) else {
            throw .unknownVersion(major: major, minor: self.minorVersion)
        }
        self.intBytes = Int(try self.byte())
        self.offsetBytes = Int(try self.byte())
        guard (1...8).contains(self.intBytes), (1...8).contains(self.offsetBytes) else {
            throw .malformed
        }
        guard try self.byte() == Self.customFormat else { throw .notCustomFormat }
        // The compression: its algorithm since 1.15, its level before.
        if self.minorVersion >= 15 { _ = try self.byte() } else { _ = try self.int() }
        for _ in 0..<Self.fieldsOfTime { _ = try self.int() }
    }

    /// `archCustom`.
    private static let customFormat: UInt8 = 1
    /// Seconds, minutes, hours, day, month, year, daylight saving.
    private static let fieldsOfTime = 7

    private mutating func entry() throws(Failure) -> TableOfContents.Entry {
        let dumpID = try self.int()
        _ = try self.int()  // whether it has rows
        let catalogOID = UInt32(try self.text() ?? "") ?? 0
        let oid = UInt32(try self.text() ?? "") ?? 0
        let tag = try self.text() ?? ""
        let kind = try self.text() ?? ""
        let section = try self.section()
        let definition = try self.text() ?? ""
        _ = try self.text()  // the DROP statement
        _ = try self.text()  // the COPY statement
        let schema = try self.text()
        let tablespace = try self.text()
        let accessMethod = try self.text()
        if self.minorVersion >= 16 { _ = try self.int() }  // the kind of relation
        let owner = try self.text() ?? ""
        _ = try self.text()  // whether the table has OIDs; always "false"
        let dependencies = try self.dependencies()
        // Where the rows are: a flag and an offset.
        try self.skip(1 + self.offsetBytes)
        return TableOfContents.Entry(
            dumpID: dumpID, kind: kind, section: section,
            schema: schema.flatMap { $0.isEmpty ? nil : $0 }, tag: tag, owner: owner,
            catalogOID: catalogOID, oid: oid,
            tablespace: tablespace.flatMap { $0.isEmpty ? nil : $0 },
            accessMethod: accessMethod.flatMap { $0.isEmpty ? nil : $0 },
            dependencies: dependencies, definition: definition)
    }

    /// Comments, privileges and labels have none of their own, and pg_restore takes them with what
    /// stands before them.
    private mutating func section() throws(Failure) -> TableOfContents.Section {
        switch try self.int() {
        case 1: break
        case 2: self.currentSection = .preData
        case 3: self.currentSection = .data
        case 4: self.currentSection = .postData
        default: throw .malformed
        }
        return self.currentSection
    }

    /// Texts of numbers, up to one that is NULL.
    private mutating func dependencies() throws(Failure) -> [Int] {
        var numbers: [Int] = []
        while let text = try self.text() {
            guard let number = Int(text) else { throw .malformed }
            numbers.append(number)
        }
        return numbers
    }

    private mutating func byte() throws(Failure) -> UInt8 {
        guard let byte = self.bytes.popFirst() else { throw .truncated }
        return byte
    }

    private mutating func skip(_ count: Int) throws(Failure) {
        guard self.bytes.count >= count else { throw .truncated }
        self.bytes = self.bytes.dropFirst(count)
    }

    /// A byte of sign, then the magnitude, least significant byte first.
    private mutating func int() throws(Failure) -> Int {
        let isNegative = try self.byte() != 0
        var magnitude: UInt64 = 0
        for index in 0..<self.intBytes {
            magnitude |= UInt64(try self.byte()) << UInt64(8 * index)
        }
        guard let value = Int(exactly: magnitude) else { throw .malformed }
        return isNegative ? -value : value
    }

    /// A length and that many bytes; a length of -1 is NULL.
    private mutating func text() throws(Failure) -> String? {
        let length = try self.int()
        guard length >= 0 else { return nil }
        guard length <= self.bytes.count else { throw .truncated }
        defer { self.bytes = self.bytes.dropFirst(length) }
        return String(decoding: self.bytes.prefix(length), as: UTF8.self)
    }
}

extension TableOfContents {
    /// Reads the table of contents of an archive in custom format, from its first bytes.
    ///
    /// - Throws: ``ToolFailure`` of the reason ``ToolFailure/Reason/unreadable(_:)``.
    public init(archive bytes: [UInt8]) throws(ToolFailure) {
        do {
            self = try ArchiveReader.contents(of: bytes)
        } catch {
            throw ToolFailure(tool: "pg_dump", reason: .unreadable(error.description))
        }
    }
}
