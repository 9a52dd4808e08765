"""Every single edit, deletion, swap and insertion made with plain SQL is found, and the row is named."""

import sqlite3
import tracemalloc
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Float, Integer, LargeBinary

from visutility.core.clock import SimulatedClock
from visutility.core.errors import Invalid
from visutility.store import audit
from visutility.store._audit_hash import event_hash, row_hash
from visutility.store.covered import COVERED, COVERED_AT_END
from visutility.store.engine import Store
from visutility.store.schema import audit_event, metadata

Sql = Callable[..., list[tuple[Any, ...]]]
Verify = Callable[[Path], list[audit.Finding]]

NAMES = {  # as conftest fills the tables
    "model": "model digits",
    "model_version": "model_version digits:2",
    "model_alias": "model_alias digits@champion",
    "alias_move": "alias_move digits@champion#2",
    "study": "study digits-1",
    "watch": "watch watch-1",
    "verdict": "verdict verdict-1",
    "alarm_judgement": "alarm_judgement verdict-1/1",
    "retrain_trigger": "retrain_trigger trigger-1",
    "gate_report": "gate_report gate-1",
    "policy": "policy digits",
    "run": "run run-1",
    "data_snapshot": "data_snapshot snapshot-1",
    "metric_chunk": "metric_chunk chunk-1",
    "trial": "trial digits-1/0",
    "study.end": "study digits-1",
    "run_step": "run_step run-1/tune",
    "run_answer": "run_answer run-1/promote",
    "run.end": "run run-1",
}
WHERE = {
    "model": "id = 'digits'",
    "model_version": "id = 'digits-2'",
    "model_alias": "name = 'champion'",
    "alias_move": "number = 2",
}
ALL = COVERED | COVERED_AT_END
EVENTS = 18
POSITIONS = (1, 9, EVENTS)


def where(found: list[audit.Finding]) -> list[str]:
    return [finding.where for finding in found]


def test_rows_that_no_event_has_ended_are_nobody_s_finding(full: Path, sql: Sql, findings: Verify) -> None:
    columns = "params, origin, state, value, metrics, failure, 7, asked_at, told_at"
    trial = f"INSERT INTO trial SELECT study_id, 7, {columns} FROM trial"
    sql(full, trial, "UPDATE run SET owner = 'a worker', lease_until = 'soon', fence = 9, attempts = 3")
    assert findings(full) == []


def other(table: str, column: str) -> str:
    """Return an SQL expression for another value of the column's type."""
    kind = metadata.tables[table].c[column].type
    if isinstance(kind, LargeBinary):
        return "X'ff'"
    if isinstance(kind, (Integer, Float)):
        return f'coalesce("{column}", 0) + 77'
    return f"coalesce(\"{column}\", '') || 'x'"


def test_the_untouched_log_is_whole(full: Path, findings: Verify, sql: Sql) -> None:
    assert findings(full) == []
    assert sql(full, "SELECT count(*) FROM audit_event") == [(EVENTS,)]
    assert set(NAMES) == set(COVERED | COVERED_AT_END)


# -- the log itself ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seq", POSITIONS)
@pytest.mark.parametrize("column", [c.name for c in audit_event.c if c.name != "seq"])
def test_an_edited_event_is_named_alone(full: Path, sql: Sql, findings: Verify, column: str, seq: int) -> None:
    sql(full, f'UPDATE audit_event SET "{column}" = {other("audit_event", column)} WHERE seq = {seq}')
    assert where(findings(full)) == [f"audit_event {seq}"]


@pytest.mark.parametrize("seq", POSITIONS)
@pytest.mark.parametrize("to", [0, -5, EVENTS + 1, EVENTS + 50])
def test_a_renumbered_event_is_missing_and_strange(full: Path, sql: Sql, findings: Verify, seq: int, to: int) -> None:
    sql(full, f"UPDATE audit_event SET seq = {to} WHERE seq = {seq}")
    assert set(where(findings(full))) == {f"audit_event {seq}", f"audit_event {to}"}


@pytest.mark.parametrize("seq", POSITIONS)
def test_a_deleted_event_is_named_alone(full: Path, sql: Sql, findings: Verify, seq: int) -> None:
    sql(full, f"DELETE FROM audit_event WHERE seq = {seq}")
    assert where(findings(full)) == [f"audit_event {seq}"]


