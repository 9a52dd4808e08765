"""Snapshots: the rows a version was made of and judged on, fixed once, kept by content.

A row's part is decided by the hash of its id alone, so a row that was ever a gate row is one in every snapshot of every
run: it reaches neither `fit` nor a study. The parts:

    train   what `fit` learns from: fresh rows and replayed old ones
    tune    what trials are scored on
    gate    fresh rows on which champion and challenger are compared
    old     gate rows of earlier snapshots: what the model could do before
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec
from sqlalchemy import Connection, bindparam, insert, select

from visutility.core.codec import dumps, loads, to_text
from visutility.core.errors import EmptyWindow
from visutility.data import DataBatch, Source
from visutility.loop.policy import Policy
from visutility.loop.recipe import labelled
from visutility.store import audit
from visutility.store.blobs import Blobs
from visutility.store.engine import Tx
from visutility.store.schema import data_snapshot, model_version

GATE_SHARE = 1 / 3  # of all rows; a constant, because another share would let rows that were gate rows into training
TUNE_SHARE = 0.25  # of the rows that may be trained on; a constant for the same reason
_SALT = 0  # of the split by id; the same again


class Part(msgspec.Struct, frozen=True):
    """Rows of one part: the hash of its Arrow file, their number, and their content fingerprint."""

    sha256: str
    rows: int
    fingerprint: str


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The parts by name, and when the fresh rows were taken."""

    parts: dict[str, Part]
    since: str | None = None

    @property
    def fingerprint(self) -> str:
        """Return the fingerprint of what was trained on: the train part, replayed rows included."""
        return self.parts["train"].fingerprint

    def path(self, blobs: Blobs, part: str) -> str:
        """Return the Arrow file of a part."""
        return str(blobs.path(self.parts[part].sha256))


def split(data: DataBatch) -> dict[str, DataBatch]:
    """Return the train, tune and gate rows of a batch, each row's part decided by the hash of its id alone."""
    outer = data.split({"gate": GATE_SHARE, "work": 1.0 - GATE_SHARE}, seed=_SALT)
    inner = outer["work"].split({"tune": TUNE_SHARE, "train": 1.0 - TUNE_SHARE}, seed=_SALT + 1)
    return {"train": inner["train"], "tune": inner["tune"], "gate": outer["gate"]}


def first_snapshot(blobs: Blobs, data: DataBatch) -> Snapshot:
    """Return the snapshot of a first training: no old rows. Raises `EmptyWindow` when a part would be empty."""
    parts = split(labelled(data, "the data"))
    for name, rows in parts.items():
        if not len(rows):
            raise EmptyWindow(f"{len(data)} rows leave none for the {name} part", hint="bring more labelled rows")
    return Snapshot(parts={name: _keep(blobs, rows) for name, rows in parts.items()})


def fresh_snapshot(
    blobs: Blobs, source: Source, since: datetime | None, policy: Policy, champion: Snapshot | None
) -> Snapshot | None:
    """Return a snapshot of the first fresh rows that fill the policy's counts, or None while there are too few.

    Rows the champion's snapshot has are not fresh. Its training rows are replayed (at most `replay_rows` a part), its
    gate rows become part of `old`.
    """
    if source.count(since=since) < policy.train_rows + policy.gate_rows:
        return None
    parts = split(_unseen(blobs, labelled(source.fetch(since=since), "the fresh data"), champion))
    work = policy.train_rows
    if len(parts["gate"]) < policy.gate_rows or len(parts["train"]) + len(parts["tune"]) < work:
        return None
    tune_rows = min(len(parts["tune"]), max(1, round(work * TUNE_SHARE)))
    train_rows = min(len(parts["train"]), work - tune_rows)
    fresh = {
        "train": _first(parts["train"], train_rows),
        "tune": _first(parts["tune"], work - train_rows),
        "gate": _first(parts["gate"], policy.gate_rows),
    }
    kept = {
        "train": _with_old(fresh["train"], _rows(blobs, champion, ("train",)), policy.replay_rows),
        "tune": _with_old(fresh["tune"], _rows(blobs, champion, ("tune",)), policy.replay_rows),
        "gate": fresh["gate"],
    }
    old = _rows(blobs, champion, ("gate", "old"))
    if old is not None:
        kept["old"] = old
    at = None if since is None else to_text(since)
    return Snapshot(parts={name: _keep(blobs, rows) for name, rows in kept.items()}, since=at)


