"""A database, a simulated clock, and what the steps of the sample workflow write to."""

import shutil

import pytest
from sqlalchemy import Column, Integer, MetaData, String, Table, insert, select

from visutility.core.clock import SimulatedClock
from visutility.flow import runs
from visutility.store import audit
from visutility.store.engine import Store
from visutility.store.migrate import upgrade

sample = MetaData()
note = Table("note", sample, Column("id", Integer, primary_key=True), Column("words", String(100), nullable=False))


@pytest.fixture
def clock():
    return SimulatedClock()


@pytest.fixture(scope="session")
def empty(tmp_path_factory):
    """A database with every table, made once and copied for each test."""
    path = tmp_path_factory.mktemp("flow") / "empty.db"
    made = Store(f"sqlite:///{path}", SimulatedClock())
    upgrade(made)
    with made.write("test.setup") as tx:
        sample.create_all(tx.connection)
    made.close()
    return path


@pytest.fixture
def store(tmp_path, clock, empty):
    shutil.copy(empty, tmp_path / "test.db")
    made = Store(f"sqlite:///{tmp_path / 'test.db'}", clock)
    yield made
    made.close()


class Notes:
    """A table outside of the flow, to see what committed."""

    def __init__(self, store):
        self.store = store

    @staticmethod
    def add(tx, words):
        tx.execute(insert(note), {"words": words})

    def all(self):
        with self.store.read() as connection:
            return list(connection.execute(select(note.c.words).order_by(note.c.id)).scalars())


@pytest.fixture
def notes(store):
    return Notes(store)


@pytest.fixture
def start(store):
    """Queue a run and return its id."""

    def made(workflow="sample", request=None, *, key="one", by="ann", **more):
        with store.write("test.start") as tx:
            return runs.start(tx, workflow, request or {}, key=key, by=by, **more)

    return made


@pytest.fixture
def look(store):
    """Return a run's row."""

    def read(run_id):
        with store.read() as connection:
            return runs.get(connection, run_id)

    return read


@pytest.fixture
def recorded(store):
    """Return a run's recorded results by key."""

    def read(run_id):
        with store.read() as connection:
            return {one.key: one.result for one in runs.steps(connection, run_id)}

    return read


@pytest.fixture
def events(store):
    """Return what the audit log says, after checking that it is whole."""

    def read():
        with store.read() as connection:
            assert audit.verify(connection) == []
            return audit.events(connection)

    return read
