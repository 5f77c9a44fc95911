extension PlanContext {
    /// The oldest major version that our queries were tried with.
    static let oldestMajor = 14

    /// Servers and programs.
    var aboutVersions: [Finding] {
        var findings: [Finding] = []
        let (source, target) = (self.source.server, self.target.server)
        for (side, server) in [("source", source), ("target", target)]
        where server.major < Self.oldestMajor {
            findings.append(
                Finding(
                    .blocking, .serverUnsupported,
                    "the \(side) is Postgres \(server.versionText); \(Self.oldestMajor) is the "
                        + "oldest that a deploy knows",
                    fix: "Upgrade it first."))
        }
        let dump = self.input.tools.pgDump
        if dump.version.major < source.major {
            findings.append(
                Finding(
                    .blocking, .toolsTooOld,
                    "pg_dump \(dump.version) is older than the source, Postgres "
                        + "\(source.versionText), and refuses to read it",
                    fix: "Install the client programs of Postgres \(source.major) or later "
                        + "(package postgresql-client-\(source.major)), or name their folder in "
                        + "PGSHARE_PG_BIN.",
                    objects: [dump.path]))
        }
        return findings + self.aboutOlderTarget
    }

    private var aboutOlderTarget: [Finding] {
        let (source, target) = (self.source.server, self.target.server)
        guard target.major < source.major else { return [] }
        let lacking = self.source.features.filter {
            $0.since > target.major && self.selection.contains(schema: $0.schema)
        }
        let older = Finding(
            .warning, .targetOlder,
            "the target, Postgres \(target.major), is older than the source, Postgres "
                + "\(source.major): what it does not understand stops the deploy, and nothing "
                + "changes then",
            fix: "Use a target of Postgres \(source.major) or later.")
        return [older]
            + lacking.map { use in
                Finding(
                    .blocking, .featureMissing,
                    "\(use.object) uses \(use.feature), which Postgres \(target.major) lacks: "
                        + "it came with \(use.since)",
                    fix: "Use a target of Postgres \(use.since) or later.", objects: [use.object])
            }
    }

    /// Encodings and collations.
    var aboutText: [Finding] {
        self.aboutEncodings + self.aboutLocales + self.aboutCollations
    }

    private var aboutEncodings: [Finding] {
        let (source, target) = (self.source.server.encoding, self.target.server.encoding)
        guard source != target else { return [] }
        let create = """
            CREATE DATABASE \(SQLText.identifier(self.target.server.database)) \
            TEMPLATE template0 ENCODING \(SQLText.literal(source));
            """
        switch (source, target) {
        case ("SQL_ASCII", _):
            return [
                Finding(
                    .warning, .encodingDiffers,
                    "the source never checked the encoding of its text (SQL_ASCII): bytes that "
                        + "are no \(target) stop the deploy",
                    fix: create)
            ]
        case (_, "UTF8"):
            return [
                Finding(
                    .info, .encodingDiffers,
                    "text is converted from \(source) to UTF8")
            ]
        case (_, "SQL_ASCII"):
            return [
                Finding(
                    .warning, .encodingDiffers,
                    "the target does not know encodings (SQL_ASCII): text arrives as UTF8, and "
                        + "length() counts its bytes",
                    fix: create)
            ]
        case (_, _):
            return [
                Finding(
                    .warning, .encodingDiffers,
                    "text is converted from \(source) to \(target): a character that \(target) "
                        + "lacks stops the deploy",
                    fix: create)
            ]
        }
    }

    private var aboutLocales: [Finding] {
        let (source, target) = (self.source.server.locale, self.target.server.locale)
        guard source.normalised != target.normalised else { return [] }
        return [
            Finding(
                .warning, .collationDiffers,
                "text sorts by \(target.sentence) in the target and by \(source.sentence) in the "
                    + "source: ORDER BY, and ranges of text, may differ",
                fix: "Create the target database with the source's collation: "
                    + "CREATE DATABASE … TEMPLATE template0 \(source.sql);")
        ]
    }

    private var aboutCollations: [Finding] {
        let missing = self.source.usedCollations.filter {
            !self.target.systemCollations.contains($0)
        }
        let lacking = Self.found(
            .blocking, .collationMissing, missing,
            { "the target lacks collations that columns or indexes use: \($0)" },
            fix: "Install the locales on the target's machine, then "
                + "SELECT pg_import_system_collations('pg_catalog'); or use ICU collations.")
        let sides = [("source", self.source), ("target", self.target)]
        return lacking
            + sides.flatMap { side, facts in
                Self.found(
                    .warning, .collationVersion, facts.changedCollations,
                    {
                        "the \(side)'s library sorts otherwise than its indexes do: \($0)"
                    },
                    fix: """
                        REINDEX DATABASE \(SQLText.identifier(facts.server.database));
                        ALTER DATABASE \(SQLText.identifier(facts.server.database)) \
                        REFRESH COLLATION VERSION;
                        """)
            }
    }
}

extension LocaleFacts {
    /// Spelt alike: `en_US.UTF-8` is `en_US.utf8`, and `POSIX` is `C`.
    var normalised: LocaleFacts {
        var copy = self
        copy.collate = Self.normalised(self.collate)
        copy.ctype = Self.normalised(self.ctype)
        return copy
    }

    private static func normalised(_ name: String) -> String {
        let plain = name.lowercased().replacing("-", with: "")
        return plain == "posix" ? "c" : plain
    }

    /// For a sentence.
    var sentence: String {
        "\(self.locale ?? self.collate) (\(self.provider))"
    }

    /// For CREATE DATABASE.
    var sql: String {
        let libc = """
            LC_COLLATE \(SQLText.literal(self.collate)) LC_CTYPE \(SQLText.literal(self.ctype))
            """
        guard let locale = self.locale else { return "LOCALE_PROVIDER libc \(libc)" }
        let word = self.provider == "icu" ? "ICU_LOCALE" : "BUILTIN_LOCALE"
        return "LOCALE_PROVIDER \(self.provider) \(word) \(SQLText.literal(locale)) \(libc)"
    }
}
