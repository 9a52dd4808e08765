"""The gate: may the challenger take the champion's place? A pure function of paired losses.

Both models judge the same rows, so that what counts is the row-wise difference d_i = champion's loss − challenger's
loss, in [−1, 1]. Two questions are asked, each by a pair of betting e-processes (Waudby-Smith and Ramdas, "Estimating
means of bounded random variables by betting", JRSS B 2024, section 4): with x_i = (d_i + 1)/2 and a mean bound m,

    K_n(λ) = ∏ (1 + λ (x_i − m)),    λ in (0, 1/m),

is a non-negative martingale or supermartingale when E[x] <= m, hence by Ville's inequality P(some K_n >= 1/α) <= α.
The mean over a grid of λ is one too. So either answer is wrong with a chance of at most α, whenever and however often
the question is asked, and "not enough rows yet" is a possible answer.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visutility.core.errors import EmptyWindow, Invalid
from visutility.loop.policy import GateRules

Losses = NDArray[np.float64]
_SHARES = np.linspace(0.05, 0.95, 10)  # bets, as shares of the largest that keeps the capital positive

_TOLD = 8  # comparisons named in a reason; all are in the evidence


@dataclass(frozen=True, slots=True)
class Paired:
    """The two models' losses on the same rows, shape (n,) each, in [0, 1], larger is worse."""

    champion: Losses
    challenger: Losses

    def __post_init__(self) -> None:
        """Raise `Invalid` or `EmptyWindow` when the losses cannot be paired."""
        if self.champion.shape != self.challenger.shape or self.champion.ndim != 1:
            raise Invalid(
                f"losses of shapes {self.champion.shape} and {self.challenger.shape} cannot be paired",
                hint="evaluate both models on the same rows",
            )
        if not len(self.champion):
            raise EmptyWindow("there are no rows to compare the models on", hint="wait for labelled rows")
        both = np.concatenate([self.champion, self.challenger])
        if not np.all((both >= 0) & (both <= 1)):
            raise Invalid("losses outside [0, 1]", hint="scale them so that 0 is perfect and 1 the worst")

    @property
    def gain(self) -> Losses:
        """Return d = champion's − challenger's loss: positive where the challenger is better."""
        return self.champion - self.challenger


@dataclass(frozen=True, slots=True)
class Comparison:
    """One question the gate asked. `answer` is "yes", "no" or "undecided"."""

    name: str
    rows: int
    champion: float
    challenger: float
    above: float
    answer: str
    evidence_for: float
    evidence_against: float

    def in_words(self) -> str:
        """Return the comparison as one line for people."""
        asked = (
            "better"
            if self.above == 0
            else f"better by {self.above:g}"
            if self.above > 0
            else f"not worse by {-self.above:g}"
        )
        return (
            f"{self.name}: {asked}? {self.answer} (mean loss {self.champion:.3f} -> {self.challenger:.3f} on "
            f"{self.rows} rows, evidence {self.evidence_for:.3g} for, {self.evidence_against:.3g} against)"
        )


@dataclass(frozen=True, slots=True)
class GateAnswer:
    """`answer` is "pass", "refuse" or "undecided"; `comparisons` say why, those of small slices are `reported`."""

    answer: str
    reason: str
    comparisons: tuple[Comparison, ...]
    reported: tuple[Comparison, ...]


def gate(
    rules: GateRules,
    fresh: Paired,
    old: Paired | None,
    slices: Mapping[str, NDArray[np.bool_]] | None = None,
    old_slices: Mapping[str, NDArray[np.bool_]] | None = None,
) -> GateAnswer:
    """Judge a challenger on the same fresh rows, on old rows, and on slices of both (masks of shape (n,))."""
    asked = [compare("fresh data", fresh, rules.better_by, rules.alpha)]
    if old is not None:
        asked.append(compare("old data", old, -rules.worse_by, rules.alpha))
    reported: list[Comparison] = []
    for losses, masks, of in ((fresh, slices, ""), (old, old_slices, " of old data")):
        for name, mask in sorted((masks or {}).items()):
            if losses is None or not mask.any():
                continue
            part = Paired(losses.champion[mask], losses.challenger[mask])
            into = asked if mask.sum() >= rules.slice_rows else reported
            into.append(compare(f"slice {name}{of}", part, -rules.worse_by, rules.alpha))
    worst = min(asked, key=lambda c: ("no", "undecided", "yes").index(c.answer))
    answer = {"no": "refuse", "undecided": "undecided", "yes": "pass"}[worst.answer]
    told = asked if answer == "pass" else [c for c in asked if c.answer == worst.answer]
    more = f"; and {len(told) - _TOLD} more" if len(told) > _TOLD else ""
    return GateAnswer(answer, "; ".join(c.in_words() for c in told[:_TOLD]) + more, tuple(asked), tuple(reported))


def compare(name: str, losses: Paired, above: float, alpha: float) -> Comparison:
    """Ask whether the mean gain is above `above`, at an error of at most `alpha` for each answer."""
    x = (losses.gain + 1.0) / 2.0
    bound = (above + 1.0) / 2.0
    for_it = evidence(x, bound)
    against = evidence(1.0 - x, 1.0 - bound)
    limit = 1.0 / alpha
    answer = "yes" if for_it >= limit and for_it >= against else "no" if against >= limit else "undecided"
    return Comparison(
        name,
        len(x),
        float(losses.champion.mean()),
        float(losses.challenger.mean()),
        above,
        answer,
        for_it,
        against,
    )


def evidence(x: Losses, bound: float) -> float:
    """Return the largest value so far of the e-process against "the mean of x is at most `bound`".

    x has shape (n,) in [0, 1]. The running maximum may be reported: Ville's inequality holds for all n at once.
    """
    if not 0 < bound < 1:
        return 1.0 if bound >= 1 else float(np.exp(700.0))
    bets = _SHARES / bound
    capital = np.cumsum(np.log1p(np.outer(x - bound, bets)), axis=0)  # (n, bets), in logarithms
    top = capital.max(axis=1)
    mixed = top + np.log(np.exp(capital - top[:, None]).mean(axis=1))
    return float(np.exp(min(max(0.0, float(mixed.max())), 700.0)))
