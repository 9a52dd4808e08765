"""Evidence that a mean has risen, weighed against the single mean that explains all values best.

The arithmetic of `detectors/eprocess.py`, over the columns of a state and in place. `docs/detector-eprocess.md` has the
equations by number, and the theorem.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visutility.monitor.blocks import BLOCK, Singles
from visutility.monitor.state import Bools, Floats, Ints, StreamState, arrays, put, take

BETS = 4
TILTS = 0.3 * 2.0 ** np.arange(BETS)  # how far each bet's mean is above the baseline, in log-odds
TILT = np.float32(TILTS[0])
_EXCESS = np.exp(TILTS)[:, None].astype(np.float32) - np.float32(1.0)
_SAFE = np.float32(1.0 - 4e-5)  # more than float32 can add to a factor
_PIECE = 4096  # rows at a time, where much arithmetic is done on each
_LAST = 2**31 - 1  # blocks: what int32 holds
_VALUES = np.float32(BLOCK)
_TINY = 1e-300
_ONES, _ZEROS = 4.0, 0.5  # put before the baseline: with less than four ones, a breakdown after none could be missed
MOST = np.float32(1e30)  # winnings above this are cut, before a further block could carry them past all bounds

ALL = slice(None)

Counts = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class EProcessState(StreamState):
    """Rows of k = 4 bets; 112 bytes a stream. Oriented units: values in [0, 1], larger is worse.

    The baseline is what was learnt from whole blocks. `fit` is the log-likelihood of its values since the base, each
    under the rate that was used for it, less what they have under `rate`, so that it changes with `rate` alone.
    """

    part: Singles  # (s,) sum of the open block
    blocks: Counts  # (s,) int32: blocks in the baseline
    total: Floats  # (s,) their sum
    rate: Floats  # (s,) the mean that bets are placed against
    fit: Floats  # (s,)
    due: Counts  # (s,) int32: blocks at which `rate` moves on
    base_blocks: Counts  # (s,) int32: blocks before the base
    base_total: Floats  # (s,) their sum
    kept_blocks: Counts  # (s,) int32: blocks in the baseline that is gone back to after an alarm, the next base
    kept_total: Floats  # (s,) their sum
    kept_fit: Floats  # (s,) log-likelihood of the values from the base on
    wealth: Singles  # (k, s) M of each bet
    scale: Singles  # (k, s) exp(-32 log(1 + rate (e^tilt - 1))): the mean of a factor is at most 1
    regret: Singles  # (s,) what the best single mean has over `rate`s, when last looked at, 0 or more


def fresh(n: int) -> EProcessState:
    """Return streams of which nothing is known."""
    rate = np.full(n, 0.5)
    zero, none = np.zeros((5, n)), np.zeros((3, n), np.int32)
    return EProcessState(
        seen=np.zeros(n, np.int64),
        part=np.zeros(n, np.float32),
        blocks=none[0],
        total=zero[0],
        rate=rate,
        fit=zero[1],
        due=np.ones(n, np.int32),
        base_blocks=none[1],
        base_total=zero[2],
        kept_blocks=none[2],
        kept_total=zero[3],
        kept_fit=zero[4],
        wealth=np.zeros((BETS, n), np.float32),
        scale=_scale(rate),
        regret=np.zeros(n, np.float32),
    )


def view(work: EProcessState, rows: slice) -> EProcessState:
    """Return the state of consecutive rows; its arrays are the state's own."""
    return EProcessState(**{name: array[..., rows] for name, array in arrays(work).items()})


def bet(work: EProcessState, sums: Singles, factor: Singles, mask: Bools | None) -> None:
    """Take a closed block of every row, or of those of the mask: equation (2). `factor` (k, s) is room to work in.

    M <- (M + 32) exp(tilt S) scale, for each bet; the tilts double, so that one power gives all.
    """
    np.multiply(sums, TILT, out=factor[0])
    np.exp(factor[0], out=factor[0])
    for at in range(1, BETS):
        np.multiply(factor[at - 1], factor[at - 1], out=factor[at])
    np.multiply(factor, work.scale, out=factor)
    if mask is None:
        np.add(work.wealth, _VALUES, out=work.wealth)
        with np.errstate(over="ignore"):  # infinite winnings are cut to `MOST` as soon as they are looked at
            np.multiply(work.wealth, factor, out=work.wealth)
    else:
        with np.errstate(over="ignore"):
            np.multiply(work.wealth + _VALUES, factor, out=factor)
        np.copyto(work.wealth, factor, where=mask)


def won(work: EProcessState, room: Singles | None = None) -> Singles:
    """Return the sum of the winnings over the four bets, always added in the same order; in the first row of room."""
    with np.errstate(over="ignore"):  # as in `bet`
        total: Singles = np.add(work.wealth[0], work.wealth[1], out=None if room is None else room[0])
        total += work.wealth[2]
        total += work.wealth[3]
    return total


