"""Any number of streams under one detector: one state of arrays, changed in place, a row per stream."""

import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visutility.core import codec
from visutility.core.errors import Invalid, InvalidObservation, InvalidSetting, StreamNotFound
from visutility.monitor.detector import AbstractDetector, unmasked
from visutility.monitor.factory import make_detector
from visutility.monitor.state import Bools, Floats, Ints, join, take
from visutility.monitor.state import streams as state_streams
from visutility.monitor.verdicts import Verdicts

FORMAT = 2
_EVER = 2**40  # ids that are never given: their table would fill a computer


@final
class Fleet:
    """Streams that are watched together, each as if it were alone.

    `detector` is a detector or the name of one; `streams` what to `add` at once. A stream's id is a whole number that
    is never given again: 0, 1, 2, … in the order they were added. Dense values and all columns over streams (`alarm`,
    `evidence`, `scores`) follow `ids`, which is 0 to n - 1 until a stream is removed. Not thread-safe: one writer.
    """

    def __init__(self, detector: AbstractDetector[Any] | str, streams: int | Sequence[ArrayLike] = 0) -> None:
        self.detector = make_detector(detector) if isinstance(detector, str) else detector
        if not isinstance(self.detector, AbstractDetector):
            raise InvalidSetting(f"{detector!r:.80} is no detector", hint="give one of make_detector, or its name")
        self._ids: Ints = np.zeros(0, np.int64)
        self._next = 0
        self._rows: Ints | None = None  # row of each id ever given, -1 where removed; None: a row is its id
        self._state: Any = None
        self.add(streams)

    @property
    def ids(self) -> Ints:
        """The streams that are watched, ascending, shape (s,)."""
        return self._ids.copy()

    @property
    def seen(self) -> Ints:
        """How many values each stream has had since it was added, shape (s,)."""
        return np.zeros(0, np.int64) if self._state is None else np.array(self._state.seen, np.int64)

    def __len__(self) -> int:
        return len(self._ids)

    def __repr__(self) -> str:
        return f"<Fleet of {len(self):,} streams by {self.detector.name}, {int(self.seen.sum()):,} values seen>"

    def __contains__(self, stream: object) -> bool:
        return isinstance(stream, int | np.integer) and bool(np.isin(stream, self._ids))

    def add(self, streams: int | Sequence[ArrayLike]) -> Ints:
        """Watch this many more streams, or one more for each reference window; return their ids.

        All or none; raises what the detector's `init` does.
        """
        new = _count(streams)
        if new < 0:
            raise Invalid(f"{new} streams cannot be added", hint="remove takes the ids of streams to forget")
        ids = np.arange(self._next, self._next + new)
        if new == 0:
            return ids
        fresh = self.detector.init(streams)
        self._state = fresh if self._state is None else join([self._state, fresh])
        self._ids = np.concatenate((self._ids, ids))
        self._next += new
        self._index()
        return ids

    def remove(self, ids: ArrayLike) -> None:
        """Forget these streams. All or none: `StreamNotFound` when one is not watched."""
        rows = np.atleast_1d(self._rows_of(ids))
        keep = np.delete(np.arange(len(self)), rows)
        self._state = take(self._state, keep) if len(keep) else None
        self._ids = self._ids[keep]
        self._index()

    def update(self, values: ArrayLike, ids: ArrayLike | None = None, *, at: ArrayLike | None = None) -> Verdicts:
        """Take values: (streams, k), the next k of each; or (n,) in arrival order with one stream id each.

        `at` is when they were, as the detector's `update` takes it: what goes by the clock needs it, the others do not
        look at it.

        Nothing is taken when a value is refused (`InvalidObservation`: not finite, out of range, wrong shape) or a
        stream is not watched (`StreamNotFound`). Costs what the values cost, and a copy of the scores.
        """
        rows = ids
        if ids is not None and (self._rows is not None or self._state is None):
            rows = self._rows_of(ids)
        if self._state is None:
            if np.asarray(values).size:
                raise InvalidObservation("values came for a fleet of no streams", hint="add streams first")
            return Verdicts.of([], np.zeros(0))
        found = self.detector.advance(self._state, values, rows, at=at)
        return found if self._rows is None else replace(found, stream=self._ids[found.stream], ids=self._ids)

    def scores(self) -> Floats:
        """Return each stream's current score, shape (s,); NaN where there is none yet."""
        return np.zeros(0) if self._state is None else self.detector.scores(self._state)

    def settled(self, verdicts: Verdicts | None = None, spent: Bools | None = None) -> Floats:
        """Return each stream's score as evidence, shape (s,), as `StreamFDR.follow` takes it; see the detector's.

        Raises `InvalidSetting` where the detector's scores are no evidence, and `InvalidObservation` for what are no
        verdicts on these streams or, by the scores of those without an alarm, not the last ones; and for a `spent` that
        is not (s,) of booleans.
        """
        if verdicts is not None:
            self._check_last(verdicts)
        if spent is not None and (np.shape(spent) != (len(self),) or np.asarray(spent).dtype != np.bool_):
            raise InvalidObservation(
                f"spent of shape {np.shape(spent)} and type {np.asarray(spent).dtype}, for {len(self)} streams",
                hint="pass one boolean a stream: whether it alarmed before this update",
            )
        return np.zeros(0) if self._state is None else self.detector.settled(self._state, verdicts, spent)

    def learnt(self, stream: int) -> dict[str, float]:
        """Return what was learnt of a stream so far, in its units. `StreamNotFound` when it is not watched."""
        return self.detector.learnt(self._state, self._row_of(stream))

    def explain(self, stream: int) -> str:
        """Say what a stream is taken for, in words where the detector has some (`auto`), else in numbers."""
        words = getattr(self.detector, "explain", None)
        row = self._row_of(stream)
        return (
            str(words(self._state, row)) if words else f"{self.detector.name}: {self.detector.learnt(self._state, row)}"
        )

    def evidence(self, stream: int) -> dict[str, float]:
        """Return the numbers behind a stream's current score. `StreamNotFound` when it is not watched."""
        return self.detector.evidence(self._state, self._row_of(stream))

    def promise(self, reference_size: int = 0) -> str:
        """Return the detector's false-alarm promise for each stream, in words."""
        return self.detector.promise(reference_size)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything, the detector's settings included, to a file: the whole new one, or the old one stays."""
        label = codec.dumps({"kind": self.detector.name, "settings": asdict(self.detector), "next": self._next})
        state = b"" if self._state is None else self.detector.save(self._state)
        packed: dict[str, NDArray[Any]] = {
            "fleet": np.frombuffer(label.encode(), np.uint8),
            "ids": self._ids,
            "state": np.frombuffer(state, np.uint8),
        }
        partial = Path(f"{os.fspath(path)}.partial")
        try:
            with partial.open("wb") as out:
                out.write(codec.pack_arrays(packed, version=FORMAT))
                out.flush()
                os.fsync(out.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Fleet":
        """Return the fleet that was saved. Raises `Invalid` when the file is not a fleet's, or was cut or edited."""
        version, packed = codec.unpack_arrays(Path(path).read_bytes())
        if version != FORMAT or set(packed) != {"fleet", "ids", "state"}:
            raise Invalid(
                f"{os.fspath(path)} is not a fleet of format {FORMAT}, but of {version} with {sorted(packed)}",
                hint="save it again with this version",
            )
        fleet, ids = _labelled(packed["fleet"].tobytes()), packed["ids"]
        if ids.size:
            fleet._state = fleet.detector.load(packed["state"].tobytes())
        rows = 0 if fleet._state is None else state_streams(fleet._state)
        rising = ids.dtype == np.int64 and ids.shape == (rows,) and bool((ids[1:] > ids[:-1]).all())
        if not rising or (rows and not 0 <= ids[0] <= ids[-1] < fleet._next):
            raise Invalid(f"{os.fspath(path)} has ids that are none of its streams", hint="the file was edited")
        fleet._ids = ids
        try:
            fleet._index()
        except (MemoryError, ValueError):
            raise Invalid(f"the next id {fleet._next} does not fit the memory", hint="the file was edited") from None
        return fleet

    def _check_last(self, verdicts: Verdicts) -> None:
        """Raise `InvalidObservation` where these verdicts cannot be of the last update: rows, positions or scores."""
        if not isinstance(verdicts, Verdicts):
            raise InvalidObservation(f"{verdicts!r:.80} is no verdicts", hint="give what update returned")
        same = verdicts.streams == len(self) and (verdicts.ids is None or np.array_equal(verdicts.ids, self._ids))
        if same:
            quiet = ~verdicts.alarm
            same = np.array_equal(verdicts.evidence[quiet], self.scores()[quiet], equal_nan=True)
        if not same or (verdicts.position >= self.seen[verdicts.rows]).any():
            raise InvalidObservation(
                "these verdicts are of another update, or of another fleet", hint="pass what the last update returned"
            )

    def _index(self) -> None:
        """Make the table from ids to rows, where one is needed."""
        self._rows = None
        if self._next > len(self._ids):
            self._rows = np.full(self._next, -1, np.int64)
            self._rows[self._ids] = np.arange(len(self._ids))

    def _rows_of(self, named: ArrayLike) -> Ints:
        """Return the rows of these ids, or raise `StreamNotFound` with the first that is not watched."""
        ids = np.asarray(unmasked(named, "ids"))
        if ids.size == 0:
            return np.zeros(ids.shape, np.int64)
        if ids.dtype.kind not in "iu":
            raise InvalidObservation(f"ids of type {ids.dtype}", hint="a stream's id is a whole number")
        known = (ids >= 0) & (ids < self._next)
        rows = np.where(known, ids, 0).astype(np.int64)
        if self._rows is not None:
            rows = self._rows[rows]
            known &= rows >= 0
        if not known.all():
            at = int(np.argmin(known))
            raise StreamNotFound(
                f"id {ids.flat[at]} at position {at} names no stream",
                hint=f"there are {len(self)}, of {self._next} ever added; add gives new ones",
            )
        return rows

    def _row_of(self, stream: int) -> int:
        return int(self._rows_of([stream])[0])


def _count(streams: int | Sequence[ArrayLike]) -> int:
    if isinstance(streams, int | np.integer):
        return int(streams)
    try:
        return len(streams)
    except TypeError:
        raise Invalid(
            f"{streams!r:.80} is no number of streams", hint="give a whole number, or one reference window per stream"
        ) from None


def _labelled(data: bytes) -> Fleet:
    """Return a fleet without streams of the detector and the next id that a label names."""
    label = codec.loads(data)
    try:
        kind, settings, following = label["kind"], {**label["settings"]}, label["next"]
        fleet = Fleet(make_detector(kind, **settings))
    except (TypeError, KeyError):
        raise Invalid(f"{label!r:.80} is no label of a fleet", hint="the file was edited") from None
    if not isinstance(following, int) or isinstance(following, bool) or not 0 <= following < _EVER:
        raise Invalid(f"the next id {following!r:.80} is no whole number", hint="the file was edited")
    fleet._next = following
    return fleet
