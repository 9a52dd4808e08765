"""A database saved by every released revision opens, is upgraded, and keeps what it held."""

import gzip
from pathlib import Path

import pytest

from visutility.core.clock import SimulatedClock
from visutility.loop.alarm_rows import read_judgements
from visutility.registry import DurableStudy, Registry
from visutility.store import Blobs, Store, audit, health, upgrade
from visutility.store.schema import REVISION
from visutility.tune import AtMost, MedianStopping

SAVED = Path(__file__).parents[1] / "data" / "databases"


def test_every_revision_up_to_this_one_is_saved() -> None:
    assert sorted(path.name for path in SAVED.glob("*.db.gz")) == [
        f"{number:04}.db.gz" for number in range(1, int(REVISION) + 1)
    ]


@pytest.mark.parametrize("saved", sorted(SAVED.glob("*.db.gz")), ids=lambda path: path.name)
def test_a_saved_database_opens_with_all_it_held(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "visutility.db"
    path.write_bytes(gzip.decompress(saved.read_bytes()))
    store = Store(f"sqlite:///{path}", SimulatedClock())
    assert store.revision() == saved.name.split(".")[0]
    upgrade(store)
    store.check()
    with store.read() as connection:
        assert health.examine(connection) == []
        assert audit.verify(connection) == []
        assert [event.kind for event in audit.events(connection)] == [
            "model.created",
            "study.created",
            "study.closed",
            *["version.registered"] * 3,
            *["alias.promoted"] * 2,
            "alias.rolled-back",
            *([] if saved.name < "0004" else ["watch.started", "verdict.warning", "verdict.alarm", "alarm.judged"]),
        ]
        (judged,) = read_judgements(connection).values() or [None]
        assert judged is None if saved.name < "0004" else judged.why == "the lens was dirty"
    registry = Registry(store, Blobs(tmp_path / "blobs"))
    assert registry.aliases("digits") == {"challenger": 3, "champion": 1}
    assert [one.metrics["accuracy"] for one in registry.versions("digits")] == [0.93, 0.92, 0.91]
    assert [one.why for one in registry.history("digits")] == ["slow", "better", "the first"]
    study = DurableStudy(store, "digits-1")
    assert study.best.value == 0.3
    if saved.name != "0001.db.gz":
        assert study.options.constraints == (("megabytes", AtMost(5.0)),)
        assert study.options.stopping == MedianStopping(startup=3)
        assert [trial.feasible for trial in study.trials] == [True, True, True, False]
        assert [trial.origin for trial in study.trials] == ["enqueued", "random", "random", "random"]
    assert [link.kind for link in registry.why("digits:2")] == ["study", "trial", "version"]
    store.close()


def test_a_column_that_a_later_revision_added_is_covered_too(tmp_path: Path) -> None:
    path = tmp_path / "visutility.db"
    path.write_bytes(gzip.decompress((SAVED / "0001.db.gz").read_bytes()))
    store = Store(f"sqlite:///{path}", SimulatedClock())
    upgrade(store)
    with store.write("test") as tx:
        tx.connection.exec_driver_sql("""UPDATE study SET options = '{"objectives":[["loss","maximize"]]}'""")
    with store.read() as connection:
        assert [finding.where for finding in audit.verify(connection)] == ["study digits-1"]
    store.close()
