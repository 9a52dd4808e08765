"""The detector contract: settings, a state of arrays, and verdicts.

A detector is a frozen value that holds only settings. `init` makes the state of some streams, with what their reference
windows teach or with nothing learnt yet; `update` takes values in arrival order and gives back a new state and what
there is to say. Its answer does not depend on how a stream is cut into batches or on which other streams travel in the
same batch; after an alarm a stream gathers its evidence afresh. The suite in `visutility.testing.detectors` checks all
of that.
"""

import math
import numbers
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from functools import lru_cache
from typing import Any, ClassVar, Generic, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visutility.core import codec
from visutility.core.errors import EmptyWindow, Invalid, InvalidObservation, InvalidSetting, StreamNotFound
from visutility.monitor.state import MANY, Bools, Floats, Ints, S, arrays, between, copy, piece, streams
from visutility.monitor.verdicts import Level, Verdict, Verdicts

__all__ = ["AbstractDetector", "Direction", "Level", "Verdict", "Verdicts"]

Direction = Literal["rise", "fall"]
Values = NDArray[Any]  # real numbers of any type
_PIECE = 8192  # streams whose saved numbers are checked at a time: they fit the cache
_KINDS: dict[object, str] = {int: "a whole number", float: "a number", float | None: "a number or None"}


