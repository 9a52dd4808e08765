"""Streams whose changes are known: nulls, and changes after exactly 5,000 unchanged values.

Half of the settings ("dev") may be used to choose constants; the other half ("report") only reports. A scene draws
(streams, n) values; a change begins at `healthy` and lasts to the end. An oracle knows what was drawn: the log
likelihood ratio of every value, given those before it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.monitoring.images import Frozen, said
from benchmarks.monitoring.images import images as images_of
from visutility.core.rng import rng
from visutility.monitor import CorruptionScore, mild_corruptions

Array = NDArray[np.float64]
HEALTHY = 5000
REFERENCE = slice(30_000, 31_000)  # of the training images: the first 30,000 are what the classifier has seen


@dataclass(frozen=True)
class Scene:
    """`draw(g, rise)` takes the rise of the level at every value, (n,), and gives (n, streams), time first.

    `ratio(values, rise)` is what an oracle makes of the changed values, (n, streams); None where there is no oracle.
    """

    title: str
    draw: Callable[[np.random.Generator, Array, int], Array]
    rise: Callable[[int], Array] | None = None  # of `past` changed values; None: a null
    ratio: Callable[[Array], Array] | None = None
    half: str = "report"
    past: int = 10_000

    def values(self, streams: int, seed: int = 0) -> Array:
        """All values of a change, (healthy + past, streams)."""
        rise = np.zeros(self.past) if self.rise is None else self.rise(self.past)
        return self.draw(rng(seed, "scene", self.title), np.concatenate([np.zeros(HEALTHY), rise]), streams)

    def null(self, streams: int, n: int, seed: int = 0) -> Array:
        """Unchanged values, (n, streams)."""
        return self.draw(rng(seed, "null", self.title), np.zeros(n), streams)


# -- what is drawn ---------------------------------------------------------------------------------------------------


def errors(rate: float, g: np.random.Generator, rise: Array, streams: int) -> Array:
    """Independent errors."""
    return (g.random((len(rise), streams)) < (rate + rise)[:, None]).astype(float)


def chain(rate: float, same: float, g: np.random.Generator, rise: Array, streams: int) -> Array:
    """A two-state chain: each value repeats the one before with probability `same`, else it is drawn anew."""
    fresh = g.random((len(rise), streams)) < (rate + rise)[:, None]
    keep = g.random(fresh.shape) < same
    keep[0] = False
    origin = np.maximum.accumulate(np.where(keep, 0, np.arange(len(rise))[:, None]), axis=0)
    return np.take_along_axis(fresh, origin, axis=0).astype(float)


def hidden(low: float, high: float, stay: float, g: np.random.Generator, rise: Array, streams: int) -> Array:
    """Errors at one of two rates; the hidden state changes with probability 1 - `stay`."""
    flips = g.random((len(rise), streams)) >= stay
    state = (np.cumsum(flips, axis=0) + g.integers(0, 2, streams)) % 2
    return (g.random(flips.shape) < np.where(state == 1, high, low) + rise[:, None]).astype(float)


def losses(mean: float, spread: float, g: np.random.Generator, rise: Array, streams: int) -> Array:
    """Beta losses; a larger `spread` is less spread."""
    level = (mean + rise)[:, None]
    return g.beta(level * spread, (1 - level) * spread, (len(rise), streams))


def wandering(same: float, g: np.random.Generator, rise: Array, streams: int) -> Array:
    """A first-order autoregression of variance 1; a rise is in its standard deviations."""
    from scipy.signal import lfilter

    noise = g.standard_normal((len(rise), streams))
    noise[1:] *= math.sqrt(1 - same * same)
    return np.asarray(lfilter([1.0], [1.0, -same], noise, axis=0)) + rise[:, None]


def tails(g: np.random.Generator, rise: Array, streams: int) -> Array:
    """Student's t with three degrees of freedom."""
    return g.standard_t(3, (len(rise), streams)) + rise[:, None]


@cache
def learnt(seed: int = 0, embedding: bool = False, without: str = "") -> CorruptionScore:
    """A score of softmax vectors or embeddings, from images the classifier of this seed was not trained on.

    It is learnt without the corruptions whose names begin with `without`.
    """
    clean, bad = outputs(seed)
    some = {name: each[embedding] for name, each in bad.items() if not (without and name.startswith(without))}
    return CorruptionScore.learn(clean[embedding], some, kind="embedding" if embedding else "softmax")


@cache
def outputs(seed: int) -> tuple[tuple[Array, Array], dict[str, tuple[Array, Array]]]:
    """Softmax and embedding of the reference images, and of the same under each mild corruption."""
    model, pixels = Frozen(seed), images_of("train")[0]
    clean = pixels[REFERENCE] if len(pixels) >= REFERENCE.stop else pixels[:400]  # the sample of the tests has few
    return model(clean), {name: model(bad) for name, bad in mild_corruptions(clean)}


@cache
def scores(score: str, kind: str, severity: int) -> Array:
    """What the frozen classifier says of each test image under a corruption: a score that rises with doubt."""
    softmax = said(kind, severity)[0]
    if score == "learnt":
        return learnt()(softmax)
    if score == "1 - max p":
        return np.asarray(1.0 - softmax.max(1))
    return np.asarray(-(softmax * np.log(softmax + 1e-12)).sum(1))


