"""Crash points kill the process that armed them, at the pass they were armed for, and at no other."""

import signal
import subprocess
import sys

import pytest

from visutility.core import crash

CHILD = """
import sys
from pathlib import Path
from visutility.core import crash
log, armed, nth = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
crash.record(log)
crash.point("warm-up:before")
crash.arm(armed or None, nth)
for number in range(3):
    crash.point("promote:before")
    print("committed", number, flush=True)
    crash.point("promote:after")
"""


def run_child(log, armed, nth=1):
    """Return (exit code, commits made, points passed)."""
    child = subprocess.run(
        [sys.executable, "-c", CHILD, str(log), armed, str(nth)], capture_output=True, text=True, check=False
    )
    assert child.stderr == ""
    return child.returncode, len(child.stdout.splitlines()), log.read_text().splitlines()


@pytest.mark.parametrize(
    ("armed", "nth", "commits"),
    [("promote:before", 1, 0), ("promote:after", 1, 1), ("promote:before", 2, 1), ("promote:after", 3, 3)],
)
def test_a_child_dies_at_the_nth_pass(tmp_path, armed, nth, commits):
    code, committed, passed = run_child(tmp_path / "log", armed, nth)
    assert (code, committed) == (-signal.SIGKILL, commits)
    assert passed[-1] == armed, "the point it died at is on record"


@pytest.mark.parametrize(("armed", "nth"), [("", 1), ("promote:before", 4), ("warm-up:before", 1), ("promote", 1)])
def test_a_child_lives_when_nothing_armed_is_passed_that_often(tmp_path, armed, nth):
    """Passes before arming do not count, and a point's name is compared whole."""
    code, committed, passed = run_child(tmp_path / "log", armed, nth)
    assert (code, committed) == (0, 3)
    assert passed == ["warm-up:before", *["promote:before", "promote:after"] * 3]


def test_the_record_lists_each_point_in_order_until_stopped(tmp_path):
    log = tmp_path / "points"
    crash.record(log)
    try:
        for name in ("a:before", "a:after", "a:before"):
            crash.point(name)
    finally:
        crash.record(None)
    crash.point("b:before")
    assert log.read_text().splitlines() == ["a:before", "a:after", "a:before"]


def test_disarming_and_arming_again_count_from_the_start():
    crash.arm("a:before", nth=2)
    crash.point("a:before")
    crash.arm("a:before", nth=2)
    crash.point("a:before")  # would be the second pass if arming did not start the count again
    crash.arm(None)
    crash.point("a:before")
