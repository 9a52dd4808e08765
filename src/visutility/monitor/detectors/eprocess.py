"""The guaranteed detector: a rise of the mean, with nothing known before and a baseline that grows.

The e-SR procedure of Shin, Ramdas & Rinaldo (2024), "E-detectors: a nonparametric framework for sequential change
detection", NEJSDS 2(2), Definition 2.6, where the unknown mean is dealt with by universal inference (Wasserman, Ramdas
& Balakrishnan 2020, PNAS 117(29), section 7): all values since a base are weighed against the single mean that fits
them best. `docs/detector-eprocess.md` has the theorem and its proof.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, final

import numpy as np
from scipy import special

from visutility.core.errors import InvalidObservation, InvalidSetting
from visutility.monitor import large, universal
from visutility.monitor.blocks import BLOCK, Closed, Singles, block_sums, dense, from_unit, on_grid, ragged
from visutility.monitor.detector import AbstractDetector, Level, Values, Verdict, Verdicts
from visutility.monitor.loops import ENOUGH, Loops, compiled
from visutility.monitor.ranges import ends, scaled, unscaled
from visutility.monitor.state import MANY, VAST, Bools, Floats, Ints, agree, between, join, put, take
from visutility.monitor.universal import BETS, TILTS, EProcessState
from visutility.monitor.verdicts import first_alarms

_PIECE = 32_768  # streams at a time: their evidence fits the cache
_DENSE = 8  # where more than one stream in so many has closed a block, all are gone through: copying costs more


@final
@dataclass(frozen=True, slots=True)
class EProcess(AbstractDetector[EProcessState]):
    """Alarm when bets that the mean has risen have won `arl` times the stake, whatever the mean was before.

    For values in [`low`, `high`], rounded to 1/4096 of that range. Decides at the end of every 32 values of a stream.
    Learns its baseline from all values so far, so that it needs no reference window, and gains from one. An alarm has
    probability at most T / `arl` within the first T values, as long as the mean of each value given those before it
    stays what it is. 112 bytes a stream. Least for values that are 0 or 1; it sees a change of other values too, but
    takes them to vary as much as 0/1 values would.
    """

    arl: float = 1e6
    low: float | None = 0.0
    high: float | None = 1.0

    name: ClassVar[str] = "eprocess"
    state_type: ClassVar[type[EProcessState]] = EProcessState
    smallest_reference: ClassVar[int] = BLOCK

    def __post_init__(self) -> None:
        AbstractDetector.__post_init__(self)
        ends(self)
        if not 1.0 < self.arl <= 1e12:
            raise InvalidSetting(
                f"arl {self.arl!r} is not in (1, 1e12]", hint="an alarm within T values has probability T / arl"
            )

    def promise(self, reference_size: int) -> str:
        """Return the theorem in words."""
        learnt = f"a reference window of {reference_size} values" if reference_size else "no reference window"
        return (
            f"After {learnt}: for each mean that the values may have, as long as the mean of each value given the past "
            f"is that one, a false alarm within any T values has probability at most T/{self.arl:g}, for any "
            f"distribution on [{self.low:g}, {self.high:g}], dependent or not, however often it is read. A theorem; "
            f"the mean is learnt from the same values, and its error is counted."
        )

    def oriented(self, values: Floats) -> Floats:
        """Return the values scaled to [0, 1], larger is worse."""
        return scaled(self, values)

    def fresh(self, n: int) -> EProcessState:
        """Return streams of which nothing is known."""
        return universal.fresh(n)

    def learn(self, references: Sequence[Floats]) -> EProcessState:
        """Return streams whose baseline is the whole blocks of their reference windows."""
        parts = []
        for window in references:
            one = self.fresh(1)
            units = window.astype(np.float32)
            on_grid(units)
            blocks = len(units) // BLOCK
            for sums in block_sums(units[: blocks * BLOCK], np.empty((blocks, 1, 1), np.float32)):
                universal.add(one, sums)
                universal.refresh(one)
            universal.keep(one)
            parts.append(one)
        return join(parts)

    def absorb(self, work: EProcessState, values: Values, ids: Ints | None) -> Verdicts:
        """Take a batch into the state, in place."""
        loops = compiled() if values.size >= ENOUGH else None
        if loops is not None:
            return self._large(loops, work, values, ids)
        if ids is not None:
            return self._ragged(work, values, ids)
        try:
            closed, part = dense(values, work.seen, work.part, self._unit)
        except InvalidObservation:
            self.checked(values)  # says which of all values it is, not which of a piece
            raise
        before = work.seen if len(closed) == 0 else work.seen.copy()
        work.seen[:] += values.shape[1]
        work.part[:] = part
        found = [verdict for one in closed for verdict in self._closed(work, one, before)]
        found.sort(key=lambda verdict: (verdict.position - before[verdict.stream], verdict.stream))
        return Verdicts.of(found, self.scores(work))

    def restart(self, work: EProcessState, row: int) -> None:
        """Drop what the bets have won and go back to the baseline that was kept; the open block stays."""
        part = take(work, np.array([row]))
        universal.go_back(part)
        put(work, np.array([row]), part)

    def check(self, state: EProcessState) -> None:
        """Refuse what no stream comes to."""
        agree((state.part >= 0.0) & (state.part <= (state.seen & (BLOCK - 1))), "a sum that no open block has")
        between(state, 0, 2**31 - 1, "blocks", "due", "base_blocks", "kept_blocks")
        between(state, 0, MANY, "total", "base_total", "kept_total")
        between(state, 1e-13, 1.0 - 1e-13, "rate")
        between(state, -VAST, VAST, "fit", "kept_fit")
        between(state, 0, 3e38, "wealth", "regret")
        between(state, 0, 1, "scale")
        agree(state.due > state.blocks, "a rate that should have moved on")
        agree((state.base_blocks <= state.kept_blocks) & (state.kept_blocks <= state.blocks), "a base that is to come")
        for blocks, sums in ((state.blocks, state.total), (state.kept_blocks, state.kept_total)):
            total = sums - state.base_total
            rest = (blocks - state.base_blocks) * float(BLOCK) - total
            agree((total >= 0.0) & (rest >= 0.0), "more than all values")

    def scores(self, state: EProcessState) -> Floats:
        """Return what the bets have won, from 0 to `arl`, less the regret when last looked at."""
        return self._score(universal.won(state), state.regret)

    def settled(self, state: EProcessState, verdicts: Verdicts | None = None, spent: Bools | None = None) -> Floats:
        """Return the scores less the regret that there is now, as at an alarm: what the theorem is about.

        What follows an alarm is no evidence: the baseline that is gone back to was chosen by the alarm.
        """
        return first_alarms(self.scores(replace(state, regret=universal.regret(state))), verdicts, spent)

    def evidence(self, state: EProcessState, stream: int = 0) -> dict[str, float]:
        """Return the score, the baseline, and the mean that the bet which has won most is best against."""
        one = take(state, np.array([stream]))
        return self._reasons(one, one.seen - 1, self.scores(one))[0]

    def learnt(self, state: EProcessState, stream: int = 0) -> dict[str, float]:
        """Return the size and mean of the baseline, and the mean that bets are placed against."""
        one = take(state, np.array([stream]))
        why = self._reasons(one, one.seen, self.scores(one))[0]
        return {name: why[name] for name in ("baseline_size", "baseline_mean", "baseline_rate")}

    def _large(self, loops: Loops, work: EProcessState, values: Values, ids: Ints | None) -> Verdicts:
        """Take a batch of many values into the state."""
        if values.dtype == np.float32 and self._plain():
            units = np.require(values, requirements=("C", "A", "W"))
        else:
            units = np.empty(values.shape, np.float32)
            self._unit(values, units)
        least = np.float32(BETS * self.arl)
        try:
            if ids is None:
                found, scores = large.dense(loops, work, units, least, self._special)
            else:
                ids = np.require(ids, requirements=("C", "A", "W"))
                found, scores = large.ragged(loops, work, units, ids, least, self._special)
        except InvalidObservation:
            self.checked(values)  # says which it is
            raise
        return Verdicts.of(found, scores)

    def _special(self, work: EProcessState, position: Ints) -> list[Verdict]:
        """Look at rows that have just taken blocks that ended at these positions; move the rates on that are due."""
        rows, score = self._look(work, universal.won(work), np.empty((0, len(position)), np.float32), None)
        found = self._alarm(work, rows, position[rows], score, 0) if len(rows) else []
        universal.refresh(work)
        return found

    def _ragged(self, work: EProcessState, values: Values, ids: Ints) -> Verdicts:
        units = np.empty(len(values), np.float32)
        self._unit(values, units)
        rows: Ints | None = None
        places = ids
        if 4 * len(ids) < len(work.seen):
            rows, places = np.unique(ids, return_inverse=True)
        seen, part = (work.seen, work.part) if rows is None else (work.seen[rows], work.part[rows])
        closed, counts, after = ragged(units, places, seen & (BLOCK - 1), part)
        before = work.seen if len(closed) == 0 else work.seen.copy()
        if rows is None:
            work.seen[:] += counts
            work.part[:] = after
        else:
            work.seen[rows] += counts
            work.part[rows] = after
            closed = [Closed(rows[one.rows], one.sums) for one in closed]
        found = [verdict for one in closed for verdict in self._closed(work, one, before)]
        return Verdicts.of(_in_order(found, ids, before), self.scores(work))

    def _closed(self, work: EProcessState, closed: Closed, before: Ints) -> list[Verdict]:
        """Take closed blocks of some rows; the verdicts on them."""
        rows, sums, total = closed.rows, closed.sums, len(work.seen)
        found: list[Verdict] = []
        room = np.empty((BETS, min(_PIECE, total)), np.float32)
        if isinstance(rows, slice) or _DENSE * len(rows) > total:
            mask = None
            if not isinstance(rows, slice):
                mask, some, sums = np.zeros(total, np.bool_), sums, np.zeros((total, sums.shape[1]), np.float32)
                mask[rows], sums[rows] = True, some
            for first in range(0, total, _PIECE):
                piece = slice(first, min(first + _PIECE, total))
                where = None if mask is None else mask[piece]
                part, columns = universal.view(work, piece), np.ascontiguousarray(sums[piece].T)
                found += self._close(part, columns, before[piece], first, where, room[:, : len(part.seen)])
        else:
            part, columns = take(work, rows), np.ascontiguousarray(sums.T)
            said = self._close(part, columns, before[rows], 0, None, np.empty_like(part.wealth))
            put(work, rows, part)
            found = [verdict._replace(stream=int(rows[verdict.stream])) for verdict in said]
        return found

    def _close(
        self, work: EProcessState, sums: Singles, before: Ints, first: int, mask: Bools | None, room: Singles
    ) -> list[Verdict]:
        """Advance all rows, or those of the mask, by n blocks, sums (n, r), in place; the alarms.

        `before` (r,) is how many values each row had seen before the batch, `first` the number of the first row, and
        `room` (k, r) to work in.
        """
        found: list[Verdict] = []
        least, at = np.float32(BETS * self.arl), 0
        while at < len(sums):
            wait = int((work.due - work.blocks).min())
            gap = min(len(sums) - at, wait, 256)
            for step in range(at, at + gap):
                universal.bet(work, sums[step], room, mask)
                total = universal.won(work, room[:2])
                if total.max() < least:
                    continue
                rows, score = self._look(work, total, sums[at : step + 1], mask)
                if len(rows):
                    gap = step + 1 - at
                    universal.add(work, sums[at : at + gap], mask)
                    found += self._alarm(work, rows, (before[rows] // BLOCK + step + 1) * BLOCK - 1, score, first)
                    break
            else:
                universal.add(work, sums[at : at + gap], mask)
            at += gap
            if gap == wait:
                universal.refresh(work)
        return found

    def _look(self, work: EProcessState, total: Singles, sums: Singles, mask: Bools | None) -> tuple[Ints, Floats]:
        """Return the rows that have an alarm, and their scores: what was won less what the best single mean explains.

        `total` (r,) is what the bets have won, `sums` (n, r) the blocks that are not in the baseline yet.
        """
        rows = np.flatnonzero(total >= np.float32(BETS * self.arl))
        rows = rows if mask is None else rows[mask[rows]]
        lost = universal.regret(work, rows, sums[:, rows])
        work.regret[rows] = lost
        work.wealth[:, rows] = np.minimum(work.wealth[:, rows], universal.MOST)
        score = self._score(np.minimum(total[rows], np.float32(BETS) * universal.MOST), lost)
        return rows[score >= self.arl], score[score >= self.arl]

    def _alarm(self, work: EProcessState, rows: Ints, position: Ints, score: Floats, first: int) -> list[Verdict]:
        """Return the verdicts on these rows, and have them start afresh."""
        part = take(work, rows)
        why = self._reasons(part, position, score)
        universal.go_back(part)
        put(work, rows, part)
        columns = (rows + first).tolist(), position.tolist(), score.tolist(), why
        return [Verdict(r, p, Level.ALARM, s, self.arl, w) for r, p, s, w in zip(*columns, strict=True)]

    def _score(self, total: Singles, lost: Singles) -> Floats:
        score: Floats = (total * np.float32(1.0 / BETS) * np.exp(-lost)).astype(np.float64)
        return score

    def _reasons(self, part: EProcessState, position: Ints, score: Floats) -> list[dict[str, float]]:
        size = part.blocks * float(BLOCK)
        best = special.expit(special.logit(part.rate) + TILTS[np.argmax(part.wealth, axis=0)])
        columns = {
            "position": position.astype(np.float64),
            "score": score,
            "limit": np.full(len(score), self.arl),
            "bet_mean": unscaled(self, best),
            "baseline_size": size,
            "baseline_mean": unscaled(self, part.total / np.maximum(size, 1.0)),
            "baseline_rate": unscaled(self, part.rate),
            "regret": part.regret.astype(np.float64),
        }
        rows = zip(*(column.tolist() for column in columns.values()), strict=True)
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def _unit(self, values: Values, out: Singles) -> None:
        """Check a piece of values and write them scaled to [0, 1], larger is worse, on the grid."""
        if self._plain():
            if not from_unit(values, out):
                self.checked(values)
        elif not from_unit(self.oriented(self.checked(values)), out):
            out.clip(0.0, 1.0, out=out)

    def _plain(self) -> bool:
        """Whether values need no scaling."""
        return ends(self) == (0.0, 1.0) and self.direction == "rise"


def _in_order(found: list[Verdict], ids: Ints, before: Ints) -> list[Verdict]:
    """Return verdicts in the order in which the values arrived that closed their blocks."""
    if len(found) < 2:
        return found
    alarmed = np.zeros(len(before), np.bool_)
    alarmed[[verdict.stream for verdict in found]] = True
    places = np.flatnonzero(alarmed[ids])
    named = ids[places]
    by_stream = np.argsort(named, kind="stable")
    starts = np.searchsorted(named[by_stream], [verdict.stream for verdict in found])
    offsets = starts + [verdict.position - int(before[verdict.stream]) for verdict in found]
    return [found[at] for at in np.argsort(places[by_stream[offsets]], kind="stable").tolist()]
