"""A closed study is evidence: what its trials were cannot be changed unseen."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from visutility.registry import DurableStudy, Registry, studies
from visutility.store import audit
from visutility.tune import Failure, Float, Space

REPORTS, QUEUE = (
    f"DROP TRIGGER {table}_no_update; DROP TRIGGER {table}_no_delete;" for table in ("trial_report", "study_queue")
)


@pytest.fixture
def closed(registry: Registry) -> Registry:
    with registry.store.write("test") as tx:
        space = Space({"x": Float(0, 1)})
        studies.create(tx, name="s", space=space, objective="loss", strategy="random", by="ada", why="a test")
        studies.create(tx, name="silent", space=space, strategy="random", by="ada", why="a test")
    silent = DurableStudy(registry.store, "silent")
    silent.tell(silent.ask(), 0.5)
    silent.close(by="ada", why="enough")
    study = DurableStudy(registry.store, "s")
    study.enqueue({"x": 0.25})
    trials = study.ask_batch(3)
    for step in range(3):
        study.report(trials[0], step, 1.0 / (step + 1))
    study.tell(trials[0], 0.5)
    study.tell(trials[1], Failure("out of memory"))
    study.close(by="ada", why="enough")
    return registry


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ("UPDATE trial SET value = 0.1 WHERE number = 0 AND origin = 'enqueued'", "trial s/0"),
        ("UPDATE trial SET failure = 'it was fine' WHERE number = 1", "trial s/1"),
        ("UPDATE trial SET state = 'complete', value = 0 WHERE number = 2", "trial s/2"),
        ("DELETE FROM trial WHERE number = 1", "trial s/1"),
        ("UPDATE study SET status = 'open' WHERE name = 's'", "study s"),
        (f"{REPORTS} UPDATE trial_report SET value = 0 WHERE step = 1", "trial_report s/0"),
        (f"{REPORTS} DELETE FROM trial_report WHERE step = 2", "trial_report s/0"),
        ("INSERT INTO trial_report SELECT study_id, 0, 3, 0.1 FROM trial_report WHERE step = 0", "trial_report s/0"),
        ("INSERT INTO trial_report SELECT study_id, 2, 0, 0.1 FROM trial_report WHERE step = 0", "trial_report s/2"),
        (
            "INSERT INTO trial_report SELECT id, 0, 0, 0.1 FROM study WHERE name = 'silent'",
            "trial_report silent",
        ),
        (f"{QUEUE} UPDATE study_queue SET params = '{{}}'", "study_queue s"),
        (f"{QUEUE} DELETE FROM study_queue", "study_queue s"),
        ("INSERT INTO study_queue SELECT id, 0, '{}', '' FROM study WHERE name = 'silent'", "study_queue silent"),
    ],
)
def test_a_trial_of_a_closed_study_cannot_be_changed_unseen(
    closed: Registry, path: Path, change: str, where: str
) -> None:
    with closed.store.read() as connection:
        assert audit.verify(connection) == []
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.executescript(change)
    with closed.store.read() as connection:
        assert [finding.where for finding in audit.verify(connection)] == [where]
