"""The tree keeps its own rules. Reads files only; takes about a second."""

import itertools
import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

PURE = ("PostgresWire", "TunnelWire", "SharePolicy", "SharedSession")
# Of other people's modules, what a machine may import. NIOCore gives ByteBuffer and NIODeadline.
PURE_IMPORTS = {
    # Foundation for Unicode normalisation (SASLprep); its networking is in a module of its own.
    "PostgresWire": {"NIOCore", "Crypto", "CryptoExtras", "SwiftASN1", "Foundation"},
    "TunnelWire": {"NIOCore", "Crypto", "FoundationEssentials", "Foundation"},
    "SharePolicy": {"NIOCore", "Crypto", "FoundationEssentials", "Foundation"},
    "SharedSession": {"NIOCore", "PostgresWire"},
}
# Words of a channel, a loop, a clock, a lock, a logger, a task: none of them belongs in a machine.
IMPURE = re.compile(
    r"\b(async|await|Task|NIOLock|NIOLockedValueBox|Mutex|Logger|EventLoop|ChannelHandlerContext|URLSession|"
    r"SystemRandomNumberGenerator|print|FileManager|ProcessInfo)\b(?!:)"
    r"|\.now\(\)|\bDate\(\)|\bContinuousClock\b"
)
LIMITS = {"columns": 100, "Sources lines": 500, "Tests lines": 700}


