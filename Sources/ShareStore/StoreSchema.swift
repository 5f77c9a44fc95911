import GRDB

/// The tables of the store and how older files get them.
///
/// Times are milliseconds since 1970, uptimes nanoseconds, hashes lower-case hex, lists JSON: the
/// file can be read with the `sqlite3` command. A migration that was released is never edited; a
/// new one goes below it.
enum StoreSchema {
    static func migrator() -> DatabaseMigrator {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1 shares, tokens, audit") { database in
            try database.execute(sql: Self.first)
        }
        migrator.registerMigration("2 deployments") { database in
            try database.execute(sql: Self.deployments)
        }
        migrator.registerMigration("3 kinds of shares") { database in
            try database.execute(
                sql: "ALTER TABLE share ADD COLUMN kind TEXT NOT NULL DEFAULT 'agent'")
        }
        migrator.registerMigration("4 relays that take over") { database in
            try database.execute(sql: Self.relays)
        }
        return migrator
    }

    private static let first = """
        CREATE TABLE share (
            id TEXT PRIMARY KEY NOT NULL,
            name TEXT,
            owner TEXT NOT NULL,
            verifier TEXT NOT NULL,
            auth_method TEXT NOT NULL,
            limits TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            expires_at INTEGER,
            revoked_at INTEGER,
            served_at INTEGER NOT NULL,
            generation INTEGER NOT NULL,
            database TEXT NOT NULL,
            user TEXT NOT NULL
        ) STRICT;
        CREATE UNIQUE INDEX share_name ON share (name) WHERE name IS NOT NULL;
        CREATE INDEX share_owner ON share (owner);

        CREATE TABLE token (
            hash TEXT PRIMARY KEY NOT NULL,
            name TEXT NOT NULL,
            created_at INTEGER NOT NULL,
            revoked_at INTEGER
        ) STRICT;
        CREATE UNIQUE INDEX token_name ON token (name) WHERE revoked_at IS NULL;

        CREATE TABLE audit (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            at INTEGER NOT NULL,
            action TEXT NOT NULL,
            subject TEXT NOT NULL,
            owner TEXT
        ) STRICT;
        """

    /// AUTOINCREMENT: a number that was used is never used again, also after its row is gone.
    private static let relays = """
        CREATE TABLE relay (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            pid INTEGER NOT NULL,
            started_at INTEGER NOT NULL,
            draining_at INTEGER,
            cancel_port INTEGER
        ) STRICT;
        ALTER TABLE share ADD COLUMN awaited INTEGER NOT NULL DEFAULT 0;
        """

    /// The partial index is the lease: no two runs of one pair, whoever writes.
    private static let deployments = """
        CREATE TABLE deployment (
            id TEXT PRIMARY KEY NOT NULL,
            action TEXT NOT NULL,
            source TEXT NOT NULL,
            target TEXT NOT NULL,
            key TEXT NOT NULL,
            state TEXT NOT NULL,
            started_at INTEGER NOT NULL,
            finished_at INTEGER,
            pid INTEGER NOT NULL,
            process_start INTEGER,
            host TEXT NOT NULL,
            boot TEXT NOT NULL,
            process_space TEXT NOT NULL,
            heartbeat_at INTEGER NOT NULL,
            heartbeat_uptime INTEGER NOT NULL,
            plan TEXT,
            report TEXT,
            message TEXT,
            project TEXT,
            kept_in TEXT
        ) STRICT;
        CREATE UNIQUE INDEX deployment_running ON deployment (key) WHERE state = 'running';
        CREATE INDEX deployment_started ON deployment (started_at);
        """
}
