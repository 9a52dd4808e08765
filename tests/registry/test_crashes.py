"""The registry killed before and after each of its commits: nothing is half there, and the next process goes on."""

import runpy
import shutil
import signal
from pathlib import Path

import pytest

from visutility.core.clock import SimulatedClock
from visutility.registry import Registry
from visutility.store import Blobs, Store, audit
from visutility.testing.crashes import crash_points, run_child

SCRIPT = """
import sys
from pathlib import Path
from visutility.core.clock import SystemClock
from visutility.core.codec import sha256
from visutility.core.errors import ModelNotFound
from visutility.registry import NewVersion, Registry
from visutility.store import Blobs, Store, upgrade

home = Path(sys.argv[1])
store = Store(f"sqlite:///{home}/visutility.db", SystemClock())
upgrade(store)
registry = Registry(store, Blobs(home / "blobs"))
try:
    registry.find_model("m")
except ModelNotFound:
    registry.create_model("m", "task", by="t")
for number in (1, 2):
    artifact = b"artifact %d" % number
    if len(registry.versions("m")) < number:
        new = NewVersion(model="m", artifact_sha256=sha256(artifact), artifact_format="skops",
                         artifact_bytes=len(artifact), recipe="a:recipe")
        registry.register(new, artifact, by="t", why="")
moves = [("promote", 1, None), ("promote", 2, 1), ("rollback", 1, 2)]
done = len(registry.history("m")) if "champion" in registry.aliases("m") else 0
for kind, number, expected in moves[done:]:
    if kind == "promote":
        registry.promote("m", number, expected=expected, by="t", why="better")
    else:
        registry.rollback("m", expected=expected, by="t", why="worse")
if "staging" not in registry.aliases("m"):
    registry.move_alias("m", "staging", to=2, expected=None, by="t", why="")
store.close()
"""
COMMITS = [
    "store.upgrade",
    "registry.create-model",
    *["registry.register"] * 2,
    *["registry.promote"] * 2,
    "registry.rollback",
    "registry.move-alias",
]


def world(home: Path) -> tuple[object, ...]:
    """Return what the registry holds; its log must be whole and its artifacts right."""
    store = Store(f"sqlite:///{home}/visutility.db", SimulatedClock())
    try:
        registry = Registry(store, Blobs(home / "blobs"))
        with store.read() as connection:
            assert audit.verify(connection) == []
            events = [(one.kind, one.subject) for one in audit.events(connection)]
        assert registry.check_artifacts() == []
        moves = [(one.before, one.number, one.kind) for one in registry.history("m")]
        return [one.number for one in registry.versions("m")], registry.aliases("m"), moves, events
    finally:
        store.close()


@pytest.mark.slow
def test_killed_at_every_commit_and_started_again_the_world_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    points = crash_points(script, tmp_path / "whole", record=tmp_path / "points")
    assert [name for name, _ in points] == [f"{name}:{when}" for name in COMMITS for when in ("before", "after")]
    whole = world(tmp_path / "whole")
    assert whole[1] == {"challenger": 2, "champion": 1, "staging": 2}
    for at, point in enumerate(points):
        home = tmp_path / f"killed-{at}"
        assert run_child(script, home, crash_at=point) == -signal.SIGKILL
        monkeypatch.setattr("sys.argv", [str(script), str(home)])
        runpy.run_path(str(script), run_name="__main__")  # the next process; that this one is not new saves a second
        assert world(home) == whole, point
        shutil.rmtree(home)
