"""What the local servers of JSON APIs share: routes, tokens, faults, a log, a state file.

A server is used in two ways: in a test's own process (`SupabaseAPI(…)`), or as a program
(`python -m providers.supabase_api …`), which prints one line of JSON with its URL and is steered
by `/_control`:

    POST /_control/faults   [{"step": "create-project", "kind": "cut_after", "times": 1}, …]
    POST /_control/set      {"polls": 3, …}      the knobs of the API
    GET  /_control/log      {"requests": [{"step": …, "status": …, "path": …}, …]}
    GET  /_control/state    all that the API knows
"""

import argparse
import json
import os
import re
import secrets
import signal
import subprocess
import threading
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

MAXIMUM_BODY_BYTES = 1 << 20


@dataclass
class Fault:
    """What goes wrong with the next `times` requests of a step."""

    step: str
    # status        answers with `status` and `message`, and does nothing
    # status_after  the same, carried out
    # cut_before    no answer, not carried out
    # cut_after     no answer, carried out
    # cut_inside    half of the answer, carried out
    # garbage       an answer that is no JSON, carried out
    # too_large     32 MiB of spaces, carried out
    # slow          the answer after `seconds`, carried out
    kind: str
    times: int = 1
    # Requests of the step that pass before the first fault.
    skip: int = 0
    status: int = 500
    message: str = "something failed"
    retry_after: str | None = None
    seconds: float = 0.0


@dataclass
class Request:
    """One request, taken apart."""

    method: str
    path: str
    query: dict[str, list[str]]
    body: dict
    arguments: tuple[str, ...]


class Refusal(Exception):
    """The API says no."""

    def __init__(self, status: int, message: str):
        self.status = status
        self.message = message


@dataclass
class Login:
    """A role that logs in."""

    user: str
    password: str


