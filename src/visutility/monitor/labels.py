"""Labels that come late, in part and in any order, joined to their predictions exactly once.

A `LabelJoin` keeps the newest predictions and the labels that came before theirs, both bounded. It reads no clock:
times are data. What it promises about every order of arrival is in `docs/harm.md`.
"""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visutility.core import codec
from visutility.core.errors import Invalid, InvalidObservation, InvalidSetting, LabelContradicted, PredictionNotFound
from visutility.monitor._label_save import checked
from visutility.monitor.detector import unmasked
from visutility.monitor.realised import Realised, realised
from visutility.monitor.state import Floats

Id = int | str
_VERSION = 1
_NEVER = -math.inf
_LONGEST = 1000  # characters of an id: arrays of text are as wide as the longest
_COUNTS = ("predictions", "joined", "duplicates", "contradictions", "late", "held", "dropped", "forgotten")
_SETTINGS = ("metric", "scale", "keep", "early", "unknown", "contradiction")


@final
@dataclass(frozen=True, slots=True)
class JoinCounts:
    """What became of everything that arrived, since the start."""

    predictions: int = 0  # taken
    joined: int = 0  # predictions that got their label
    duplicates: int = 0  # predictions or labels that said again what was known
    contradictions: int = 0  # labels that said something else than an earlier one
    late: int = 0  # predictions older than what is kept: not taken
    held: int = 0  # labels that came before their prediction
    dropped: int = 0  # held labels whose prediction never came in time
    forgotten: int = 0  # predictions that left, labelled or not


@dataclass(slots=True)
class _Row:
    """A prediction that is kept."""

    at: float
    arrival: int
    said: float
    expected: float  # NaN where it was not given
    label: float = math.nan
    order: int = -1  # among the labels