@dataclass(frozen=True, slots=True)
class AbstractDetector(ABC, Generic[S]):
    """Base of detectors. A plug-in gives the abstract methods, and one that may go by the clock `clocked` and
    `absorb_at`; it may give `check`, `settled` and `worth` where its scores are evidence, and `blank` where `fresh`
    raises. All else is final.

    `direction` says which way is worse; values outside [`low`, `high`] are refused (None: no such end). What the
    methods call *oriented* are values turned so that larger is worse. A detector that takes its values one by one
    builds on `StepDetector` instead, which has `absorb`.
    """

    direction: Direction = "rise"
    low: float | None = None
    high: float | None = None

    name: ClassVar[str]
    state_type: ClassVar[type[Any]]
    state_version: ClassVar[int] = 1
    smallest_reference: ClassVar[int] = 10

    def __post_init__(self) -> None:
        for setting in fields(self):
            _check_setting(setting.name, setting.type, getattr(self, setting.name))
        if self.direction not in ("rise", "fall"):
            raise InvalidSetting(
                f"direction {self.direction!r} is unknown", hint="say which way is worse: rise or fall"
            )
        for name, end in (("low", self.low), ("high", self.high)):
            if end is not None and not math.isfinite(end):
                raise InvalidSetting(f"{name} {end!r} is not finite", hint="leave it out where there is no such end")
        if self.low is not None and self.high is not None and not 0.0 < float(self.high) - float(self.low) < math.inf:
            raise InvalidSetting(
                f"low {self.low!r} is not below high {self.high!r}, by a finite number",
                hint="give the range of the values, or leave an end out where there is none",
            )

    @abstractmethod
    def promise(self, reference_size: int) -> str:
        """Return the false-alarm promise in words, for a reference window of that many values (0: none)."""

    @abstractmethod
    def oriented(self, values: Floats) -> Floats:
        """Return the values so that larger is worse, in the units the state is kept in."""

    @abstractmethod
    def fresh(self, n: int) -> S:
        """Return the state of n streams of which nothing is known: they learn from their own first values.

        A detector that learns from a reference window alone raises `EmptyWindow`.
        """

    @abstractmethod
    def learn(self, references: Sequence[Floats]) -> S:
        """Return the state for these oriented, checked reference windows, one per stream; nothing seen yet.

        A detector whose baseline grows with the stream writes `return self.primed(references)` (of `StepDetector`).
        """

    @abstractmethod
    def absorb(self, work: S, values: Values, ids: Ints | None) -> Verdicts:
        """Take a batch into the state, in place. The arguments are as `advance` checked them.

        Values are still as they were given: neither oriented nor checked. Refuses them with `checked` before it
        changes anything.
        """

    @property
    def clocked(self) -> bool:
        """Whether it goes by the clock and needs the time of each value."""
        return False

    def absorb_at(self, work: S, values: Values, ids: Ints | None, at: ArrayLike | None) -> Verdicts:  # noqa: ARG002
        """Do what `absorb` does; a detector that goes by the clock, with the times, which are not checked yet."""
        return self.absorb(work, values, ids)

    @abstractmethod
    def restart(self, work: S, row: int) -> None:
        """Drop the evidence of one row, in place; what was learnt stays, and so does `seen`."""

    @abstractmethod
    def scores(self, state: S) -> Floats:
        """Return each stream's current score, shape (s,); NaN where there is none yet."""

    @abstractmethod
    def evidence(self, state: S, stream: int = 0) -> dict[str, float]:
        """Return the numbers behind a stream's current score, in the units of the stream."""

    @abstractmethod
    def learnt(self, state: S, stream: int = 0) -> dict[str, float]:
        """Return what was learnt of a stream so far, in the units of the stream."""

    def settled(
        self,
        state: S,  # noqa: ARG002
        verdicts: Verdicts | None = None,  # noqa: ARG002
        spent: Bools | None = None,  # noqa: ARG002
    ) -> Floats:
        """Return each stream's score as evidence, shape (s,), or raise `InvalidSetting` where scores are none.

        Evidence is at most a sum, over starting points, of processes that start at 1 at most and whose mean given the
        past never rises while the stream is no worse. Where the last update, whose `verdicts` these are, raised an
        alarm, it is that at the first one. Of the `spent` streams, which alarmed before, it is the evidence since then
        given all before: 0 where the proof ends at an alarm.
        """
        raise InvalidSetting(
            f"the scores of {self.name} are no evidence: a limit is all that they are made for",
            hint="e-detector, eprocess, ranks, dependent and auto have evidence: make_detector('eprocess', arl=1e12)",
        )

    def worth(self) -> float:
        """Return what `settled` is at an alarm, at least."""
        return float(getattr(self, "arl", math.inf))

    def blank(self) -> S:
        """Return any state of one stream: the arrays of all states are of its types, and of its shapes but for s."""
        return self.fresh(1)

    def check(self, state: S) -> None:
        """Raise `Invalid` where a loaded state holds numbers that no stream comes to, with `between` and `agree`.

        Above all such as would raise other errors later, or read out of place. Types and shapes are right already.
        """

    def init(self, references: int | Sequence[ArrayLike]) -> S:
        """Return the state of this many streams, which learn from their own first values; or of as many streams as
        there are reference windows, each shape (n_i,).

        Raises `EmptyWindow` when there is no stream, a reference window is too small to learn from, or one is needed
        and missing; `InvalidObservation` when one holds a value that is not finite or not in the declared range.
        """
        if isinstance(references, int | np.integer):
            if references < 1:
                raise EmptyWindow(f"{references} streams were asked for", hint="ask for at least one")
            return self.fresh(int(references))
        if len(references) == 0:
            raise EmptyWindow("no reference window was given", hint="give one per stream")
        windows = [self._reference(window, at) for at, window in enumerate(references)]
        return self.learn([self.oriented(window) for window in windows])

    def update(
        self, state: S, values: ArrayLike, ids: ArrayLike | None = None, *, at: ArrayLike | None = None
    ) -> tuple[S, Verdicts]:
        """Take values: (s, k), the next k of each of s streams; or (n,) in arrival order, with `ids` (n,) naming each
        one's stream, which a state of one stream does not need.

        `at` is when they were, in seconds since 1970 UTC: a time for each value, one for each column of (s, k), or one
        for all. A detector that goes by the clock needs it, all others do not look at it.

        Returns the next state and the verdicts that are not OK; the arguments are left as they were, also when it
        raises `InvalidObservation` (not finite, out of range, wrong shape) or `StreamNotFound`.
        """
        after = copy(state)
        return after, self.advance(after, values, ids, at=at)

    def advance(
        self, work: S, values: ArrayLike, ids: ArrayLike | None = None, *, at: ArrayLike | None = None
    ) -> Verdicts:
        """Do what `update` does to a state of the caller's own, in place. Unchanged when it raises."""
        batch, total, rows = _numbers(values, "the batch"), streams(work), None
        if ids is not None:
            if batch.ndim != 1:
                raise InvalidObservation(f"values of shape {batch.shape} came with ids", hint="pass both as (n,)")
            rows = _checked_ids(ids, len(batch), total)
        elif batch.ndim == 1 and total == 1:
            batch = batch[None, :]
        if rows is None and (batch.ndim != 2 or len(batch) != total):
            raise InvalidObservation(
                f"the batch has shape {batch.shape}, for {total} streams",
                hint=f"pass ({total}, k), or (n,) with one stream id per value",
            )
        return self.absorb_at(work, batch, rows, at) if self.clocked else self.absorb(work, batch, rows)

    def checked(self, values: Values, what: str = "the batch") -> Floats:
        """Return a batch's values as new floats, or raise `InvalidObservation` with the place of the first bad one.

        Values of a shorter float type may be an end of the range as that type writes it, and are then the end: of
        float32, 0.30000001 is 0.3. What is returned is within the range in any case.
        """
        array = np.array(values, dtype=np.float64)
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        good = np.isfinite(array) & (array >= low) & (array <= high)
        if not good.all():
            kind = np.asarray(values).dtype
            lowest, highest = _written(low, kind), _written(high, kind)
            ends = np.isfinite(array) & ((array == lowest) | (array == highest))
            array[ends], good = array[ends].clip(low, high), good | ends
        if not good.all():
            *stream, at = (int(i) for i in np.unravel_index(int(np.argmin(good)), good.shape))
            where = f"position {at}" if good.ndim == 1 or len(good) == 1 else f"position {at} of stream {stream[0]}"
            raise InvalidObservation(
                f"{what} has {float(array[(*stream, at)])!r} at {where}",
                hint=f"values are finite and in [{low:g}, {high:g}]; leave out the ones that are missing",
            )
        return array

    def save(self, state: S) -> bytes:
        """Return the state, with these settings and a format version, as bytes that `load` takes."""
        label = codec.dumps({"kind": self.name, "settings": asdict(self)}).encode()
        packed = {"detector": np.frombuffer(label, np.uint8), **arrays(state)}
        return codec.pack_arrays(packed, version=self.state_version)

    def load(self, data: bytes) -> S:
        """Return exactly the state that `save` was given.

        Raises `Invalid` when the bytes are not a saved state, or are one of another detector, other settings or
        another format version; or when they were edited, so that no `save` has written them.
        """
        version, packed = codec.unpack_arrays(data)
        label = packed.pop("detector", np.zeros(0, np.uint8)).tobytes()
        mine = {"kind": self.name, "settings": asdict(self)}
        later = {field.name: field.default for field in fields(self) if field.default is not MISSING}
        if not _is_label(label, mine, later) or version != self.state_version:
            raise Invalid(
                f"a state of {label.decode(errors='replace')} version {version} was given to {codec.dumps(mine)}",
                hint="load it with the detector that saved it, or start again with init",
            )
        wanted = {field.name for field in fields(self.state_type)}
        if set(packed) != wanted:
            raise Invalid(f"a saved state holds {sorted(packed)}, not {sorted(wanted)}", hint="the bytes were edited")
        _check_layout(self, packed)
        state: S = self.state_type(**packed)
        n = streams(state)
        for some in (piece(state, slice(at, at + _PIECE)) for at in range(0, n, _PIECE)) if n > _PIECE else (state,):
            between(some, 0, MANY, "seen")
            self.check(some)
        return state

    def _reference(self, window: ArrayLike, at: int) -> Floats:
        what = f"reference window {at}"
        array = _numbers(window, what)
        if array.ndim != 1:
            raise InvalidObservation(f"{what} has shape {array.shape}", hint="pass one dimension, (n,)")
        checked = self.checked(array, what)
        if len(checked) < self.smallest_reference:
            raise EmptyWindow(
                f"{what} has {len(checked)} values",
                hint=f"{self.name} learns its limits from at least {self.smallest_reference}",
            )
        return checked


