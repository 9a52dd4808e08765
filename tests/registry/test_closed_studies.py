"""A closed study is evidence: what its trials were cannot be changed unseen."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from visutility.registry import DurableStudy, Registry, studies
from visutility.store import audit
from visutility.tune import Failure, Float, Space


@pytest.fixture
def closed(registry: Registry) -> Registry:
    with registry.store.write("test") as tx:
        space = Space({"x": Float(0, 1)})
        studies.create(tx, name="s", space=space, objective="loss", strategy="random", by="ada", why="a test")
    study = DurableStudy(registry.store, "s")
    trials = study.ask_batch(3)
    study.tell(trials[0], 0.5)
    study.tell(trials[1], Failure("out of memory"))
    study.close(by="ada", why="enough")
    return registry


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ("UPDATE trial SET value = 0.1 WHERE number = 0", "trial s/0"),
        ("UPDATE trial SET failure = 'it was fine' WHERE number = 1", "trial s/1"),
        ("UPDATE trial SET state = 'complete', value = 0 WHERE number = 2", "trial s/2"),
        ("DELETE FROM trial WHERE number = 1", "trial s/1"),
        ("UPDATE study SET status = 'open'", "study s"),
    ],
)
def test_a_trial_of_a_closed_study_cannot_be_changed_unseen(
    closed: Registry, path: Path, change: str, where: str
) -> None:
    with closed.store.read() as connection:
        assert audit.verify(connection) == []
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute(change)
    with closed.store.read() as connection:
        assert [finding.where for finding in audit.verify(connection)] == [where]
