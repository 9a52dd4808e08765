"""Which of many streams may be reported, at most a stated share of them falsely, whatever ties the streams together.

The e-BH procedure (Wang & Ramdas 2022, "False discovery rate control with e-values", JRSS B 84(3)) on one e-process a
stream, made from the scores of an e-detector. `docs/many-streams.md` has the promise and its proof.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visutility.core import codec
from visutility.core.errors import Invalid, InvalidObservation, InvalidSetting, StreamNotFound
from visutility.monitor.state import MANY, Bools, Floats, Ints, StreamState, arrays, copy, streams

FORMAT = 1
_OLDEST = 2**62  # values of a stream


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


def row_numbers(rows: ArrayLike) -> Ints:
    """Return numbers of rows, flat. Raises `InvalidObservation` for what are none: a mask, say, or fractions."""
    listed = np.asarray(rows)
    if listed.size and listed.dtype.kind not in "iu":
        raise InvalidObservation(
            f"rows of type {listed.dtype} are no row numbers", hint="whole numbers; of a mask, numpy.flatnonzero(mask)"
        )
    return listed.astype(np.int64).reshape(-1)


@dataclass(frozen=True, slots=True)
class EvidenceState(StreamState):
    """One e-process a stream; `seen` counts its values, also those before a restart."""

    since: Ints  # (s,) values since the update before the detector's last alarm, or since the start
    bank: Floats  # (s,) natural logarithm of the e-value at that alarm; -inf: there was none
    log_e: Floats  # (s,) natural logarithm of the e-value; -inf where there is no evidence


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
    S have to be those of an e-SR detector (`e-detector`; `settled` of `eprocess`): at most a sum, over all starting
    points j, of processes that start at 1 and whose mean never rises while the stream is no worse. Then w(n) S is an
    e-process for any falling density w of a stream's age n; here w(n) = 1 / ((h + n) (1 + log(1 + n / h))^2), which has
    half its mass before n = `horizon`. Where the detector alarms and starts afresh, half of the evidence is put on what
    comes.

    Unlike a mean run length this does not wear off: while no stream is worse, the probability that any is reported,
    ever, is at most `level`. Evidence grows no further than a detector's `arl` lets it: give that 1e12. 32 bytes a
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
        none = np.full(n, -math.inf)
        return EvidenceState(np.zeros(n, np.int64), np.zeros(n, np.int64), none, none.copy())

    def update(
        self, state: EvidenceState, scores: ArrayLike, values: ArrayLike, alarm: ArrayLike | None = None
    ) -> tuple[EvidenceState, Discoveries]:
        """Take each stream's score (s,) and how many values it had since the last update: one number, or (s,).

        `scores` and `alarm` are `evidence` and `alarm` of the detector's `Verdicts`: the score at the alarm where one
        was raised. Raises `InvalidObservation` for scores that are not finite or negative, for another number of
        streams and for negative counts.
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
        whole = count.dtype.kind in "iu" and not ((count < 0) | (count > MANY)).any()
        if not whole or not (np.isfinite(score) & (score >= 0.0)).all():
            raise InvalidObservation(
                "a score is negative or not finite, or a count is not a whole number of 0 or more",
                hint="use the scores of an e-detector, such as eprocess, and how many values each stream had",
            )
        count = count.astype(np.int64)  # with unsigned ones sums would be floats
        seen, since = state.seen + count, state.since + count
        with np.errstate(divide="ignore"):
            logs = np.log(score)
        first, later = self._density(seen) + logs, self._density(since) + logs
        again = np.isfinite(state.bank)
        log_e = np.where(again, state.bank - math.log(2.0) + np.logaddexp(0.0, later), first)
        after = EvidenceState(seen, np.where(raised, count, since), np.where(raised, log_e, state.bank), log_e)
        return after, self.report(after)

    def report(self, state: EvidenceState) -> Discoveries:
        """Return which streams may be reported now."""
        n = streams(state)
        reported = e_bh(state.log_e, self.level, logs=True)
        needed = math.log(n / (self.level * max(int(reported.sum()), 1)))
        return Discoveries(reported, state.log_e.copy(), needed)

    def restart(self, state: EvidenceState, rows: ArrayLike) -> EvidenceState:
        """Forget the evidence on these streams: their model was mended. Their ages go on, and so does the promise.

        Call it when the streams' detector was started afresh. Raises `StreamNotFound` for a row that there is not, and
        `InvalidObservation` for what is no row number, such as a mask.
        """
        at = row_numbers(rows)
        if ((at < 0) | (at >= streams(state))).any():
            raise StreamNotFound(f"rows {at.tolist()[:5]} name no stream", hint=f"there are {streams(state)}, from 0")
        after = copy(state)
        after.log_e[at] = after.bank[at] = -math.inf
        return after

    def save(self, state: EvidenceState) -> bytes:
        """Return the state, with these settings, as bytes that `load` takes."""
        label = np.frombuffer(codec.dumps(asdict(self)).encode(), np.uint8)
        return codec.pack_arrays({"settings": label, **arrays(state)}, version=FORMAT)

    def load(self, data: bytes) -> EvidenceState:
        """Return exactly the state that `save` was given. Raises `Invalid` for other bytes and other settings."""
        version, packed = codec.unpack_arrays(data)
        label = packed.pop("settings", np.zeros(0, np.uint8)).tobytes().decode(errors="replace")
        if version != FORMAT or label != codec.dumps(asdict(self)) or set(packed) != {"seen", "since", "bank", "log_e"}:
            raise Invalid(
                f"evidence of {label or 'no settings'}, format {version}, was given to {codec.dumps(asdict(self))}",
                hint="load it with the settings that saved it, or start again with init",
            )
        made = EvidenceState(**packed | {name: _whole(packed[name]) for name in ("seen", "since")})
        if wrong := _not_evidence(made):
            raise Invalid(f"this is no evidence: {wrong}", hint="the bytes were edited: start again with init")
        return made

    def _density(self, age: Ints) -> Floats:
        """Return the natural logarithm of w."""
        scale = self.horizon / (math.e - 1.0)
        return np.asarray(-np.log(scale + age) - 2.0 * np.log1p(np.log1p(age / scale)))


def _whole(count: NDArray[Any]) -> NDArray[Any]:
    """Return counts as whole numbers where they are: they were floats once, after counts without a sign."""
    if count.dtype == np.float64 and (np.abs(count) <= MANY).all() and (np.floor(count) == count).all():
        return count.astype(np.int64)
    return count


def _not_evidence(state: EvidenceState) -> str:
    """Return what of a loaded state no update leaves behind; "" for nothing."""
    kinds = {"seen": np.int64, "since": np.int64, "bank": np.float64, "log_e": np.float64}
    for name, array in arrays(state).items():
        if array.dtype != kinds[name] or array.ndim != 1 or array.shape != state.seen.shape:
            return f"{name} is of {array.dtype} and shape {array.shape}"
    if not ((state.seen <= _OLDEST) & (state.seen >= state.since) & (state.since >= 0)).all():
        return "an age is no count, or below the values since an alarm"
    return "" if ((state.bank < math.inf) & (state.log_e < math.inf)).all() else "a logarithm is no number"
