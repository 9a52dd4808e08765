"""How well a model does on data without labels, with an interval: from its scores alone.

Calibrated confidence (as NannyML's CBPE) for two classes; the difference of confidences (Guillory et al. 2021,
arXiv:2107.03315) and confidence optimal transport (Lu et al. 2023, arXiv:2305.15640), blended, for more; the loss
expected at each prediction for regression. `docs/estimated-accuracy.md` says what it assumes and where it errs.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from numbers import Real
from typing import Any, Literal, final

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from visutility.core.errors import EmptyWindow, InvalidObservation, InvalidSetting
from visutility.monitor._calibration import isotonic, sharpness, tempered
from visutility.monitor._transport import label_distance, learn_mixture, transport_gain, unexplained
from visutility.monitor.detector import unmasked
from visutility.monitor.state import Floats, Ints

Metric = Literal["accuracy", "mae"]
Method = Literal["auto", "confidence", "transport"]

# Chosen on corruptions, models and class shares that the reported figures do not hold (docs/estimated-accuracy.md).
_MOVED = 0.05  # distance of the labels said, beyond sampling, from which transport counts in full
_EXPLAINED = (0.4, 0.6)  # part of the change that class shares do not explain: below not, above in full
_DROP, _UNLIKE = 0.54, 0.016  # model error at 95 %: of the estimated change, and of the loss at full unlikeness
_LUCK = 2.0  # rows
_SMALLEST = 30  # labelled rows
_LARGEST = 1e100  # of predictions and labels, whose squares are finite
_BINS, _IN_BIN = 20, 10  # of the predictions, in regression: at most so many, of so many reference rows at least
_COARSE = 2.0  # of how much losses differ between bins, times how far the predictions moved, without any bins


@final
@dataclass(frozen=True, slots=True)
class Estimate:
    """The performance that unlabelled current data are estimated to have.

    [`low`, `high`] is meant to cover what would be measured on these very rows. `sampling` is the part of its half
    width that comes from the numbers of rows, `model` the part for what the scores cannot show; the second is learnt
    from synthetic shifts and promises nothing for others. `parts` are the numbers the value was made of.
    """

    value: float
    low: float
    high: float
    metric: str
    level: float
    reference: float  # the same metric, measured on the reference window
    rows: tuple[int, int]  # of the reference and the current window
    kind: Literal["binary", "multiclass", "regression"]
    sampling: float
    model: float
    parts: Mapping[str, float] = field(default_factory=dict)

    @property
    def worse(self) -> float:
        """How much worse than the reference, in units of the metric: above 0 is worse, whatever the metric."""
        return self._worse(self.value)

    @property
    def worse_low(self) -> float:
        """The least that `worse` may be, by the interval."""
        return self._worse(self.high if self.metric == "accuracy" else self.low)

    @property
    def worse_high(self) -> float:
        """The most that `worse` may be, by the interval."""
        return self._worse(self.low if self.metric == "accuracy" else self.high)

    def to_json(self) -> dict[str, Any]:
        """Return the estimate as plain data."""
        return asdict(self) | {"rows": list(self.rows), "parts": dict(self.parts), "worse": self.worse}

    def _worse(self, value: float) -> float:
        return self.reference - value if self.metric == "accuracy" else value - self.reference


def estimate_performance(
    reference_scores: ArrayLike,
    reference_labels: ArrayLike,
    current_scores: ArrayLike,
    *,
    metric: Metric = "accuracy",
    level: float = 0.95,
    method: Method = "auto",
    seed: int = 0,
) -> Estimate:
    """Return the estimated performance on the current window, from its scores and a labelled reference window.

    Accuracy: softmax (n, k) with labels 0 to k - 1, or probabilities of class 1, (n,), with labels 0 and 1. The
    reference must be rows that the model was not trained on. Mean absolute error (`metric="mae"`): predictions (n,)
    and real labels (n,). `method`: "confidence" assumes that scores stay as right as they were, which holds when the
    mix of the data changes; "transport" that the shares of the classes stay, which holds when images go bad; "auto"
    is confidence for two classes, and for more a blend that looks which of the two the scores speak for. `seed`
    names the rows that stand for all where there are more than 1,000,000 scores; nothing else is random.
    Raises `InvalidSetting`, `EmptyWindow` below 30 labelled rows or without current ones, and `InvalidObservation` for
    scores that are not finite, masked or no probabilities, labels that are no classes, and shapes that do not fit.
    """
    given: object = level  # of callers without types
    if not isinstance(given, Real) or not 0.0 < level < 1.0:
        raise InvalidSetting(f"level {level!r} is not in (0, 1)", hint="0.95 is usual")
    if metric not in ("accuracy", "mae"):
        raise InvalidSetting(f"metric {metric!r} is unknown", hint="choose accuracy or mae")
    if method not in ("auto", "confidence", "transport"):
        raise InvalidSetting(f"method {method!r} is unknown", hint="choose auto, confidence or transport")
    known, new = _numbers(reference_scores, "reference_scores"), _numbers(current_scores, "current_scores")
    labels = _numbers(reference_labels, "reference_labels")
    if len(known) < _SMALLEST or len(new) == 0:
        raise EmptyWindow(
            f"there are {len(known)} reference rows and {len(new)} current ones",
            hint=f"give at least {_SMALLEST} labelled rows and one current row",
        )
    if labels.shape != (len(known),) or known.ndim != new.ndim or known.shape[1:] != new.shape[1:]:
        raise InvalidObservation(
            f"reference scores {known.shape}, labels {labels.shape} and current scores {new.shape} do not fit",
            hint="give (n, k), (n,) and (m, k), or (n,), (n,) and (m,)",
        )
    if metric == "mae":
        found = _regression(known, labels, new)
    else:
        found = _classes(_softmax(known, "reference_scores"), labels, _softmax(new, "current_scores"), method, seed)
    return _with_interval(found, metric, level, (len(known), len(new)))


@dataclass(frozen=True, slots=True)
class _Found:
    """An estimate before its interval."""

    value: float
    reference: float
    kind: Literal["binary", "multiclass", "regression"]
    variance: float  # from sampling both windows
    unlike: float  # in [0, 1], of the change that class shares do not explain
    parts: dict[str, float]
    coarse: float = 0.0  # model error of the few bins that a small reference has


def _classes(known: Floats, labels: Floats, new: Floats, method: Method, seed: int) -> _Found:
    """Estimate the accuracy from softmax scores (n, k) and (m, k)."""
    k = known.shape[1]
    strange = (labels != np.floor(labels)) | (labels < 0) | (labels >= k)
    if strange.any():
        at = int(np.argmax(strange))
        raise InvalidObservation(
            f"reference_labels has {float(labels[at])!r} at position {at}", hint=f"labels are 0 to {k - 1}"
        )
    classes = labels.astype(np.int64)
    if method == "confidence" or (method == "auto" and k == 2):
        return _two_classes(known, classes, new) if k == 2 else _many_classes(known, classes, new, 0.0, seed)
    return _many_classes(known, classes, new, 1.0 if method == "transport" else None, seed)


def _two_classes(known: Floats, labels: Ints, new: Floats) -> _Found:
    """Calibrated confidence: the probability of class 1 at each score, learnt from the reference."""
    right = (known[:, 1] >= 0.5) == labels
    learnt = isotonic(known[:, 1], labels == 1)
    expected = [_of_what_is_said(scores[:, 1], learnt(scores[:, 1])) for scores in (known, new)]
    value = float(right.mean() + expected[1].mean() - expected[0].mean())
    variance = _variance(float((expected[1] * (1.0 - expected[1])).mean()), len(new))
    variance += _variance(float(np.var(right - expected[0])), len(known))
    reference = float(right.mean())
    return _Found(min(max(value, 0.0), 1.0), reference, "binary", variance, 0.0, {"confidence": value})


def _of_what_is_said(scores: Floats, ones: Floats) -> Floats:
    return np.where(scores >= 0.5, ones, 1.0 - ones)


def _many_classes(known: Floats, labels: Ints, new: Floats, weight: float | None, seed: int) -> _Found:
    """Blend the difference of confidences with optimal transport, both measured from the reference's own accuracy."""
    right = known.argmax(1) == labels
    mixture = learn_mixture(known, labels)
    moved, unlike = label_distance(known, new), unexplained(mixture, new)
    temperature = sharpness(known, labels)
    before, after = tempered(known, temperature), tempered(new, temperature)
    accuracy = float(right.mean())
    confidence = accuracy + float(after.max(1).mean() - before.max(1).mean())
    gains = [transport_gain(scores, mixture.shares, seed) for scores in (before, after)]
    transport = accuracy + gains[1] - gains[0]
    if weight is None:
        low, high = _EXPLAINED
        weight = min(moved / _MOVED, 1.0) * min(max((unlike - low) / (high - low), 0.0), 1.0)
    value = min(max(confidence + weight * (transport - confidence), 0.0), 1.0)
    variance = _variance(value * (1.0 - value), len(new))
    variance += _variance(float(np.var(right - before.max(1))), len(known))
    parts = {"confidence": confidence, "transport": transport, "weight": weight, "moved": moved, "unlike": unlike}
    return _Found(value, accuracy, "multiclass", variance, unlike, parts | {"temperature": temperature})


