"""The walk along the audit log, from the first event to the head."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnClause, Connection, bindparam, column, select, table

from visutility.core import codec
from visutility.core.errors import Invalid
from visutility.store._audit_hash import EVENT_COLUMNS, FIRST, event_hash, primary_key
from visutility.store._audit_scratch import AliasState, Scratch
from visutility.store.findings import Finding

PAGE = 1000

_columns: list[ColumnClause[Any]] = [column(c) for c in (*EVENT_COLUMNS, "hash")]
_page = (
    select(*_columns)
    .select_from(table("audit_event"))
    .where(column("seq") > bindparam("after"))
    .order_by(column("seq"))
    .limit(PAGE)
)
_head_columns: list[ColumnClause[Any]] = [column(c) for c in ("id", "seq", "hash")]
_heads = select(*_head_columns).select_from(table("audit_head"))


@dataclass(frozen=True, slots=True)
class _Event:
    seq: int
    hash: Any
    previous: Any
    sound: bool  # its content fits its hash


_START = _Event(0, FIRST, None, True)


class Chain:
    """One walk. Afterwards `lost` is the last event whose word is lost (0: none), and `lost_at` names its finding."""

    def __init__(self, scratch: Scratch, anchor: tuple[int, str] | None) -> None:
        self.lost = 0
        self.lost_at = ""
        self._scratch = scratch
        self._anchor = anchor
        self._head: tuple[int, Any] | None = None
        self._last = _START
        self._top = _START  # the last event that counts against the head
        self._run: tuple[int, int] | None = None  # from the first to the last event of consecutive broken links

    def walk(self, connection: Connection) -> Iterator[Finding]:
        """Yield what is wrong with the chain, and tell the scratch what the events say about rows and aliases."""
        heads = [tuple(row) for row in connection.execute(_heads)]
        if len(heads) == 1 and heads[0][0] == 1 and isinstance(heads[0][1], int):
            self._head = heads[0][1:]
        after = -(2**63)
        while rows := connection.execute(_page, {"after": after}).all():
            for row in rows:
                yield from self._event(tuple(row))
            after = rows[-1][0]
        yield from self._close_run()
        yield from self._check_head(len(heads))
        if self._anchor is not None and self._anchor[0] > self._last.seq:
            yield Finding(f"audit_event {self._anchor[0]}", "is missing: it was kept elsewhere as the head")

    def _event(self, values: tuple[Any, ...]) -> Iterator[Finding]:
        *content, hashed = values
        event = _Event(content[0], hashed, content[-1], event_hash(content) == hashed)
        where = f"audit_event {event.seq}"
        if event.seq < 1:
            yield self._lose(event.seq, event.seq, "is numbered before the first event")
            return
        yield from self._missing(self._last.seq + 1, event.seq - 1)
        if not event.sound:
            yield self._lose(event.seq, event.seq, "was changed: its content does not fit its hash")
        yield from self._link(event)
        if self._anchor is not None and self._anchor[0] == event.seq and self._anchor[1] != hashed:
            yield Finding(where, "does not have the hash that was kept elsewhere")
        yield from self._remember(event, content)
        self._last = event
        if event.sound or self._head is None or event.seq <= self._head[0]:
            self._top = event

    def _missing(self, first: int, last: int) -> Iterator[Finding]:
        if self._head is not None:
            last = min(last, self._head[0])
        if first <= last:
            yield self._lose(first, last, "is missing" if first == last else "are missing")

    def _lose(self, first: int, last: int, problem: str) -> Finding:
        self.lost = max(self.lost, last)
        self.lost_at = f"audit_event {first}" if first == last else f"audit_event {first} to {last}"
        return Finding(self.lost_at, problem)

    def _link(self, event: _Event) -> Iterator[Finding]:
        """Compare with the event before. Only between two events that fit their own hashes does a link say more."""
        last = self._last
        if last.sound and event.sound and last.seq + 1 == event.seq and last.hash != event.previous:
            self._run = (self._run[0] if self._run else last.seq, event.seq)
        else:
            yield from self._close_run()

    def _close_run(self) -> Iterator[Finding]:
        """Name who was rewritten together with its hash: the events between two broken links, or before a single one.

        A rewritten event no longer fits the one after it; one whose `previous` was rewritten too fits neither side.
        """
        if self._run is None:
            return
        first, last = self._run
        self._run = None
        blamed = range(first + 1, last) if last - first > 1 else (max(first, 1),)
        for seq in blamed:
            yield self._lose(seq, seq, "was rewritten with a new hash: the chain around it does not fit")

    def _check_head(self, count: int) -> Iterator[Finding]:
        top, head = self._top, self._head
        if head is None:
            yield Finding(
                "audit_head", "is gone" if count == 0 else "is not one row with number 1 and a sequence number"
            )
        elif head[0] == top.seq:
            if top.sound and head[1] != top.hash:
                yield Finding("audit_head", f"does not have the hash of audit_event {top.seq}: one of them was changed")
        elif head[1] == top.hash:
            yield Finding("audit_head", f"was changed: it names audit_event {head[0]} and the log ends at {top.seq}")
        elif head[0] > top.seq:
            yield from self._missing(top.seq + 1, head[0])
        else:
            for seq in range(head[0] + 1, top.seq + 1):
                yield self._lose(seq, seq, "was added behind the log's back: the head does not know it")

    def _remember(self, event: _Event, content: list[Any]) -> Iterator[Finding]:
        seq, subject = event.seq, content[4]
        try:
            before, after, covers = (codec.loads(content[at]) for at in (6, 7, 8))
            self._scratch.put([_checked(*cover) for cover in covers], seq, subject, sound=event.sound)
            if not event.sound or not isinstance(after, dict) or "alias" not in after:
                return
            left, moved = (before or {}).get("alias"), after["alias"]
            model_id, name = moved["model_id"], moved["name"]
            known = self._scratch.alias(model_id, name)
            if self.lost <= (known.seq if known else 0):  # nothing unknown happened in between
                was = (known.version_id, known.moves) if known else (None, 0)
                if was != ((left["version_id"], left["moves"]) if left else (None, 0)):
                    yield Finding(
                        f"audit_event {seq}", f"moves {subject} from where the events before it did not leave it"
                    )
            self._scratch.move_alias(model_id, name, AliasState(moved["version_id"], moved["moves"], seq))
        except (Invalid, TypeError, ValueError, KeyError, AttributeError, sqlite3.Error):
            if event.sound:
                yield Finding(f"audit_event {seq}", "cannot be read")


def _checked(name: str, key: list[Any], hashed: str | None) -> tuple[str, list[Any], str | None]:
    if len(key) != len(primary_key(name)) or not all(isinstance(part, (str, int)) for part in key):
        raise ValueError(name)
    return name, key, hashed