@final
class LabelJoin:
    """Joins labels to predictions by id, exactly once, whatever the order of arrival.

    `keep` predictions are kept, those with the latest times; `keep_for` (in the unit of the times) drops those older
    than the latest time by more. `early` labels without prediction are held, the oldest dropped first; with
    `unknown="refuse"` none is, and `PredictionNotFound` is raised. `contradiction` says what a second, other label
    does: "refuse" raises `LabelContradicted` and nothing of that batch is taken, "first" keeps the first, "last" the
    last, and both count it. Losses are 0 or 1 (`metric="accuracy"`), or |said - label| / `scale`, at most 1 ("mae").
    Not thread-safe: one writer.
    """

    def __init__(
        self,
        *,
        metric: Literal["accuracy", "mae"] = "accuracy",
        scale: float = 1.0,
        keep: int = 100_000,
        keep_for: float = math.inf,
        early: int = 10_000,
        unknown: Literal["hold", "refuse"] = "hold",
        contradiction: Literal["refuse", "first", "last"] = "refuse",
    ) -> None:
        """Start empty. Raises `InvalidSetting`."""
        if metric not in ("accuracy", "mae") or unknown not in ("hold", "refuse"):
            raise InvalidSetting(f"metric {metric!r}, unknown {unknown!r}", hint="accuracy or mae; hold or refuse")
        if contradiction not in ("refuse", "first", "last"):
            raise InvalidSetting(f"contradiction {contradiction!r} is unknown", hint="choose refuse, first or last")
        if keep < 1 or early < 0 or not keep_for > 0.0 or not 0.0 < scale < math.inf:
            raise InvalidSetting(f"keep {keep}, early {early}, keep_for {keep_for}, scale {scale}", hint="all above 0")
        self.metric, self.scale = metric, float(scale)
        self.keep, self.keep_for, self.early = int(keep), float(keep_for), int(early)
        self.unknown, self.contradiction = unknown, contradiction
        self._rows: dict[Id, _Row] = {}
        self._oldest: list[tuple[float, int, Id]] = []  # a heap
        self._held: dict[Id, tuple[float, float]] = {}  # label, and the latest time when it came
        self._latest = self._floor = _NEVER
        self._arrivals = self._orders = 0
        self._counts = dict.fromkeys(_COUNTS, 0)
        self._just_joined: list[Id] = []

    @property
    def just_joined(self) -> tuple[Id, ...]:
        """The predictions whose losses the last call of `predict` or `label` returned, in that order; not saved."""
        return tuple(self._just_joined)

    @property
    def counts(self) -> JoinCounts:
        """What became of everything that arrived."""
        return JoinCounts(**self._counts)

    def __len__(self) -> int:
        """Return how many predictions are kept."""
        return len(self._rows)

    def predict(
        self,
        ids: Sequence[Id] | NDArray[Any],
        said: ArrayLike,
        *,
        at: ArrayLike | None = None,
        expected: ArrayLike | None = None,
    ) -> Floats:
        """Take predictions: ids (n,), what was said (n,), event times `at` (n,) or one for all, in any order.

        `expected` (n,) is the performance expected of each from its score, for the note on selection. Without times
        the order of arrival is the time. Returns the losses of predictions whose labels were held already, in order.
        The same id and the same value again is counted and ignored, also after the prediction has left, as long as
        it comes with its time. Raises `LabelContradicted` when an id comes with another value, `InvalidObservation`
        for what is not finite or does not fit; nothing is taken then.
        """
        names = self._ids(ids)
        values = _numbers(said, len(names), "said")
        hopes = np.full(len(names), math.nan) if expected is None else _numbers(expected, len(names), "expected")
        times = self._arrivals + np.arange(1.0, len(names) + 1.0)
        if at is not None:
            one: Any = at if np.ndim(at) else [at] * len(names)
            times = _numbers(one, len(names), "at")
        elif math.isfinite(self.keep_for):
            raise InvalidObservation("predictions came without times", hint="keep_for needs them: pass at")
        new: dict[Id, float] = {}
        for name, value in zip(names, values.tolist(), strict=True):
            known = self._rows[name].said if name in self._rows else new.setdefault(name, value)
            if known != value:
                raise LabelContradicted(f"prediction {name!r} was {known!r}, now {value!r}", hint="ids must be unique")
        losses: list[float] = []
        self._just_joined = []
        for name, value, hope, time in zip(names, values.tolist(), hopes.tolist(), times.tolist(), strict=True):
            self._arrivals += 1
            if name in self._rows:
                self._counts["duplicates"] += 1
            elif time <= self._floor or time < self._latest - self.keep_for:
                self._counts["late"] += 1
            else:
                self._take(name, _Row(time, self._arrivals, value, hope), losses)
        return np.array(losses, np.float64)

    def label(self, ids: Sequence[Id] | NDArray[Any], labels: ArrayLike) -> Floats:
        """Take labels: ids (n,) and labels (n,), in any order. Returns the losses of those joined now, in order.

        Each prediction's loss is returned once in all, which is what a `RiskTracker` wants to be fed; a label that is
        replaced (`contradiction="last"`) corrects `realised`, not what was returned. Raises `LabelContradicted` and
        `PredictionNotFound` as the settings say, and `InvalidObservation`; nothing is taken then.
        """
        names = self._ids(ids)
        values = _numbers(labels, len(names), "labels")
        self._check(names, values)
        losses: list[float] = []
        self._just_joined = []
        for name, value in zip(names, values.tolist(), strict=True):
            row = self._rows.get(name)
            known = self._known(name)
            if known is not None:
                self._again(name, row, known, value)
            elif row is not None:
                self._join(name, row, value, losses)
            else:
                self._counts["held"] += 1
                self._held[name] = (value, self._latest)
                self._drop_held()
        return np.array(losses, np.float64)

    def advance(self, now: float) -> None:
        """Say how late it is, so that what is too old leaves although nothing arrives.

        Raises `InvalidObservation` when the clock went backwards: `now` is before the latest time known.
        """
        if not math.isfinite(now) or now < self._latest:
            raise InvalidObservation(
                f"the clock went backwards: {now!r} is before {self._latest!r}", hint="pass the latest time there is"
            )
        self._tick(float(now))
        self._forget()

    def realised(self, level: float = 0.95) -> Realised:
        """Return the metric on the kept predictions that have a label, see `Realised`."""
        return realised(self.table(), self.metric, self.scale, level)

    def table(self) -> dict[str, NDArray[Any]]:
        """Return the kept predictions as arrays, oldest first: id, at, said, expected, label (NaN: none), loss, order.

        `order` counts labels as they came; -1 without label.
        """
        rows = sorted(self._rows.items(), key=lambda item: (item[1].at, item[1].arrival))
        columns = {
            name: np.array([getattr(row, name) for _, row in rows], np.float64)
            for name in ("at", "said", "expected", "label")
        }
        columns["loss"] = self._loss(columns["said"], columns["label"])
        return {
            "id": _pack(name for name, _ in rows),
            **columns,
            "order": np.array([row.order for _, row in rows], np.int64),
            "arrival": np.array([row.arrival for _, row in rows], np.int64),
        }

    def save(self) -> bytes:
        """Return everything as bytes that `load` takes."""
        settings = {name: getattr(self, name) for name in _SETTINGS}
        settings |= {"counts": self._counts, "arrivals": self._arrivals, "orders": self._orders}
        held = list(self._held.items())
        return codec.pack_arrays(
            {
                "settings": np.frombuffer(codec.dumps(settings).encode(), np.uint8),
                "times": np.array([self.keep_for, self._latest, self._floor]),
                "held": _pack(name for name, _ in held),
                "held_label": np.array([label for _, (label, _) in held], np.float64),
                "held_at": np.array([at for _, (_, at) in held], np.float64),
                **self.table(),
            },
            version=_VERSION,
        )

    @classmethod
    def load(cls, data: bytes) -> Self:
        """Return exactly what was saved. Raises `Invalid` for other bytes."""
        version, packed = codec.unpack_arrays(data)
        if version != _VERSION:
            raise Invalid(f"not a saved LabelJoin of version {_VERSION}", hint="pass what save gave")
        kept = checked(packed, counts=_COUNTS)
        keep_for, latest, floor = packed["times"].tolist()
        made = cls(keep_for=keep_for, **{name: getattr(kept, name) for name in _SETTINGS})
        made._latest, made._floor, made._counts = latest, floor, kept.counts
        made._arrivals, made._orders = kept.arrivals, kept.orders
        columns = [packed[name].tolist() for name in ("at", "arrival", "said", "expected", "label", "order")]
        for name, *row in zip(made._ids(packed["id"]), *columns, strict=True):
            made._rows[name] = _Row(*row)
            heapq.heappush(made._oldest, (row[0], row[1], name))
        held = (made._ids(packed["held"]), packed["held_label"].tolist(), packed["held_at"].tolist())
        made._held = {name: (label, at) for name, label, at in zip(*held, strict=True)}
        return made

    def _ids(self, ids: Sequence[Id] | NDArray[Any]) -> list[Id]:
        """Return ids of one type, the same as those that are kept: 1 and "1" cannot be told apart once saved."""
        listed = ids.tolist() if hasattr(ids, "tolist") else ids  # of NumPy, pandas and Arrow
        names = [name.item() if isinstance(name, np.generic) else name for name in listed]
        here = next(iter(self._rows), next(iter(self._held), None))
        kinds = {type(name) for name in names} | ({type(here)} if names and here is not None else set())
        if not kinds <= {int} and not kinds <= {str}:
            found = sorted(kind.__name__ for kind in kinds)
            raise InvalidObservation(f"ids are {found}, here or before", hint="all whole numbers, or all text")
        for name in names:
            bad = "\0" in name or len(name) > _LONGEST if isinstance(name, str) else not -(2**63) <= name < 2**63
            if bad:
                said = repr(name) if isinstance(name, int) or len(name) < 50 else f"{name[:50]!r}… ({len(name)} long)"
                raise InvalidObservation(
                    f"id {said} cannot be kept", hint=f"up to {_LONGEST} characters without NUL, or 64 bits"
                )
        return names

    def _take(self, name: Id, row: _Row, losses: list[float]) -> None:
        self._counts["predictions"] += 1
        self._rows[name] = row
        heapq.heappush(self._oldest, (row.at, row.arrival, name))
        self._tick(row.at)
        if name in self._held:
            self._join(name, row, self._held.pop(name)[0], losses)
        self._forget()

    def _tick(self, now: float) -> None:
        """Move the latest time on; labels that came before any time was known came now."""
        if self._latest == _NEVER:
            self._held = {name: (label, now) for name, (label, _) in self._held.items()}
        self._latest = max(self._latest, now)

    def _join(self, name: Id, row: _Row, label: float, losses: list[float]) -> None:
        self._counts["joined"] += 1
        row.label, row.order = label, self._orders
        self._orders += 1
        losses.append(float(self._loss(np.array(row.said), np.array(label))))
        self._just_joined.append(name)

    def _again(self, name: Id, row: _Row | None, known: float, value: float) -> None:
        """A label for what has one already."""
        if known == value:
            self._counts["duplicates"] += 1
            return
        self._counts["contradictions"] += 1
        if self.contradiction == "last":
            if row is not None:
                row.label = value
            else:
                self._held[name] = (value, self._held[name][1])

    def _known(self, name: Id) -> float | None:
        """The label that a prediction has, or that is held for it."""
        if name in self._rows:
            label = self._rows[name].label
            return None if math.isnan(label) else label
        return self._held[name][0] if name in self._held else None

    def _check(self, names: list[Id], values: Floats) -> None:
        """Refuse a batch as a whole, before anything of it is taken."""
        new: dict[Id, float] = {}
        for name, value in zip(names, values.tolist(), strict=True):
            known = self._known(name)
            known = new.setdefault(name, value) if known is None else known
            if known != value and self.contradiction == "refuse":
                raise LabelContradicted(
                    f"the label of {name!r} was {known!r}, now {value!r}",
                    hint='find out which is right, or choose contradiction="first" or "last"',
                )
            if self.unknown == "refuse" and name not in self._rows:
                raise PredictionNotFound(
                    f"no prediction {name!r} is kept", hint='its label came too early or too late; unknown="hold" waits'
                )

    def _forget(self) -> None:
        """Let the oldest predictions leave; none as old may come after them, so that none is joined twice."""
        while self._oldest and (len(self._rows) > self.keep or self._oldest[0][0] < self._latest - self.keep_for):
            at, _, name = heapq.heappop(self._oldest)
            del self._rows[name]
            self._floor = max(self._floor, at)
            self._counts["forgotten"] += 1
        self._drop_held()

    def _drop_held(self) -> None:
        while self._held:
            name, (_, at) = next(iter(self._held.items()))
            if len(self._held) <= self.early and not at < self._latest - self.keep_for:
                break
            del self._held[name]
            self._counts["dropped"] += 1

    def _loss(self, said: Floats, label: Floats) -> Floats:
        """Loss in [0, 1]; NaN without label."""
        if self.metric == "accuracy":
            return np.where(np.isnan(label), math.nan, (said != label).astype(np.float64))
        return np.asarray(np.minimum(np.abs(said - label) / self.scale, 1.0))


def _pack(names: Any) -> NDArray[Any]:
    listed = list(names)
    return np.array(listed) if listed else np.zeros(0, np.int64)


def _numbers(values: ArrayLike, n: int, name: str) -> Floats:
    given = unmasked(values, name)
    try:
        array = np.array(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidObservation(f"{name} does not hold numbers only", hint="classes are numbers from 0") from None
    if array.shape != (n,):
        raise InvalidObservation(f"{name} has shape {array.shape} and there are {n} ids", hint="one number an id")
    if not np.isfinite(array).all():
        at = int(np.argmin(np.isfinite(array)))
        raise InvalidObservation(f"{name} has {float(array[at])!r} at position {at}", hint="leave the row out")
    return array