@pytest.mark.parametrize("kept", [0, 1, 9, EVENTS - 2])
def test_a_truncated_tail_is_named(full: Path, sql: Sql, findings: Verify, kept: int) -> None:
    sql(full, f"DELETE FROM audit_event WHERE seq > {kept}")
    assert where(findings(full)) == [f"audit_event {kept + 1} to {EVENTS}"]


@pytest.mark.parametrize(("one", "two"), [(1, 2), (3, 11), (EVENTS - 1, EVENTS), (1, EVENTS)])
def test_swapped_events_are_both_named(full: Path, sql: Sql, findings: Verify, one: int, two: int) -> None:
    sql(full, *(f"UPDATE audit_event SET seq = {to} WHERE seq = {of}" for of, to in ((one, -1), (two, one), (-1, two))))
    assert where(findings(full)) == [f"audit_event {one}", f"audit_event {two}"]


@pytest.mark.parametrize("columns", [("why",), ("after", "covers"), ("hash",), ("previous",), ("previous", "hash")])
def test_swapped_contents_are_both_named(full: Path, sql: Sql, findings: Verify, columns: tuple[str, ...]) -> None:
    sql(full, "UPDATE audit_event SET why = seq || why")  # so that every content differs
    _rechain(full)
    assert findings(full) == []
    _swap(full, columns, 5, 10)
    assert where(findings(full)) == ["audit_event 5", "audit_event 10"]


@pytest.mark.parametrize("seq", [1, 9, EVENTS - 1])
def test_an_event_rewritten_with_a_right_hash_is_named(full: Path, sql: Sql, findings: Verify, seq: int) -> None:
    _forge(full, seq, why="nothing happened")
    assert where(findings(full)) == [f"audit_event {seq}"]
    _forge(full, seq, previous="f" * 64)
    assert where(findings(full)) == [f"audit_event {seq}"]


def test_a_last_event_rewritten_with_a_right_hash_contradicts_the_head(full: Path, findings: Verify) -> None:
    _forge(full, EVENTS, why="nothing happened")
    (finding,) = findings(full)
    assert str(finding) == f"audit_head does not have the hash of audit_event {EVENTS}: one of them was changed"


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit_head SET hash = 'x'",
        "UPDATE audit_head SET seq = seq - 3",
        "UPDATE audit_head SET seq = seq + 3",
        "UPDATE audit_head SET seq = 'many'",
        "UPDATE audit_head SET hash = (SELECT hash FROM audit_event WHERE seq = 4)",
        "DELETE FROM audit_head",
        "INSERT INTO audit_head VALUES (2, 1, 'x')",
        "UPDATE audit_head SET id = 2",
    ],
)
def test_a_changed_head_is_named_alone(full: Path, sql: Sql, findings: Verify, change: str) -> None:
    sql(full, "PRAGMA ignore_check_constraints = ON", change)
    assert where(findings(full)) == ["audit_head"]


def test_an_event_added_behind_the_head_is_named(full: Path, sql: Sql, findings: Verify) -> None:
    sql(full, f"INSERT INTO audit_event SELECT seq + 1, at, by, kind, subject, why, before, after, covers, hash, hash "
              f"FROM audit_event WHERE seq = {EVENTS}")  # fmt: skip
    _forge(full, EVENTS + 1)
    assert where(findings(full)) == [f"audit_event {EVENTS + 1}"]


def test_a_log_rewritten_as_a_whole_is_found_by_a_head_kept_elsewhere(full: Path, sql: Sql) -> None:
    store = Store(f"sqlite:///{full}", SimulatedClock())
    with store.read() as connection:
        anchor = audit.head(connection)
        assert audit.verify(connection, anchor=anchor) == []
    sql(full, "UPDATE audit_event SET why = 'all is well' WHERE seq = 4")
    _rechain(full)
    with store.read() as connection:
        assert audit.verify(connection) == []
        assert where(audit.verify(connection, anchor=anchor)) == [f"audit_event {EVENTS}"]
        assert where(audit.verify(connection, anchor=(EVENTS + 5, "x"))) == [f"audit_event {EVENTS + 5}"]
    store.close()


# -- the tables it covers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("table", "column"), [(t, c) for t, columns in ALL.items() for c in columns])
def test_an_edited_row_is_named(full: Path, sql: Sql, findings: Verify, table: str, column: str) -> None:
    name, table = NAMES[table], table.removesuffix(".end")
    sql(full, f'UPDATE "{table}" SET "{column}" = {other(table, column)} WHERE {WHERE.get(table, "true")}')
    found = where(findings(full))
    if column in metadata.tables[table].primary_key.columns:  # the old row is gone and another one is there
        assert name in found
        assert {one.split()[0] for one in found} == {table}
        assert len(found) <= 2
    else:
        assert found == [name]


