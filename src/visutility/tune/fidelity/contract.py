"""What decides how far a trial is run: frozen settings, and pure functions of the curves that were reported.

A rule sees the curves of the trials that ended or are paused, and the one it is asked about. It does not see what
other trials under way have reported so far, so that its answers depend on the order in which trials ended or paused
and on nothing else: not on which worker happened to be faster. All values here are lower-is-better.
"""

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import accumulate
from typing import Any, ClassVar, TypeVar, final

Reports = Sequence[tuple[int, float]]
T = TypeVar("T")


@final
@dataclass(frozen=True, slots=True)
class Curve:
    """What one trial reported: steps rising, the value at each, finite and lower is better.

    `state` is the trial's: "complete", "pruned", "paused" or, for the trial asked about, "pending".
    """

    number: int
    state: str
    steps: tuple[int, ...]
    values: tuple[float, ...]

    @staticmethod
    def of(number: int, state: str, reports: Reports, flip: float = 1.0) -> "Curve":
        """Return the curve of (step, value) reports in order of step; `flip` is -1 for a maximised objective."""
        return Curve(number, state, tuple(step for step, _ in reports), tuple(flip * value for _, value in reports))

    @property
    def averages(self) -> list[float]:
        """The running average of the values up to each step."""
        return [total / count for count, total in enumerate(accumulate(self.values), start=1)]

    def at(self, step: int) -> float | None:
        """Return the value at the first report from `step` on, None when the trial did not come that far."""
        found = bisect_left(self.steps, step)
        return self.values[found] if found < len(self.steps) else None


@final
@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """The curves a rule may look at: those of ended trials in the order told, then of paused ones by number.

    `memo` is where a rule may keep what it derived from all curves, `own` what it derived from each of them alone;
    nothing else decides what is in them.
    """

    curves: tuple[Curve, ...] = ()
    memo: dict[Any, Any] = field(default_factory=dict, repr=False)
    own: dict[str, tuple[Any, dict[int, Any]]] = field(default_factory=dict, repr=False)

    def of(self, curves: Iterable[Curve]) -> "Seen":
        """Return these curves instead, in order: what was derived from each that stays is kept."""
        given = tuple(curves)
        paused = sorted((curve for curve in given if curve.state == "paused"), key=lambda curve: curve.number)
        ended = [curve for curve in given if curve.state != "paused"] if paused else given
        return Seen((*ended, *paused), own=self.own)

    def kept(self, name: Any, derive: "Callable[[Seen], T]") -> "T":
        """Return what `derive` makes of this, made once."""
        if name not in self.memo:
            self.memo[name] = derive(self)
        found: T = self.memo[name]
        return found

    def each(self, name: str, key: Any, derive: "Callable[[Curve, Any], T]") -> "list[T]":
        """Return `derive(curve, key)` of every curve, made once for each; what other keys gave is forgotten."""
        if name not in self.own or self.own[name][0] != key:
            self.own[name] = (key, {})
        known, found = self.own[name][1], []
        for curve in self.curves:
            have = known.get(curve.number)
            if have is None or have[0] is not curve:
                have = known[curve.number] = (curve, derive(curve, key))
            found.append(have[1])
        return found

    @property
    def paused(self) -> tuple[Curve, ...]:
        """The curves of paused trials, by number."""
        return tuple(curve for curve in self.curves if curve.state == "paused")

    @property
    def mostly_cut(self) -> bool:
        """Whether a third of the trials, or more, did not run to their end."""
        return 3 * sum(curve.state != "complete" for curve in self.curves) >= len(self.curves)


@dataclass(frozen=True, slots=True)
class AbstractStopping(ABC):
    """A frozen dataclass of settings that says which trials to go on with. Subclasses are final.

    `goes_on` is what `report` answers. A rule with `resumes` may also ask for a paused trial to be continued.
    """

    kind: ClassVar[str]
    resumes: ClassVar[bool] = False

    @abstractmethod
    def goes_on(self, seen: Seen, now: Curve) -> bool:
        """Return whether the trial with the curve `now`, which has at least one report, should go on."""

    def resume(self, seen: Seen, *, closing: bool) -> int | None:
        """Return the number of the paused trial that is worth more than a new one, None: ask for a new one.

        `closing` says that the budget is spent and no new one will come.
        """
        del seen, closing
        return None

    def estimates(self, seen: Seen) -> Mapping[int, float]:
        """Return what to believe of pruned and paused trials, by number: a final value each that something is known of.

        By default the last value reported, which is what a complete trial would have been judged by.
        """
        return {c.number: c.values[-1] for c in seen.curves if c.state != "complete" and c.values}

    @final
    @property
    def settings(self) -> dict[str, Any]:
        """The settings as plain data: `type(rule)(**settings)` is an equal rule."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @final
    def to_json(self) -> dict[str, Any]:
        """Return plain data that `stopping_from_json` reads."""
        return {"kind": self.kind, **self.settings}
