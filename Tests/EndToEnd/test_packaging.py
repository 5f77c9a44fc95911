"""deploy/: units, compose file, the image's root file system, and what the runbook tells to do.

An image cannot be built here: what the Dockerfile copies is looked at, and the root file system that
it ships is made by the same script and run by chroot.
"""

import json
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml  # comes with moto
from harness import tools
from harness.cluster import ROLES, Cluster
from harness.endpoint import Endpoint
from harness.pgshare import Relay, pgshare
from harness.processes import Child, run, run_well
from harness.waiting import wait_for
from harness.wire import WireClient, answers

pytestmark = pytest.mark.relayed

DEPLOY = tools.ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
# Of 10; what has no hardening at all has 9.6.
GREATEST_EXPOSURE = 2.0
# How long a relay drains unless told otherwise, in seconds.
DRAIN_SECONDS = 30


def endpoint_of(shared: dict, authority: Path, cluster: Cluster) -> Endpoint:
    """Where clients of a share connect."""
    words = [shared[key] for key in ("host", "port", "user", "password", "database")]
    return Endpoint(*words, authority, cluster.version)


def unit_settings(unit: Path) -> dict[str, list[str]]:
    """Every `Key=value` of a unit; a key may come more than once."""
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", unit.read_text(), re.M):
        found.setdefault(key, []).append(value)
    return found


# systemd


@pytest.fixture
def installed(tmp_path: Path):
    """A unit as it would be installed, but with the program under test."""

    def install(unit: Path) -> Path:
        program = tmp_path / "pgshare"
        if not program.exists():
            program.symlink_to(Path(tools.pgshare_binary()).resolve())
        copy = tmp_path / unit.name.replace("@.", "@a.")
        copy.write_text(unit.read_text().replace("/usr/local/bin/pgshare", str(program)))
        return copy

    return install


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_systemd_accepts_a_unit(unit, installed):
    done = run(["systemd-analyze", "verify", "--man=no", str(installed(unit))])
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_is_hardened(unit, installed):
    done = run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager",
         f"--threshold={int(GREATEST_EXPOSURE * 10)}", str(installed(unit))]
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-200:] + done.stderr
    settings = unit_settings(unit)
    for key, value in {
        "NoNewPrivileges": "yes", "ProtectSystem": "strict", "MemoryDenyWriteExecute": "yes",
        "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
    }.items():  # fmt: skip
        assert settings[key] == [value]
    assert int(settings["LimitNOFILE"][0]) >= 20_000


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_uses_options_that_there_are(unit):
    words = shlex.split(unit_settings(unit)["ExecStart"][0])
    known = run_well([tools.pgshare_binary(), words[1], "--help"]).stdout
    flags = [word for word in words if word.startswith("--")]
    assert flags
    assert [flag for flag in flags if flag not in known] == []


def confined(unit: str) -> list[str]:
    """What runs a program under the filter of a unit."""
    return [sys.executable, "-m", "harness.confined", str(DEPLOY / "systemd" / unit), tools.pgshare_binary()]


def test_a_relay_and_a_share_need_no_more_of_the_kernel_than_their_units_allow(tmp_path, cluster):
    place = {"cwd": Path(__file__).parent}
    state = tmp_path / "state"
    relay = Child(
        [*confined("pgshare-relay@.service"), "relay", "--json", "--state", str(state),
         "--postgres-listen", "127.0.0.1:0", "--https-listen", "127.0.0.1:0"], **place
    )  # fmt: skip
    agent = None
    try:
        listening = relay.wait_json("the relay", lambda value: "postgres" in value)
        made = pgshare("token", "create", "alice", "--json", "--state", str(state))
        agent = Child(
            [*confined("pgshare-agent@.service"), "share", cluster.conninfo(), "--json",
             "--relay", f"https://localhost:{listening['https'].rpartition(':')[2]}",
             "--ca-file", listening["ca_file"]],
            {"PGSHARE_TOKEN": json.loads(made.stdout)["token"]}, **place,
        )  # fmt: skip
        shared = agent.wait_json("the share", lambda value: value.get("event") == "shared")
        with WireClient(endpoint_of(shared, Path(listening["ca_file"]), cluster)) as client:
            assert client.query("select 40 + 2") == [[b"42"]]
        relay.signal(signal.SIGHUP)
        status = Path(f"/proc/{relay.pid}/status").read_text()
        # 2: a filter; and no program that is set to another user can be had by it.
        assert re.search(r"^Seccomp:\s+2$", status, re.M) and re.search(r"^NoNewPrivs:\s+1$", status, re.M)
        assert agent.stop() == 0
        assert relay.stop() == 0
    finally:
        for child in (agent, relay):
            if child:
                child.stop()


