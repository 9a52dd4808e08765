"""Evaluations kept on disk, so that a comparison run again fits no model twice.

One SQLite file in `build/bench-cache` (git ignores it), or in the folder that VISUTILITY_BENCH_CACHE names. Several
processes may use it at once. A key holds the task, its version, scikit-learn's version and the configuration.
"""

import hashlib
import json
import math
import os
import sqlite3
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = "VISUTILITY_BENCH_CACHE"
BUSY = 60.0  # seconds to wait for another process


def cache_folder() -> Path:
    """Where evaluations and results are kept; made when it is not there."""
    found = Path(os.environ.get(FOLDER) or Path(__file__).parents[2] / "build" / "bench-cache")
    found.mkdir(parents=True, exist_ok=True)
    return found


class Memo:
    """Losses by key; NaN is a failed trial."""

    def __init__(self, path: Path) -> None:
        self._known: dict[str, float] = {}
        self._file = sqlite3.connect(path, timeout=BUSY, isolation_level=None)
        self._file.execute("PRAGMA journal_mode=WAL")
        self._file.execute("PRAGMA synchronous=OFF")  # what is lost is computed again
        self._file.execute("CREATE TABLE IF NOT EXISTS evaluation (key TEXT PRIMARY KEY, task TEXT, loss REAL)")

    @staticmethod
    def key(task: str, version: int, params: Mapping[str, Any]) -> str:
        """The SHA-256 of what decides the loss; a float counts to its last bit, an integer is no float."""
        content = json.dumps([task, version, _sklearn(), sorted(params.items())])
        return hashlib.sha256(content.encode()).hexdigest()

    def get(self, key: str) -> float | None:
        """The loss kept under the key; None when there is none."""
        if key not in self._known:
            row = self._file.execute("SELECT loss FROM evaluation WHERE key = ?", (key,)).fetchone()
            if row is None:
                return None
            self._known[key] = math.nan if row[0] is None else row[0]
        return self._known[key]

    def put(self, key: str, task: str, loss: float) -> None:
        """Keep a loss."""
        self._known[key] = loss
        kept = None if math.isnan(loss) else loss
        self._file.execute("INSERT OR REPLACE INTO evaluation VALUES (?, ?, ?)", (key, task, kept))

    def close(self) -> None:
        """Give the file back."""
        self._file.close()


@cache
def _open(path: Path) -> Memo:
    return Memo(path)


def memo() -> Memo:
    """The memo of this process."""
    return _open(cache_folder() / "evaluations.sqlite")


@cache
def _sklearn() -> str:
    from importlib.metadata import version

    return version("scikit-learn")
