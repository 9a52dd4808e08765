"""A window as a sketch: bounded memory, fed in batches, merged, saved; the reference window is sketched once."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from visutility.core import codec
from visutility.core.errors import EmptyWindow, Invalid, InvalidData, InvalidSetting
from visutility.core.rng import rng
from visutility.monitor.drift import tables
from visutility.monitor.drift._sketch_save import checked
from visutility.monitor.drift.columns import Hashes, LabelSketch, NumberSketch, hash_labels, hash_numbers
from visutility.monitor.drift.multivariate import JointSketch
from visutility.monitor.drift.tables import Block, ColumnType, Labels
from visutility.monitor.state import Ints

ColumnSketch: TypeAlias = NumberSketch | LabelSketch
FORMAT = 1
SAMPLE = tables.BLOCK  # rows that the edges of the bins are chosen from
ROWS_KEPT = 4096  # least hashes of rows kept, with their counts, for the share of duplicates
_STEP = np.uint64(0xC2B2AE3D27D4EB4F)
_OF_TYPE = {"number": NumberSketch, "time": NumberSketch, "boolean": LabelSketch, "text": LabelSketch}


class TableSketch:
    """What is kept of a table: per column counts, nulls, moments and range, and hashes of some rows.

    Make the one of a reference window with `sketch`; `fresh()` of it takes a current window, batch by batch, in the
    same bins. About 10 kB a numeric column, whatever the number of rows. One writer at a time.
    """

    def __init__(
        self, names: Sequence[str] | None = None, categorical: Sequence[str] = (), *, joint: bool = True
    ) -> None:
        self.names = None if names is None else tuple(str(name) for name in names)
        given: object = categorical  # of callers without types
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise InvalidSetting(f"categorical is {given!r}", hint="pass a list of names")
        self.categorical = tuple(str(name) for name in categorical)
        self._rows = 0
        self._types: dict[str, ColumnType] = {}
        self._columns: dict[str, ColumnSketch] = {}  # also those that a fresh sketch expects and has not seen yet
        self._row_hashes: Hashes = np.empty(0, np.uint64)
        self._row_counts: Ints = np.zeros(0, np.int64)
        self._joint: JointSketch | None = JointSketch.learn({}) if joint else None
        self._likened = False  # to a reference: columns without bins there have none here
        self._held: list[Block] | None = []  # the first rows, until there are enough to choose edges; None from then on

    @property
    def rows(self) -> int:
        """How many rows were taken in."""
        return self._rows + sum(block.rows for block in self._held or ())

    @property
    def types(self) -> dict[str, ColumnType]:
        """The type of each column that was seen; "null" for one with no value at all."""
        self._flush()
        return dict(self._types)

    @property
    def columns(self) -> dict[str, ColumnSketch]:
        """The sketch of each column that was seen; those of type "other" have none."""
        self._flush()
        return {name: self._columns[name] for name in self._types if name in self._columns}

    @property
    def joint(self) -> JointSketch | None:
        """What is kept of numeric columns together; None where that was not asked for."""
        self._flush()
        return self._joint

    @property
    def duplicates(self) -> float:
        """Share of rows that repeat an earlier one; from a sample of 4,096 different rows where there are more."""
        self._flush()
        seen = int(self._row_counts.sum())
        return 1.0 - len(self._row_counts) / seen if seen else 0.0

    def update(self, batch: Any) -> None:
        """Take in a table of any number of rows (see `tables`).

        Raises `InvalidData` when it is no table, lacks or adds columns, or holds another type than earlier rows; the
        sketch is then of no use any more.
        """
        for block in tables.blocks(batch, self.names, self.categorical):
            if self._held is None:
                self._count(block)
            elif block.rows:
                self._held.append(_own(block))
                if self.rows >= SAMPLE:
                    self._flush()

    def fresh(self) -> "TableSketch":
        """Return an empty sketch with the same bins and labels, for a current window."""
        self._flush()
        empty = TableSketch(self.names, self.categorical)
        empty._joint = None if self._joint is None else self._joint.fresh()
        empty._columns = {name: self._columns[name].fresh() for name in self._types if name in self._columns}
        empty._held, empty._likened = None, True
        return empty

    def merge(self, other: "TableSketch") -> "TableSketch":
        """Return the sketch of both windows, as if one had taken all batches. Neither is changed.

        Raises `Invalid` for other edges (start both from one sketch, by `fresh()`), `InvalidData` for other columns.
        """
        self._flush()
        other._flush()
        both = TableSketch(self.names, self.categorical)
        both._held, both._likened = None, self._likened or other._likened
        for name in dict.fromkeys([*self._columns, *other._columns]):
            mine, theirs = self._columns.get(name), other._columns.get(name)
            both._columns[name] = _merged(mine, theirs)
        both._joint = None if self._joint is None or other._joint is None else self._joint.merge(other._joint)
        for one in (self, other):
            if one._rows:
                both._admit(one._types)
                both._rows += one._rows
                both._keep_rows(one._row_hashes, one._row_counts)
        return both

    def save(self) -> bytes:
        """Return everything as bytes that `load` takes."""
        self._flush()
        kinds = {name: "number" if isinstance(one, NumberSketch) else "label" for name, one in self._columns.items()}
        label = {"rows": self._rows, "types": list(self._types.items()), "columns": list(kinds.items())}
        label |= {"names": self.names, "categorical": self.categorical, "likened": self._likened}
        label["joint"] = None if self._joint is None else self._joint.names
        packed: dict[str, NDArray[Any]] = {"label": np.frombuffer(codec.dumps(label).encode(), np.uint8)}
        packed |= {"row_hashes": self._row_hashes, "row_counts": self._row_counts}
        if self._joint is not None:
            packed |= {f"joint.{part}": array for part, array in self._joint.arrays().items()}
        for at, column in enumerate(self._columns.values()):
            packed |= {f"{at}.{part}": array for part, array in column.arrays().items()}
        return codec.pack_arrays(packed, version=FORMAT)

    @classmethod
    def load(cls, data: bytes) -> "TableSketch":
        """Return the sketch that `save` was called on. Raises `Invalid` when the bytes are not a saved sketch."""
        version, packed = codec.unpack_arrays(data)
        if version != FORMAT:
            raise Invalid(f"not a table sketch of format {FORMAT}, but of {version}", hint="sketch the table again")
        kept = checked(packed, ROWS_KEPT)
        found = cls(kept.label.names, kept.label.categorical)
        found._rows, found._types, found._held = kept.label.rows, dict(kept.label.types), None
        found._row_hashes, found._row_counts = kept.row_hashes, kept.row_counts
        found._columns, found._joint, found._likened = kept.columns, kept.joint, kept.label.likened
        return found

    def learn(self, sample: Any, rows: Ints | None = None) -> None:
        """Choose the bins of numeric columns from a table, or these rows of it, without counting any."""
        self._learn(list(tables.blocks(sample, self.names, self.categorical, rows)))

    def _flush(self) -> None:
        if self._held is not None:
            held = self._held
            self._learn(held)
            for block in held:
                self._count(block)

    def _learn(self, held: Sequence[Block]) -> None:
        """Choose edges from the first rows of these blocks: the same rows, however a stream was cut."""
        self._held = None
        samples = {}
        for name in dict.fromkeys(name for block in held for name in block.columns):
            values = [one for block in held if isinstance(one := block.columns.get(name), np.ndarray)]
            if len(values) == len(held):
                column = NumberSketch()
                sample = np.concatenate(values)[:SAMPLE]
                column.learn(sample)
                self._columns[name] = column
                if all(block.types[name] != "time" for block in held):
                    samples[name] = sample
        if self._joint is not None:
            self._joint = JointSketch.learn(samples)

    def _count(self, block: Block) -> None:
        if not block.rows:
            return
        self._admit(block.types)
        spare, work = np.empty(block.rows), np.empty(block.rows)
        hashes, more = np.empty(block.rows, np.uint64), np.empty(block.rows, np.uint64)
        rows = np.zeros(block.rows, np.uint64)
        for name in sorted(block.columns):
            values, column = block.columns[name], self._columns.get(name)
            if isinstance(values, np.ndarray) and isinstance(column, NumberSketch):
                if self._likened and column.edges is None:
                    column.edges = np.empty(0)  # no bins, or the parts of a window would have different ones
                np.copyto(work, values)
                hash_numbers(work, hashes, more)
                with np.errstate(over="ignore", invalid="ignore"):  # of numbers near the largest there are
                    column.update(work, hashes, spare)
            elif isinstance(values, Labels) and isinstance(column, LabelSketch):
                of_names = hash_labels(values.names)
                column.update(values, of_names)
                hashes = np.append(of_names, np.uint64(0))[values.codes]
            elif column is not None:  # a block without any value
                column.nulls += block.rows
                hashes.fill(0)
            else:
                continue
            rows *= _STEP
            rows += hashes
        if self._joint is not None:
            self._joint.update(block.columns, block.rows)
        self._rows += block.rows
        kept = rows[rows <= self._row_hashes[-1]] if len(self._row_hashes) == ROWS_KEPT else rows
        self._keep_rows(kept, np.ones(len(kept), np.int64))

    def _admit(self, types: dict[str, ColumnType]) -> None:
        """Check the types of some rows against those before, and make the sketches of columns that are new."""
        if self._types and set(types) != set(self._types):
            apart = sorted(set(types) ^ set(self._types))
            raise InvalidData(f"batches of one window differ in columns {apart}", hint="compare them on their own")
        for name, kind in types.items():
            before = self._types.get(name, "null")
            if "null" not in (kind, before) and kind != before:
                raise InvalidData(f"column {name!r} holds {before}, then {kind}", hint="give each column one type")
            if kind == "null" and (before != "null" or name in self._types):
                continue
            self._types[name] = kind
            wanted, column = _OF_TYPE.get(kind), self._columns.get(name)
            if kind == "null" and column is None:
                self._columns[name] = NumberSketch()
            elif kind == "other":
                self._columns.pop(name, None)
            elif wanted is not None and not isinstance(column, wanted):
                made = wanted()
                made.nulls = column.nulls if column is not None else 0  # rows before had no value at all
                self._columns[name] = made

    def _keep_rows(self, hashes: Hashes, counts: Ints) -> None:
        if len(hashes):
            both, summed = np.concatenate((self._row_hashes, hashes)), np.concatenate((self._row_counts, counts))
            order = np.argsort(both, kind="stable")
            both = both[order]
            first = np.flatnonzero(np.append(True, both[1:] != both[:-1]))
            self._row_counts = np.add.reduceat(summed[order], first)[:ROWS_KEPT]
            self._row_hashes = both[first][:ROWS_KEPT]


def sketch(
    reference: Any,
    *,
    names: Sequence[str] | None = None,
    categorical: Sequence[str] = (),
    joint: bool = True,
    seed: int = 0,
) -> TableSketch:
    """Return the sketch of a reference window: a table, or an iterator of tables that is larger than memory.

    The edges of the bins come from 16,384 rows, drawn by `seed` from a table in memory, and the first ones of a stream.
    `names` names the columns of a NumPy array; columns in `categorical` are labels whatever they hold; `joint` keeps
    what the test of correlations needs, which costs about as much as all the rest.
    Raises `EmptyWindow` for no rows, `InvalidData` for what is no table or does not hold together, `InvalidSetting` for
    a name in `categorical` that is no column.
    """
    found = TableSketch(names, categorical, joint=joint)
    for number, table in enumerate(tables.tables(reference)):
        rows = tables.length(table)
        if number == 0 and rows is not None and rows > SAMPLE:
            found.learn(table, np.sort(rng(seed, "table", "edges").choice(rows, SAMPLE, replace=False)))
        found.update(table)
    found._flush()
    if not found.rows:
        raise EmptyWindow("the reference window has no rows", hint="pass the rows that are taken as normal")
    if strange := sorted(set(found.categorical) - set(found.types)):
        raise InvalidSetting(f"categorical names {strange[0]!r}, which is no column", hint=f"use {_some(found.types)}")
    return found


def _some(names: Iterable[str]) -> str:
    """Return the first names, for people."""
    listed = [repr(name) for name in names]
    return ", ".join(listed[:10]) + (", …" if len(listed) > 10 else "")


def sketch_like(reference: TableSketch, current: Any) -> TableSketch:
    """Return the sketch of a current window in the bins of the reference: a table, an iterator of tables, or a sketch.

    Raises `EmptyWindow` for no rows, `InvalidData` as `sketch` does, `Invalid` for a sketch in other bins.
    """
    if isinstance(current, TableSketch):
        found = current
        for name, column in found.columns.items():
            expected = reference.columns.get(name)
            if isinstance(column, NumberSketch) and isinstance(expected, NumberSketch) and not column.fits(expected):
                raise Invalid(
                    f"column {name!r} of the current window is in other bins", hint="use fresh() of the reference"
                )
    else:
        found = reference.fresh()
        for table in tables.tables(current):
            found.update(table)
    if not found.rows:
        raise EmptyWindow("the current window has no rows", hint="wait for the first rows")
    return found


def _own(block: Block) -> Block:
    columns = {name: one.copy() if isinstance(one, np.ndarray) else one for name, one in block.columns.items()}
    return Block(block.rows, block.types, columns)


def _merged(mine: ColumnSketch | None, theirs: ColumnSketch | None) -> ColumnSketch:
    if isinstance(mine, NumberSketch) and isinstance(theirs, NumberSketch):
        return mine.merge(theirs)
    if isinstance(mine, LabelSketch) and isinstance(theirs, LabelSketch):
        return mine.merge(theirs)
    some = [one for one in (mine, theirs) if one is not None]
    valued = [one for one in some if one.size > one.nulls] or some[:1]
    if len(valued) > 1:
        raise InvalidData("one window has numbers where the other has labels", hint="merge windows of one table")
    both = valued[0].merge(type(valued[0])())  # type: ignore[arg-type]
    both.nulls += sum(one.nulls for one in some if one is not valued[0])
    return both