def test_a_filter_of_a_unit_stops_what_it_should():
    script = "import os, socket; socket.socket(socket.AF_NETLINK)"
    command = confined("pgshare-relay@.service")[:-1]
    for bad in (script, "import os; os.chroot('/')", "import mmap; mmap.mmap(-1, 4096, prot=7)"):
        done = run([*command, sys.executable, "-c", bad], cwd=Path(__file__).parent)
        assert (done.returncode, "not permitted" in done.stderr) == (1, True), done.stderr


def test_systemd_waits_for_longer_than_a_relay_drains():
    settings = unit_settings(DEPLOY / "systemd" / "pgshare-relay@.service")
    assert int(settings["TimeoutStopSec"][0]) > DRAIN_SECONDS
    assert settings["KillSignal"] == ["SIGTERM"]


def test_an_agents_secrets_are_a_credential():
    settings = unit_settings(DEPLOY / "systemd" / "pgshare-agent@.service")
    assert settings["LoadCredential"] == ["agent.json:/etc/pgshare/agents/%i.json"]
    assert "${CREDENTIALS_DIRECTORY}/agent.json" in settings["ExecStart"][0]
    assert "Environment" not in settings


# Configuration files


def test_a_relay_starts_with_the_example_of_its_configuration(tmp_path, authority):
    certificate, key = authority.leaf("example", "db.example.com", "DNS:localhost")
    relay = Relay(
        tmp_path / "state", "--config", str(DEPLOY / "examples/relay.json"),
        "--tls-cert", str(certificate), "--tls-key", str(key), ca_file=authority.certificate,
    )  # fmt: skip
    try:
        assert pgshare("health", relay.url, "--ca-file", str(relay.ca_file)).stdout == "ready\n"
    finally:
        relay.stop()


def test_an_agent_starts_with_the_example_of_its_configuration(relay, cluster, tmp_path):
    example = json.loads((DEPLOY / "examples/agent.json").read_text())
    example |= {"relay": relay.url, "token": relay.token(), "database": cluster.conninfo()}
    file = tmp_path / "agent.json"
    file.write_text(json.dumps(example))
    child = Child(
        [tools.pgshare_binary(), "share", "--config", str(file), "--json", "--ca-file", str(relay.ca_file)]
    )
    try:
        shared = child.wait_json("the share", lambda value: value.get("event") == "shared")
        assert shared["password"] == example["password"]
    finally:
        child.stop(signal.SIGINT)


# Compose


@pytest.fixture(scope="module")
def compose() -> dict:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def test_compose_has_secrets_in_files_only(compose):
    for name, service in compose["services"].items():
        for variable, value in service.get("environment", {}).items():
            harmless = variable.endswith(("_FILE", "_CONFIG", "_DOMAIN", "_CERT", "_KEY"))
            assert harmless, f"{name}: {variable}"
            assert "://" not in value
        for secret in service.get("secrets", []):
            assert secret in compose["secrets"]
    for name, secret in compose["secrets"].items():
        assert list(secret) == ["file"], name
        assert Path(secret["file"]).parts[0] == "secrets"
    ignored = run_well(["git", "-C", str(tools.ROOT), "check-ignore", "deploy/secrets/agent.json"])
    assert ignored.stdout.strip() == "deploy/secrets/agent.json"


