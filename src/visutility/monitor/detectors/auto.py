"""The default: looks at each stream's values and watches it with the detector that suits them, and says why.

0/1 values (errors) go to `dependent`, which weighs models of how errors hang together as it goes; any other values
(losses, scores) go to `ranks`. A stream counts as 0/1 until its first other value; one that was 0/1 for long stays with
`dependent` while `ranks` learns, as that value may be the breakdown itself. `docs/detector-auto.md`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, make_dataclass
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from visutility.monitor.detectors.dependent import Dependent, DependentState
from visutility.monitor.detectors.ranks import Ranks, RankState
from visutility.monitor.state import Bools, Floats, Ints, StreamState, arrays, between, put, take
from visutility.monitor.steps import StepDetector
from visutility.monitor.verdicts import Level, Verdict, Verdicts

MARGIN = 1.25  # on 0/1 values the stake is won that many times `arl`: a rate is not drawn at random
ERRORS, SCORES, BOTH = 0, 1, 2
_GOLDEN = 0.6180339887498949  # its multiples are spread evenly over [0, 1), modulo 1
_PARTS: tuple[tuple[str, type[StreamState]], ...] = (("errors", DependentState), ("scores", RankState))

AutoState: Any = make_dataclass(
    "AutoState",
    [("kind", NDArray[np.uint8])]  # (s,) ERRORS, SCORES, or BOTH: still watched as errors, learnt as scores
    + [("mixed", Ints)]  # (s,) values since the first that was not 0 or 1, while BOTH
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
    detector a stream got, and why. A warning comes at `warning` times `arl`. About 2,450 bytes a stream.
    """

    arl: float = 1e6
    learning: int = 512
    warning: float = 0.01

    name: ClassVar[str] = "auto"
    state_type: ClassVar[type[Any]] = AutoState
    state_version: ClassVar[int] = 2

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
            mixed=np.zeros(n, np.int64),
            **_prefixed("errors", self._errors().fresh(n)),
            **_prefixed("scores", self._scores().fresh(n)),
        )
        return state

    def check(self, state: Any) -> None:
        """Refuse what no stream comes to."""
        between(state, ERRORS, BOTH, "kind")
        between(state, 0, self._scores().learning, "mixed")
        self._errors().check(_view(state, ERRORS))
        self._scores().check(_view(state, SCORES))

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
        kind, other = work.kind[:a], ~self._binary(values)
        kind[(kind == BOTH) & (work.mixed[:a] >= self._scores().learning)] = SCORES
        if not (kind.any() or other.any()):
            return self._errors().step(_view(work, ERRORS), self._error(values))
        self._turn(work, np.flatnonzero(other & (kind == ERRORS)))
        if (kind == SCORES).all():
            return self._scores().step(_view(work, SCORES), values)
        levels, found, limits = np.zeros(a, np.int8), np.zeros(a), np.zeros(a)
        rounded = self._rounded(values, work.seen[:a])
        for which, detector, own in ((SCORES, self._scores(), values), (ERRORS, self._errors(), rounded)):
            rows = np.flatnonzero(kind != (ERRORS if which == SCORES else SCORES))
            whole = _view(work, which)
            part = take(whole, rows)
            said = detector.step(part, own[rows])
            put(whole, rows, part)
            levels[rows], found[rows], limits[rows] = said  # of BOTH, what is said of errors: it comes last
        work.mixed[:a] += kind == BOTH
        return levels, found, limits

    def run(self, work: Any, values: Floats) -> tuple[int, Level, float, float]:
        """Advance row 0 through the values until something is to be said."""
        done = 0
        if work.kind[0] == ERRORS:
            other = np.flatnonzero(~self._binary(values))
            done = int(other[0]) if len(other) else len(values)
            if done:
                said = self._errors().run(_view(work, ERRORS), self._error(values[:done]))
                if said[1] != Level.OK or done == len(values):
                    return said
            self._turn(work, np.zeros(1, np.int64))
        if work.kind[0] == BOTH and (left := self._scores().learning - int(work.mixed[0])):
            piece = values[done : done + left]
            rounded = self._rounded(piece, work.seen[0] + done + np.arange(len(piece)))
            used, level, score, limit = self._errors().run(_view(work, ERRORS, done), rounded)
            self._scores().run(_view(work, SCORES, done), piece[:used])  # has nothing to say: it stakes nothing yet
            work.mixed[0] += used
            done += used
            if level != Level.OK or done == len(values):
                return done, level, score, limit
        work.kind[0] = SCORES
        used, level, score, limit = self._scores().run(_view(work, SCORES, done), values[done:])
        return done + used, level, score, limit

    def restart(self, work: Any, row: int) -> None:
        """Forget the winnings, and after an alarm what led to it, as the stream's detector does."""
        if work.kind[row] == SCORES:
            self._scores().restart(_view(work, SCORES), row)
        else:
            self._errors().restart(_view(work, ERRORS), row)

    def scores(self, state: Any) -> Floats:
        """Return what has been won against each stream."""
        errors, scores = (
            self._errors().scores(_view(state, ERRORS)),
            self._scores().scores(_view(state, SCORES)),
        )
        return np.where(state.kind == SCORES, scores, errors)

    def settled(self, state: Any, verdicts: Verdicts | None = None, spent: Bools | None = None) -> Floats:
        """Return the evidence of each stream's detector; at an alarm, of the one that raised it."""
        errors, scores = self._errors(), self._scores()
        limit = np.where(state.kind == SCORES, scores.arl, errors.arl)
        if verdicts is not None:  # a stream may have become SCORES in the same update, after its alarm
            limit = verdicts.at_alarms(limit, verdicts.limit)
        of_errors = errors.settled(_view(state, ERRORS), verdicts, spent)
        of_scores = scores.settled(_view(state, SCORES), verdicts, spent)
        return np.where(limit == errors.arl, of_errors, of_scores)

    def worth(self) -> float:
        """Return what an alarm is worth at least, of a stream of either kind."""
        return min(self._errors().worth(), self._scores().worth())

    def evidence(self, state: Any, stream: int = 0) -> dict[str, float]:
        """Return the evidence of the stream's detector."""
        if state.kind[stream] != SCORES:
            return self._people(self._errors().evidence(_view(state, ERRORS), stream))
        return self._scores().evidence(_view(state, SCORES), stream)

    def learnt(self, state: Any, stream: int = 0) -> dict[str, float]:
        """Return what the stream's detector learnt."""
        if state.kind[stream] != SCORES:
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
        head = "0/1 values: bets on more errors than predicted"
        if state.kind[stream] == BOTH:
            left = self._scores().learning - int(state.mixed[stream])
            head = f"0/1 values until lately: bets on more errors than predicted for {left} more values, then on ranks"
        return f"{head}; {_dependence(known)}"

    def _dense(self, work: Any, values: Floats) -> list[Verdict]:
        """Let each detector take its streams' rows of the batch at once; those that change kind go step by step."""
        seen = work.seen.copy()
        scores = work.kind == SCORES
        errors = (work.kind == ERRORS) & self._binary(values).all(axis=1)
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

    def _rounded(self, oriented: Floats, positions: Ints) -> Floats:
        """Return errors: a value between 0 and 1 is one as often as it is large, one outside is the nearer end."""
        return (self._error(oriented) > (positions * _GOLDEN) % 1.0).astype(np.float64)

    def _turn(self, work: Any, rows: Ints) -> None:
        """Take note that these rows are not 0/1 after all: BOTH where `dependent` has learnt what is normal."""
        work.kind[rows] = np.where(work.errors_age[rows] >= self._scores().learning, BOTH, SCORES)
        work.mixed[rows] = 0

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
