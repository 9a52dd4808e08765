"""The detector contract: settings, a state of arrays, and verdicts.

A detector is a frozen value that holds only settings. `init` learns each stream's limits from its reference window;
`update` takes values in arrival order and gives back a new state and what there is to say. Its answer does not depend
on how a stream is cut into batches or on which other streams travel in the same batch, and after an alarm a stream
starts afresh with the limits it learnt. The suite in `visutility.testing.detectors` checks all of that.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from enum import IntEnum
from typing import Any, ClassVar, Generic, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visutility.core import codec
from visutility.core.errors import EmptyWindow, Invalid, InvalidObservation, InvalidSetting, StreamNotFound
from visutility.monitor.state import Bools, Floats, Ints, S, arrays, copy, put, streams, take
from visutility.monitor.windows import Lanes

Direction = Literal["rise", "fall"]
_SHORT = 4  # values of one lane that are stepped through rather than run through; the verdicts are the same


class Level(IntEnum):
    """How much a verdict asks for. `str` gives the word: ok, warning or alarm."""

    OK = 0
    WARNING = 1
    ALARM = 2

    def __str__(self) -> str:
        return self.name.lower()


class Verdict(NamedTuple):
    """One row of `Verdicts`. `position` counts the stream's values since `init`, from 0."""

    stream: int
    position: int
    level: Level
    score: float
    limit: float
    evidence: dict[str, float]


@dataclass(frozen=True, slots=True, eq=False)
class Verdicts:
    """What an update had to say: one entry per verdict that is not OK, in arrival order.

    `streams` is how many streams are watched; `evidence` says in numbers why, as it was before the stream started
    afresh. A score reaches its limit exactly when there is an alarm.
    """

    streams: int
    stream: Ints  # (m,)
    position: Ints  # (m,) index in that stream since init
    level: NDArray[np.int8]  # (m,)
    score: Floats  # (m,)
    limit: Floats  # (m,)
    evidence: tuple[dict[str, float], ...]

    @classmethod
    def of(cls, n: int, found: Sequence[Verdict]) -> "Verdicts":
        """Pack verdicts on `n` streams."""
        return cls(
            n,
            np.array([v.stream for v in found], np.int64),
            np.array([v.position for v in found], np.int64),
            np.array([v.level for v in found], np.int8),
            np.array([v.score for v in found], np.float64),
            np.array([v.limit for v in found], np.float64),
            tuple(v.evidence for v in found),
        )

    @property
    def alarm(self) -> Bools:
        """Shape (streams,): which streams raised an alarm in this update."""
        raised = np.zeros(self.streams, np.bool_)
        raised[self.stream[self.level == Level.ALARM]] = True
        return raised

    def __len__(self) -> int:
        return len(self.stream)

    def __iter__(self) -> Iterator[Verdict]:
        columns = (self.stream.tolist(), self.position.tolist(), self.level.tolist())
        for (stream, position, level), score, limit, why in zip(
            zip(*columns, strict=True), self.score.tolist(), self.limit.tolist(), self.evidence, strict=True
        ):
            yield Verdict(stream, position, Level(level), score, limit, why)