def test_compose_runs_our_services_hardened_and_gives_them_time_to_drain(compose):
    ours = [compose["services"][name] for name in ("relay", "agent")]
    for service in ours:
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in service["security_opt"]
        assert int(service["stop_grace_period"].rstrip("s")) > DRAIN_SECONDS
    build = compose["services"]["relay"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()
    # Clients are told the port that the relay listens on.
    assert "5432:5432" in compose["services"]["relay"]["ports"]


# The image


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile: instruction and what follows it; lines that go on are one."""
    text = re.sub(r"^\s*#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.M)
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    return [tuple(line.split(None, 1)) for line in lines if line.strip()]


def is_sent_to_docker(path: str) -> bool:
    """Whether the ignore file lets it through: the last rule that fits counts."""
    sent = True
    for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines():
        rule = line.strip()
        if not rule or rule.startswith("#"):
            continue
        pattern = rule.removeprefix("!")
        if pattern == "**" or fnmatch(path, pattern) or path.startswith(pattern + "/"):
            sent = rule.startswith("!")
    return sent


def test_everything_that_the_image_is_built_from_is_there():
    copied = []
    for instruction, rest in instructions():
        if instruction == "COPY" and not rest.startswith("--from"):
            copied += rest.split()[:-1]
    assert "Sources" in copied
    assert [name for name in copied if not (tools.ROOT / name).exists()] == []
    assert [name for name in copied if not is_sent_to_docker(name)] == []
    # Every folder that the package's description names is copied, too, or it cannot be read.
    described = re.findall(r'path: "([^"]+)"', (tools.ROOT / "Package.swift").read_text())
    assert [path for path in described if path.split("/")[0] not in copied] == []
    assert not is_sent_to_docker(".git/config")
    assert not is_sent_to_docker("deploy/secrets/agent.json")


def test_the_image_has_a_user_a_health_check_and_a_signal_that_drains():
    settings = dict(instructions())
    uid = int(settings["USER"].split(":")[0])
    assert uid > 0
    assert settings["STOPSIGNAL"] == "SIGTERM"
    command = json.loads(settings["HEALTHCHECK"].partition("CMD ")[2])
    assert command == ["/usr/local/bin/pgshare", "health"]
    assert settings["FROM"] == "scratch"
    assert settings["VOLUME"] == "/var/lib/pgshare"


class Image:
    """The image's root file system, and programs in it: nothing of this system but /proc."""

    def __init__(self, root: Path):
        self.root = root
        run_well([str(DEPLOY / "make-rootfs"), tools.pgshare_binary(), str(root)])

    def command(self, *arguments: str) -> list[str]:
        """As the image's user, in mount and user namespaces of its own. /proc is what a container has."""
        (self.root / "proc").mkdir(exist_ok=True)
        script = 'mount --rbind /proc "$0/proc" && exec chroot --userspec=65532:65532 "$0" "$@"'
        return ["unshare", "--mount", "sh", "-c", script, str(self.root),
                "/usr/local/bin/pgshare", *arguments]  # fmt: skip

    #: What the image sets; nothing of this process's own.
    environment = {
        "PGSHARE_STATE": "/var/lib/pgshare", "PGSHARE_POSTGRES_LISTEN": "127.0.0.1:0",
        "PGSHARE_HTTPS_LISTEN": "127.0.0.1:0", "HOME": "/nonexistent", "PATH": "/nonexistent-too:/usr/bin:/usr/sbin",
    }  # fmt: skip

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        return run(self.command(*arguments), self.environment | environment)

    def start(self, *arguments: str, **environment: str) -> Child:
        return Child(self.command(*arguments), self.environment | environment)


@pytest.fixture(scope="module")
def image(folder: Path) -> Image:
    """In a folder that the image's user may go into, too."""
    return Image(folder / "image")


def test_the_image_holds_no_shell_and_nothing_that_is_set_to_another_user(image):
    programs = [path for path in image.root.rglob("*") if path.is_file() and path.stat().st_mode & 0o111]
    names = {path.name for path in programs if ".so" not in path.name}
    assert names == {"pgshare"}
    assert [path for path in programs if path.stat().st_mode & 0o6000] == []


def test_a_relay_and_a_share_run_in_the_images_file_system(image, cluster):
    assert image.run("--version").stdout.strip() == pgshare("--version").stdout.strip()
    relay = image.start("relay", "--json")
    agent = None
    try:
        listening = relay.wait_json("the relay", lambda value: "postgres" in value)
        url = f"https://localhost:{listening['https'].rpartition(':')[2]}"
        ready = image.run("health", PGSHARE_RELAY=url)
        assert (ready.stdout, ready.stderr) == ("ready\n", "")
        token = json.loads(image.run("token", "create", "alice", "--json").stdout)["token"]
        database = cluster.tcp_conninfo("scrammed", password=ROLES["scrammed"][0])
        agent = image.start(
            "share", "--json", PGSHARE_RELAY=url, PGSHARE_TOKEN=token, PGSHARE_DATABASE=database
        )
        shared = agent.wait_json("the share", lambda value: value.get("event") == "shared")
        authority = Path(f"{image.root}{listening['ca_file']}")
        with WireClient(endpoint_of(shared, authority, cluster)) as client:
            assert client.query("select 40 + 2") == [[b"42"]]
    finally:
        for child in (agent, relay):
            if child:
                child.stop(signal.SIGTERM)
    gone = image.run("health", PGSHARE_RELAY=url)
    assert (gone.returncode, gone.stdout) == (1, "")
    assert "connection refused" in gone.stderr


# pgshare health


def test_health_says_whether_a_relay_is_ready(relay):
    ready = pgshare("health", relay.url)
    assert (ready.returncode, ready.stdout) == (0, "ready\n")
    told = pgshare("health", "--json", environment={"PGSHARE_RELAY": relay.url})
    assert json.loads(told.stdout) == {"status": "ready"}


def test_health_checks_the_certificate_where_an_authority_is_named(relay, authority):
    assert pgshare("health", relay.url, "--ca-file", str(relay.ca_file)).returncode == 0
    other = pgshare("health", relay.url, "--ca-file", str(authority.certificate))
    assert (other.returncode, other.stdout) == (1, "")
    assert "cannot be asked" in other.stderr


def test_health_takes_no_plain_door_of_another_machine():
    done = pgshare("health", "http://relay.example.com")
    assert done.returncode == 2, done.stderr


# The runbook


def test_a_backup_of_a_running_relay_can_be_restored(new_relay, new_agent, cluster, tmp_path):
    runbook = (DEPLOY / "RUNBOOK.md").read_text()
    [statement] = re.findall(r'pgshare\.sqlite "(VACUUM INTO \'[^\']+\')"', runbook)
    relay = new_relay()
    token = relay.token("alice")
    password = {"PGSHARE_PASSWORD": "a long password"}
    agent = new_agent(relay, cluster, "--name", "shop", token=token, environment=password)
    before = agent.shared
    copy = tmp_path / "backup.sqlite"
    with sqlite3.connect(relay.state / "pgshare.sqlite") as store:
        store.execute(re.sub(r"'[^']+'", f"'{copy}'", statement))
    # What happens behind the backup is lost with the machine.
    pgshare("token", "revoke", "alice", "--state", str(relay.state))
    agent.stop()
    relay.stop()

    restored = tmp_path / "restored"
    restored.mkdir(mode=0o700)
    shutil.copyfile(copy, restored / "pgshare.sqlite")
    (restored / "pgshare.sqlite").chmod(0o600)
    relay = new_relay(state="restored")
    back = new_agent(relay, cluster, "--name", "shop", token=token, environment=password)
    assert (back.shared["user"], back.shared["password"]) == (before["user"], before["password"])
    wait_for("the share to answer", lambda: answers(back.endpoint))