class PsqlDatabase:
    """The Postgres behind the project, steered as its superuser by psql. A Shape can stand in."""

    def __init__(self, psql: str, conninfo: str):
        self.psql = psql
        self.conninfo = conninfo

    def sql(self, text: str) -> str:
        """By standard input: what runs may hold a password."""
        words = [self.psql, "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", self.conninfo]
        done = subprocess.run(words, input=text, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise Refusal(400, f"Failed to run sql query: {done.stderr.strip()}")
        return done.stdout.strip()

    def set_password(self, user: str, password: str) -> None:
        quoted = password.replace("'", "''")
        self.sql(f"""ALTER ROLE "{user}" PASSWORD '{quoted}'""")

    def make_login_role(self) -> Login:
        login = Login(f"cli_login_{secrets.token_hex(4)}", secrets.token_hex(16))
        self.sql(
            f"CREATE ROLE {login.user} LOGIN NOINHERIT IN ROLE postgres "
            f"PASSWORD '{login.password}' VALID UNTIL 'tomorrow'"
        )
        return login

    def drop_login_roles(self) -> None:
        for role in self.sql(r"SELECT rolname FROM pg_roles WHERE rolname LIKE 'cli\_login\_%'").split():
            self.sql(f"DROP ROLE {role}")


@dataclass
class State:
    """What the API knows; the same after a restart where there is a state file."""

    projects: dict[str, dict] = field(default_factory=dict)
    operations: dict[str, dict] = field(default_factory=dict)
    passwords: dict[str, str] = field(default_factory=dict)


class JSONAPI:
    """A server of one provider on a free loopback port. Subclasses have `routes`."""

    def __init__(self, token: str, database, state_file: Path | None = None):
        self.token = token
        self.database = database
        self.state_file = state_file
        self.state = State()
        if state_file is not None and state_file.exists():
            self.state = State(**json.loads(state_file.read_text()))
        self.faults: list[Fault] = []
        self.log: list[dict] = []
        self.lock = threading.RLock()
        handler = type("Handler", (_Handler,), {"api": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        self.thread.start()

    # What a subclass says

    # Method, pattern of the path, name of the step, verb.
    routes: list[tuple[str, str, str, str]] = []
    # Knobs that `/_control/set` turns.
    knobs: tuple[str, ...] = ()
    # Before the API's own paths.
    prefix = ""

    def refusal(self, status: int, message: str) -> dict:
        """The body of a refusal."""
        return {"message": message}

    # Use

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}{self.prefix}"

    def fail(self, step: str, kind: str, **more) -> None:
        """Plans a fault."""
        names = [name for _, _, name, _ in self.routes]
        assert step in names, f"{step} is none of {names}"
        with self.lock:
            self.faults.append(Fault(step, kind, **more))

    def steps(self, step: str) -> list[dict]:
        """The requests of a step that came."""
        with self.lock:
            return [entry for entry in self.log if entry["step"] == step]

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    # Requests

    def answer(self, method: str, target: str, token: str, body: bytes):
        """Status, headers, body and the fault that the answer meets on its way."""
        parts = urllib.parse.urlsplit(target)
        path = parts.path.removeprefix(self.prefix) if parts.path.startswith(self.prefix) else ""
        if parts.path.startswith("/_control/"):
            return self._control(method, parts.path, body)
        for verb, pattern, step, name in self.routes:
            match = re.fullmatch(pattern, path)
            if verb == method and match:
                query = urllib.parse.parse_qs(parts.query)
                return self._run(step, name, Request(method, path, query, {}, match.groups()), token, body)
        return 404, {}, self._json(self.refusal(404, "not found")), None

    def _run(self, step: str, name: str, request: Request, token: str, body: bytes):
        entry = {"step": step, "path": request.path, "status": 0}
        with self.lock:
            self.log.append(entry)
            fault = self._next_fault(step)
        if fault is not None and fault.kind == "slow":
            time.sleep(fault.seconds)
        if fault is not None and fault.kind == "cut_before":
            return 0, {}, b"", fault
        if fault is not None and fault.kind == "status":
            entry["status"] = fault.status
            headers = {} if fault.retry_after is None else {"Retry-After": fault.retry_after}
            return fault.status, headers, self._json(self.refusal(fault.status, fault.message)), fault
        try:
            if token != f"Bearer {self.token}":
                raise Refusal(401, "Unauthorized")
            if body:
                request.body = json.loads(body)
            with self.lock:
                status, answer = getattr(self, name)(request)
                self._save()
        except Refusal as refusal:
            status, answer = refusal.status, self.refusal(refusal.status, refusal.message)
        except (ValueError, KeyError, TypeError) as error:
            status, answer = 400, self.refusal(400, f"the body is not what it must be: {error!r}")
        if fault is not None and fault.kind == "status_after":
            status, answer = fault.status, self.refusal(fault.status, fault.message)
        entry["status"] = status
        return status, {}, self._json(answer), fault

    def _next_fault(self, step: str) -> Fault | None:
        for fault in self.faults:
            if fault.step == step and fault.times > 0:
                if fault.skip > 0:
                    fault.skip -= 1
                    return None
                fault.times -= 1
                return fault
        return None

    def _control(self, method: str, path: str, body: bytes):
        with self.lock:
            if (method, path) == ("POST", "/_control/faults"):
                for plan in json.loads(body):
                    self.fail(plan.pop("step"), plan.pop("kind"), **plan)
                return 200, {}, b"{}", None
            if (method, path) == ("POST", "/_control/set"):
                for name, value in json.loads(body).items():
                    assert name in self.knobs, name
                    setattr(self, name, value)
                return 200, {}, b"{}", None
            if (method, path) == ("GET", "/_control/log"):
                return 200, {}, self._json({"requests": self.log}), None
            if (method, path) == ("GET", "/_control/state"):
                shown = asdict(self.state) | {"passwords": sorted(self.state.passwords)}
                return 200, {}, self._json(shown), None
        return 404, {}, b"{}", None

    @staticmethod
    def _json(value: object) -> bytes:
        return json.dumps(value).encode()

    def _save(self) -> None:
        if self.state_file is None:
            return
        new = self.state_file.with_suffix(".new")
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(asdict(self.state), file)
        new.replace(self.state_file)


class _Handler(BaseHTTPRequestHandler):
    """One connection; a cut closes it without a word."""

    protocol_version = "HTTP/1.1"
    api: JSONAPI

    def _serve(self) -> None:
        length = int(self.headers.get("Content-Length", "0"))
        if length > MAXIMUM_BODY_BYTES:
            self.close_connection = True
            return
        body = self.rfile.read(length)
        token = self.headers.get("Authorization", "")
        status, headers, answer, fault = self.api.answer(self.command, self.path, token, body)
        kind = fault.kind if fault is not None else ""
        if kind in ("cut_before", "cut_after"):
            self.close_connection = True
            return
        if kind == "garbage":
            answer = b"<html><body>a proxy's page</body></html>"
        if kind == "too_large":
            answer = b" " * (32 << 20)
        try:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            if kind == "cut_inside":
                self.close_connection = True
                answer = answer[: len(answer) // 2]
            self.wfile.write(answer)
        except OSError:
            self.close_connection = True

    do_GET = do_POST = do_DELETE = do_PATCH = _serve

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing."""


def serve(make: Callable[[argparse.Namespace, object], JSONAPI], parser: argparse.ArgumentParser):
    """The program around an API: prints its URL, ends by SIGTERM, SIGINT or the end of stdin."""
    parser.add_argument("--postgres-host", default="localhost")
    parser.add_argument("--postgres-port", type=int, required=True)
    parser.add_argument("--postgres-admin", required=True, help="the superuser's conninfo, for psql")
    parser.add_argument("--psql", default="psql")
    parser.add_argument("--state", type=Path, help="file to keep what was made")
    parser.add_argument("--token-variable", default="PROVIDER_TOKEN", help="the token that is accepted")
    arguments = parser.parse_args()
    api = make(arguments, PsqlDatabase(arguments.psql, arguments.postgres_admin))
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    print(json.dumps({"url": api.url}), flush=True)
    ended.wait()
    api.stop()


def token_of(arguments: argparse.Namespace) -> str:
    """Secrets come by the environment."""
    return os.environ[arguments.token_variable]
