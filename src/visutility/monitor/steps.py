"""Detectors that take their values one by one: from two ways of stepping to a batch of any shape."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visutility.monitor.detector import AbstractDetector, Values
from visutility.monitor.state import Floats, Ints, S, put, take
from visutility.monitor.verdicts import Level, Verdict, Verdicts
from visutility.monitor.windows import Lanes

_SHORT = 4  # values of one lane that are stepped through rather than run through; the verdicts are the same


@dataclass(frozen=True, slots=True)
class StepDetector(AbstractDetector[S]):
    """Base of detectors that may have something to say at every value.

    `step`, `run` and `restart` work in place on oriented values (larger is worse) and on states that belong to the
    call; `seen` is advanced for them. `step` serves many streams, `run` one long stream; their answers are the same
    to the bit.
    """

    @abstractmethod
    def step(self, work: S, values: Floats) -> tuple[NDArray[np.int8], Floats, Floats]:
        """Advance the first `len(values)` rows by one value each, in place.

        Returns level, score and limit of each of these rows.
        """

    @abstractmethod
    def run(self, work: S, values: Floats) -> tuple[int, Level, float, float]:
        """Advance row 0 through these values, in place, until the first verdict that is not OK.

        Returns how many values were used (all of them when the level is OK), level, score and limit. Gives bit for
        bit what `step` gives, faster for one long lane.
        """

    def primed(self, references: Sequence[Floats]) -> S:
        """Return the state of streams that saw these oriented reference windows before their first value.

        The references go through the detector as values do; what it says about them is dropped, and so is its
        evidence. For a detector whose baseline grows with the stream, this is `learn`.
        """
        work = self.fresh(len(references))
        sizes = [len(window) for window in references]
        self._ragged(work, np.concatenate(references), np.repeat(np.arange(len(references)), sizes))
        work.seen[:] = 0
        for row in range(len(references)):
            self.restart(work, row)
        return work

    def absorb(self, work: S, values: Values, ids: Ints | None) -> Verdicts:
        """Take a batch into the state, in place."""
        return self.stepped(work, self.oriented(self.checked(values)), ids)

    def stepped(self, work: S, values: Floats, ids: Ints | None) -> Verdicts:
        """Take oriented values, (s, k) or (n,), in place; one axis more holds what `step` is to know of each."""
        found = self._dense(work, values) if ids is None else self._ragged(work, values, ids)
        return Verdicts.of(found, self.scores(work))

    def _dense(self, work: S, values: Floats) -> list[Verdict]:
        """Advance every stream through its row of values, shape (s, k); verdicts by position, then by stream."""
        if len(values) == 1 and values.shape[1] > _SHORT:
            return self._run(work, values[0])
        found: list[Verdict] = []
        for column in np.ascontiguousarray(values.swapaxes(0, 1)):
            levels, scores, limits = self.step(work, column)
            work.seen[:] += 1
            found += [
                self._note(work, row, levels[row], scores[row], limits[row]) for row in np.flatnonzero(levels).tolist()
            ]
        return found

    def _run(self, work: S, values: Floats) -> list[Verdict]:
        """Advance row 0 through these values."""
        found, used = [], 0
        while used < len(values):
            count, level, score, limit = self.run(work, values[used:])
            used += count
            work.seen[0] += count
            if level != Level.OK:
                found.append(self._note(work, 0, level, score, limit))
        return found

    def _ragged(self, work: S, values: Floats, ids: Ints) -> list[Verdict]:
        """Advance the streams that are named; verdicts in arrival order. Costs what these streams cost."""
        lanes = Lanes.of(ids)
        part = take(work, lanes.rows)
        found: list[tuple[int, Verdict]] = []
        for block in lanes.blocks():
            if block.shape[1] == 1 and len(block) > _SHORT:
                first = int(part.seen[0])
                said = self._run(part, values[block[:, 0]])
                found += [(int(block[verdict.position - first, 0]), verdict) for verdict in said]
                continue
            for arrivals in block:
                levels, scores, limits = self.step(part, values[arrivals])
                part.seen[: len(arrivals)] += 1
                for row in np.flatnonzero(levels).tolist():
                    verdict = self._note(part, row, levels[row], scores[row], limits[row])
                    found.append((int(arrivals[row]), verdict))
        put(work, lanes.rows, part)
        found.sort(key=lambda item: item[0])
        return [verdict._replace(stream=int(lanes.rows[verdict.stream])) for _, verdict in found]

    def _note(self, work: S, row: int, level: int, score: float, limit: float) -> Verdict:
        """Return the verdict on a row; after an alarm the row starts afresh."""
        why = self.evidence(work, row)
        verdict = Verdict(row, int(work.seen[row]) - 1, Level(int(level)), float(score), float(limit), why)
        if level == Level.ALARM:
            self.restart(work, row)
        return verdict
