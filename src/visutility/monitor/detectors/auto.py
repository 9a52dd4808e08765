"""The default: looks at each stream's values and watches it with the detector that suits them, and says why.

0/1 values (errors) go to `dependent`, which weighs models of how errors hang together as it goes; any other values
(losses, scores) go to `ranks`. A stream counts as 0/1 until its first other value. `docs/detector-auto.md`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, make_dataclass
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from visutility.monitor.detectors.dependent import Dependent, DependentState
from visutility.monitor.detectors.ranks import Ranks, RankState
from visutility.monitor.state import Bools, Floats, Ints, StreamState, arrays, put, take
from visutility.monitor.steps import StepDetector
from visutility.monitor.verdicts import Level, Verdict

MARGIN = 1.25  # on 0/1 values the stake is won that many times `arl`: a rate is not drawn at random
ERRORS, SCORES = 0, 1
_PARTS: tuple[tuple[str, type[StreamState]], ...] = (("errors", DependentState), ("scores", RankState))

AutoState: Any = make_dataclass(
    "AutoState",
    [("kind", NDArray[np.uint8])]  # (s,) ERRORS or SCORES
    + [
        (f"{part}_{field.name}", NDArray[Any])
        for part, state in _PARTS
        for field in fields(state)
        if field.name != "seen"
    ],
    bases=(StreamState,),
    frozen=True,
    slots=True,
)


@final
@dataclass(frozen=True, slots=True)
class Auto(StepDetector[Any]):
    """Alarm when a stream got worse than its own past: errors, losses or scores, independent or not.

    No reference window is needed: the first `learning` values are only learnt from. `explain` says in words which
    detector a stream got, and why. A warning comes at `warning` times `arl`. 2,600 bytes a stream.
    """

    arl: float = 1e6
    learning: int = 512
    warning: float = 0.01

    name: ClassVar[str] = "auto"
    state_type: ClassVar[type[Any]] = AutoState

    def __post_init__(self) -> None:
        StepDetector.__post_init__(self)
        self._scores()  # first: it is given `arl` as it was given here
        self._errors()

    def promise(self, reference_size: int) -> str:
        """Return the promises of both detectors."""
        return (
            f"Values that are all 0 or 1: {self._errors().promise(reference_size)} "
            f"Other values: {self._scores().promise(reference_size)}"
        )

    def oriented(self, values: Floats) -> Floats:
        """Return the values, negated where smaller is worse."""
        return values if self.direction == "rise" else -values

    def fresh(self, n: int) -> Any:
        """Return the state of n streams that learn from their first values."""
        state: Any = AutoState(
            seen=np.zeros(n, np.int64),
            kind=np.zeros(n, np.uint8),
            **_prefixed("errors", self._errors().fresh(n)),
            **_prefixed("scores", self._scores().fresh(n)),
        )
        return state

    def learn(self, references: Sequence[Floats]) -> Any:
        """Return the state after these reference windows, each by its kind."""
        state = self.fresh(len(references))
        state.kind[:] = [ERRORS if self._binary(window).all() else SCORES for window in references]
        rows = np.flatnonzero(state.kind == ERRORS)
        if len(rows):
            put(
                _view(state, ERRORS),
                rows,
                self._errors().learn([self._error(references[row]) for row in rows.tolist()]),
            )
        rows = np.flatnonzero(state.kind == SCORES)
        if len(rows):
            put(_view(state, SCORES), rows, self._scores().learn([references[row] for row in rows.tolist()]))
        return state

    def step(self, work: Any, values: Floats) -> tuple[NDArray[np.int8], Floats, Floats]:
        """Advance the first rows by one value each."""
        a = len(values)
        kind = work.kind[:a]
        kind[~self._binary(values)] = SCORES
        scores = kind == SCORES
        if not scores.any():
            return self._errors().step(_view(work, ERRORS), self._error(values))
        if scores.all():
            return self._scores().step(_view(work, SCORES), values)
        levels, found, limits = np.zeros(a, np.int8), np.zeros(a), np.zeros(a)
        for which, rows in ((ERRORS, np.flatnonzero(~scores)), (SCORES, np.flatnonzero(scores))):
            whole = _view(work, which)
            part = take(whole, rows)
            said = (
                self._errors().step(part, self._error(values[rows]))
                if which == ERRORS
                else self._scores().step(part, values[rows])
            )
            put(whole, rows, part)
            levels[rows], found[rows], limits[rows] = said
        return levels, found, limits

    def run(self, work: Any, values: Floats) -> tuple[int, Level, float, float]:
        """Advance row 0 through the values until something is to be said."""
        errors = 0
        if work.kind[0] == ERRORS:
            other = np.flatnonzero(~self._binary(values))
            errors = int(other[0]) if len(other) else len(values)
            if errors:
                said = self._errors().run(_view(work, ERRORS), self._error(values[:errors]))
                if said[1] != Level.OK or errors == len(values):
                    return said
            work.kind[0] = SCORES
        used, level, score, limit = self._scores().run(_view(work, SCORES, errors), values[errors:])
        return errors + used, level, score, limit

    def restart(self, work: Any, row: int) -> None:
        """Forget the winnings, and after an alarm what led to it, as the stream's detector does."""
        if work.kind[row] == ERRORS:
            self._errors().restart(_view(work, ERRORS), row)
        else:
            self._scores().restart(_view(work, SCORES), row)

    def scores(self, state: Any) -> Floats:
        """Return what has been won against each stream."""
        errors, scores = (
            self._errors().scores(_view(state, ERRORS)),
            self._scores().scores(_view(state, SCORES)),
        )
        return np.where(state.kind == ERRORS, errors, scores)

    def evidence(self, state: Any, stream: int = 0) -> dict[str, float]:
        """Return the evidence of the stream's detector."""
        if state.kind[stream] == ERRORS:
            return self._people(self._errors().evidence(_view(state, ERRORS), stream))
        return self._scores().evidence(_view(state, SCORES), stream)

    def learnt(self, state: Any, stream: int = 0) -> dict[str, float]:
        """Return what the stream's detector learnt."""
        if state.kind[stream] == ERRORS:
            return self._people(self._errors().learnt(_view(state, ERRORS), stream))
        return self._scores().learnt(_view(state, SCORES), stream)

    def explain(self, state: Any, stream: int = 0) -> str:
        """Say in words which detector a stream got, and what it takes its values for."""
        known = self.learnt(state, stream)
        if state.kind[stream] == SCORES:
            left = known["inflation"]
            how = (
                "they look independent"
                if left <= 1.0
                else f"they hang together: sums vary {left:.3g} times as much as independent ones, so bets are tempered"
            )
            return f"not all values are 0 or 1: bets on ranks among {known['baseline_size']:.0f} past values; {how}"
        return f"0/1 values: bets on more errors than predicted; {_dependence(known)}"

    def _dense(self, work: Any, values: Floats) -> list[Verdict]:
        """Let each detector take its streams' rows of the batch at once; those that change kind go step by step."""
        seen = work.seen.copy()
        scores = work.kind == SCORES
        errors = ~scores & self._binary(values).all(axis=1)
        found: list[Verdict] = []
        for kind, rows in ((ERRORS, np.flatnonzero(errors)), (SCORES, np.flatnonzero(scores))):
            if len(rows):
                found += self._dense_of(kind, _view(work, kind), rows, values)
        rows = np.flatnonzero(~(errors | scores))
        if len(rows):
            part = take(work, rows)
            said = StepDetector._dense(self, part, values[rows])
            put(work, rows, part)
            found += [verdict._replace(stream=int(rows[verdict.stream])) for verdict in said]
        return sorted(found, key=lambda verdict: (verdict.position - seen[verdict.stream], verdict.stream))

    def _dense_of(self, kind: int, whole: Any, rows: Ints, values: Floats) -> list[Verdict]:
        """Give these rows, all of one kind, to its detector; `whole` is its view of the state."""
        part, own = (whole, values) if len(rows) == len(values) else (take(whole, rows), values[rows])
        if kind == ERRORS:
            said = self._errors()._dense(part, self._error(own))
            said = [verdict._replace(evidence=self._people(verdict.evidence)) for verdict in said]
        else:
            said = self._scores()._dense(part, own)
        if part is not whole:
            put(whole, rows, part)
        return [verdict._replace(stream=int(rows[verdict.stream])) for verdict in said]

    def _errors(self) -> Dependent:
        return Dependent(arl=MARGIN * self.arl, learning=self.learning, warning=self.warning)

    def _scores(self) -> Ranks:
        return Ranks(direction=self.direction, arl=self.arl, learning=max(self.learning, 128), warning=self.warning)

    def _binary(self, oriented: Floats) -> Bools:
        """Return which of these oriented values are 0 or 1."""
        return np.asarray((oriented == 0.0) | (oriented == (1.0 if self.direction == "rise" else -1.0)), np.bool_)

    def _error(self, oriented: Floats) -> Floats:
        """Return oriented 0/1 values so that 1 is worse."""
        return oriented if self.direction == "rise" else oriented + 1.0

    def _people(self, numbers: dict[str, float]) -> dict[str, float]:
        """Return means of errors in the units of the stream."""
        if self.direction == "rise":
            return numbers
        return {name: 1.0 - value if "mean" in name else value for name, value in numbers.items()}


