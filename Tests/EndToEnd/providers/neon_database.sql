-- What a database of Neon has before its owner has made anything.
CREATE SCHEMA neon AUTHORIZATION cloud_admin;
CREATE FUNCTION neon.pg_cluster_size() RETURNS bigint LANGUAGE sql AS 'SELECT 31457280::bigint';
CREATE VIEW neon.neon_lfc_stats AS SELECT 'file_cache_used'::text AS lfc_key, 1::bigint AS lfc_value;
GRANT USAGE ON SCHEMA neon TO PUBLIC;
GRANT SELECT ON neon.neon_lfc_stats TO PUBLIC;
CREATE SCHEMA neon_migration AUTHORIZATION cloud_admin;
CREATE TABLE neon_migration.migration_id (
    key integer PRIMARY KEY DEFAULT 0, id bigint NOT NULL DEFAULT 0
);
INSERT INTO neon_migration.migration_id VALUES (0, 11);
GRANT ALL ON SCHEMA public TO neon_superuser;
