"""What detectors say: verdicts, one by one and as columns."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visutility.monitor.state import Bools, Floats, Ints


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

    `evidence` has every watched stream's score after the update, or at its last alarm in it where it alarmed; NaN
    where there is none yet. `reasons` says in numbers why, as it was before the stream started afresh. A score reaches
    its limit exactly when there is an alarm. `ids` names the streams where they are not simply 0, 1, 2, ….
    """

    stream: Ints  # (m,)
    position: Ints  # (m,) index in that stream since init
    level: NDArray[np.int8]  # (m,)
    score: Floats  # (m,)
    limit: Floats  # (m,)
    reasons: tuple[dict[str, float], ...]  # m of them
    evidence: Floats  # (streams,)
    ids: Ints | None = None  # (streams,) ascending

    @classmethod
    def of(cls, found: Sequence[Verdict], scores: Floats) -> "Verdicts":
        """Pack verdicts, in arrival order, and the scores after the update, (streams,), which it may keep."""
        evidence = scores.copy() if found else scores
        for verdict in found:
            if verdict.level is Level.ALARM:
                evidence[verdict.stream] = verdict.score
        return cls(
            np.array([v.stream for v in found], np.int64),
            np.array([v.position for v in found], np.int64),
            np.array([v.level for v in found], np.int8),
            np.array([v.score for v in found], np.float64),
            np.array([v.limit for v in found], np.float64),
            tuple(v.evidence for v in found),
            evidence,
        )

    @property
    def streams(self) -> int:
        """How many streams are watched."""
        return len(self.evidence)

    @property
    def alarm(self) -> Bools:
        """Shape (streams,): which streams raised an alarm in this update."""
        raised = np.zeros(self.streams, np.bool_)
        raised[self.rows[self.level == Level.ALARM]] = True
        return raised

    @property
    def rows(self) -> Ints:
        """Shape (m,): the place of each verdict's stream in the columns over streams."""
        return self.stream if self.ids is None else np.searchsorted(self.ids, self.stream)

    def at_alarms(self, scores: Floats, said: Floats | None = None) -> Floats:
        """Return these scores, (streams,), with the one at its first alarm where a stream raised one in this update.

        Or with something else that the verdicts `said`, (m,), in place of the score.
        """
        backwards, merged = np.flatnonzero(self.level == Level.ALARM)[::-1], scores.copy()
        merged[self.rows[backwards]] = (self.score if said is None else said)[backwards]
        return merged

    def __len__(self) -> int:
        return len(self.stream)

    def __iter__(self) -> Iterator[Verdict]:
        columns = (self.stream.tolist(), self.position.tolist(), self.level.tolist())
        for (stream, position, level), score, limit, why in zip(
            zip(*columns, strict=True), self.score.tolist(), self.limit.tolist(), self.reasons, strict=True
        ):
            yield Verdict(stream, position, Level(level), score, limit, why)


def first_alarms(scores: Floats, verdicts: Verdicts | None, spent: Bools | None) -> Floats:
    """Return scores that are evidence up to the first alarm, as it, and 0 for the streams that are `spent`."""
    merged = scores if verdicts is None else verdicts.at_alarms(scores)
    return merged if spent is None else np.where(spent, 0.0, merged)