def _dependence(known: dict[str, float]) -> str:
    """Say in words what the models' weights say."""
    size, rho = known["baseline_size"], known["autocorrelation"]
    head = f"lag-1 autocorrelation {rho:.2f} over {size:.0f} values"
    most = max(("independent", "last_value", "changing"), key=lambda name: known[name])
    told = {
        "independent": "taken for independent",
        "last_value": "the last value explains it",
        "changing": "the rate changes now and then by itself, which is predicted rather than reported",
    }[most]
    left = known["inflation"]
    more = (
        f"; sums still vary {left:.3g} times as much as predicted, for which the stake is lowered" if left > 1 else ""
    )
    return f"{head}: {told} (weight {known[most]:.2f}){more}"


def _prefixed(part: str, state: StreamState) -> dict[str, NDArray[Any]]:
    return {f"{part}_{name}": array for name, array in arrays(state).items() if name != "seen"}


def _view(state: Any, kind: int, ahead: int = 0) -> Any:
    """Return the state of one of the two detectors, over the same memory; `ahead` values are seen already."""
    part, made = _PARTS[kind]
    own = {field.name: getattr(state, f"{part}_{field.name}") for field in fields(made) if field.name != "seen"}
    return made(seen=state.seen + ahead if ahead else state.seen, **own)