@pytest.mark.parametrize("table", ALL)
def test_a_deleted_row_is_named_alone(full: Path, sql: Sql, findings: Verify, table: str) -> None:
    sql(full, f'DELETE FROM "{table.removesuffix(".end")}" WHERE {WHERE.get(table, "true")}')
    assert where(findings(full)) == [NAMES[table]]


@pytest.mark.parametrize("table", COVERED)
def test_a_row_inserted_behind_the_log_is_named_alone(full: Path, sql: Sql, findings: Verify, table: str) -> None:
    columns = [c.name for c in metadata.tables[table].c]
    unique = {"id", "name", "idempotency_key", "number", "position"} | ({"model_id"} if table == "policy" else set())
    unique |= {c.name for c in metadata.tables[table].c if c.unique}
    values = ", ".join(other(table, c) if c in unique else f'"{c}"' for c in columns)
    names = ", ".join(f'"{c}"' for c in columns)
    sql(full, f'INSERT INTO "{table}" ({names}) SELECT {values} FROM "{table}" WHERE {WHERE.get(table, "true")}')
    (finding,) = findings(full)
    assert finding.where.startswith(f"{table} ")
    assert "inserted behind the log's back" in finding.problem


def test_swapped_versions_are_both_named(full: Path, sql: Sql, findings: Verify) -> None:
    sql(full, *(f"UPDATE model_version SET number = {to} WHERE number = {of}" for of, to in ((1, 99), (2, 1), (99, 2))))
    assert where(findings(full)) == ["model_version digits:1", "model_version digits:2"]


def test_an_older_state_of_an_alias_put_back_is_named(full: Path, sql: Sql, findings: Verify) -> None:
    sql(full, "UPDATE model_alias SET version_id = 'digits-2', moves = 2")
    assert where(findings(full)) == ["model_alias digits@champion"]


@pytest.mark.parametrize(
    "value", ["CAST(created_by AS BLOB)", "CAST(X'FF61' AS TEXT)", "created_by || char(0)", "' ' || created_by"]
)
def test_values_that_only_look_alike_are_found(full: Path, sql: Sql, findings: Verify, value: str) -> None:
    sql(full, f"UPDATE model_version SET created_by = {value} WHERE number = 2")
    assert where(findings(full)) == ["model_version digits:2"]
    sql(full, f"UPDATE audit_event SET why = {value.replace('created_by', 'why')} WHERE seq = 6")
    assert where(findings(full)) == ["audit_event 6", "model_version digits:2"]


def test_a_float_that_json_cannot_hold_is_found(full: Path, sql: Sql, findings: Verify) -> None:
    sql(full, "UPDATE verdict SET score = 9e999")
    assert where(findings(full)) == ["verdict verdict-1"]


# -- several at once ---------------------------------------------------------------------------------------------------


def test_a_row_that_only_a_lost_event_explains_is_named_in_its_finding(full: Path, sql: Sql, findings: Verify) -> None:
    sql(full, "DELETE FROM audit_event WHERE subject = 'digits:2' AND kind = 'model_version.made'")
    (finding,) = findings(full)
    assert "model_version digits:2" in finding.problem


def test_rows_that_no_lost_event_explains_are_still_named(full: Path, sql: Sql, findings: Verify) -> None:
    sql(
        full, "DELETE FROM audit_event WHERE seq = 1", "UPDATE model_version SET params = '{\"C\": 3}' WHERE number = 3"
    )
    assert where(findings(full)) == ["audit_event 1", "model_version digits:3"]


def test_every_culprit_of_several_is_named(full: Path, sql: Sql, findings: Verify) -> None:
    sql(
        full,
        "UPDATE audit_event SET why = 'x' WHERE seq IN (2, 3)",
        "DELETE FROM audit_event WHERE seq IN (5, 6, 8)",
        "UPDATE policy SET recipe = 'mine:recipe'",
    )
    found = where(findings(full))
    assert found == [f"audit_event {at}" for at in ("2", "3", "5 to 6", "8")] + ["policy digits"]


def test_an_alias_moved_from_where_it_was_not_is_named(store: Store, full: Path, findings: Verify) -> None:
    opened = Store(f"sqlite:///{full}", SimulatedClock())
    alias = {"model_id": "digits", "name": "champion", "version_id": "digits-3", "moves": 3}
    with opened.write("forged") as tx:
        audit.append(tx, "alias.moved", "digits@champion", by="eve", before={"alias": None}, after={"alias": alias})
    opened.close()
    assert where(findings(full)) == [f"audit_event {EVENTS + 1}"]