def tracked(*patterns: str) -> list[Path]:
    """Files that git knows or would add, and that exist."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard",
         "--", *patterns],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return sorted({ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()})


@cache
def text(path: Path) -> str:
    return path.read_text(errors="replace")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def code(source: str) -> str:
    """Swift without comments and the contents of plain strings; lines stay where they are."""
    source = re.sub(r"/\*.*?\*/", lambda hit: "\n" * hit.group().count("\n"), source, flags=re.S)
    source = re.sub(r'"""(.*?)"""', lambda hit: '""' + "\n" * hit.group().count("\n"), source, flags=re.S)
    source = re.sub(r'"(?:\\.|[^"\\\n])*"', '""', source)
    return re.sub(r"//.*", "", source)


def hits(paths: list[Path], pattern: re.Pattern[str], read=text) -> list[str]:
    """ "file:line: text" of each line that matches."""
    return [
        f"{name(path)}:{number}: {line.strip()}"
        for path in paths
        for number, line in enumerate(read(path).splitlines(), 1)
        if pattern.search(line)
    ]


def swift(*folders: str) -> list[Path]:
    return [path for folder in folders for path in tracked(f"{folder}/*.swift")]


def bare(path: Path) -> str:
    return code(text(path))


IMPORT = re.compile(r"^\s*(?:@\w+(?:\(\w+\))?\s+)*(?:(?:public|package|internal|private|fileprivate)\s+)?"
                    r"import\s+(?:(?:struct|class|enum|protocol|func|typealias|let|var)\s+)?(\w+)", re.M)  # fmt: skip


@pytest.mark.parametrize("target", PURE)
def test_a_pure_target_imports_only_what_a_machine_may(target):
    wrong = [
        f"{name(path)}: {module}"
        for path in swift(f"Sources/{target}")
        for module in IMPORT.findall(bare(path))
        if module not in PURE_IMPORTS[target]
    ]
    assert not wrong


@pytest.mark.parametrize("target", PURE)
def test_a_pure_target_has_no_clock_lock_logger_or_task(target):
    assert not hits(swift(f"Sources/{target}"), IMPURE, bare)


# Pure parts of targets that have shells, too: machines, planning, policy.
PURE_FILES = (
    "Sources/Deploy/Plan/*.swift", "Sources/Deploy/Ledger/*Plan.swift", "Sources/Deploy/SQLText.swift",
    "Sources/PostgresClient/Session/CopyMachine.swift", "Sources/PostgresClient/Session/StatementScanner.swift",
    "Sources/PostgresClient/Session/DoorPolicy.swift", "Sources/CloudProviders/*/*Machine.swift",
    "Sources/CloudProviders/*/*Steps.swift", "Sources/CloudProviders/*/*Entry.swift",
    "Sources/CloudProviders/HTTP/RetryPolicy.swift", "Sources/Relay/FrontDoor/ProxyHeader.swift",
)  # fmt: skip


def test_a_pure_file_has_no_clock_lock_logger_or_task():
    paths = tracked(*PURE_FILES)
    assert len(paths) > len(PURE_FILES)
    # The one shell that shares a machine's file name, and a task that is RDS's own word.
    paths = [path for path in paths if path.name != "ProviderMachine.swift"]
    own = re.compile(r"\bTask\b")
    found = hits(paths, IMPURE, lambda path: own.sub("", bare(path)) if path.name == "RDSMachine.swift" else bare(path))
    assert not found


def test_programs_are_run_without_a_shell_and_in_one_place():
    spawning = re.compile(r"\bSubprocess\.run\(|\bProcess\(\)|\bposix_spawn|\bpopen\(|\bsystem\(|\bexecv")
    # The demo starts servers of its own.
    allowed = ("Sources/Deploy/Tools/ToolProcess.swift", "Sources/pgshare/Demo/")
    assert not [hit for hit in hits(swift("Sources"), spawning, bare) if not hit.startswith(allowed)]
    assert not hits(swift("Sources"), re.compile(r'"(?:/usr)?/bin/(?:ba|da|z)?sh"'))


def test_lines_are_at_most_100_columns_long():
    # URLs and test vectors cannot be broken.
    long = [
        f"{name(path)}:{number}: {len(line)}"
        for path in [*swift("Sources", "Tests", "Benchmarks", "Fuzz"), ROOT / "Package.swift"]
        for number, line in enumerate(text(path).splitlines(), 1)
        if len(line) > LIMITS["columns"] and "://" not in line
    ]
    assert not long


def test_files_are_short_enough_to_read_at_once():
    long = [
        f"{name(path)}: {count}"
        for folder in ("Sources", "Tests")
        for path in swift(folder)
        if (count := text(path).count("\n")) > LIMITS[f"{folder} lines"]
    ]
    assert not long


FUNCTION = re.compile(r"^(\s*)(?:@\w+(?:\([^)]*\))?\s+)*(?:[a-z]+(?:\(set\))?\s+)*(?:func\s+(\S+?)[(<]|init[?]?[(<])")


def test_functions_fit_a_screen():
    long = []
    for path in swift("Sources"):
        lines = bare(path).splitlines()
        for number, line in enumerate(lines):
            found = FUNCTION.match(line)
            if not found:
                continue
            if "{" not in "".join(itertools.takewhile(str.strip, lines[number:])):
                continue  # A protocol's requirement.
            end = next(
                (at for at in range(number + 1, len(lines)) if lines[at].rstrip() == found.group(1) + "}"),
                number,
            )
            if end - number > 90:
                long.append(f"{name(path)}:{number + 1}: {end - number} lines")
    assert not long


def test_todo_and_fixme_name_an_issue():
    pattern = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b(?!.*#\d+)")
    assert not hits([path for path in swift("Sources", "Tests") if path.name != "test_tidy.py"], pattern)


def test_nothing_is_forced():
    pattern = re.compile(r"\btry!|\bas!|\bfatalError\b|\bnonisolated\(unsafe\)")
    assert not hits(swift("Sources"), pattern, bare)


def test_unchecked_sendable_says_why():
    wrong = [
        hit
        for path in swift("Sources")
        for number, line in enumerate(text(path).splitlines())
        if "@unchecked Sendable" in line
        and "//" not in "\n".join(text(path).splitlines()[max(0, number - 3) : number + 1])
        for hit in [f"{name(path)}:{number + 1}"]
    ]
    assert not wrong


def test_no_swift_test_sleeps():
    pattern = re.compile(r"\bThread\.sleep|\bTask\.sleep|\busleep\(|\bsleep\(|\bnanosleep\(")
    assert not hits(swift("Tests"), pattern, bare)


def test_no_test_uses_a_fixed_port():
    pattern = re.compile(r"(?:port:\s*|127\.0\.0\.1:|localhost:)(?!0\b)(5432|15432|6432|8080|8443|\d{5})\b")
    # A test of the defaults, of an address in text or of a parser never opens the port: it says so.
    allowed = re.compile(r"tidy: not opened")
    found = hits([*swift("Tests"), *tracked("Tests/EndToEnd/*.py")], pattern)
    opened = re.compile(r"\b(bind|connect|listen|create_server|create_connection)\w*\(", re.I)
    assert not [hit for hit in found if opened.search(hit) and not allowed.search(hit)]


def test_swift_tests_are_sentences():
    pattern = re.compile(r"@Test\b.*\bfunc\s+(?!`[^`]+ [^`]+`)")
    assert not hits(swift("Tests"), pattern, bare)


def test_no_test_is_disabled():
    pattern = re.compile(r"\.disabled\(|XCTSkip|pytest\.mark\.xfail|pytest\.skip\(|withKnownIssue")
    paths = [path for path in [*swift("Tests"), *tracked("Tests/*.py")] if path.name != "test_tidy.py"]
    assert not hits(paths, pattern)


LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def anchors(path: Path) -> set[str]:
    """The anchors that a heading makes."""
    found = re.findall(r"^#+\s+(.*)$", text(path), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.replace("`", "")).strip().lower().replace(" ", "-") for heading in found}


def test_links_in_documents_lead_somewhere():
    broken = []
    for path in tracked("*.md"):
        body = re.sub(r"```.*?```", "", text(path), flags=re.S)
        for link in LINK.findall(body):
            if re.match(r"[a-z]+:", link):
                continue
            file, _, anchor = link.partition("#")
            target = (path.parent / file).resolve() if file else path
            if not target.exists():
                broken.append(f"{name(path)}: {link}")
            elif anchor and target.suffix == ".md" and anchor not in anchors(target):
                broken.append(f"{name(path)}: {link} (no such heading)")
    assert not broken


def test_files_named_in_documents_exist():
    """`Sources/…/X.swift` and `scripts/x` in backticks are there."""
    pattern = re.compile(r"`((?:Sources|Tests|Benchmarks|Fuzz|scripts|certs|deploy)/[\w./+-]+)`")
    missing = [
        f"{name(path)}: {found}"
        for path in tracked("*.md")
        if path.name != "CHANGELOG.md"
        for found in pattern.findall(text(path))
        if not (ROOT / found).exists()
    ]
    assert not missing


def cases(path: str, enumeration: str) -> list[str]:
    """The case names of one enum of one file."""
    source = bare(ROOT / path)
    start = re.search(rf"\benum {enumeration}\b[^{{]*{{", source)
    assert start, f"{path} has no enum {enumeration}"
    depth, at = 1, start.end()
    while depth:
        depth += {"{": 1, "}": -1}.get(source[at], 0)
        at += 1
    body = source[start.end() : at]
    # Only the enum's own level: cases of nested types and of switches are deeper.
    flat, depth = [], 0
    for line in body.splitlines():
        if depth == 0:
            flat.append(line)
        depth += line.count("{") - line.count("}")
    names = []
    for line in flat:
        found = re.match(r"\s*(?:indirect\s+)?case\s+(.*)", line)
        if found:
            names += re.findall(r"(?:^|,)\s*(\w+)", re.sub(r"\([^)]*\)", "", found.group(1)))
    assert names, f"{enumeration} has no cases"
    return names


def in_table(document: str, word: str) -> bool:
    """Whether a table row holds the word in backticks or as its own cell."""
    return re.search(rf"^\|.*(`{re.escape(word)}`|\|\s*{re.escape(word)}\s*\|)", document, re.M) is not None


@pytest.mark.parametrize("kind", ["Refusal", "TunnelRefusal"])
def test_protocol_has_a_row_for_every_refusal(kind):
    document = text(ROOT / "PROTOCOL.md")
    file = f"Sources/SharePolicy/{kind}.swift"
    codes = dict(re.findall(r'\bcase (\w+) = "(\w+)"', text(ROOT / file)))
    missing = [
        reason
        for reason in cases(file, "Reason")
        if not in_table(document, codes.get(reason, reason)) and not in_table(document, reason)
    ]
    assert not missing


@pytest.mark.parametrize("kind", ["Refusal", "TunnelRefusal"])
def test_the_runbook_has_a_row_for_every_refusal(kind):
    runbook = text(ROOT / "deploy/RUNBOOK.md")
    file = f"Sources/SharePolicy/{kind}.swift"
    codes = dict(re.findall(r'\bcase (\w+) = "(\w+)"', text(ROOT / file)))
    reasons = [codes.get(reason, reason) for reason in cases(file, "Reason")]
    assert [reason for reason in reasons if not in_table(runbook, reason)] == []


def test_the_runbook_has_a_row_for_every_code_of_the_protocol():
    runbook, protocol = text(ROOT / "deploy/RUNBOOK.md"), text(ROOT / "PROTOCOL.md")
    sections = re.findall(r"^## (?:9|10|11)\. .*?(?=^## )", protocol, re.M | re.S)
    codes = re.findall(r"^\|(?: \d+ \|)? `([a-z_]+)` \|", "".join(sections), re.M)
    assert len(codes) > 40
    assert [code for code in codes if not in_table(runbook, code)] == []


def test_the_runbook_has_a_row_for_every_metric():
    runbook, sources = text(ROOT / "deploy/RUNBOOK.md"), text(
        ROOT / "Sources/Relay/Telemetry/RelayMetrics.swift"
    )
    written = re.findall(r'page\.write\(\s*"(\w+)"', sources)
    metrics = [f"pgshare_{name}" for name in written] + ["process_resident_memory_bytes"]
    assert len(metrics) > 25
    assert [metric for metric in metrics if not in_table(runbook, metric)] == []
    named = set(re.findall(r"\b(?:pgshare|process)_\w+", runbook)) - set(metrics)
    assert named == set(), "metrics that there are not"


def test_protocol_has_a_row_for_every_frame():
    document = text(ROOT / "PROTOCOL.md")
    wire_names = [
        re.sub(r"(?<=[a-z])(?=[A-Z])", "_", case).upper()
        for case in cases("Sources/TunnelWire/FrameHeader.swift", "FrameType")
    ]
    aliases = {"GO_AWAY": "GOAWAY"}
    missing = [
        word for word in wire_names if not in_table(document, aliases.get(word, word))
    ]
    assert not missing


def test_protocol_vectors_are_hexadecimal():
    """The vectors themselves are checked by the unit tests that read them."""
    document = text(ROOT / "PROTOCOL.md")
    assert re.search(r"([0-9a-f]{2} ){7}[0-9a-f]{2}", document), "no hex vectors"


def test_tests_named_in_the_threat_model_exist():
    """`[XTests](Tests/….swift) `a sentence`, `another``: the file has tests of these names."""
    row = re.compile(r"\[\w+\]\((Tests/[\w/.]+)\)((?:[ ,]*`[^`]+`)*)")
    named = [
        (file, test)
        for file, tests in row.findall(text(ROOT / "SECURITY.md"))
        for test in re.findall(r"`([^`]+)`", tests)
    ]
    assert len(named) > 50
    missing = [
        f"{file}: {test}"
        for file, test in named
        if (f"`{test}`(" if file.endswith(".swift") else f"def {test}(") not in text(ROOT / file)
    ]
    assert not missing


def raw_values(path: str, enumeration: str) -> list[str]:
    """What the cases of one enum of one file are called outside: their raw values, or their names."""
    given = dict(re.findall(r'\bcase (\w+) = "([\w-]+)"', text(ROOT / path)))
    return [given.get(case, case) for case in cases(path, enumeration)]


FINDING = "Sources/Deploy/Plan/Finding.swift"


def test_the_deploy_guide_has_a_row_for_every_finding():
    guide = text(ROOT / "DEPLOY.md")
    codes = set(raw_values(FINDING, "Code"))
    assert not [code for code in sorted(codes) if not re.search(rf"^\| `{code}` \|", guide, re.M)]
    section = guide.split("## Findings", 1)[1].split("\n## ", 1)[0]
    assert not set(re.findall(r"^\| `([\w-]+)` \|", section, re.M)) - codes, "codes that are no more"


def test_the_deploy_guide_says_how_grave_each_finding_can_be():
    """A severity that the planner gives a code stands in the code's row, and no other does."""
    names = dict(zip(cases(FINDING, "Code"), raw_values(FINDING, "Code"), strict=True))
    given: dict[str, set[str]] = {}
    for path in tracked("Sources/Deploy/Plan/*.swift"):
        # `severity, .code` with any way to choose the severity in front of the code.
        for severity, case in re.findall(r"\.(info|warning|blocking),\s*\.(\w+)", bare(path)):
            if case in names:
                given.setdefault(names[case], set()).add(severity)
    rows = re.findall(r"^\| `([\w-]+)` \| ([a-z ]+) \|", text(ROOT / "DEPLOY.md"), re.M)
    told = {code: set(words.split(" or ")) for code, words in rows}
    assert not {code: found for code, found in given.items() if not found <= told.get(code, set())}


