"""A server whose database must not change, and what would show that it did."""

import hashlib
import re
from pathlib import Path

from .certificates import Authority
from .cluster import ROLES, Cluster
from .endpoint import Endpoint
from .processes import run_well
from .wire import WireClient

# What a client would write to, by, through or around.
_OBJECTS = """
CREATE TABLE kept (id serial PRIMARY KEY, word text);
INSERT INTO kept (word) SELECT 'as it was ' || n FROM generate_series(1, 50) n;
CREATE TABLE numbered (id int GENERATED ALWAYS AS IDENTITY, n int) PARTITION BY RANGE (n);
CREATE TABLE numbered_low PARTITION OF numbered FOR VALUES FROM (0) TO (100);
INSERT INTO numbered (n) VALUES (1), (2);
CREATE TABLE secrets (owner name DEFAULT current_user, word text);
ALTER TABLE secrets ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON secrets USING (owner = current_user);
INSERT INTO secrets (word) VALUES ('of the landlord');
CREATE TABLE log_of_kept (word text);
CREATE RULE also AS ON INSERT TO kept DO ALSO INSERT INTO log_of_kept VALUES (NEW.word);
CREATE VIEW guarded WITH (security_barrier) AS SELECT * FROM kept WHERE id < 40;
CREATE VIEW ruled AS SELECT word FROM kept;
CREATE RULE instead AS ON INSERT TO ruled DO INSTEAD INSERT INTO kept (word) VALUES (NEW.word);
CREATE VIEW triggered AS SELECT word FROM kept;
CREATE MATERIALIZED VIEW summary AS SELECT count(*), now() AS made FROM kept;
CREATE SEQUENCE counter;
CREATE DOMAIN short AS text CHECK (length(VALUE) < 9);
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE FUNCTION change() RETURNS void LANGUAGE sql AS $$ UPDATE kept SET word = 'changed' $$;
CREATE FUNCTION change_too() RETURNS int LANGUAGE plpgsql AS
    $$ BEGIN EXECUTE 'DELETE FROM kept'; RETURN 1; END $$;
CREATE PROCEDURE proceed() LANGUAGE plpgsql AS
    $$ BEGIN UPDATE kept SET word = 'proceeded'; COMMIT; END $$;
CREATE FUNCTION definer() RETURNS void LANGUAGE sql SECURITY DEFINER AS
    $$ UPDATE kept SET word = 'defined' $$;
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
    $$ BEGIN INSERT INTO log_of_kept VALUES (to_jsonb(NEW)::text); RETURN NEW; END $$;
CREATE FUNCTION log_plainly() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN INSERT INTO log_of_kept VALUES ('plainly'); RETURN NEW; END $$;
REVOKE EXECUTE ON FUNCTION definer(), audit() FROM PUBLIC;
CREATE TRIGGER instead INSTEAD OF INSERT ON triggered
    FOR EACH ROW EXECUTE FUNCTION log_plainly();
CREATE TRIGGER audited AFTER UPDATE ON kept FOR EACH ROW EXECUTE FUNCTION audit();
SELECT lo_from_bytea(4711, 'as it was');
CREATE PUBLICATION all_of_it FOR TABLE kept;
GRANT SELECT ON kept, numbered, guarded, ruled, triggered, summary, log_of_kept TO reader;
"""

# Superusers' work: what sees every DDL, and a slot that others may want to drop.
_BY_SUPERUSER = """
CREATE FUNCTION public.see_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    -- The guard of a share drops its role as one of these.
    IF session_user IN ('landlord', 'postgres') THEN RETURN; END IF;
    INSERT INTO public.log_of_kept VALUES (tg_tag);
EXCEPTION WHEN insufficient_privilege OR read_only_sql_transaction THEN NULL;
END $$;
CREATE EVENT TRIGGER seen ON ddl_command_end EXECUTE FUNCTION public.see_ddl();
SELECT pg_create_physical_replication_slot('kept_slot');
"""

# A GRANT that grants nothing writes the default privileges out: they count as what they mean.
# All rows, positions, roles and objects that are no share's own: one number, cheap enough to ask
# after every attempt.
_TRIPWIRE = """
SELECT md5(string_agg(fact, '|' ORDER BY fact)) FROM (
    SELECT 'k' || t FROM public.kept t UNION ALL SELECT 'n' || t FROM public.numbered t
    UNION ALL SELECT 's' || t FROM public.secrets t
    UNION ALL SELECT 'l' || t FROM public.log_of_kept t
    UNION ALL SELECT 'm' || t FROM public.summary t
    UNION ALL SELECT 'q' || s::text FROM pg_sequences s WHERE s.schemaname !~ '^pg_temp'
    UNION ALL SELECT 'r' || r::text FROM pg_authid r WHERE rolname !~ '^pgshare_ro_'
    UNION ALL SELECT 'a' || m.roleid || ' ' || m.member FROM pg_auth_members m
        WHERE NOT EXISTS (SELECT FROM pg_roles r
            WHERE r.oid IN (m.roleid, m.member) AND rolname ~ '^pgshare_ro_')
    UNION ALL SELECT 'o' || l::text || lo_get(l.oid) FROM pg_largeobject_metadata l
        JOIN pg_roles r ON r.oid = lomowner AND rolname !~ '^pgshare_ro_'
    UNION ALL SELECT 'c' || c.oid || relname || relowner || relkind::text
        || coalesce(relacl, acldefault('r', relowner))::text FROM pg_class c
        JOIN pg_namespace n ON n.oid = relnamespace AND nspname !~ '^pg_t'
    UNION ALL SELECT 'p' || p.oid || p.prosrc || p.proowner || coalesce(p.proacl, acldefault('f', p.proowner))::text
        FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace AND nspname !~ '^pg_temp'
    UNION ALL SELECT 'x' || nspname FROM pg_namespace WHERE nspname !~ '^pg_t'
    UNION ALL SELECT 'd' || d.datname
        || coalesce(d.datacl, acldefault('d', d.datdba))::text FROM pg_database d
    UNION ALL SELECT 'v' || s::text FROM pg_replication_slots s
    UNION ALL SELECT 'f' || name || ' ' || coalesce(setting, '') FROM pg_file_settings
    UNION ALL SELECT 'z' || s.setdatabase || s.setconfig::text FROM pg_db_role_setting s
        WHERE NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = setrole AND rolname ~ '^pgshare_ro_')
    UNION ALL SELECT 'e' || extname FROM pg_extension
    UNION ALL SELECT 'w' || srvname FROM pg_foreign_server
    UNION ALL SELECT 'u' || p.oid FROM pg_publication p
    UNION ALL SELECT 't' || d::text FROM pg_description d WHERE d.classoid <> 2613
) facts(fact)
"""