def test_only_so_many_findings_are_kept_and_it_says_so(full: Path, sql: Sql) -> None:
    sql(full, "UPDATE audit_event SET why = 'x'")
    store = Store(f"sqlite:///{full}", SimulatedClock())
    with store.read() as connection:
        found = audit.verify(connection, limit=3)
        with pytest.raises(Invalid, match="limit is 0"):
            audit.verify(connection, limit=0)
    store.close()
    assert where(found) == ["audit_event 1", "audit_event 2", "audit_event 3"]
    assert found[-1].problem.endswith("there are more findings")


@pytest.mark.slow
def test_verifying_needs_memory_that_does_not_grow_with_the_log(tmp_path: Path, full: Path) -> None:
    peaks = []
    for count in (2_000, 12_000):
        _grow(full, count)
        store = Store(f"sqlite:///{full}", SimulatedClock())
        with store.read() as connection:
            tracemalloc.start()
            assert audit.verify(connection) == []
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        store.close()
    assert peaks[1] < 1.2 * peaks[0] + 200_000  # keeping the hashes alone would add 10,000 x 64 bytes


@pytest.mark.slow
def test_a_long_log_is_verified_and_one_edit_in_it_found(full: Path, sql: Sql, findings: Verify) -> None:
    _grow(full, 100_000)
    assert findings(full) == []
    sql(full, "UPDATE audit_event SET by = 'eve' WHERE seq = 77777")
    assert where(findings(full)) == ["audit_event 77777"]


def _rows(path: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(path)) as raw:
        return raw.execute("SELECT * FROM audit_event ORDER BY seq").fetchall()


def _forge(path: Path, seq: int, **changes: str) -> None:
    """Rewrite one event with a hash that fits its new content."""
    names = [c.name for c in audit_event.c]
    values = {**dict(zip(names, _rows(path)[seq - 1], strict=True)), **changes}
    values["hash"] = event_hash([values[name] for name in names[:-1]])
    with closing(sqlite3.connect(path)) as raw, raw:
        sets = ", ".join(f'"{name}" = ?' for name in names[1:])
        raw.execute(f"UPDATE audit_event SET {sets} WHERE seq = ?", [values[n] for n in names[1:]] + [seq])


def _swap(path: Path, columns: tuple[str, ...], one: int, two: int) -> None:
    names, rows = ", ".join(f'"{c}" = ?' for c in columns), _rows(path)
    at = [[c.name for c in audit_event.c].index(c) for c in columns]
    with closing(sqlite3.connect(path)) as raw, raw:
        for to, of in ((one, two), (two, one)):
            raw.execute(f"UPDATE audit_event SET {names} WHERE seq = ?", [*(rows[of - 1][i] for i in at), to])


def _rechain(path: Path) -> None:
    """Rewrite all hashes and the head: what somebody does who knows this package."""
    previous = "0" * 64
    with closing(sqlite3.connect(path)) as raw, raw:
        for *content, _, _ in _rows(path):
            hashed = event_hash([*content, previous])
            raw.execute("UPDATE audit_event SET previous = ?, hash = ? WHERE seq = ?", (previous, hashed, content[0]))
            previous = hashed
        raw.execute("UPDATE audit_head SET hash = ?", (previous,))


def _grow(path: Path, count: int) -> None:
    """Append models, each with its event, until the log has `count` events."""
    rows = _rows(path)
    previous, seq = rows[-1][-1], rows[-1][0]
    events, models = [], []
    while seq < count:
        seq += 1
        model = (f"m{seq:025}", f"model-{seq}", "classify", "2026-01-01T00:00:00.000000Z")
        models.append(model)
        covers = f'[["model",["{model[0]}"],"{row_hash("model", model)}"]]'
        content = [seq, model[3], "ada", "model.created", model[1], "", "null", "null", covers, previous]
        previous = event_hash(content)
        events.append((*content, previous))
    with closing(sqlite3.connect(path)) as raw, raw:
        raw.executemany("INSERT INTO model VALUES (?, ?, ?, ?)", models)
        raw.executemany(f"INSERT INTO audit_event VALUES ({','.join('?' * 11)})", events)
        raw.execute("UPDATE audit_head SET seq = ?, hash = ?", (seq, previous))
