/// The ledger's schema and tables in a target.
///
/// A newer layout is refused by older programs; a newer program brings an older layout up to date
/// in the transaction of its deploy.
enum LedgerLayout {
    /// Where the ledger is.
    static let schema = "pgshare"
    /// What the name of everything that is kept begins with.
    static let keptPrefix = "pgshare_kept_"
    /// The layout that this program writes.
    static let version = 1
    /// How a ledger of ours is told from a stranger's schema.
    static let mark = "pgshare deploy: what was deployed into this database. Do not change."

    /// Whether a name is ours alone.
    static func isReserved(_ name: String) -> Bool {
        name == self.schema || name.hasPrefix(self.keptPrefix)
    }

    /// A schema, or another name without a schema, for what a deployment sets aside. At most 63
    /// bytes: 13 + 16 + 1 + the digits of the number.
    static func keptName(_ deploymentID: String, _ number: Int) -> String {
        "\(self.keptPrefix)\(deploymentID)_\(number)"
    }

    /// Makes all of it.
    static let create = """
        create schema pgshare;
        revoke all on schema pgshare from public;
        comment on schema pgshare is \(SQLText.literal(mark));
        create table pgshare.ledger (
            version integer not null,
            only_row boolean primary key default true check (only_row)
        );
        insert into pgshare.ledger (version) values (\(version));
        create table pgshare.deployment (
            id text primary key,
            number bigint generated always as identity,
            server_major integer not null,
            source text not null,
            made_at timestamptz not null default clock_timestamp(),
            plan text not null,
            row_counts text not null,
            checksums text not null,
            tool_versions text not null,
            previous text,
            undo text not null,
            is_rolled_back boolean not null default false
        );
        create table pgshare.pending (
            deployment text primary key,
            previous text,
            undo text not null
        );
        create table pgshare.deployed_object (
            deployment text not null,
            kind text not null,
            classid oid not null,
            objid oid not null,
            schema text,
            name text,
            identity text not null,
            owner text,
            is_carried boolean not null default false,
            primary key (deployment, classid, objid)
        );
        create table pgshare.kept_object (
            deployment text not null,
            kind text not null,
            classid oid not null,
            objid oid not null,
            schema text,
            name text,
            identity text not null,
            owner text,
            is_foreign boolean not null,
            primary key (deployment, classid, objid)
        );
        create table pgshare.kept_schema (
            deployment text not null,
            kept text primary key,
            origin text not null
        );
        create table pgshare.saved_statement (
            deployment text not null,
            number integer not null,
            identity text not null,
            sql text not null,
            sql_otherwise text,
            primary key (deployment, number)
        );
        create table pgshare.setting (
            deployment text not null,
            key text not null,
            base text not null,
            before text not null,
            after text,
            primary key (deployment, key)
        );
        create table pgshare.large_object_before (loid oid primary key);
        create table pgshare.deployed_large_object (
            deployment text not null,
            loid oid not null,
            primary key (deployment, loid)
        );
        create table pgshare.kept_large_object (
            deployment text not null,
            loid oid not null,
            owner text not null,
            grants text not null,
            comment text,
            primary key (deployment, loid)
        );
        create table pgshare.kept_large_object_data (
            deployment text not null,
            loid oid not null,
            page bigint not null,
            data bytea not null,
            primary key (deployment, loid, page)
        );
        alter table pgshare.kept_large_object_data alter column data set storage external;
        """

    /// Takes all of it away, and nothing that somebody put beside it.
    static let drop = [
        """
        drop table pgshare.ledger, pgshare.deployment, pgshare.pending, pgshare.deployed_object,
            pgshare.kept_object, pgshare.kept_schema, pgshare.saved_statement, pgshare.setting,
            pgshare.large_object_before, pgshare.deployed_large_object,
            pgshare.kept_large_object, pgshare.kept_large_object_data restrict
        """,
        "drop schema pgshare restrict",
    ]
}