class Vault:
    """One server, one database `vault` of a landlord, and roles to share it with."""

    def __init__(self, version: int, authority: Authority):
        settings = {
            "max_prepared_transactions": "5", "log_statement": "all", "hot_standby": "on",
            "autovacuum": "off",
        }  # fmt: skip
        self.cluster = Cluster(version, authority, settings)
        # By the socket everybody is believed, by TCP nobody: an agent's role may loop back.
        encrypted = "scram-sha-256"
        (self.cluster.data / "pg_hba.conf").write_text(
            "local all all trust\nlocal replication all trust\n"
            f"host all all 127.0.0.1/32 {encrypted}\nhost replication all 127.0.0.1/32 {encrypted}\n"
        )
        sql = self.cluster.sql
        sql("SELECT pg_reload_conf()")
        sql("CREATE ROLE landlord LOGIN CREATEROLE PASSWORD 'landlord secret'")
        sql("GRANT pg_read_all_data TO landlord WITH ADMIN OPTION")
        sql("CREATE ROLE reader LOGIN PASSWORD 'reader secret'; CREATE ROLE neighbour LOGIN")
        sql("CREATE DATABASE vault OWNER landlord")
        self.run("ALTER SCHEMA public OWNER TO landlord; REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        self.run("SET ROLE landlord;" + _OBJECTS)
        self.run(_BY_SUPERUSER)
        self._watch: WireClient | None = None

    def run(self, text: str) -> str:
        return self.cluster.sql(text, "vault")

    def conninfo(self, role: str) -> str:
        """For an agent that logs in as this role, by the socket."""
        return self.cluster.conninfo("vault", role)

    def by_tcp(self, role: str, password: str) -> Endpoint:
        """For somebody who goes past the share."""
        cluster = self.cluster
        authority = cluster.authority.certificate if cluster.has_tls else None
        return Endpoint("localhost", cluster.port, role, password, "vault", authority, cluster.version)

    def tripwire(self) -> bytes:
        """Changes with anything that no client of a read-only share may change."""
        if self._watch is None:
            self._watch = WireClient(self.by_tcp("scrammed", ROLES["scrammed"][0] or ""))
            self._watch.query("SET search_path = pg_catalog")
        return self._watch.query(_TRIPWIRE)[0][0] or b""

    def everything(self) -> dict[str, str]:
        """All that the server holds: its dump, what no dump has, and files that could be written."""
        found = {"dump": self._dump()}
        for name, question in {
            "prepared": "SELECT gid, owner FROM pg_prepared_xacts",
            "slots": "SELECT slot_name, plugin FROM pg_replication_slots ORDER BY 1",
            "settings": "SELECT setdatabase, setrole::regrole, setconfig FROM pg_db_role_setting"
            " ORDER BY 1, 2",
            "members": "SELECT roleid::regrole, member::regrole FROM pg_auth_members ORDER BY 1, 2",
            "large objects": "SELECT oid, lomowner::regrole, lomacl FROM pg_largeobject_metadata",
            "defaults": "SELECT defaclrole::regrole, defaclacl FROM pg_default_acl",
            "summary": "SELECT * FROM summary",
            "shadows": "SELECT count(*) FROM pg_shdepend WHERE refobjid NOT IN"
            " (SELECT oid FROM pg_authid) AND deptype IN ('o', 'a', 'r')",
        }.items():
            found[name] = self.run(question)
        for file in ("postgresql.conf", "postgresql.auto.conf", "pg_hba.conf"):
            found[file] = hashlib.sha256((self.cluster.data / file).read_bytes()).hexdigest()
        found["files"] = " ".join(sorted(path.name for path in self.cluster.data.iterdir()))
        found["folder"] = " ".join(sorted(path.name for path in self.cluster.folder.iterdir()))
        return found

    def _dump(self) -> str:
        command = [str(self.cluster.programs / "pg_dumpall"), "-d", self.cluster.conninfo()]
        # The fixes of CVE-2025-8714 write a random word into every dump.
        return re.sub(r"^\\(un)?restrict .*$", "", run_well(command).stdout, flags=re.M)

    def become_standby(self) -> None:
        """Restarts as a replica: of nobody, but no less read-only for that."""
        self.let_go()
        self.cluster.stop()
        (self.cluster.data / "standby.signal").touch()
        self.cluster.start()

    def let_go(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def remove(self) -> None:
        self.let_go()
        self.cluster.remove()

    @property
    def stolen(self) -> Path:
        """Where attempts write that want to leave a file; the server may."""
        return self.cluster.folder / "stolen"
