"""Named points at which a test can kill this process the hard way.

The transaction helper passes one before and one after every commit, so no commit can lack one. Nothing happens
unless a point was armed: `arm("retrain.register:after")` kills at the first pass, `arm("...", nth=3)` at the third.
`record(path)` appends the name of each point as it is passed, which is how a test learns all of them.
"""

import os
import signal
from pathlib import Path

_armed: tuple[str, int] | None = None
_log: Path | None = None
_passed: dict[str, int] = {}


def arm(point: str | None, nth: int = 1) -> None:
    """Send SIGKILL to this process when it passes `point` for the `nth` time from now; None disarms."""
    global _armed
    _armed = None if point is None else (point, nth)
    _passed.clear()


def record(path: Path | None) -> None:
    """Append the name of each point passed from now on, one a line; None stops."""
    global _log
    _log = path


def point(name: str) -> None:
    """Pass a crash point. Costs nothing worth measuring while nothing is armed."""
    if _log is not None:
        with _log.open("a") as out:
            out.write(f"{name}\n")
    if _armed is None or _armed[0] != name:
        return
    _passed[name] = _passed.get(name, 0) + 1
    if _passed[name] == _armed[1]:
        os.kill(os.getpid(), signal.SIGKILL)
