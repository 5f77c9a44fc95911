"""Deploys of which something dies: a fixed choice of what scripts/deploy-kills does at random."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.certificates import Authority
from harness.kill_stage import KillStage
from harness.kills import METHODS, Kills

pytestmark = pytest.mark.relayed

# Each names a victim and an aim: see harness/kills.py. Chosen so that every victim dies, and that
# the ends of the transaction and of the swap are met.
SEEDS = {"in-place": [4, 11, 15, 17, 25, 42], "swap": [1, 11, 16, 19, 25, 34]}


@pytest.fixture(scope="module")
def stage(authority: Authority) -> Iterator[KillStage]:
    # Not pytest's own folder: the path of a socket must be short.
    folder = Path(tempfile.mkdtemp(prefix="pgshare-kills-", dir="/tmp"))
    folder.chmod(0o755)
    stage = KillStage(folder, authority, rows=3000)
    yield stage
    stage.close()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("method", METHODS)
def test_a_deploy_that_something_dies_of_is_complete_or_never_was(stage, method, record_property):
    kills = Kills(stage, method)
    kills.calibrate()
    outcomes = [kills.round(seed) for seed in SEEDS[method]]
    for outcome in outcomes:
        record_property("round", outcome.line())
    broken = [outcome.line() for outcome in outcomes if outcome.broken]
    assert not broken, "\n".join(broken)
