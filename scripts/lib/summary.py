"""Adds up the test reports of a run and says what they covered.

usage: summary.py REPORTS_FOLDER [STEP_THAT_FAILED]...

Reads JUnit files: Swift Testing's `swift-swift-testing.xml`, XCTest's `swift.xml` and pytest's, and
the table of `scripts/microbench` in `microbench.txt`, where every line is a test. Files `*.covered` hold
what a suite without properties of its own covered: a name, a tab and a version a line.
Prints a line a suite, the clients and versions that passed tests, and at last
"N passed, N failed, N skipped". Exits 1 on a failure, and with CI=true on a skipped test.
"""

import os
import re
import sys
import xml.etree.ElementTree as ElementTree
from collections import defaultdict
from pathlib import Path

NAMES = {
    "tidy.xml": "tidy tests",
    "web.xml": "web tests (node --test)",
    "swift.xml": "swift test (XCTest)",
    "swift-swift-testing.xml": "swift test (Swift Testing)",
    "swift-blocking.xml": "the same, blocking (XCTest)",
    "swift-blocking-swift-testing.xml": "the same, blocking",
    "end-to-end.xml": "end-to-end tests",
}


MICROBENCH_LINE = re.compile(r"^(\w+ +(?:instructions|allocations)) +[\d,]+ +\S+ +(.*)$", re.M)


def version_key(text: str) -> list[tuple[int, str]]:
    """Sorts 9 before 15 and names after numbers."""
    return [(int(word), "") if word.isdigit() else (1 << 30, word) for word in re.split(r"\W+", text)]


def outcome(case: ElementTree.Element) -> str:
    """passed, failed or skipped."""
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    return "skipped" if case.find("skipped") is not None else "passed"


def report_line(name: str, counts: dict[str, int], totals: dict[str, int]) -> None:
    """Prints the line of a suite, unless it is empty, and adds it up."""
    for result, count in counts.items():
        totals[result] += count
    if any(counts.values()):
        line = ", ".join(f"{count} {result}" for result, count in counts.items())
        print(f"{name:<30} {line}")


def main() -> int:
    folder = Path(sys.argv[1])
    broken = sys.argv[2:]
    totals = dict.fromkeys(("passed", "failed", "skipped"), 0)
    covered: dict[str, set[str]] = defaultdict(set)
    failures: list[str] = []
    for report in sorted(folder.glob("*.xml")):
        counts = dict.fromkeys(totals, 0)
        for case in ElementTree.parse(report).iter("testcase"):
            result = outcome(case)
            counts[result] += 1
            if result != "passed":
                failures.append(f"{result}: {case.get('classname')}: {case.get('name')}")
                continue
            for fact in case.iter("property"):
                if fact.get("name", "").startswith("covers "):
                    covered[fact.get("name", "")[7:]].add(fact.get("value", ""))
        report_line(NAMES.get(report.name, report.stem), counts, totals)
    if (table := folder / "microbench.txt").exists():
        counts = dict.fromkeys(totals, 0)
        for case, verdict in MICROBENCH_LINE.findall(table.read_text()):
            result = "passed" if verdict.startswith("ok") else "failed"
            counts[result] += 1
            if result == "failed":
                failures.append(f"failed: microbench: {' '.join(case.split())}: {verdict}")
        report_line("micro-benchmarks", counts, totals)
    for facts in sorted(folder.glob("*.covered")):
        for line in facts.read_text().splitlines():
            what, _, version = line.partition("\t")
            covered[what].add(version)
    if covered:
        print("covered:")
        for what in sorted(covered):
            print(f"  {what:<24} {', '.join(sorted(covered[what], key=version_key))}")
    for line in failures:
        print(line)
    for step in broken:
        print(f"failed step: {step}")
    if broken and totals["failed"] == 0:
        totals["failed"] = len(broken)
    if totals["passed"] == 0 and totals["failed"] == 0:
        print("no test ran")
        totals["failed"] = 1
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**totals))
    unwanted_skip = os.environ.get("CI") == "true" and totals["skipped"] > 0
    return 1 if totals["failed"] or unwanted_skip else 0


if __name__ == "__main__":
    sys.exit(main())