def _check_layout(detector: AbstractDetector[Any], packed: dict[str, NDArray[Any]]) -> None:
    """Raise `Invalid` unless these arrays are of the types and shapes of the detector's states."""
    n = packed["seen"].size
    try:
        layout = _layout(detector)
    except TypeError:  # a setting that has no hash
        layout = _layout.__wrapped__(detector)
    for name, array in packed.items():
        kind, lead = layout.get(name, (array.dtype, array.shape[:-1]))
        if n == 0 or array.dtype != kind or array.shape != (*lead, n):
            raise Invalid(
                f"{name} of a saved state of {n} streams is {array.dtype} of shape {array.shape}, not {kind} of "
                f"{(*lead, n)}",
                hint="the bytes were edited",
            )


@lru_cache(maxsize=64)
def _layout(detector: AbstractDetector[Any]) -> dict[str, tuple[np.dtype[Any], tuple[int, ...]]]:
    """Return the type of each array of a detector's states, and its shape without the streams; of as many as known."""
    try:
        blank = arrays(detector.blank())
    except EmptyWindow:  # it learns from references alone
        return {}
    return {name: (array.dtype, array.shape[:-1]) for name, array in blank.items()}


def _check_setting(name: str, kind: object, value: object) -> None:
    """Refuse a value that is not of the kind that its setting is declared to be: a whole number, a number, or none."""
    wanted = _KINDS.get(kind)
    if wanted is None or (value is None and kind == float | None):
        return
    allowed = numbers.Integral if kind is int else numbers.Real
    if isinstance(value, bool | np.bool_) or not isinstance(value, allowed):
        raise InvalidSetting(f"{name} {value!r:.80} is not {wanted}", hint=f"give {name} as {wanted}")