def _variance(of_one: float, n: int) -> float:
    """Variance of a share of n rows; where none was wrong, one or two may have been by luck (as Agresti & Coull)."""
    return of_one / n + _LUCK / n**2


def _regression(known: Floats, labels: Floats, new: Floats) -> _Found:
    """Estimate the mean absolute error: the mean loss of the reference at predictions like these, in equal bins."""
    if known.ndim != 1:
        raise InvalidObservation(f"predictions have shape {known.shape}", hint="give one number a row, (n,)")
    largest = max(float(np.abs(values).max()) for values in (known, labels, new))
    if largest > _LARGEST:
        raise InvalidObservation(f"a prediction or label has the size {largest:g}", hint="divide all by a large number")
    losses = np.abs(known - labels)
    bins = min(_BINS, len(known) // _IN_BIN)
    edges = np.unique(np.quantile(known, np.arange(1, bins) / bins))
    where = [np.searchsorted(edges, values, side="right") for values in (known, new)]
    count = np.maximum(np.bincount(where[0], minlength=len(edges) + 1), 1)
    mean = np.bincount(where[0], losses, minlength=len(edges) + 1) / count
    spread = np.bincount(where[0], losses**2, minlength=len(edges) + 1) / count - mean**2
    spread = np.maximum(spread, 0.0) * count / np.maximum(count - 1, 1)
    shares = np.bincount(where[1], minlength=len(edges) + 1) / len(new)
    variance = float((spread * shares).sum()) / len(new) + float((spread * shares**2 / count).sum())
    beyond = float(((new < known.min()) | (new > known.max())).mean())
    value, reference = float((mean * shares).sum()), float(losses.mean())
    before = count / len(known)
    apart = math.sqrt(float((before * (mean - reference) ** 2).sum())) * 0.5 * float(np.abs(shares - before).sum())
    coarse = _COARSE * (1.0 - bins / _BINS) * apart
    return _Found(value, reference, "regression", variance, beyond, {"beyond_reference": beyond}, coarse)


def _with_interval(found: _Found, metric: Metric, level: float, rows: tuple[int, int]) -> Estimate:
    """Add sampling and model error, as if both were normal: each is z(level) of its standard deviation."""
    z = float(special.ndtri(0.5 + level / 2.0))
    unit = 1.0 if metric == "accuracy" else found.reference
    sampling = z * math.sqrt(found.variance)
    unlike = _UNLIKE * unit * found.unlike
    model = z / float(special.ndtri(0.975)) * (_DROP * abs(found.value - found.reference) + unlike + found.coarse)
    half, most = sampling + model, 1.0 if metric == "accuracy" else math.inf
    low, high = max(found.value - half, 0.0), min(found.value + half, most)
    ends = (found.value, low, high, metric, level, found.reference, rows)
    return Estimate(*ends, found.kind, sampling, model, found.parts)


def _numbers(values: ArrayLike, name: str) -> Floats:
    """Return finite numbers of one or two dimensions, or say which one is not."""
    given = unmasked(values, name)
    try:
        array = np.asarray(given)
        if np.iscomplexobj(array):
            raise TypeError
        array = array.astype(np.float64, copy=False)
    except (TypeError, ValueError):
        raise InvalidObservation(f"{name} does not hold numbers only", hint="pass an array of numbers") from None
    if array.ndim not in (1, 2) or (array.ndim == 2 and array.shape[1] < 2):
        raise InvalidObservation(f"{name} has shape {array.shape}", hint="pass (n,), or (n, k) with k of 2 or more")
    good = np.isfinite(array)
    if not good.all():
        at = tuple(int(index) for index in np.argwhere(~good)[0])
        raise InvalidObservation(f"{name} has {float(array[at])!r} at {at}", hint="leave rows without scores out")
    return array


def _softmax(scores: Floats, name: str) -> Floats:
    """Return scores (n, k) whose rows add up to 1; those of one column are the probability of class 1."""
    both = np.stack((1.0 - scores, scores), axis=1) if scores.ndim == 1 else scores
    sums = both.sum(1)
    good = (both >= 0.0).all(1) & (np.abs(sums - 1.0) <= 1e-3)
    if not good.all():
        at = int(np.argmin(good))
        raise InvalidObservation(
            f"{name} has {np.array2string(scores[at], threshold=5)} at row {at}",
            hint="give probabilities: at least 0, and each row of (n, k) adds up to 1; softmax comes before this",
        )
    return np.asarray(both / sums[:, None])
