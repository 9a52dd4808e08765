"""The risk of a deployed model against its reference, with bounds that hold however often one looks.

Podkopaev & Ramdas (2022), "Tracking the risk of a deployed model and detecting harmful distribution shifts",
arXiv:2110.06177: harm is a risk above the reference's by more than a tolerance, not a change as such. The bounds on the
target's risk are confidence sequences from two bets. `docs/harm.md` has the promise.
"""

import math
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from visutility.core import codec
from visutility.core.errors import EmptyWindow, Invalid, InvalidObservation, InvalidSetting
from visutility.monitor.state import Floats
from visutility.monitor.stats import mean_upper

_VERSION = 1
_LARGEST_BET = 0.5  # c of Waudby-Smith & Ramdas (2024), section 3.2
_HALVINGS = 60
_MOST = 2**53  # losses: floats count so far


@final
@dataclass(frozen=True, slots=True)
class RiskState:
    """What a tracker keeps of the losses so far: thirteen numbers, however many there were."""

    reference_size: int
    reference_mean: float
    reference_bound: float  # upper confidence bound on the reference's risk, U_S
    seen: int
    total: float  # the sum of the losses
    squares: float  # of (x_i - mean before it and itself), for the bets
    weight: float  # the sum of the bets lambda_i
    weighted: float  # of lambda_i x_i
    spent: float  # of v_i psi(lambda_i), v_i = (x_i - mean before it)^2
    fractions: int  # losses of the reference that are neither 0 nor 1: with any, half of the stake is on the variance
    evidence: float  # the largest log e-value against "no worse than the threshold" so far
    since: int  # losses seen when the evidence first sufficed; -1: it never did

    def __post_init__(self) -> None:
        """Refuse what no tracker makes."""
        counts = 0 <= self.seen <= _MOST and 0 <= self.reference_size <= _MOST and 0 <= self.fractions <= _MOST
        rates = 0.0 <= self.reference_mean <= 1.0 and 0.0 <= self.reference_bound <= 1.0
        sums = all(0.0 <= one < math.inf for one in (self.squares, self.weight, self.weighted, self.spent))
        sums = sums and self.weighted <= self.weight
        told = -1 <= self.since <= self.seen and self.evidence < math.inf
        if not (counts and rates and sums and told and 0.0 <= self.total <= self.seen):
            raise Invalid(
                f"a risk state of {self.seen} losses with the sum {self.total!r}: {self}", hint="it was edited"
            )

    @classmethod
    def start(cls, size: int = 0, mean: float = 0.0, bound: float = 1.0, fractions: int = 0) -> "RiskState":
        """Return the state before the first loss, for a reference of this size, mean and upper bound."""
        return cls(size, mean, bound, 0, 0.0, 0.0, 0.0, 0.0, 0.0, fractions, -math.inf, -1)


@final
@dataclass(frozen=True, slots=True)
class Risk:
    """What is known of the risk after `seen` losses. [`low`, `high`] covers it at every time, see `RiskTracker`."""

    seen: int
    mean: float  # NaN before the first loss
    low: float
    high: float
    reference_mean: float
    threshold: float  # the reference's upper bound plus the tolerance
    evidence: float  # log e-value against "no worse than the threshold", the largest so far
    since: int  # losses seen when harm was first established; -1: not

    @property
    def harmful(self) -> bool:
        """Whether the losses have established, at some time, a risk above the threshold."""
        return self.since >= 0

    @property
    def harmless(self) -> bool:
        """Whether the upper bound lies at or below the threshold: no harm in what was tracked, taken as one window."""
        return not self.harmful and self.high <= self.threshold


