/// What every session is told after its login. By statements and not by startup options, which
/// poolers refuse.
public enum SessionSettings {
    /// Values travel as `pg_dump` writes them, nothing but the statement itself decides what a name
    /// means, no time limit of the role, the database or the server ends a long statement, and a
    /// COMMIT that was answered outlives a crash of the server. What waits is waiting for a lock:
    /// that has an end, longer than any fair query of a moment.
    ///
    /// Temporary objects come last, where nothing that a deployed function makes can pass for a
    /// catalog.
    ///
    /// Source: `setup_connection` in `pg_dump.c`; "Writing SECURITY DEFINER Functions Safely" in
    /// PostgreSQL's documentation. The last row is the server's version.
    public static let sql = """
        SET client_encoding = 'UTF8';
        SET standard_conforming_strings = on;
        SET DateStyle = 'ISO';
        SET IntervalStyle = 'postgres';
        SET TimeZone = 'UTC';
        SET extra_float_digits = 3;
        SET bytea_output = 'hex';
        SET xmloption = content;
        SET synchronize_seqscans = off;
        SET row_security = off;
        SET lock_timeout = '60s';
        SET synchronous_commit = on;
        SET quote_all_identifiers = off;
        SET lc_monetary = 'C';
        SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', false);
        SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings
        WHERE name IN (\(Self.timeouts));
        SELECT pg_catalog.current_setting('server_version_num')
        """

    /// Some are younger than the oldest server, so they are looked up.
    private static let timeouts = [
        "statement_timeout", "idle_in_transaction_session_timeout",
        "idle_session_timeout", "transaction_timeout",
    ].map { "'\($0)'" }.joined(separator: ", ")
}