@dataclass(frozen=True, slots=True)
class AbstractDetector(ABC, Generic[S]):
    """Base of detectors. A plug-in gives the abstract methods; everything else is final.

    `direction` says which way is worse; values outside [`low`, `high`] are refused (None: no such end).
    `learn`, `step`, `run` and `restart` are called by the methods here, on oriented values (larger is worse) and on
    states that belong to the call, whose arrays they may change.
    """

    direction: Direction = "rise"
    low: float | None = None
    high: float | None = None

    name: ClassVar[str]
    state_type: ClassVar[type[Any]]
    state_version: ClassVar[int] = 1
    smallest_reference: ClassVar[int] = 10

    def __post_init__(self) -> None:
        if self.direction not in ("rise", "fall"):
            raise InvalidSetting(
                f"direction {self.direction!r} is unknown", hint="say which way is worse: rise or fall"
            )
        for name, end in (("low", self.low), ("high", self.high)):
            if end is not None and not math.isfinite(end):
                raise InvalidSetting(f"{name} {end!r} is not finite", hint="leave it out where there is no such end")
        if self.low is not None and self.high is not None and not self.low < self.high:
            raise InvalidSetting(
                f"low {self.low!r} is not below high {self.high!r}", hint="give the range of the values"
            )

    @abstractmethod
    def promise(self, reference_size: int) -> str:
        """Return the false-alarm promise in words, for a reference window of that many values."""

    @abstractmethod
    def oriented(self, values: Floats) -> Floats:
        """Return the values so that larger is worse, in the units the state is kept in."""

    @abstractmethod
    def learn(self, references: Sequence[Floats]) -> S:
        """Return the fresh state for these oriented, checked reference windows, one per stream."""

    @abstractmethod
    def step(self, work: S, values: Floats) -> tuple[NDArray[np.int8], Floats, Floats]:
        """Advance the first `len(values)` rows by one value each, in place; `seen` is the caller's to advance.

        Returns level, score and limit of each of these rows.
        """

    @abstractmethod
    def run(self, work: S, values: Floats) -> tuple[int, Level, float, float]:
        """Advance row 0 through these values, in place, until the first verdict that is not OK.

        Returns how many values were used (all of them when the level is OK), level, score and limit. Gives bit for
        bit what `step` gives, faster for one long lane; `seen` is the caller's to advance.
        """

    @abstractmethod
    def restart(self, work: S, row: int) -> None:
        """Put one row back to how `learn` made it, in place, except for `seen`."""

    @abstractmethod
    def scores(self, state: S) -> Floats:
        """Return each stream's current score, shape (s,); NaN where there is none yet."""

    @abstractmethod
    def evidence(self, state: S, stream: int = 0) -> dict[str, float]:
        """Return the numbers behind a stream's current score, in the units of the stream."""

    @abstractmethod
    def learnt(self, state: S, stream: int = 0) -> dict[str, float]:
        """Return what was learnt from a stream's reference window, in the units of the stream."""

    def init(self, references: Sequence[ArrayLike]) -> S:
        """Return the state of as many streams as there are reference windows, each shape (n_i,).

        Raises `EmptyWindow` when there is none or one is too small to learn from, and `InvalidObservation` when one
        holds a value that is not finite or not in the declared range.
        """
        if len(references) == 0:
            raise EmptyWindow("no reference window was given", hint="give one per stream")
        windows = [self._checked(window, f"reference window {at}") for at, window in enumerate(references)]
        for at, window in enumerate(windows):
            if len(window) < self.smallest_reference:
                raise EmptyWindow(
                    f"reference window {at} has {len(window)} values",
                    hint=f"{self.name} learns its limits from at least {self.smallest_reference}",
                )
        return self.learn([self.oriented(window) for window in windows])

    def update(self, state: S, values: ArrayLike, ids: ArrayLike | None = None) -> tuple[S, Verdicts]:
        """Take values (n,) in arrival order; `ids` (n,) names each one's stream (None: all belong to stream 0).

        Returns the next state and the verdicts that are not OK; the arguments are left as they were, also when it
        raises `InvalidObservation` (not finite, out of range, wrong shape) or `StreamNotFound`.
        """
        checked = self._checked(values, "the batch")
        total = streams(state)
        lanes = Lanes.single(0, len(checked)) if ids is None else Lanes.of(_checked_ids(ids, len(checked), total))
        if len(checked) == 0:
            return state, Verdicts.of(total, [])
        work = take(state, lanes.rows)
        found = Verdicts.of(total, self._walk(work, self.oriented(checked), lanes))
        if total == 1:
            return work, found
        after = copy(state)
        put(after, lanes.rows, work)
        return after, found

    def save(self, state: S) -> bytes:
        """Return the state, with these settings and a format version, as bytes that `load` takes."""
        label = codec.dumps({"kind": self.name, "settings": asdict(self)}).encode()
        packed = {"detector": np.frombuffer(label, np.uint8), **arrays(state)}
        return codec.pack_arrays(packed, version=self.state_version)

    def load(self, data: bytes) -> S:
        """Return exactly the state that `save` was given.

        Raises `Invalid` when the bytes are not a saved state, or are one of another detector, other settings or
        another format version.
        """
        version, packed = codec.unpack_arrays(data)
        label = packed.pop("detector", np.zeros(0, np.uint8)).tobytes()
        mine = codec.dumps({"kind": self.name, "settings": asdict(self)})
        if label.decode(errors="replace") != mine or version != self.state_version:
            raise Invalid(
                f"a state of {label.decode(errors='replace')} version {version} was given to {mine}",
                hint="load it with the detector that saved it, or start again with init",
            )
        wanted = {field.name for field in fields(self.state_type)}
        if set(packed) != wanted:
            raise Invalid(f"a saved state holds {sorted(packed)}, not {sorted(wanted)}", hint="the bytes were edited")
        state: S = self.state_type(**packed)
        return state

    def _walk(self, work: S, values: Floats, lanes: Lanes) -> list[Verdict]:
        """Advance every lane of a working state through its values; verdicts in arrival order."""
        found: list[tuple[int, Verdict]] = []

        def note(row: int, arrival: int, level: int, score: float, limit: float) -> None:
            why = self.evidence(work, row)
            verdict = Verdict(int(lanes.rows[row]), int(work.seen[row]) - 1, Level(level), score, limit, why)
            found.append((arrival, verdict))
            if level == Level.ALARM:
                self.restart(work, row)

        for block in lanes.blocks():
            if block.shape[1] == 1 and len(block) > _SHORT:
                lane, used = values[block[:, 0]], 0
                while used < len(lane):
                    count, level, score, limit = self.run(work, lane[used:])
                    used += count
                    work.seen[0] += count
                    if level != Level.OK:
                        note(0, int(block[used - 1, 0]), level, score, limit)
                continue
            for arrivals in block:
                levels, scores, limits = self.step(work, values[arrivals])
                work.seen[: len(arrivals)] += 1
                for row in np.flatnonzero(levels).tolist():
                    note(row, int(arrivals[row]), int(levels[row]), float(scores[row]), float(limits[row]))
        found.sort(key=lambda item: item[0])
        return [verdict for _, verdict in found]

    def _checked(self, values: ArrayLike, what: str) -> Floats:
        """Return the values as a new float array, or say which one cannot be used and why."""
        try:
            array = np.array(values, dtype=np.float64)
        except (TypeError, ValueError):
            raise InvalidObservation(f"{what} does not hold numbers only", hint="pass an array of numbers") from None
        if array.ndim != 1:
            raise InvalidObservation(f"{what} has shape {array.shape}", hint="pass one dimension, (n,)")
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        good = np.isfinite(array) & (array >= low) & (array <= high)
        if not good.all():
            at = int(np.argmin(good))
            raise InvalidObservation(
                f"{what} has {float(array[at])!r} at position {at}",
                hint=f"values are finite and in [{low:g}, {high:g}]; leave out the ones that are missing",
            )
        return array


def _checked_ids(ids: ArrayLike, n: int, total: int) -> Ints:
    array = np.asarray(ids)
    if array.shape != (n,) or (n > 0 and not np.issubdtype(array.dtype, np.integer)):
        raise InvalidObservation(
            f"ids of shape {array.shape} and type {array.dtype} came with {n} values",
            hint="pass one whole number per value, the stream it belongs to",
        )
    wrong = (array < 0) | (array >= total)
    if wrong.any():
        at = int(np.argmax(wrong))
        raise StreamNotFound(f"id {array[at]!r} at position {at} names no stream", hint=f"there are {total}, from 0")
    return array.astype(np.int64)
