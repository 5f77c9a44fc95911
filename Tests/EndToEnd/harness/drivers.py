"""What a driver must do against a server and a tab alike."""

import io
import ssl
from collections.abc import Callable
from pathlib import Path

import pg8000.dbapi
import pytest

from . import tools
from .endpoint import Endpoint
from .processes import run, run_well

CLIENTS = Path(__file__).parents[1] / "clients"


def psql_of(version: int, endpoint: Endpoint) -> Callable:
    """Runs psql of a version there: psql("-c", "select 1", stdin=…)."""

    def invoke(*arguments: str, stdin: str | None = None, **more):
        command = [tools.program("psql", version), "-X", "-d", endpoint.argument(), *arguments]
        return run(command, endpoint.environment(PAGER="cat"), stdin=stdin, **more)

    return invoke


def check_big_result(psql: Callable) -> None:
    done = psql("-At", "-c", "select n, md5(n::text) from generate_series(1, 200000) n", seconds=120)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert len(lines) == 200_000
    assert lines[0] == "1|c4ca4238a0b923820dcc509a6f75849b"
    assert lines[-1].startswith("200000|")


def check_pg8000(endpoint: Endpoint, create: str) -> None:
    """Queries and copies; `create` makes the table `copied`: `create table`, or a temporary one."""
    context = ssl.create_default_context(cafile=str(endpoint.ca_file))
    connection = pg8000.dbapi.connect(
        endpoint.user, host=endpoint.host, port=endpoint.port, password=endpoint.password,
        database=endpoint.database, ssl_context=context, timeout=60,
    )  # fmt: skip
    try:
        cursor = connection.cursor()
        cursor.execute(f"{create} copied (a int, b text)")
        lines = "".join(f"{number}\tline {number}\n" for number in range(3000))
        cursor.execute("copy copied from stdin", stream=io.StringIO(lines))
        out = io.BytesIO()
        cursor.execute("copy (select * from copied order by a) to stdout", stream=out)
        assert out.getvalue().decode() == lines
        with pytest.raises(pg8000.dbapi.DatabaseError, match="42703"):
            cursor.execute("select nonsense")
        connection.rollback()
        cursor.execute("select %s || 'y'", ("x",))
        assert cursor.fetchone()[0] == "xy"
    finally:
        connection.close()


def check_program(endpoint: Endpoint, oks: int, *command: str, **environment: str) -> str:
    """Runs a program of clients/, which says `version`, `ok` a test, `done`; the driver's version."""
    where = [endpoint.host, str(endpoint.port), endpoint.database, str(endpoint.ca_file)]
    done = run_well(
        [*command, *where], endpoint.environment(PGSHARE_TEST_USER=endpoint.user, **environment)
    )
    lines = done.stdout.splitlines()
    assert lines[-1] == "done"
    assert sum(line.startswith("ok ") for line in lines) == oks
    return lines[0].removeprefix("version ")


def check_node_postgres(endpoint: Endpoint) -> str:
    """clients.js queries, streams, pools and listens; the driver's version."""
    script = str(CLIENTS / "clients.js")
    return check_program(endpoint, 5, "node", script, NODE_PATH=str(tools.NODE_MODULES))


def check_pgjdbc(endpoint: Endpoint, program: str, folder: Path, oks: int) -> str:
    """Compiles a program of clients/ in a folder and runs it; the driver's version."""
    run_well(["javac", "-cp", str(tools.JDBC), "-d", str(folder), str(CLIENTS / f"{program}.java")])
    return check_program(endpoint, oks, "java", "-cp", f"{folder}:{tools.JDBC}", program)
