"""Supabase's management API on a loopback port, in front of a real local Postgres.

    PROVIDER_TOKEN=… python -m providers.supabase_api --postgres-port 5433 \\
        --postgres-admin 'host=/tmp/s port=5433 user=supabase_admin' --session-pooler-port 6000

Every project that is made leads to the one Postgres: creating it sets the password of `postgres`.
"""

import argparse
import secrets
import string

from .api import JSONAPI, Refusal, Request, serve, token_of

REGIONS = ("us-east-1", "us-west-1", "eu-central-1", "eu-west-2", "ap-southeast-1")
LETTERS = string.ascii_lowercase


class SupabaseAPI(JSONAPI):
    """State: projects by ref. A project comes up after `polls` looks at it, its health after
    `health_polls` more."""

    routes = [
        ("GET", r"/v1/organizations", "list-organizations", "list_organizations"),
        ("GET", r"/v1/projects", "list-projects", "list_projects"),
        ("POST", r"/v1/projects", "create-project", "create_project"),
        ("GET", r"/v1/projects/([a-z]{20})", "show-project", "show_project"),
        ("POST", r"/v1/projects/([a-z]{20})/restore", "restore-project", "restore_project"),
        ("GET", r"/v1/projects/([a-z]{20})/health", "show-health", "show_health"),
        ("GET", r"/v1/projects/([a-z]{20})/config/database/pooler", "show-pooler", "show_pooler"),
        ("POST", r"/v1/projects/([a-z]{20})/database/query", "run-query", "run_query"),
        ("POST", r"/v1/projects/([a-z]{20})/cli/login-role", "make-login-role", "make_login_role"),
        ("DELETE", r"/v1/projects/([a-z]{20})/cli/login-role", "drop-login-roles", "drop_login_roles"),
    ]  # fmt: skip
    knobs = ("polls", "health_polls", "quota", "final_status", "direct", "organizations")

    def __init__(
        self, token: str, database, host: str, port: int, session_pooler: int | None = None,
        transaction_pooler: int | None = None, state_file=None,
    ):  # fmt: skip
        self.host, self.port = host, port
        self.session_pooler = session_pooler
        self.transaction_pooler = transaction_pooler
        self.polls = 2
        self.health_polls = 1
        # Projects that an organization may have.
        self.quota = 2
        # What a project that comes up becomes: INIT_FAILED is the end of one that does not.
        self.final_status = "ACTIVE_HEALTHY"
        # Whether the direct host can be resolved; otherwise only the poolers can be reached.
        self.direct = True
        self.organizations = [{"id": "org-1", "slug": "acme", "name": "Acme"}]
        super().__init__(token, database, state_file)

    def add(self, name: str, status: str = "ACTIVE_HEALTHY", region: str = "us-east-1") -> str:
        """A project that was there before. Returns its ref."""
        ref = "".join(secrets.choice(LETTERS) for _ in range(20))
        self.state.projects[ref] = {
            "id": ref, "ref": ref, "organization_id": "org-1", "organization_slug": "acme",
            "name": name, "region": region, "created_at": "2026-01-01T00:00:00Z",
            "status": status, "looks": 0, "health_looks": 0,
        }  # fmt: skip
        return ref

    # Verbs

    def list_organizations(self, request: Request):
        return 200, self.organizations

    def list_projects(self, request: Request):
        return 200, [self._shown(project) for project in self.state.projects.values()]

    def create_project(self, request: Request):
        body = request.body
        region = body["region_selection"]
        if region["type"] != "specific" or region["code"] not in REGIONS:
            raise Refusal(400, f"region_selection: {region['code']} is no region")
        if body["organization_slug"] not in [each["slug"] for each in self.organizations]:
            raise Refusal(403, "you are no member of that organization")
        if len(body["db_pass"]) < 6:
            raise Refusal(400, "db_pass: too short")
        if len(self.state.projects) >= self.quota:
            raise Refusal(
                400, "The following organization members have reached their maximum limits for the "
                f"number of active free projects: Somebody ({self.quota} project limit).",
            )  # fmt: skip
        ref = self.add(body["name"], "COMING_UP", region["code"])
        self.database.set_password("postgres", body["db_pass"])
        return 201, self._shown(self.state.projects[ref])

    def show_project(self, request: Request):
        project = self._project(request)
        if project["status"] in ("COMING_UP", "RESTORING"):
            project["looks"] += 1
            if project["looks"] > self.polls:
                project["status"] = self.final_status
        return 200, self._shown(project)

    def restore_project(self, request: Request):
        project = self._project(request)
        if project["status"] != "INACTIVE":
            raise Refusal(400, "the project is not paused")
        project["status"], project["looks"] = "RESTORING", 0
        return 200, {}

    def show_health(self, request: Request):
        project = self._project(request)
        project["health_looks"] += 1
        is_up = project["status"] == "ACTIVE_HEALTHY" and project["health_looks"] > self.health_polls
        status = "ACTIVE_HEALTHY" if is_up else "COMING_UP"
        known = ("auth", "db", "pooler", "realtime", "rest", "storage")
        names = request.query.get("services", [])
        if not names or not set(names) <= set(known):
            raise Refusal(400, f"services must be some of {known}")
        return 200, [{"name": name, "healthy": is_up, "status": status} for name in names]

    def show_pooler(self, request: Request):
        self._project(request)
        ports = {"transaction": self.transaction_pooler, "session": self.session_pooler}
        return 200, [
            {
                "identifier": request.arguments[0], "database_type": "PRIMARY", "is_using_scram_auth": True,
                "db_user": "postgres", "db_host": self.host, "db_port": port, "db_name": "postgres",
                "connection_string": f"postgresql://postgres:[YOUR-PASSWORD]@{self.host}:{port}/postgres",
                "pool_mode": mode, "default_pool_size": 15,
            }
            for mode, port in ports.items()
            if port is not None
        ]  # fmt: skip

    def run_query(self, request: Request):
        self._project(request)
        text = self.database.sql(request.body["query"])
        return 201, [{"line": line} for line in text.splitlines()]

    def make_login_role(self, request: Request):
        self._running(request)
        if request.body["read_only"] is not False:
            raise Refusal(400, "only roles that may write are made here")
        login = self.database.make_login_role()
        return 201, {"role": login.user, "password": login.password, "ttl_seconds": 300}

    def drop_login_roles(self, request: Request):
        self._running(request)
        self.database.drop_login_roles()
        return 200, {"message": "ok"}

    # Parts

    def _project(self, request: Request) -> dict:
        project = self.state.projects.get(request.arguments[0])
        if project is None:
            raise Refusal(404, "Project not found")
        return project

    def _running(self, request: Request) -> None:
        if self._project(request)["status"] != "ACTIVE_HEALTHY":
            raise Refusal(400, "the project is not running")

    def _shown(self, project: dict) -> dict:
        """Without what only we count. The real API names no port: it is 5432."""
        shown = {name: value for name, value in project.items() if not name.endswith("looks")}
        host = self.host if self.direct else f"db.{project['ref']}.supabase.invalid"
        shown["database"] = {
            "host": host, "port": self.port, "version": "17.4.1.074", "postgres_engine": "17",
            "release_channel": "ga",
        }  # fmt: skip
        return shown


def _make(arguments: argparse.Namespace, database) -> SupabaseAPI:
    return SupabaseAPI(
        token_of(arguments), database, arguments.postgres_host, arguments.postgres_port,
        arguments.session_pooler_port, arguments.transaction_pooler_port, arguments.state,
    )  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="providers.supabase_api", description=__doc__)
    parser.add_argument("--session-pooler-port", type=int)
    parser.add_argument("--transaction-pooler-port", type=int)
    serve(_make, parser)
