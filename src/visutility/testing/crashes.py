"""Killing a process at a crash point, the hard way, and looking at what a second one makes of what it left.

    points = crash_points(script, folder)                   # every commit the script makes, before and after
    assert run_child(script, folder, crash_at=points[0]) == -signal.SIGKILL
    assert run_child(script, folder) == 0                   # started again, it ends well

`script` is a Python file; it runs as `__main__` in a process of its own, with `args` as its arguments.
"""

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Final

from visutility.core import crash

Point = tuple[str, int]  # name of a crash point, and at which of its passes, from 1

_BOOT: Final = "from visutility.testing.crashes import main; main()"


def start_child(
    script: Path, *args: str | Path, crash_at: Point | None = None, record: Path | None = None
) -> subprocess.Popen[bytes]:
    """Start the script in a process that kills itself at `crash_at`, and writes the points it passes to `record`."""
    point, nth = crash_at or ("", 1)
    given = [str(record or ""), point, str(nth), str(script), *map(str, args)]
    return subprocess.Popen([sys.executable, "-c", _BOOT, *given])  # noqa: S603 our own interpreter


def run_child(
    script: Path, *args: str | Path, crash_at: Point | None = None, record: Path | None = None, seconds: float = 120
) -> int:
    """Run the script to its end and return its exit code, negative for a signal. Kills it after `seconds`."""
    child = start_child(script, *args, crash_at=crash_at, record=record)
    try:
        return child.wait(seconds)
    finally:
        child.kill()
        child.wait()


def crash_points(script: Path, *args: str | Path, record: Path) -> list[Point]:
    """Run the script to a good end, and return the points it passed, each pass by itself, in order."""
    code = run_child(script, *args, record=record)
    if code != 0:
        raise AssertionError(f"{script} ended with {code} without being killed")
    passed: Counter[str] = Counter()
    points = []
    for name in record.read_text().splitlines():
        passed[name] += 1
        points.append((name, passed[name]))
    return points


def main() -> None:
    """Be the child: arm the crash point named in the arguments, then run the script."""
    import runpy

    record, point, nth, script, *args = sys.argv[1:]
    crash.record(Path(record) if record else None)
    crash.arm(point or None, int(nth))
    sys.argv = [script, *args]
    sys.path.insert(0, str(Path(script).parent))
    runpy.run_path(script, run_name="__main__")
