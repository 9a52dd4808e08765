"""What verification remembers of the log, in a private temporary file: the memory needed does not grow with the log."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self

from visutility.core import codec
from visutility.store._audit_hash import canonical

_TABLES = """
CREATE TABLE newest (name TEXT, key BLOB, seq INT, hash TEXT, subject TEXT, sound INT, seen INT DEFAULT 0,
                     PRIMARY KEY (name, key)) WITHOUT ROWID;
CREATE TABLE alias (model_id BLOB, name BLOB, version_id BLOB, moves BLOB, seq INT, PRIMARY KEY (model_id, name));
"""
_PUT = """
INSERT INTO newest (name, key, seq, hash, subject, sound) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (name, key) DO UPDATE SET seq = excluded.seq, hash = excluded.hash,
    subject = coalesce(excluded.subject, subject), sound = excluded.sound
"""


@dataclass(frozen=True, slots=True)
class Known:
    """The newest word of the log on a row. `subject` is set when an event was about that row."""

    seq: int
    hash: str | None
    subject: str | None
    sound: bool  # the event's content fits its hash


@dataclass(frozen=True, slots=True)
class AliasState:
    """Where the replayed log left an alias."""

    version_id: Any
    moves: Any
    seq: int


class Scratch:
    """Newest hash of each covered row, and each alias, as the log has them."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)  # "": a temporary file that vanishes with the connection
        self._db.executescript(_TABLES)
        self._db.execute("BEGIN")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    def put(self, covers: Iterable[Sequence[Any]], seq: int, subject: str, *, sound: bool) -> None:
        """Remember the covers of an event; the first is what its subject names."""
        self._db.executemany(
            _PUT,
            [
                (name, canonical(key), seq, hashed, None if at else subject, sound)
                for at, (name, key, hashed) in enumerate(covers)
            ],
        )

    def newest(self, name: str, key: Sequence[Any]) -> Known | None:
        """Return the newest word of the log on a row."""
        found = self._db.execute(
            "SELECT seq, hash, subject, sound FROM newest WHERE name = ? AND key = ?", (name, canonical(key))
        ).fetchone()
        return None if found is None else Known(found[0], found[1], found[2], bool(found[3]))

    def mark_seen(self, name: str, keys: Sequence[Sequence[Any]]) -> None:
        """Remember that these rows are in the table."""
        self._db.executemany(
            "UPDATE newest SET seen = 1 WHERE name = ? AND key = ?", [(name, canonical(key)) for key in keys]
        )

    def unseen(self, name: str) -> Iterator[tuple[tuple[Any, ...], Known]]:
        """Yield the rows that should be in the table and were not seen."""
        rows = self._db.execute(
            "SELECT key, seq, hash, subject, sound FROM newest WHERE name = ? AND NOT seen AND hash IS NOT NULL",
            (name,),
        )
        for key, seq, hashed, subject, sound in rows:
            yield tuple(codec.loads(key)), Known(seq, hashed, subject, bool(sound))

    def known(self, name: str) -> Iterator[tuple[tuple[Any, ...], Known]]:
        """Yield every row the log covers as `name`."""
        rows = self._db.execute("SELECT key, seq, hash, subject, sound FROM newest WHERE name = ?", (name,))
        for key, seq, hashed, subject, sound in rows:
            yield tuple(codec.loads(key)), Known(seq, hashed, subject, bool(sound))

    def alias(self, model_id: object, name: object) -> AliasState | None:
        """Return where the events so far left an alias."""
        found = self._db.execute(
            "SELECT version_id, moves, seq FROM alias WHERE model_id = ? AND name = ?", (model_id, name)
        ).fetchone()
        return None if found is None else AliasState(*found)

    def move_alias(self, model_id: object, name: object, state: AliasState) -> None:
        """Remember where an event left an alias."""
        self._db.execute(
            "INSERT OR REPLACE INTO alias VALUES (?, ?, ?, ?, ?)",
            (model_id, name, state.version_id, state.moves, state.seq),
        )

    def aliases(self) -> Iterator[tuple[Any, Any, AliasState]]:
        """Yield every alias the log moved."""
        for model_id, name, *state in self._db.execute("SELECT * FROM alias"):
            yield model_id, name, AliasState(*state)