def images(score: str, kind: str, severity: int, g: np.random.Generator, rise: Array, streams: int) -> Array:
    """Scores of images drawn with replacement: clean ones where `rise` is 0, else corrupted ones."""
    clean, bad = scores(score, "clean", 0), scores(score, kind, severity)
    drawn = g.integers(0, len(clean), (len(rise), streams))
    return np.where((rise > 0)[:, None], bad[drawn], clean[drawn])


# -- how the level rises, and what an oracle knows -------------------------------------------------------------------


def at_once(by: float, n: int) -> Array:
    return np.full(n, by)


def gradual(by: float, over: int, n: int) -> Array:
    return by * np.minimum(np.arange(1, n + 1) / over, 1.0)


def stepwise(by: float, steps: int, each: int, n: int) -> Array:
    return by * np.minimum(np.arange(n) // each + 1, steps) / steps


def error_ratio(rate: float, by: float, values: Array) -> Array:
    return np.where(values > 0, math.log((rate + by) / rate), math.log((1 - rate - by) / (1 - rate)))


def chain_ratio(rate: float, same: float, by: float, values: Array) -> Array:
    before = np.vstack([np.full((1, values.shape[1]), np.nan), values[:-1]])
    kept = np.where(np.isnan(before), 0.0, same * (before == values))
    fresh = np.where(np.isnan(before), 1.0, 1 - same)

    def chance(level: float) -> Array:
        return np.asarray(kept + fresh * np.where(values > 0, level, 1 - level))

    return np.log(chance(rate + by) / chance(rate))


def loss_ratio(mean: float, spread: float, by: float, values: Array) -> Array:
    from scipy import special

    x = np.clip(values, 1e-12, 1 - 1e-12)
    a, b = mean * spread, (1 - mean) * spread
    c, d = (mean + by) * spread, (1 - mean - by) * spread
    constant = special.betaln(a, b) - special.betaln(c, d)
    return np.asarray((c - a) * np.log(x) + (d - b) * np.log1p(-x) + constant)


# -- the scenes ------------------------------------------------------------------------------------------------------


def nulls() -> list[Scene]:
    """Unchanged streams."""
    report = [
        Scene("errors .10", partial(errors, 0.10)),
        Scene("errors .02", partial(errors, 0.02)),
        Scene("rare errors .002", partial(errors, 0.002)),
        Scene("losses .20", partial(losses, 0.2, 20.0)),
        Scene("images, 1 - max p", partial(images, "1 - max p", "clean", 0)),
        Scene("images, learnt", partial(images, "learnt", "clean", 0)),
        Scene("Student t3", tails),
        Scene("chain .10, .5", partial(chain, 0.10, 0.5)),
        Scene("hidden .02/.30, .99", partial(hidden, 0.02, 0.30, 0.99)),
        Scene("wandering .5", partial(wandering, 0.5)),
    ]
    dev = [
        Scene("errors .05", partial(errors, 0.05), half="dev"),
        Scene("errors .30", partial(errors, 0.30), half="dev"),
        Scene("losses .10, 50", partial(losses, 0.1, 50.0), half="dev"),
        Scene("chain .05, .6", partial(chain, 0.05, 0.6), half="dev"),
        Scene("chain .20, .3", partial(chain, 0.20, 0.3), half="dev"),
        Scene("hidden .05/.40, .98", partial(hidden, 0.05, 0.40, 0.98), half="dev"),
        Scene("wandering .3", partial(wandering, 0.3), half="dev"),
    ]
    return [*report, *dev]


def changes() -> list[Scene]:
    """Streams that change at `HEALTHY`."""
    rows = []
    for half, rate, mean, spread, link in (("report", 0.10, 0.2, 20.0, 0.5), ("dev", 0.05, 0.1, 50.0, 0.3)):
        name = f".{round(100 * rate):02d}"
        for by in (0.05, 0.10, 0.20, 0.30):
            ratio = partial(error_ratio, rate, by)
            rows.append(Scene(f"errors {name} +{by:.2f}", partial(errors, rate), partial(at_once, by), ratio, half))
        for by in (0.02, 0.05):
            ratio = partial(loss_ratio, mean, spread, by)
            draw = partial(losses, mean, spread)
            rows.append(Scene(f"losses {mean:.2f} +{by:.2f}", draw, partial(at_once, by), ratio, half))
        for by in (0.10, 0.20, 0.30):
            ratio = partial(chain_ratio, rate, link, by)
            draw = partial(chain, rate, link)
            rows.append(Scene(f"chain {name} +{by:.2f}", draw, partial(at_once, by), ratio, half))
        rows.append(
            Scene(f"errors {name}, +.20 over 2,000", partial(errors, rate), partial(gradual, 0.2, 2000), half=half)
        )
        draw = partial(errors, rate)
        rows.append(Scene(f"errors {name}, 4 x +.05", draw, partial(stepwise, 0.2, 4, 500), half=half))
    seen = {"report": [("noise", 3), ("blur", 4), ("contrast", 2), ("rotation", 1)], "dev": [("noise", 4), ("blur", 5)]}
    for half, pairs in seen.items():
        for score in ("1 - max p", "entropy", "learnt"):
            for kind, severity in pairs:
                draw = partial(images, score, kind, severity)
                rows.append(Scene(f"{kind} {severity}, {score}", draw, partial(at_once, 1.0), half=half, past=5000))
    return rows