def add(work: EProcessState, sums: Singles, mask: Bools | None = None) -> None:
    """Grow the baseline by closed blocks, sums (n, s), n at most 256, of every row or of those of the mask."""
    work.total[:] += np.add.reduce(sums, axis=0, dtype=np.float64)
    blocks = np.int32(len(sums))
    work.blocks[:] += blocks if mask is None else mask.astype(np.int32) * blocks


def refresh(work: EProcessState) -> None:
    """Move the rates on of the rows that are due."""
    ripe = work.due == work.blocks
    if ripe.all():
        for first in range(0, len(ripe), _PIECE):
            _move_on(view(work, slice(first, first + _PIECE)))
    elif ripe.any():
        rows = np.flatnonzero(ripe)
        part = take(work, rows)
        _move_on(part)
        put(work, rows, part)


def keep(work: EProcessState) -> None:
    """Make the baseline as it is the one to go back to, and go back to it."""
    work.kept_fit[:] = fit(work)
    work.kept_blocks[:], work.kept_total[:] = work.blocks, work.total
    go_back(work)


def go_back(work: EProcessState) -> None:
    """Start without winnings from the baseline that was kept."""
    work.wealth[:] = 0.0
    work.blocks[:], work.total[:] = work.kept_blocks, work.kept_total
    work.due[:] = np.where(
        work.blocks < 1, 1, np.minimum(np.exp2(np.floor(np.log2(np.maximum(work.blocks, 1))) + 1.0), _LAST)
    )
    _set_rate(work, work.kept_fit)


def fit(work: EProcessState) -> Floats:
    """Return the log-likelihood of the values since the base, each under the rate that it was bet against."""
    total, rest = _since_base(work)
    found: Floats = work.fit + _under(work.rate, total, rest)
    return found


def regret(work: EProcessState, rows: Ints | slice = ALL, sums: Singles | None = None) -> Singles:
    """Return by how much the best single mean explains the values since the base better than the rates did: (3).

    Of these rows, together with closed blocks, sums (n, r), that are not in the baseline yet.
    """
    total = work.total[rows] - work.base_total[rows]
    blocks = work.blocks[rows] - work.base_blocks[rows]
    if sums is not None:
        total += np.add.reduce(sums, axis=0, dtype=np.float64)
        blocks += np.int32(len(sums))
    rest = blocks * float(BLOCK) - total
    return _regret(work.fit[rows] + _under(work.rate[rows], total, rest), total, rest)


def _move_on(work: EProcessState) -> None:
    """Bet against the mean of all blocks so far from now on; move the base where enough has come since: (3), (4).

    Rates move at 1, 2, 4, 8, … blocks; the base at four times the blocks of the next one.
    """
    now = fit(work)
    far = (work.blocks >= np.int64(4) * work.kept_blocks) & (work.blocks >= 4)
    if far.any():
        kept = work.kept_total - work.base_total
        rest = (work.kept_blocks - work.base_blocks) * float(BLOCK) - kept
        work.wealth[:] *= np.where(far, np.exp(-_regret(work.kept_fit, kept, rest)), np.float32(1.0))
        now -= np.where(far, work.kept_fit, 0.0)
        for target, source in (
            (work.base_blocks, work.kept_blocks),
            (work.base_total, work.kept_total),
            (work.kept_blocks, work.blocks),
            (work.kept_total, work.total),
            (work.kept_fit, now),
        ):
            np.copyto(target, source, where=far)
    work.due[:] = np.minimum(work.due.astype(np.int64) * 2, _LAST)
    _set_rate(work, now)


def _set_rate(work: EProcessState, now: Floats) -> None:
    """Bet against the mean of the baseline and of what is put before it: (1); values since the base fit `now`."""
    total, rest = _since_base(work)
    np.divide(work.total + _ONES, work.blocks * float(BLOCK) + (_ONES + _ZEROS), out=work.rate)
    np.subtract(now, _under(work.rate, total, rest), out=work.fit)
    work.scale[:] = _scale(work.rate)
    work.regret[:] = _regret(now, total, rest)


def _since_base(work: EProcessState) -> tuple[Floats, Floats]:
    """Return the sum of the values since the base, and of what they lack to 1."""
    total = work.total - work.base_total
    return total, (work.blocks - work.base_blocks) * float(BLOCK) - total


def _under(rate: Floats, total: Floats, rest: Floats) -> Floats:
    under: Floats = total * np.log(rate) + rest * np.log(1.0 - rate)
    return under


def _regret(fit: Floats, total: Floats, rest: Floats) -> Singles:
    size = np.maximum(total + rest, 1.0)
    best = total * np.log(np.maximum(total / size, _TINY)) + rest * np.log(np.maximum(rest / size, _TINY))
    return np.asarray(np.maximum(best - fit, 0.0), np.float32)


def _scale(rate: Floats) -> Singles:
    """Return exp(-32 log(1 + rate (e^tilt - 1))) of each bet, shape (k, s), a little less for rounding."""
    mean: Singles = np.multiply(rate.astype(np.float32), _EXCESS)
    mean += np.float32(1.0)
    for _ in range(5):  # to the 32nd
        np.multiply(mean, mean, out=mean)
    return np.divide(_SAFE, mean, out=mean)
