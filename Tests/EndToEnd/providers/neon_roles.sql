-- The roles of a Neon branch. cloud_admin, the superuser, is initdb's.
CREATE ROLE neon_superuser NOLOGIN CREATEDB CREATEROLE REPLICATION BYPASSRLS
    IN ROLE pg_read_all_data, pg_write_all_data, pg_monitor, pg_signal_backend;
CREATE ROLE neondb_owner LOGIN CREATEDB CREATEROLE REPLICATION BYPASSRLS IN ROLE neon_superuser;
