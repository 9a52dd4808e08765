"""Whether the level of a stream depends on the hour of the day or the day of the week, and what to watch it with.

The test flips signs: Fisher (1935), "The Design of Experiments", section 21, on whole days instead of single numbers.
"""

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike

from visutility.core.errors import EmptyWindow, InvalidObservation
from visutility.core.rng import rng
from visutility.monitor.detector import unmasked
from visutility.monitor.state import Floats, Ints
from visutility.monitor.times import MONDAY, SEASONS, Clock, offsets, seconds

LEVEL = 0.01  # of both tests together: how often a stream without a season is said to have one
LEAST = 10  # days, or weeks, that the test flips
FLIPS = 1999
_ENOUGH = 256  # values that each part of a season learns from, by default
_PARTS = {"day": (24, 12, 8, 6, 4, 3, 2), "week": (168, 84, 56, 42, 28, 21, 14, 7)}
_ROW = "pass values as (n,) and their times at as (n,); leave out what is missing"
_NAMES = {"day": "hour of the day", "week": "day of the week"}


@final
@dataclass(frozen=True, slots=True)
class Profile:
    """What one season explains. `p_value` is NaN where there were too few seasons to tell."""

    season: str  # "day" by its 24 hours, "week" by its 7 days
    cycles: int  # days, or weeks, that had values
    explained: float  # the share of the variance of the ranks, noise taken off: around 0 where there is no season
    p_value: float
    medians: tuple[float, ...]  # of the values in each hour, or on each day; NaN where there were none


@final
@dataclass(frozen=True, slots=True)
class Seasonality:
    """What a history says. `settings` are for `make_detector("seasonal", …)`, and None where no season was found."""

    season: str | None
    settings: dict[str, Any] | None
    day: Profile
    week: Profile
    words: str


def seasonality(values: ArrayLike, at: ArrayLike, zone: str = "UTC") -> Seasonality:
    """Return how much of a stream's variance the hour of the day and the day of the week explain, beyond chance.

    `values` (n,) with their times `at`, as a detector's `update` takes them, in any order; of a month or more without a
    known change. For each season, the ranks of the values, less a trend and the mean of their day (their week), are
    added up by hour (by weekday). Where nothing depends on the hour, and the level makes no step of 2 sd or more, the
    sums of a day are as likely as their negatives, however its values hang together: so the signs of whole days are
    flipped 1,999 times, and a season is found where at most 1 in 200 flips has days agree as well. Raises
    `InvalidObservation`, and `EmptyWindow` for fewer than 10 days with values.
    """
    given = unmasked(values, "the history")
    try:
        array = np.asarray(given)
    except (TypeError, ValueError, OverflowError):
        raise InvalidObservation("a history of several shapes is no row of finite numbers", hint=_ROW) from None
    if array.ndim != 1 or array.dtype.kind not in "biuf":
        raise InvalidObservation(
            f"a history of shape {array.shape} and type {array.dtype} is no row of finite numbers", hint=_ROW
        )
    good = np.isfinite(array)
    if not good.all():
        position = int(np.argmin(good))
        raise InvalidObservation(f"the history has {float(array[position])!r} at position {position}", hint=_ROW)
    when = seconds(at, array.shape)
    hours, weekdays = (Clock(season, parts, zone).part(when) for season, parts in (("day", 24), ("week", 7)))
    local = when + (0.0 if zone == "UTC" else offsets(when, zone)) - MONDAY
    found = {
        "day": _profile("day", array.astype(np.float64), local, hours, None),
        "week": _profile("week", array.astype(np.float64), local, weekdays, hours),
    }
    if found["day"].cycles < LEAST:
        raise EmptyWindow(
            f"the history has values on {found['day'].cycles} days", hint=f"give {LEAST} or more, better {7 * LEAST}"
        )
    sure = {name: one for name, one in found.items() if one.p_value <= LEVEL / 2.0}
    season = "week" if "week" in sure else "day" if sure else None
    settings = None
    if season is not None:
        settings = {"season": season, "phases": _phases(season, when, zone)} | ({} if zone == "UTC" else {"zone": zone})
    return Seasonality(season, settings, found["day"], found["week"], _words(found, settings))


def _profile(season: str, values: Floats, local: Floats, part: Ints, besides: Ints | None) -> Profile:
    """Judge one season by its parts, after what other parts, `besides`, explain."""
    parts = 7 if season == "week" else 24
    _, which = np.unique(np.floor_divide(local, SEASONS[season]), return_inverse=True)
    cycles = int(which.max()) + 1 if len(which) else 0
    medians = tuple(float(np.median(values[part == at])) if (part == at).any() else np.nan for at in range(parts))
    if cycles < LEAST:
        return Profile(season, cycles, np.nan, np.nan, medians)
    rank = _ranks(values)
    total = float((rank**2).sum())
    time = (local - local.mean()) / local.std()
    rank -= time * (time @ rank) / len(rank)
    for other in (besides, which):
        if other is not None:
            rank -= (np.bincount(other, rank) / np.maximum(np.bincount(other), 1))[other]
    each: Floats = np.bincount(which * parts + part, rank, cycles * parts).astype(np.float64).reshape(cycles, parts)
    sums = each / np.sqrt(np.maximum(np.bincount(part, minlength=parts), 1))
    agreed, apart = float((sums.sum(axis=0) ** 2).sum()), float((sums**2).sum())
    signs = 2.0 * rng(0, "seasonality", season).integers(2, size=(FLIPS, cycles)) - 1.0
    flipped = ((signs @ sums) ** 2).sum(axis=1)
    p_value = (1 + int((flipped >= agreed * (1.0 - 1e-12)).sum())) / (FLIPS + 1)
    return Profile(season, cycles, (agreed - apart) / total if total else 0.0, p_value, medians)


def _ranks(values: Floats) -> Floats:
    """Return each value's rank, from -1/2 to 1/2; equal values share theirs."""
    _, which, count = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = (np.add.accumulate(count) - (count - 1) / 2.0 - (len(values) + 1) / 2.0) / len(values)
    return ranks[which]


def _phases(season: str, when: Floats, zone: str) -> int:
    """Return the most parts that had enough values to learn from in this history, one in ten aside; or the fewest."""
    for phases in _PARTS[season]:
        count = np.bincount(Clock(season, phases, zone).part(when), minlength=phases)
        if np.quantile(count, 0.1) >= _ENOUGH:
            return phases
    return _PARTS[season][-1]


def _words(found: dict[str, Profile], settings: dict[str, Any] | None) -> str:
    said = [
        f"the {_NAMES[name]} explains {max(one.explained, 0.0):.0%} of the variance of the ranks "
        f"over {one.cycles} {name}s (p = {one.p_value:.4f})"
        if one.cycles >= LEAST
        else f"{one.cycles} {name}s are too few to tell of the {_NAMES[name]}"
        for name, one in found.items()
    ]
    if settings is None:
        return f"{'; '.join(said)}: no season beyond chance, auto will do"
    given = ", ".join(f"{name}={value!r}" for name, value in settings.items())
    return f'{"; ".join(said)}: watch it with make_detector("seasonal", {given})'
