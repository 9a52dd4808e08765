"""Which of many streams may be reported, at most a stated share of them falsely, whatever ties the streams together.

The e-BH procedure (Wang & Ramdas 2022, "False discovery rate control with e-values", JRSS B 84(3)) on one e-process a
stream, made from the scores of an e-detector. `docs/many-streams.md` has the promise and its proof.
"""

import math
from dataclasses import asdict, dataclass
from typing import final

import numpy as np
from numpy.typing import ArrayLike

from visutility.core import codec
from visutility.core.errors import Invalid, InvalidObservation, InvalidSetting, StreamNotFound
from visutility.monitor.state import Bools, Floats, Ints, StreamState, arrays, copy, streams

FORMAT = 1


def e_bh(evidence: ArrayLike, level: float, *, logs: bool = False) -> Bools:
    """Return which hypotheses are rejected, shape (n,), given one e-value each (or its natural logarithm, `logs`).

    Wang & Ramdas (2022): with k the largest number such that k hypotheses have e-values of at least
    n / (level k), reject these. The expected share of false ones among the rejected is at most `level` times the share
    of true null hypotheses, for any dependence between the e-values. O(n log n). Raises `InvalidSetting` for a level
    outside (0, 1) and `InvalidObservation` for an e-value that is NaN or negative.
    """
    if not 0.0 < level < 1.0:
        raise InvalidSetting(f"level {level!r} is not in (0, 1)", hint="0.05: on average at most 5 % reported falsely")
    values = np.asarray(evidence, np.float64)
    wrong = np.isnan(values) | (False if logs else values < 0.0)
    if values.ndim != 1 or wrong.any():
        raise InvalidObservation(f"evidence of shape {values.shape} is no e-value each", hint="pass (n,) of 0 or more")
    n = len(values)
    limits = n / (level * np.arange(1, n + 1))
    if logs:
        limits = np.log(limits)
    enough = np.flatnonzero(np.sort(values)[::-1] >= limits)
    return np.asarray(values >= limits[enough[-1]] if len(enough) else np.zeros(n, np.bool_))


@dataclass(frozen=True, slots=True)
class EvidenceState(StreamState):
    """One e-process a stream; `seen` counts the values in it."""

    score: Floats  # (s,) the detector's score when last seen; NaN: it alarmed, its score is not known
    log_e: Floats  # (s,) natural logarithm of the e-process; -inf before the first values


@final
@dataclass(frozen=True, slots=True, eq=False)
class Discoveries:
    """What may be reported now. A reported stream has `log_evidence` of at least `needed`."""

    reported: Bools  # (s,)
    log_evidence: Floats  # (s,) natural logarithm of each stream's e-value
    needed: float  # natural logarithm of n / (level k): what each of the k reported has, or what the first would need


