"""The audit log as it is used: appending, reading, and what a whole log looks like."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, insert

from visutility.core.clock import SimulatedClock
from visutility.core.errors import AuditBroken, Invalid, InvalidName
from visutility.store import audit
from visutility.store.engine import Store
from visutility.store.schema import audit_head, model


def _append(store: Store, count: int, **given: object) -> None:
    for number in range(count):
        with store.write("test") as tx:
            audit.append(tx, "thing.done", f"thing-{number % 3}", by="ada", after={"number": number}, **given)


def test_an_event_comes_back_as_it_was_appended(store: Store, clock: SimulatedClock) -> None:
    clock.advance(90)
    with store.write("test") as tx:
        tx.execute(insert(model), {"id": "m", "name": "digits", "task": "classify", "created_at": tx.now()})
        seq = audit.append(
            tx,
            "model.created",
            "digits",
            by="Ada Lovelace",
            why="größer ☃",
            before=None,
            after={"b": [1, 2.5, None], "a": "x"},
            covers=[("model", ("m",))],
        )
    with store.read() as connection:
        (event,) = audit.events(connection)
        head = audit.head(connection)
        assert audit.verify(connection) == []
    assert (event.seq, seq, head.seq) == (1, 1, 1)
    assert event.at == clock.now()
    assert (event.by, event.kind, event.subject, event.why) == ("Ada Lovelace", "model.created", "digits", "größer ☃")
    assert (event.before, event.after) == (None, {"a": "x", "b": [1, 2.5, None]})
    assert event.covers[0][:2] == ("model", ("m",))
    assert event.previous == "0" * 64
    assert event.hash == head.hash


def test_events_are_chained_and_the_head_commits_with_them(store: Store) -> None:
    _append(store, 3)
    with pytest.raises(KeyError), store.write("test") as tx:
        raise KeyError(audit.append(tx, "thing.done", "thing", by="ada"))
    with store.read() as connection:
        events = audit.events(connection)
        assert audit.head(connection) == (3, events[-1].hash)
    assert [event.previous for event in events[1:]] == [event.hash for event in events[:-1]]


def test_events_are_filtered_and_paged(store: Store) -> None:
    _append(store, 10)
    with store.read() as connection:
        assert [e.seq for e in audit.events(connection, limit=4)] == [1, 2, 3, 4]
        assert [e.seq for e in audit.events(connection, after=4, limit=4)] == [5, 6, 7, 8]
        assert [e.seq for e in audit.events(connection, newest_first=True, after=9, limit=2)] == [8, 7]
        assert [e.seq for e in audit.events(connection, subject="thing-1")] == [2, 5, 8]
        assert audit.events(connection, kind="thing.undone") == []
        with pytest.raises(Invalid, match="limit is 0"):
            audit.events(connection, limit=0)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"kind": "Not A Name"}, InvalidName),
        ({"subject": ""}, Invalid),
        ({"by": ""}, Invalid),
        ({"by": "x" * 401}, Invalid),
        ({"why": "x" * 4001}, Invalid),
        ({"why": "nul \x00"}, Invalid),
        ({"by": "\udcff"}, Invalid),
        ({"after": float("nan")}, Invalid),
        ({"after": print}, Invalid),
        ({"covers": [("trial_report", ("x", 1, 1))]}, Invalid),
        ({"covers": [("model_alias", ("half a key",))]}, Invalid),
    ],
    ids=str,
)
def test_what_cannot_be_kept_is_refused_and_nothing_is_written(
    store: Store, given: dict[str, object], error: type[Exception]
) -> None:
    values = {"kind": "thing.done", "subject": "thing", "by": "ada", **given}
    with pytest.raises(error), store.write("test") as tx:
        audit.append(tx, values.pop("kind"), values.pop("subject"), **values)
    with store.read() as connection:
        assert audit.head(connection).seq == 0


def test_a_row_that_an_event_deleted_may_be_gone(store: Store) -> None:
    with store.write("test") as tx:
        tx.execute(insert(model), {"id": "m", "name": "digits", "task": "classify", "created_at": tx.now()})
        audit.append(tx, "model.created", "digits", by="ada", covers=[("model", ("m",))])
        tx.execute(delete(model))
        audit.append(tx, "model.removed", "digits", by="ada", covers=[("model", ("m",))])
    with store.read() as connection:
        assert audit.verify(connection) == []
        assert audit.events(connection)[-1].covers == (("model", ("m",), None),)
    with store.write("test") as tx:
        tx.execute(insert(model), {"id": "m", "name": "digits", "task": "classify", "created_at": tx.now()})
    with store.read() as connection:
        assert [finding.where for finding in audit.verify(connection)] == ["model digits"]


def test_without_a_head_nothing_is_appended(store: Store) -> None:
    _append(store, 1)
    with store.write("test") as tx:
        tx.execute(delete(audit_head))
    with pytest.raises(AuditBroken, match="audit_head is gone"):
        _append(store, 1)
    with store.read() as connection, pytest.raises(AuditBroken, match="audit verify"):
        audit.head(connection)


def test_an_event_that_cannot_be_read_is_damage(full: Path, sql: Callable[..., object]) -> None:
    sql(full, "UPDATE audit_event SET after = 'cut {' WHERE seq = 3")
    store = Store(f"sqlite:///{full}", SimulatedClock())
    with store.read() as connection, pytest.raises(AuditBroken, match="audit_event 3 cannot be read"):
        audit.events(connection)
    store.close()


def test_appending_uses_the_time_of_the_clock(store: Store, clock: SimulatedClock) -> None:
    _append(store, 1)
    clock.advance(60)
    _append(store, 1)
    with store.read() as connection:
        first, second = audit.events(connection)
    assert second.at - first.at == timedelta(seconds=60)
