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
from visutility.monitor.fleet import Fleet
from visutility.monitor.state import MANY, Bools, Floats, Ints, StreamState, arrays, copy, join, streams, take
from visutility.monitor.verdicts import Verdicts

FORMAT = 2
_OLDEST = 2**62  # values of a stream
_KINDS = {"seen": np.int64, "since": np.int64, "bank": np.float64, "log_e": np.float64, "before": np.int64}
_AMPLE = 1e12  # `arl` that no detector is asked to exceed


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
    before: Ints  # (s,) values before the last restart: the stream's detector has not seen them


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
    S are a detector's as `settled` gives them (e-detector, eprocess, ranks, dependent, auto): at most a sum, over all
    starting points j, of processes that start at 1 and whose mean never rises while the stream is no worse. Then w(n) S
    is an e-process for any falling density w of a stream's age n; here w(n) = 1 / ((h + n) (1 + log(1 + n / h))^2),
    which has half its mass before n = `horizon`. Where the detector alarms and starts afresh, half of the evidence is
    put on what comes.

    Unlike a mean run length this does not wear off: while no stream is worse, the probability that any is reported,
    ever, is at most `level`. Evidence grows no further than a detector's `arl` lets it: give that 1e12. 40 bytes a
    stream.

        evidence = fdr.init(len(fleet))
        verdicts = fleet.update(values)
        evidence, found = fdr.follow(evidence, fleet, verdicts)
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
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
            raise InvalidSetting(f"{n!r:.80} streams", hint="give a whole number of 1 or more: len(fleet)")
        none = np.full(n, -math.inf)
        zero = np.zeros((3, n), np.int64)
        return EvidenceState(zero[0], zero[1], none, none.copy(), zero[2])

    def follow(self, state: EvidenceState, fleet: Fleet, verdicts: Verdicts) -> tuple[EvidenceState, Discoveries]:
        """Take what an update of the fleet brought: the evidence of each stream, and how many values it had.

        Call it after every update of the fleet, with what that returned; rows are the fleet's (see `moved`). Raises
        `InvalidSetting` where the detector's scores are no evidence or its `arl` is so low that they do not suffice at
        an age of `horizon`, and `InvalidObservation` for other rows than the fleet's or another update's verdicts.
        """
        if not isinstance(fleet, Fleet) or not isinstance(verdicts, Verdicts):
            raise InvalidObservation(
                f"{fleet!r:.80} and {verdicts!r:.80} are no fleet and its verdicts",
                hint="follow(evidence, fleet, fleet.update(values))",
            )
        n, seen = streams(state), fleet.seen
        had = state.seen - state.before
        if len(seen) != n or verdicts.streams != n or (seen < had).any():
            raise InvalidObservation(
                f"evidence on {n} streams, for a fleet of {len(seen)} and verdicts on {verdicts.streams}",
                hint="follow the fleet from its start; where its rows changed, moved(state, came_from) first",
            )
        rows = verdicts.rows
        if ((verdicts.position < had[rows]) | (verdicts.position >= seen[rows])).any():
            raise InvalidObservation(
                "these verdicts are of another update", hint="call follow once after each update, with its verdicts"
            )
        score = fleet.settled(verdicts, np.isfinite(state.bank))
        arl = float(getattr(fleet.detector, "arl", _AMPLE))
        most = fleet.detector.worth() * float(np.exp(self._density(np.array([self.horizon])))[0])
        if arl < _AMPLE and most < n / self.level:
            raise InvalidSetting(
                f"arl {arl:g} is too low: at an age of {self.horizon:g} an alarm is evidence of {most:.3g}, and to "
                f"report one of {n} streams takes {n / self.level:g}",
                hint=f"make_detector({fleet.detector.name!r}, arl={_AMPLE:g}): the level decides, not the detector",
            )
        return self.update(state, score, seen - had, verdicts.alarm & (score > 0.0))

    def update(
        self, state: EvidenceState, scores: ArrayLike, values: ArrayLike, alarm: ArrayLike | None = None
    ) -> tuple[EvidenceState, Discoveries]:
        """Take each stream's score (s,) and how many values it had since the last update: one number, or (s,).

        For scores of your own; `follow` has those of a fleet. `scores` is the one at the alarm where one was raised.
        Raises `InvalidObservation` for scores that are not finite or negative, for another number of streams and for
        negative counts.
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
                hint="give the scores of an e-SR procedure and how many values each stream had; follow takes a fleet",
            )
        count = count.astype(np.int64)  # with unsigned ones sums would be floats
        seen, since = state.seen + count, state.since + count
        with np.errstate(divide="ignore"):
            logs = np.log(score)
        first, later = self._density(seen) + logs, self._density(since) + logs
        again = np.isfinite(state.bank)
        log_e = np.where(again, state.bank - math.log(2.0) + np.logaddexp(0.0, later), first)
        bank = np.where(raised, log_e, state.bank)
        after = EvidenceState(seen, np.where(raised, count, since), bank, log_e, state.before.copy())
        return after, self.report(after)

    def report(self, state: EvidenceState) -> Discoveries:
        """Return which streams may be reported now."""
        n = streams(state)
        reported = e_bh(state.log_e, self.level, logs=True)
        needed = math.log(max(n, 1) / (self.level * max(int(reported.sum()), 1)))
        return Discoveries(reported, state.log_e.copy(), needed)

    def restart(self, state: EvidenceState, rows: ArrayLike) -> EvidenceState:
        """Forget the evidence on these streams: their model was mended. Their ages go on, and so does the promise.

        Call it when the streams' detector was started afresh: in a fleet, when a new stream took their row. Raises
        `StreamNotFound` for a row that there is not, and `InvalidObservation` for what is no row number, as a mask.
        """
        at = _known(rows, streams(state), 0)
        after = copy(state)
        after.log_e[at] = after.bank[at] = -math.inf
        after.before[at] = after.seen[at]
        return after

    def moved(self, state: EvidenceState, came_from: ArrayLike) -> EvidenceState:
        """Return the evidence for a fleet to which streams were added, or from which some were removed.

        Row i of the new fleet is what row `came_from[i]` was here, and a new stream where that is -1, as in
        `AlertList.moved`. A stream that is added in place of one whose model was mended came from its row, and is to be
        given to `restart`. The promise is kept as long as no stream leaves for what the evidence says. Raises what
        `restart` does, and `Invalid` for a row that is named twice.
        """
        n, at = streams(state), _known(came_from, streams(state), -1)
        if len(np.unique(at[at >= 0])) < np.count_nonzero(at >= 0):
            raise Invalid("came_from names a row twice", hint="a stream's evidence is one new stream's at most")
        return take(join([state, self.init(1)]), np.where(at < 0, n, at))

    def save(self, state: EvidenceState) -> bytes:
        """Return the state, with these settings, as bytes that `load` takes."""
        label = np.frombuffer(codec.dumps(asdict(self)).encode(), np.uint8)
        return codec.pack_arrays({"settings": label, **arrays(state)}, version=FORMAT)

    def load(self, data: bytes) -> EvidenceState:
        """Return exactly the state that `save` was given. Raises `Invalid` for other bytes and other settings."""
        version, packed = codec.unpack_arrays(data)
        label = packed.pop("settings", np.zeros(0, np.uint8)).tobytes().decode(errors="replace")
        if version == 1 and "seen" in packed:
            packed.setdefault("before", np.zeros(packed["seen"].shape, np.int64))
        if version not in (1, FORMAT) or label != codec.dumps(asdict(self)) or set(packed) != set(_KINDS):
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


def _known(rows: ArrayLike, n: int, least: int) -> Ints:
    """Return numbers of rows from `least` to n - 1, flat, or raise `StreamNotFound`."""
    at = row_numbers(rows)
    if ((at < least) | (at >= n)).any():
        raise StreamNotFound(f"rows {at.tolist()[:5]} name no stream", hint=f"there are {n}, from 0")
    return at


def _whole(count: NDArray[Any]) -> NDArray[Any]:
    """Return counts as whole numbers where they are: they were floats once, after counts without a sign."""
    if count.dtype == np.float64 and (np.abs(count) <= MANY).all() and (np.floor(count) == count).all():
        return count.astype(np.int64)
    return count


def _not_evidence(state: EvidenceState) -> str:
    """Return what of a loaded state no update leaves behind; "" for nothing."""
    for name, array in arrays(state).items():
        if array.dtype != _KINDS[name] or array.ndim != 1 or array.shape != state.seen.shape:
            return f"{name} is of {array.dtype} and shape {array.shape}"
    part = np.minimum(state.since, state.before), np.maximum(state.since, state.before)
    if not ((state.seen <= _OLDEST) & (state.seen >= part[1]) & (part[0] >= 0)).all():
        return "an age is no count, or below the values since an alarm or before a restart"
    return "" if ((state.bank < math.inf) & (state.log_e < math.inf)).all() else "a logarithm is no number"
