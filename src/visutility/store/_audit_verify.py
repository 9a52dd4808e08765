"""How the audit log is verified: the chain, then the rows it covers, then the aliases it moved.

What a lost event (missing, or with content that does not fit its hash) would have said is unknown. Rows that only it
can explain are therefore counted and named in its own finding; they are no findings of their own.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, column, select, table

from visutility.store._audit_chain import Chain
from visutility.store._audit_hash import COVERED_TOGETHER, covered_rows, hash_now, primary_key, row_hash
from visutility.store._audit_names import Names
from visutility.store._audit_scratch import Known, Scratch
from visutility.store.covered import COVERED, COVERED_AT_END
from visutility.store.findings import Finding
from visutility.store.schema import model_alias

PAGE = 1000
NAMED = 5  # rows named in the finding of a lost event; the others are counted


def check(connection: Connection, anchor: tuple[int, str] | None, limit: int) -> list[Finding]:
    """Return at most `limit` findings. See `audit.verify`."""
    with _any_text(connection), Scratch() as scratch:
        chain = Chain(scratch, anchor)
        found = Report(limit)
        found.add(chain.walk(connection))
        names = Names(connection, scratch)
        unknown = _Unknown(chain.lost)
        for name in COVERED:
            found.add(_compare(connection, name, scratch, names, unknown))
        for name in (*COVERED_AT_END, *COVERED_TOGETHER):
            found.add(_compare_ended(connection, name, scratch, names, unknown))
        found.add(_replayed(connection, scratch, names, unknown))
        if unknown.count and chain.lost_at:
            found.extend_problem(chain.lost_at, unknown.words())
        return found.findings


class Report:
    """Findings, one per place, at most `limit`; the last one says so when there were more."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.findings: list[Finding] = []
        self._at: dict[str, int] = {}

    def add(self, found: Iterator[Finding]) -> None:
        """Consume an iterator of findings: a check must run to its end even when no more are kept."""
        for finding in found:
            if finding.where in self._at:
                continue
            if len(self.findings) < self.limit:
                self._at[finding.where] = len(self.findings)
                self.findings.append(finding)
            elif not self.findings[-1].problem.endswith(_MORE):
                self.extend_problem(self.findings[-1].where, _MORE)

    def extend_problem(self, where: str, more: str) -> None:
        """Add words to the finding at `where`, if it is kept."""
        at = self._at.get(where)
        if at is not None:
            self.findings[at] = replace(self.findings[at], problem=self.findings[at].problem + more)


_MORE = "; there are more findings"


class _Unknown:
    """Rows that only a lost event could explain."""

    def __init__(self, last_lost: int) -> None:
        self.last_lost = last_lost
        self.count = 0
        self._named: list[str] = []

    def takes(self, where: str, known: Known | None) -> bool:
        if known is not None and known.sound and known.seq > self.last_lost:
            return False
        if self.last_lost == 0:
            return False
        self.count += 1
        if len(self._named) < NAMED:
            self._named.append(where)
        return True

    def words(self) -> str:
        rest = f" and {self.count - NAMED} more" if self.count > NAMED else ""
        return f"; it may explain {', '.join(self._named)}{rest}, which cannot be checked without it"


def _compare(connection: Connection, name: str, scratch: Scratch, names: Names, unknown: _Unknown) -> Iterator[Finding]:
    width = len(primary_key(name))
    for rows in connection.execute(covered_rows(name)).partitions(PAGE):
        seen = []
        for row in rows:
            key, values = tuple(row[:width]), tuple(row[width:])
            known = scratch.newest(name, key)
            seen.append(key)
            if known is not None and known.hash == row_hash(name, values):
                continue
            where = names.of(name, key, known)
            if unknown.takes(where, known):
                continue
            if known is None or known.hash is None:
                yield Finding(where, "was inserted behind the log's back: no audit event wrote it")
            else:
                yield Finding(where, f"was changed behind the log's back after audit_event {known.seq}")
        scratch.mark_seen(name, seen)
    for key, known in scratch.unseen(name):
        where = names.of(name, key, known)
        if not unknown.takes(where, known):
            yield Finding(where, f"was deleted behind the log's back after audit_event {known.seq}")


def _compare_ended(
    connection: Connection, name: str, scratch: Scratch, names: Names, unknown: _Unknown
) -> Iterator[Finding]:
    for key, known in scratch.known(name):
        now = hash_now(connection, name, key)
        if now == known.hash:
            continue
        where = names.of(name, key, None)
        if not unknown.takes(where, known):
            how = "deleted" if now is None else "changed"
            yield Finding(where, f"was {how} behind the log's back after audit_event {known.seq}")


def _replayed(connection: Connection, scratch: Scratch, names: Names, unknown: _Unknown) -> Iterator[Finding]:
    a = table("model_alias", *(column(c.name) for c in model_alias.c)).c
    for model_id, name, state in scratch.aliases():
        row = connection.execute(
            select(a.version_id, a.moves).where(a.model_id == model_id, a.name == name)
        ).one_or_none()
        if row is not None and tuple(row) == (state.version_id, state.moves):
            continue
        where = names.of("model_alias", (model_id, name), None)
        if state.seq < unknown.last_lost:
            continue  # counted by the comparison of rows, if it is wrong at all
        yield Finding(where, f"is not where audit_event {state.seq} left it")


@contextmanager
def _any_text(connection: Connection) -> Iterator[None]:
    """Read texts that are not UTF-8, which plain SQL can write, instead of failing on them."""
    raw = connection.connection.driver_connection
    if not isinstance(raw, sqlite3.Connection):
        yield
        return
    before: Any = raw.text_factory
    raw.text_factory = lambda data: data.decode(errors="surrogateescape")
    try:
        yield
    finally:
        raw.text_factory = before
