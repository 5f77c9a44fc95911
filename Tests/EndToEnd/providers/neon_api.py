"""Neon's API on a loopback port, in front of a real local Postgres.

    PROVIDER_TOKEN=… python -m providers.neon_api --postgres-port 5433 \\
        --postgres-admin 'host=/tmp/s port=5433 user=cloud_admin'

Every branch of every project leads to the one Postgres, as `neondb_owner` in `neondb`.
"""

import argparse
import secrets
import urllib.parse
import uuid

from .api import JSONAPI, Refusal, Request, serve, token_of

ROLE = "neondb_owner"
DATABASE = "neondb"
IDENTIFIER = "([a-z0-9-]{1,60})"
REGIONS = ("aws-us-east-1", "aws-us-east-2", "aws-eu-central-1", "azure-eastus2")
VERSIONS = (14, 15, 16, 17, 18)


class NeonAPI(JSONAPI):
    """State: projects with their branches, and operations that finish after `polls` looks."""

    routes = [
        ("GET", r"/projects", "list-projects", "list_projects"),
        ("POST", r"/projects", "create-project", "create_project"),
        ("GET", rf"/projects/{IDENTIFIER}", "show-project", "show_project"),
        ("GET", rf"/projects/{IDENTIFIER}/operations", "list-operations", "list_operations"),
        ("GET", rf"/projects/{IDENTIFIER}/operations/{IDENTIFIER}", "show-operation", "show_operation"),
        ("GET", rf"/projects/{IDENTIFIER}/branches", "list-branches", "list_branches"),
        ("POST", rf"/projects/{IDENTIFIER}/branches", "create-branch", "create_branch"),
        ("GET", rf"/projects/{IDENTIFIER}/branches/{IDENTIFIER}/databases", "list-databases", "list_databases"),
        ("GET", rf"/projects/{IDENTIFIER}/connection_uri", "show-connection", "show_connection"),
    ]  # fmt: skip
    knobs = ("polls", "quota", "final_status", "page", "asks_for_organization")
    prefix = "/api/v2"

    def __init__(self, token: str, database, host: str, port: int, pooler=None, state_file=None):
        self.host, self.port, self.pooler = host, port, pooler
        self.polls = 2
        self.quota = 10
        # What an operation becomes: failed, error and cancelled are the ends of one that does not
        # do what it was for.
        self.final_status = "finished"
        # Projects on a page, whatever limit is asked for.
        self.page = 400
        # As for the keys of people, who may be in several organizations.
        self.asks_for_organization = False
        super().__init__(token, database, state_file)

    def refusal(self, status: int, message: str) -> dict:
        return {"code": "", "message": message, "request_id": str(uuid.uuid4())}

    def add(self, name: str, region: str = "aws-us-east-2", version: int = 17) -> str:
        """A project that was there before. Returns its id."""
        identifier = f"quiet-sun-{secrets.randbelow(10**8):08}"
        self.state.projects[identifier] = {
            "id": identifier, "name": name, "region_id": region, "pg_version": version,
            "platform_id": "aws", "created_at": "2026-01-01T00:00:00Z", "branches": [],
        }  # fmt: skip
        self._add_branch(identifier, "main", is_default=True)
        return identifier

    # Verbs

    def list_projects(self, request: Request):
        self._check_organization(request)
        wanted = request.query.get("search", [""])[0]
        found = [
            self._shown(project)
            for identifier, project in sorted(self.state.projects.items())
            if wanted in project["name"] or wanted == identifier
        ]
        after = request.query.get("cursor", [""])[0]
        page = [project for project in found if project["id"] > after][: self.page]
        cursor = page[-1]["id"] if page else after
        return 200, {"projects": page, "pagination": {"cursor": cursor}}

    def create_project(self, request: Request):
        body = request.body["project"]
        region = body.get("region_id", "aws-us-east-2")
        version = body.get("pg_version", 17)
        if region not in REGIONS:
            raise Refusal(400, f"region {region} is not supported")
        if version not in VERSIONS:
            raise Refusal(400, f"pg_version {version} is not supported")
        if len(self.state.projects) >= self.quota:
            raise Refusal(422, f"project limit exceeded: the plan allows {self.quota} projects")
        identifier = self.add(body["name"], region, version)
        password = secrets.token_hex(12)
        self._set_password(password)
        operations = [self._operate(identifier, each) for each in ("create_timeline", "start_compute")]
        project = self.state.projects[identifier]
        return 201, {
            "project": self._shown(project), "branch": project["branches"][0], "endpoints": [],
            "roles": [{"name": ROLE, "branch_id": project["branches"][0]["id"]}],
            "databases": self._databases(project["branches"][0]["id"]), "operations": operations,
            "connection_uris": [{
                "connection_uri": self._uri(DATABASE, ROLE, pooled=False),
                "connection_parameters": {
                    "database": DATABASE, "role": ROLE, "password": password, "host": self.host,
                    "pooler_host": self.host,
                },
            }],
        }  # fmt: skip

    def show_project(self, request: Request):
        return 200, {"project": self._shown(self._project(request))}

    def list_operations(self, request: Request):
        project = self._project(request)["id"]
        mine = [self._operation(each) for each in self.state.operations.values() if each["project_id"] == project]
        return 200, {"operations": mine[::-1], "pagination": {"cursor": ""}}

    def show_operation(self, request: Request):
        operation = self.state.operations.get(request.arguments[1])
        if operation is None or operation["project_id"] != self._project(request)["id"]:
            raise Refusal(404, "operation not found")
        if operation["status"] in ("scheduling", "running"):
            operation["looks"] += 1
            is_over = operation["looks"] > self.polls
            operation["status"] = self.final_status if is_over else "running"
        return 200, {"operation": self._operation(operation)}

    def list_branches(self, request: Request):
        return 200, {"branches": self._project(request)["branches"]}

    def create_branch(self, request: Request):
        project = self._project(request)
        name = request.body["branch"]["name"]
        if name in [branch["name"] for branch in project["branches"]]:
            raise Refusal(409, f"branch {name} already exists")
        if [each["type"] for each in request.body["endpoints"]] != ["read_write"]:
            raise Refusal(400, "a branch without an endpoint cannot be reached")
        branch = self._add_branch(project["id"], name)
        operations = [self._operate(project["id"], each) for each in ("create_branch", "start_compute")]
        return 201, {"branch": branch, "endpoints": [], "operations": operations}

    def list_databases(self, request: Request):
        return 200, {"databases": self._databases(self._branch(request, request.arguments[1])["id"])}

    def show_connection(self, request: Request):
        query = {name: values[0] for name, values in request.query.items()}
        self._branch(request, query["branch_id"])
        if (query["database_name"], query["role_name"]) != (DATABASE, ROLE):
            raise Refusal(404, "role or database not found")
        return 200, {"uri": self._uri(DATABASE, ROLE, query.get("pooled") == "true")}

    # Parts

    def _check_organization(self, request: Request) -> None:
        if self.asks_for_organization and "org_id" not in request.query:
            raise Refusal(400, "org_id is required, you can find it on your organization settings page")

    def _project(self, request: Request) -> dict:
        project = self.state.projects.get(request.arguments[0])
        if project is None:
            raise Refusal(404, "project not found")
        return project

    def _branch(self, request: Request, identifier: str) -> dict:
        for branch in self._project(request)["branches"]:
            if branch["id"] == identifier:
                return branch
        raise Refusal(404, "branch not found")

    def _add_branch(self, project: str, name: str, is_default: bool = False) -> dict:
        branch = {
            "id": f"br-still-lake-{secrets.randbelow(10**8):08}", "project_id": project, "name": name,
            "default": is_default, "primary": is_default, "current_state": "ready",
        }  # fmt: skip
        self.state.projects[project]["branches"].append(branch)
        return branch

    def _databases(self, branch: str) -> list[dict]:
        return [{"id": 1, "branch_id": branch, "name": DATABASE, "owner_name": ROLE}]

    def _operate(self, project: str, action: str) -> dict:
        operation = {
            "id": str(uuid.uuid4()), "project_id": project, "action": action, "status": "scheduling",
            "looks": 0,
        }  # fmt: skip
        self.state.operations[operation["id"]] = operation
        return self._operation(operation)

    @staticmethod
    def _operation(operation: dict) -> dict:
        return {name: value for name, value in operation.items() if name != "looks"}

    @staticmethod
    def _shown(project: dict) -> dict:
        return {name: value for name, value in project.items() if name != "branches"}

    def _set_password(self, password: str) -> None:
        self.database.set_password(ROLE, password)
        self.state.passwords[ROLE] = password

    def _uri(self, database: str, role: str, pooled: bool) -> str:
        """The password is told whenever it is asked for."""
        if role not in self.state.passwords:
            self._set_password(secrets.token_hex(12))
        password = urllib.parse.quote(self.state.passwords[role], safe="")
        port = self.pooler if pooled and self.pooler is not None else self.port
        return f"postgresql://{role}:{password}@{self.host}:{port}/{database}?sslmode=require"


def _make(arguments: argparse.Namespace, database) -> NeonAPI:
    return NeonAPI(
        token_of(arguments), database, arguments.postgres_host, arguments.postgres_port,
        arguments.pooler_port, arguments.state,
    )  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="providers.neon_api", description=__doc__)
    parser.add_argument("--pooler-port", type=int)
    serve(_make, parser)
