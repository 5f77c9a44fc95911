import Foundation

/// Compares a target with the source it was deployed from.
///
/// The source's sessions are inside one snapshot. The target's may be one session in the deploy's
/// open transaction: so every statement is such that it cannot fail for anything but the server's
/// or the connection's end; what could fail is asked of the catalogue first. Only counts, sums
/// and definitions travel, and memory grows with the number of objects, not with rows.
public struct Verifier: Sendable {
    /// What is compared.
    public struct Scope: Sendable {
        /// Tables that hold rows: partition leaves and not their parents, no foreign tables.
        public var tables: [VerifiedTable] = []
        /// Positions that were read at the source and set at the target.
        public var sequences: [SequencePosition] = []
        /// The archive's entries that were restored; their objects are compared.
        public var kept: [TableOfContents.Entry] = []
        /// The archive's entries that were not.
        public var leftOut: [TableOfContents.Entry] = []
        /// Whether owners and grants were restored.
        public var grants = false
        /// Whether large objects were deployed.
        public var largeObjects = false
        /// Whether rows are hashed and not only counted.
        public var contents = true

        /// Creates an empty scope that hashes rows.
        public init() {}
    }

    private let scope: Scope

    /// Creates a verifier.
    public init(_ scope: Scope) {
        self.scope = scope
    }

    /// Compares; both sides work at the same time.
    ///
    /// - Parameters:
    ///   - source: Sessions of one snapshot, at least one.
    ///   - target: Sessions that see what was deployed, at least one. Their settings change.
    ///   - progress: Told of every table, or part of a large one, that was read.
    /// - Returns: What was compared, and what differs.
    /// - Throws: ``SQLFailure`` of whichever side failed first. Nothing is known then.
    public func run(
        source: [any SQLSession],
        target: [any SQLSession],
        progress: @escaping @Sendable (VerificationStep) -> Void
    ) async throws(SQLFailure) -> VerificationReport {
        let start = ContinuousClock.now
        guard let here = source.first, let there = target.first else {
            throw SQLFailure(sqlState: nil, message: "verifying needs a session at each side")
        }
        let checksum = try await Self.prepare(source, target)
        var report = VerificationReport()
        try await self.compareTables(source, target, checksum, progress, &report)
        if !self.scope.kept.isEmpty { try await self.compareObjects(here, there, &report) }
        let positions = try await SequencePositions.read(
            there,
            self.scope.sequences.map { PlannedSequence(schema: $0.schema, name: $0.name) })
        report.sequences = self.scope.sequences.count
        report.mismatches += SequencePositions.compare(
            expected: self.scope.sequences, target: positions)
        if self.scope.largeObjects {
            let reader = LargeObjectReader(
                source: here, target: there, checksum: self.scope.contents ? checksum : nil)
            let (sum, mismatches) = try await reader.compare()
            report.largeObjects = sum
            report.mismatches += mismatches
        }
        let duration = start.duration(to: .now).components
        report.seconds = Double(duration.seconds) + Double(duration.attoseconds) / 1e18
        return report
    }

    /// Settings that texts of values and definitions depend on, the same at both sides.
    static let settings = """
        set search_path = pg_catalog, pg_temp; set datestyle = 'ISO, YMD'; \
        set intervalstyle = 'postgres'; \
        set timezone = 'UTC'; set extra_float_digits = 3; set bytea_output = 'hex'; \
        set lc_monetary = 'C'; set xmlbinary = 'base64'; set quote_all_identifiers = off; \
        set row_security = off; set statement_timeout = 0
        """

    /// More tables than these are named without saying where they differ: each costs a few scans.
    private static let tablesToLocalise = 5

    private static func prepare(
        _ source: [any SQLSession],
        _ target: [any SQLSession]
    ) async throws(SQLFailure) -> ChecksumSQL {
        for session in source + target { try await session.rows(self.settings) }
        let encoding = "select pg_catalog.current_setting('server_encoding')"
        var checksum = ChecksumSQL()
        checksum.convertsText =
            try await source[0].rows(encoding) != target[0].rows(encoding)
        // Before 14, `hash_record_extended` is not there.
        let areOld = source[0].serverVersion < 140_000 || target[0].serverVersion < 140_000
        checksum.portable = areOld
        if !areOld {
            checksum.portable =
                try await source[0].rows(ChecksumSQL.probe) != target[0].rows(ChecksumSQL.probe)
        }
        return checksum
    }

    private func compareObjects(
        _ source: any SQLSession,
        _ target: any SQLSession,
        _ report: inout VerificationReport
    ) async throws(SQLFailure) {
        let findings = try await ObjectReader(source: source, target: target).compare(
            kept: self.scope.kept, leftOut: self.scope.leftOut, grants: self.scope.grants)
        report.objects = findings.count
        report.mismatches += findings.mismatches
        report.unknownEntries = self.scope.kept.filter {
            findings.unknown.contains(.init(catalogue: $0.catalogOID, oid: $0.oid))
        }.map(\.identity)
        report.remarks = Self.remarks
        if !findings.notComparable.isEmpty {
            report.remarks.append(
                "the two server versions write queries differently, so these were compared by name "
                    + "and columns only: " + findings.notComparable.joined(separator: ", "))
        }
    }

    private static let remarks = [
        "not compared: security labels, default privileges, options of user mappings, contents of "
            + "materialized views, comments on extensions and large objects"
    ]

    private func compareTables(
        _ source: [any SQLSession],
        _ target: [any SQLSession],
        _ checksum: ChecksumSQL,
        _ progress: @escaping @Sendable (VerificationStep) -> Void,
        _ report: inout VerificationReport
    ) async throws(SQLFailure) {
        let agenda = TableComparison.agenda(
            self.scope.tables,
            source: try await TableShapes.read(source[0], self.scope.tables),
            target: try await TableShapes.read(target[0], self.scope.tables))
        report.mismatches += agenda.mismatches
        let form = self.scope.contents ? checksum : nil
        let reader = TableReader(
            side: .source, sessions: source, checksum: form, progress: progress)
        let other = TableReader(
            side: .target, sessions: target, checksum: form, progress: progress)
        let (here, there) = try await InParallel.both(
            { () async throws(SQLFailure) in try await reader.sums(agenda.source) },
            { () async throws(SQLFailure) in try await other.sums(agenda.target) })
        report.tables = self.scope.tables.compactMap { here[$0] }
        let localiser = TableLocaliser(source: source[0], target: target[0], checksum: checksum)
        let different = TableComparison.compare(self.scope.tables, source: here, target: there)
        for (index, entry) in different.enumerated() {
            var mismatch = entry.mismatch
            if index < Self.tablesToLocalise, self.scope.contents,
                let job = agenda.target.first(where: { $0.table == entry.table }),
                let place = try await other.seeingAllRows(
                    job, target[0],
                    { () async throws(SQLFailure) in try await localiser.find(job) })
            {
                mismatch.sentence += "; " + place
            }
            report.mismatches.append(mismatch)
        }
    }
}
