"""Killed anywhere, then started again: exactly one new version, one promotion, a whole audit log.

The points are learnt by a first, undisturbed run that records every commit it makes, so a new commit is tested the day
it is written. Each point is then tried twice: one process killed and started again, and two processes racing of which
one is killed.
"""

import shutil
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from scenario import MODEL, settings, trained

from visutility.loop import Project
from visutility.registry import broken
from visutility.store import audit

CHILD = Path(__file__).parent.parent / "support" / "retrain_child.py"
PATIENCE = 120  # seconds; a child that takes longer is broken, not slow


@pytest.fixture(scope="module")
def degraded(tmp_path_factory):
    """A project at the moment its model begins to fail, copied for each test."""
    home = tmp_path_factory.mktemp("degraded") / "home"
    trained(home).close()
    return home


@pytest.fixture(scope="module")
def points(degraded, tmp_path_factory):
    """Every crash point an undisturbed retraining passes, in order, with how often it had been passed before."""
    folder = tmp_path_factory.mktemp("points")
    home = copied(degraded, folder)
    assert start(home, "--record", str(folder / "passed")).wait(PATIENCE) == 0
    check_world(home)
    seen: Counter[str] = Counter()
    found = []
    for name in (folder / "passed").read_text().splitlines():
        seen[name] += 1
        found.append((name, seen[name]))
    return found


def copied(degraded, folder):
    home = folder / "home"
    shutil.copytree(degraded, home)
    return home


def start(home, *arguments):
    return subprocess.Popen([sys.executable, str(CHILD), str(home), *arguments])


def check_world(home):
    with Project.open(settings=settings(home)) as project:
        versions = project.registry.versions(MODEL)
        assert [version.number for version in versions] == [2, 1]
        assert project.champion(MODEL) == 2
        moves = [(move.kind, move.number) for move in project.registry.history(MODEL)]
        assert moves == [("promote", 2), ("promote", 1)]
        with project.store.read() as connection:
            assert audit.verify(connection) == []
        assert project.registry.check_artifacts() == []
        assert broken(project.registry.why(f"{MODEL}@champion")) == []
        assert project.records.open_runs(MODEL) == []
        assert len(project.records.gate_reports(MODEL)) == 1


SHARDS = range(4)  # so that the suite's workers share them


def shared(points, shard):
    """Return every fourth point; of those that repeat (trials, claims) the first and the last pass alone."""
    last = dict(points)
    return [(name, nth) for name, nth in points if nth in (1, last[name])][shard :: len(SHARDS)]


@pytest.mark.slow
def test_every_step_of_a_retraining_has_a_point_before_and_after_its_commit(points):
    names = {name for name, _ in points}
    for step in ("settle", "fresh", "keep-snapshot", "open-study", "tune", "train", "register", "judge", "promote"):
        assert {f"retrain.{step}:before", f"retrain.{step}:after"} <= names
    assert {"monitor.ingest:before", "study.ask:before", "study.tell:after", "flow.claim:after"} <= names


@pytest.mark.slow
@pytest.mark.parametrize("shard", SHARDS)
def test_killed_at_any_point_and_started_again(points, degraded, tmp_path, shard):
    for at, (name, nth) in enumerate(shared(points, shard)):
        home = copied(degraded, tmp_path / str(at))
        assert start(home, "--crash", name, str(nth)).wait(PATIENCE) == -signal.SIGKILL, (name, nth)
        assert start(home).wait(PATIENCE) == 0, (name, nth)
        check_world(home)
        shutil.rmtree(home)


@pytest.mark.slow
@pytest.mark.parametrize("shard", SHARDS)
def test_two_workers_race_and_one_is_killed_at_any_point(points, degraded, tmp_path, shard):
    killed = 0
    for at, (name, nth) in enumerate(shared(points, shard)):
        home = copied(degraded, tmp_path / str(at))
        doomed, other = start(home, "--crash", name, str(nth)), start(home)
        assert other.wait(PATIENCE) == 0, (name, nth)
        killed += doomed.wait(PATIENCE) == -signal.SIGKILL
        assert start(home).wait(PATIENCE) == 0, (name, nth)
        check_world(home)
        shutil.rmtree(home)
    assert killed  # the doomed one often loses the race to its point; never always