@final
@dataclass(frozen=True, slots=True)
class RiskTracker:
    """Tells harm from change: is the risk above the reference's by more than `tolerance`?

    Losses lie in [0, 1] (1: wrong, 0: right; or an error divided by the largest that can be). With probability at
    least 1 - `delta` over the reference window and the stream together, no harm is ever reported as long as the mean
    of each loss given the past exceeds the reference's risk by at most `tolerance`. Half of `delta` is spent on the
    reference's bound (Clopper & Pearson, or betting), half on the stream's, which holds at all times at once.
    """

    tolerance: float = 0.05
    delta: float = 0.05

    def __post_init__(self) -> None:
        """Refuse settings outside their range."""
        if not 0.0 <= self.tolerance < 1.0:
            raise InvalidSetting(f"tolerance {self.tolerance!r} is not in [0, 1)", hint="in units of the loss")
        if not 0.0 < self.delta < 1.0:
            raise InvalidSetting(f"delta {self.delta!r} is not in (0, 1)", hint="0.05 is one false alarm in twenty")

    def promise(self) -> str:
        """Return the promise in words."""
        return (
            f"As long as the mean loss given the past is at most {self.tolerance:g} above the reference's, harm is "
            f"ever reported with probability at most {self.delta:g}, however often one looks and however dependent "
            f"the losses are. Assumed: the reference's losses are independent draws, losses lie in [0, 1], and the "
            f"losses that get a label are not chosen by their size."
        )

    def init(self, reference_losses: ArrayLike) -> RiskState:
        """Return the state for a reference window of losses, shape (n,). Raises `EmptyWindow` below 10 losses."""
        losses = checked_losses(reference_losses, "the reference window")
        if len(losses) < 10:
            raise EmptyWindow(f"the reference window has {len(losses)} losses", hint="give at least 10")
        bound = mean_upper(losses, self.delta / 2.0)
        return RiskState.start(len(losses), float(losses.mean()), bound, fractions_of(losses))

    def update(self, state: RiskState, losses: ArrayLike) -> RiskState:
        """Return the state after these losses (n,), in order; it does not depend on how they are cut into batches.

        Raises `InvalidObservation` for a loss that is not in [0, 1]; nothing has changed then.
        """
        x = checked_losses(losses, "the batch")
        if len(x) == 0:
            return state
        steps = advance(state, x, math.log(2.0 / self.delta))
        evidence = log_evidence(self.threshold(state), steps)
        found = np.flatnonzero(evidence >= math.log(2.0 / self.delta))
        first = state.seen + 1 + int(found[0]) if len(found) and state.since < 0 else state.since
        return replace(latest(state, steps), evidence=max(state.evidence, float(evidence.max())), since=first)

    def threshold(self, state: RiskState) -> float:
        """Return the risk that must be exceeded: the upper bound of the reference's plus the tolerance."""
        return min(state.reference_bound + self.tolerance, 1.0)

    def risk(self, state: RiskState) -> Risk:
        """Return what is known of the risk now."""
        spent = self.delta / 2.0
        low, high = mean_interval(state, spent)
        mean = state.total / state.seen if state.seen else math.nan
        threshold = self.threshold(state)
        return Risk(state.seen, mean, low, high, state.reference_mean, threshold, state.evidence, state.since)

    def save(self, state: RiskState) -> bytes:
        """Return the state and these settings as bytes that `load` takes."""
        label = np.frombuffer(codec.dumps(asdict(self)).encode(), np.uint8)
        numbers = np.array([float(getattr(state, field.name)) for field in fields(state)])
        return codec.pack_arrays({"settings": label, "state": numbers}, version=_VERSION)

    def load(self, data: bytes) -> RiskState:
        """Return exactly the state that `save` was given. Raises `Invalid` for other bytes or other settings."""
        version, packed = codec.unpack_arrays(data)
        mine = codec.dumps(asdict(self))
        label = packed.get("settings", np.zeros(0, np.uint8)).tobytes().decode(errors="replace")
        numbers: Floats = packed.get("state", np.zeros(0))
        if version != _VERSION or label != mine or numbers.shape != (len(fields(RiskState)),) or numbers.dtype != float:
            raise Invalid(f"a risk state of {label or 'something else'} was given to {mine}", hint="save it again")
        kept: dict[str, Any] = dict(zip((field.name for field in fields(RiskState)), numbers.tolist(), strict=True))
        whole = ("reference_size", "seen", "fractions", "since")
        if any(not kept[name].is_integer() for name in whole):
            raise Invalid(f"a risk state counts {[kept[name] for name in whole]}", hint="it was edited")
        return RiskState(**{name: int(value) if name in whole else value for name, value in kept.items()})


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """The sums of a state, as `RiskState` names them, after each of a number of losses; shape (n,) or () each."""

    seen: ArrayLike
    total: ArrayLike
    squares: ArrayLike
    weight: ArrayLike
    weighted: ArrayLike
    spent: ArrayLike
    fractions: ArrayLike


def advance(state: RiskState, x: Floats, wanted: float) -> Steps:
    """Return the sums of a state after each of the losses `x`, shape (n,), added in order.

    The bets are the predictable plug-in of Waudby-Smith & Ramdas (2024), section 3.2:
    lambda_t = min(sqrt(2 wanted / (v_{t-1} t log(1 + t))), c), with the variance of the losses before t.
    """
    t = state.seen + np.arange(1, len(x) + 1)
    total = _running(state.total, x)
    sums, counts = np.concatenate(([state.total], total)), np.concatenate(([state.seen], t))
    mean = (0.5 + sums) / (counts + 1.0)  # before and after
    squares = _running(state.squares, (x - mean[1:]) ** 2)
    variance = (0.25 + np.concatenate(([state.squares], squares[:-1]))) / t  # of the t - 1 losses before t
    bets = np.minimum(np.sqrt(2.0 * wanted / (variance * t * np.log1p(t))), _LARGEST_BET)
    return Steps(
        seen=t,
        total=total,
        squares=squares,
        weight=_running(state.weight, bets),
        weighted=_running(state.weighted, bets * x),
        spent=_running(state.spent, (x - mean[:-1]) ** 2 * (-np.log1p(-bets) - bets)),
        fractions=np.full(len(x), state.fractions),
    )