@final
@dataclass(frozen=True, slots=True)
class StreamFDR:
    """Report streams so that on average at most `level` of what is reported at any moment is reported falsely.

    A report is false when the stream has not been worse than its reference since it was last restarted. The scores
    S have to be those of an e-detector: S >= 0, and the mean of the next one given the past at most S + 1 while the
    stream is no worse (`eprocess`, `e-detector`). From scores before and after n values, F = S' / (S + n) has mean at
    most 1, and Z <- (Z + w) F is an e-process for any shares w that sum to at most 1 over a stream's life; half of
    them are spent by the time a stream is `horizon` values old, and the rest never runs out.

    Unlike a mean run length this does not wear off: while no stream is worse, the probability that any is reported,
    ever, is at most `level`. It needs that the number of values in an update is not chosen by their size. 24 bytes a
    stream.
    """

    level: float = 0.05
    horizon: float = 10_000.0

    def __post_init__(self) -> None:
        if not 0.0 < self.level < 1.0:
            raise InvalidSetting(f"level {self.level!r} is not in (0, 1)", hint="0.05: at most 5 % reported falsely")
        if not 1.0 <= self.horizon < math.inf:
            raise InvalidSetting(f"horizon {self.horizon!r} is not 1 or more", hint="give the usual age of a stream")

    def init(self, n: int) -> EvidenceState:
        """Return the state of `n` streams whose detector has just been started."""
        if n < 1:
            raise InvalidSetting(f"{n!r} streams", hint="watch at least one")
        return EvidenceState(np.zeros(n, np.int64), np.zeros(n), np.full(n, -math.inf))

    def update(
        self, state: EvidenceState, scores: ArrayLike, values: ArrayLike, alarm: ArrayLike | None = None
    ) -> tuple[EvidenceState, Discoveries]:
        """Take each stream's score (s,) and how many values went into it since the last update: one number, or (s,).

        `scores` and `alarm` are `evidence` and `alarm` of the detector's `Verdicts`: the score at the alarm where one
        was raised, after which the detector starts afresh but the evidence here goes on. A detector that decides at
        the ends of blocks counts a block's values when it ends: see `whole_blocks`. Raises `InvalidObservation` for
        scores that are not finite or negative, for another number of streams and for negative counts.
        """
        n = streams(state)
        score, raised = np.asarray(scores, np.float64), np.zeros(n, np.bool_)
        if alarm is not None:
            raised = np.asarray(alarm, np.bool_)
        count = np.asarray(values)
        if score.shape != (n,) or raised.shape != (n,) or count.shape not in ((), (n,)):
            raise InvalidObservation(
                f"scores {score.shape}, alarm {raised.shape} and values {count.shape} for {n} streams",
                hint="pass one score a stream, in the order of their rows",
            )
        if not (np.isfinite(score) & (score >= 0.0)).all() or (count < 0).any() or count.dtype.kind not in "iu":
            raise InvalidObservation(
                "a score is negative or not finite, or a count is not a whole number of 0 or more",
                hint="use the scores of an e-detector, such as eprocess, and how many values went into each",
            )
        after = copy(state)
        taken = np.broadcast_to(count, (n,)).astype(np.int64)
        self._bet(after, score, taken)
        after.score[:] = np.where(raised, math.nan, np.where(taken > 0, score, after.score))
        return after, self.report(after)

    def report(self, state: EvidenceState) -> Discoveries:
        """Return which streams may be reported now."""
        n = streams(state)
        reported = e_bh(state.log_e, self.level, logs=True)
        needed = math.log(n / (self.level * max(int(reported.sum()), 1)))
        return Discoveries(reported, state.log_e.copy(), needed)

    def restart(self, state: EvidenceState, rows: ArrayLike) -> EvidenceState:
        """Forget the evidence on these streams: their model was mended. Their ages go on, and so does the promise.

        Call it when the streams' detector starts afresh. Raises `StreamNotFound` for a row that there is not.
        """
        at: Ints = np.asarray(rows, np.int64).reshape(-1)
        if ((at < 0) | (at >= streams(state))).any():
            raise StreamNotFound(f"rows {at.tolist()[:5]} name no stream", hint=f"there are {streams(state)}, from 0")
        after = copy(state)
        after.log_e[at] = -math.inf
        after.score[at] = math.nan
        return after

    def save(self, state: EvidenceState) -> bytes:
        """Return the state, with these settings, as bytes that `load` takes."""
        label = np.frombuffer(codec.dumps(asdict(self)).encode(), np.uint8)
        return codec.pack_arrays({"settings": label, **arrays(state)}, version=FORMAT)

    def load(self, data: bytes) -> EvidenceState:
        """Return exactly the state that `save` was given. Raises `Invalid` for other bytes and other settings."""
        version, packed = codec.unpack_arrays(data)
        label = packed.pop("settings", np.zeros(0, np.uint8)).tobytes().decode(errors="replace")
        if version != FORMAT or label != codec.dumps(asdict(self)) or set(packed) != {"seen", "score", "log_e"}:
            raise Invalid(
                f"evidence of {label or 'no settings'}, format {version}, was given to {codec.dumps(asdict(self))}",
                hint="load it with the settings that saved it, or start again with init",
            )
        return EvidenceState(**packed)

    def _bet(self, state: EvidenceState, score: Floats, taken: Ints) -> None:
        """Advance Z <- (Z + w) S' / (S + n), in logarithms and in place, where there are values and S is known."""
        known = (taken > 0) & np.isfinite(state.score)
        age, count, last = state.seen[known], taken[known], state.score[known]
        scale = self.horizon / (math.e - 1.0)
        before, grown = np.log1p(age / scale), np.log1p(count / (scale + age))
        share = grown / ((1.0 + before) * (1.0 + before + grown))  # of 1 - 1 / (1 + log(1 + age / scale)), the spent
        with np.errstate(divide="ignore"):
            factor = np.log(score[known]) - np.log(last + count)
        state.log_e[known] = np.logaddexp(state.log_e[known], np.log(share)) + factor
        state.seen[:] += taken


def whole_blocks(seen: ArrayLike, block: int) -> Ints:
    """Return how many of each stream's `seen` values are in whole blocks: those that its score has taken in.

    `StreamFDR.update` takes the difference of two of these: a score that waits for the end of a block says nothing
    about the values since.
    """
    if block < 1:
        raise InvalidSetting(f"block {block!r} is not 1 or more", hint="give the detector's block, in values")
    return np.asarray(seen, np.int64) // block * block