def test_the_deploy_guide_has_a_row_for_every_event_and_every_phase():
    guide = text(ROOT / "DEPLOY.md")
    events = raw_values("Sources/Deploy/Run/DeployEvent+JSON.swift", "Name")
    phases = raw_values("Sources/Deploy/Run/DeployEvent.swift", "DeployPhase")
    assert "phase" in events
    assert "committing" in phases
    assert not [word for word in [*events, *phases] if not in_table(guide, word)]


def test_every_setting_has_a_row():
    keys = raw_values("Sources/pgshare/Settings/SettingKey.swift", "SettingKey")
    rows = "\n".join(
        line for document in ("README.md", "DEPLOY.md") for line in text(ROOT / document).splitlines()
        if line.startswith("|")
    )  # fmt: skip
    # One is named by its flag or by its variable; some have a sentence and no row.
    elsewhere = {"config", "id", "json"}
    assert not [
        key
        for key in keys
        if key not in elsewhere
        and f"`--{key}`" not in rows
        and f"`PGSHARE_{key.upper().replace('-', '_')}`" not in rows
    ]


SECRET = re.compile(
    r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----\s+[A-Za-z0-9+/]{20}|\bpgs_(?!A{20})[A-Za-z0-9_-]{40,}\b|\bAKIA[0-9A-Z]{16}\b"
)