def record_snapshot(
    tx: Tx, snapshot: Snapshot, *, model_id: str, model: str, run_id: str | None, by: str, why: str
) -> str:
    """Store the snapshot's row and return its id; the same run records the same snapshot once."""
    if run_id is not None:
        known = tx.execute(select(data_snapshot.c.id).where(data_snapshot.c.run_id == run_id)).scalar()
        if known is not None:
            return str(known)
    snapshot_id = tx.new_id()
    tx.execute(
        insert(data_snapshot),
        {
            "id": snapshot_id,
            "model_id": model_id,
            "run_id": run_id,
            "fingerprint": snapshot.fingerprint,
            "parts": dumps(snapshot.parts),
            "since": snapshot.since,
            "created_at": tx.now(),
        },
    )
    audit.append(
        tx,
        "snapshot.taken",
        model,
        by=by,
        why=why,
        after={name: part.rows for name, part in snapshot.parts.items()},
        covers=[("data_snapshot", (snapshot_id,))],
    )
    return snapshot_id


def snapshot_of(connection: Connection, version_id: str) -> Snapshot | None:
    """Return the snapshot a version was made of, or None for one registered by hand."""
    row = connection.execute(_OF_VERSION, {"version": version_id}).one_or_none()
    if row is None:
        return None
    return Snapshot(parts=msgspec.convert(loads(row.parts), dict[str, Part]), since=row.since)


def _keep(blobs: Blobs, rows: DataBatch) -> Part:
    return Part(blobs.put(rows.to_ipc()), len(rows), rows.fingerprint())


def _first(rows: DataBatch, count: int) -> DataBatch:
    return rows.select(range(min(count, len(rows))))


def _unseen(blobs: Blobs, fresh: DataBatch, champion: Snapshot | None) -> DataBatch:
    """Return the rows that no part of the champion's snapshot has."""
    known = set() if champion is None else {row for part in champion.parts for row in _ids(blobs, champion, part)}
    return fresh.select([at for at, row in enumerate(fresh.ids) if row not in known]) if known else fresh


def _ids(blobs: Blobs, snapshot: Snapshot, part: str) -> list[str]:
    return DataBatch.from_ipc(blobs.path(snapshot.parts[part].sha256)).ids


def _rows(blobs: Blobs, snapshot: Snapshot | None, parts: Sequence[str]) -> DataBatch | None:
    """Return the rows of those parts that the snapshot has, or None when it has none of them."""
    present: Mapping[str, Part] = {} if snapshot is None else snapshot.parts
    found = [DataBatch.from_ipc(blobs.path(present[name].sha256)) for name in parts if name in present]
    return _unique(found) if found else None


def _with_old(fresh: DataBatch, old: DataBatch | None, most: int) -> DataBatch:
    if old is None or most == 0:
        return fresh
    return _unique([fresh, _first(old, most)])


def _unique(batches: Sequence[DataBatch]) -> DataBatch:
    """Return the batches as one; of rows with the same id the first stays."""
    seen: set[str] = set()
    kept = []
    for batch in batches:
        rows = [at for at, row in enumerate(batch.ids) if row not in seen]
        seen.update(batch.ids)
        kept.append(batch if len(rows) == len(batch) else batch.select(rows))
    return DataBatch.concat(kept)


_OF_VERSION = (
    select(data_snapshot.c.parts, data_snapshot.c.since)
    .join(model_version, model_version.c.snapshot_id == data_snapshot.c.id)
    .where(model_version.c.id == bindparam("version"))
)