def latest(state: RiskState, steps: Steps) -> RiskState:
    """Return the state with the last of these sums."""
    last: dict[str, Any] = {field.name: np.asarray(getattr(steps, field.name))[-1].item() for field in fields(steps)}
    return replace(state, **last)


def _running(start: float, values: Floats) -> Floats:
    """Sums of the values on top of `start`, added in order, so that no split into batches changes them."""
    return np.asarray(np.cumsum(np.concatenate(([start], values)))[1:])


def log_evidence(m: float, of: Steps | RiskState) -> Floats:
    """Return the log e-value against "the mean of each loss given the past is at most m", after each of the steps.

    Bets on coins, E1 = integral over q > m of prod (q/m)^x ((1-q)/(1-m))^(1-x) under Jeffreys' prior. For x in [0, 1]
    each factor is at most its chord, which has mean at most 1, so it holds for losses other than 0 and 1 too. If the
    reference had such losses, half of the stake is on E2 = exp(sum lambda (x - m) - sum v psi(lambda)), which adapts to
    the variance: the empirical Bernstein bound of Waudby-Smith & Ramdas (2024), Theorem 2. Both are supermartingales
    that start at most at 1, and so is their mean; which of the two it is was settled before the first loss.
    """
    if m >= 1.0:
        return np.full(np.shape(of.seen), -math.inf)
    ones = np.asarray(of.total, np.float64)
    zeros = np.maximum(np.asarray(of.seen) - ones, 0.0)
    with np.errstate(divide="ignore"):
        tail = np.log(special.betainc(zeros + 0.5, ones + 0.5, 1.0 - m))  # 1 - I_m(ones + 1/2, zeros + 1/2)
    coins = tail + special.betaln(ones + 0.5, zeros + 0.5) - math.log(math.pi)
    coins = coins - special.xlogy(ones, m) - special.xlog1py(zeros, -m)
    bernstein = np.asarray(of.weighted) - m * np.asarray(of.weight) - np.asarray(of.spent)
    both = np.logaddexp(coins, bernstein) - math.log(2.0)
    return np.asarray(np.where(np.asarray(of.fractions) > 0, both, coins))


def mean_interval(state: RiskState, delta: float) -> tuple[float, float]:
    """Return (low, high), each a bound that holds at all times with probability at least 1 - delta.

    `low`: at some time so far the mean loss given the past was at least this; `high`: at some time at most this. For
    losses of one mean both bound that mean.
    """
    if state.seen == 0:
        return 0.0, 1.0
    turned = replace(state, total=state.seen - state.total, weighted=state.weight - state.weighted)
    return _lower(state, delta), 1.0 - _lower(turned, delta)


def _lower(state: RiskState, delta: float) -> float:
    """Return the mean up to which every mean is refused; the evidence falls as the mean grows towards the average."""
    low, high = 0.0, state.total / state.seen
    for _ in range(_HALVINGS):
        middle = (low + high) / 2.0
        if middle <= 0.0:
            break
        refused = float(log_evidence(middle, state)) >= math.log(1.0 / delta)
        low, high = (middle, high) if refused else (low, middle)
    return low


def fractions_of(losses: Floats) -> int:
    """Return how many losses are neither 0 nor 1."""
    return int(np.count_nonzero((losses != 0.0) & (losses != 1.0)))


def checked_losses(values: ArrayLike, what: str) -> Floats:
    """Return losses in [0, 1] as an array (n,). Raises `InvalidObservation` with the position of a wrong one."""
    try:
        losses = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InvalidObservation(f"{what} does not hold numbers only", hint="pass an array of losses") from None
    if losses.ndim != 1:
        raise InvalidObservation(f"{what} has shape {losses.shape}", hint="pass one dimension, (n,)")
    good = (losses >= 0.0) & (losses <= 1.0)
    if not good.all():
        at = int(np.argmin(good))
        raise InvalidObservation(
            f"{what} has {float(losses[at])!r} at position {at}", hint="losses lie in [0, 1]: divide by the largest"
        )
    return losses