def _written(end: float, kind: np.dtype[Any]) -> float:
    """Return the end of a range as floats of this type write it; itself where they write it in full."""
    if kind.kind != "f":
        return end
    with np.errstate(over="ignore"):
        return float(kind.type(end))


def _is_label(label: bytes, mine: dict[str, Any], defaults: dict[str, Any]) -> bool:
    """Return whether a saved label says the same, numbers by their value: 1000 is 1000.0.

    A setting that there was not yet when it was saved has its default.
    """
    try:
        saved = codec.loads(label)
        return bool({**saved, "settings": {**defaults, **saved["settings"]}} == codec.loads(codec.dumps(mine)))
    except (Invalid, TypeError, KeyError):
        return False


def unmasked(values: ArrayLike, what: str) -> ArrayLike:
    """Return the values. Raises `InvalidObservation` where some are masked: `numpy.asarray` would drop the mask."""
    if _has_masked(values):
        raise InvalidObservation(f"{what} has masked values", hint="leave them out: values.compressed()")
    return values


def _has_masked(values: object) -> bool:
    if isinstance(values, list | tuple):
        kinds = set(map(type, values))  # few, of many numbers
        inner = any(issubclass(kind, list | tuple | np.ma.MaskedArray) for kind in kinds)
        return inner and any(map(_has_masked, values))
    return isinstance(values, np.ma.MaskedArray) and bool(np.ma.is_masked(values))


def _numbers(values: ArrayLike, what: str) -> Values:
    """Return the values as an array of real numbers; it may be the caller's own."""
    given = unmasked(values, what)
    try:
        array = np.asarray(given)
        if array.dtype.kind == "O":
            array = array.astype(np.float64)
    except (TypeError, ValueError):
        array = np.empty(0, np.str_)
    if array.dtype.kind not in "biuf":
        raise InvalidObservation(f"{what} does not hold numbers only", hint="pass an array of numbers")
    return array


def _below(ids: NDArray[Any], total: int) -> bool:
    """Whether all ids are from 0 to total - 1."""
    if ids.dtype == np.int64:  # read once: as uint64, negative ones are the largest
        return bool(ids.view(np.uint64).max() < total)
    return bool(ids.min() >= 0 and ids.max() < total)


def _checked_ids(ids: ArrayLike, n: int, total: int) -> Ints:
    array = np.asarray(unmasked(ids, "ids"))
    if array.shape != (n,) or (n > 0 and not np.issubdtype(array.dtype, np.integer)):
        raise InvalidObservation(
            f"ids of shape {array.shape} and type {array.dtype} came with {n} values",
            hint="pass one whole number per value, the stream it belongs to",
        )
    if n and not _below(array, total):
        at = int(np.argmax((array < 0) | (array >= total)))
        raise StreamNotFound(f"id {array[at]} at position {at} names no stream", hint=f"there are {total}, from 0")
    return array.astype(np.int64, copy=False)