def test_no_secret_is_in_the_tree():
    paths = [path for path in tracked() if path.stat().st_size < 1 << 20]
    # A fuzzer makes up tokens all day.
    paths = [path for path in paths if not name(path).startswith("Fuzz/Corpora/")]
    assert not hits(paths, SECRET)
    assert not [name(path) for path in tracked("*.key", "*.p12", "*.sqlite", ".pgpass", ".env")]


def test_scripts_can_be_run():
    scripts = [path for path in tracked("scripts/*", ".ci/run") if text(path).startswith("#!")]
    assert ROOT / "scripts" / "test" in scripts
    assert not [name(path) for path in scripts if not path.stat().st_mode & 0o100]


def test_shell_scripts_parse():
    for path in tracked("scripts/*", ".ci/run"):
        if "bash" in text(path).split("\n", 1)[0] or path.suffix == ".sh":
            subprocess.run(["bash", "-n", str(path)], check=True)


def test_every_fuzz_target_has_a_corpus_a_row_and_nothing_too_large():
    bodies = "Tests/FuzzReplayTests/Bodies/FuzzTarget.swift"
    raw = dict(re.findall(r'^    case (\w+) = "(\w+)"', text(ROOT / bodies), re.M))
    targets = {raw.get(case, case) for case in cases(bodies, "FuzzTarget")}
    assert len(targets) >= 12
    readme = text(ROOT / "Fuzz/README.md")
    assert [target for target in targets if not in_table(readme, target)] == []
    for kind in ("Corpora", "Crashes", "Dictionaries"):
        there = {path.relative_to(ROOT / "Fuzz" / kind).parts[0] for path in tracked(f"Fuzz/{kind}/*")}
        assert {name.removesuffix(".dict") for name in there} <= targets
        assert kind != "Corpora" or there == targets
    assert sum(path.stat().st_size for path in tracked("Fuzz/Corpora/*")) < 320 * 1024


def test_every_target_of_the_package_has_its_folder():
    manifest = text(ROOT / "Package.swift")
    folders = {path.relative_to(ROOT / "Sources").parts[0] for path in swift("Sources")}
    missing = [folder for folder in sorted(folders) if f'name: "{folder}"' not in manifest]
    assert not missing, "in no target of Package.swift"


@pytest.mark.parametrize(
    "document",
    [
        "README.md", "ARCHITECTURE.md", "PROTOCOL.md", "DEPLOY.md", "SECURITY.md", "CHANGELOG.md",
        "LICENSE",
    ],
)
def test_the_documents_are_there(document):
    assert len(text(ROOT / document)) > 500
