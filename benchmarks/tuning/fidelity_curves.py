"""Learning curves to tune on: every configuration of a grid really trained, and LCBench-like ones made by a formula.

A family of real curves is a data set and a range of learning rates: 288 networks of one hidden layer, trained for 50
epochs each in NumPy, their log loss on held-out rows after every epoch. "fast" networks have learnt what they can
within a few epochs, "slow" ones still improve at the last. Curves are kept in `build/bench-cache`.

The synthetic families are labelled so. They are no data: a smooth random function of seven parameters gives each
configuration its final accuracy, how fast it gets there and where it starts, so that curves cross.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray

from benchmarks.tuning.fidelity_tables import COSINE, nearest, trained
from benchmarks.tuning.fidelity_tables import SPACE as PLACES
from benchmarks.tuning.retune_tasks import CACHE, have, images
from visutility.core.rng import rng
from visutility.tune import Choice, Equals, Float, Int, Params, Space

EPOCHS: Final = 50
ROWS, HELD_OUT = 900, 700
METRICS: Final = ("loss", "accuracy")
RATES: Final = {
    "fast": (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 0.6, 1.0),
    "slow": (0.00001, 0.00002, 0.00004, 0.00008, 0.00015, 0.0003, 0.0006, 0.001),
}
REAL: Final = tuple(
    f"{data}/{rates}/{metric}" for data in ("digits", "fashion") for rates in RATES for metric in METRICS
)
SYNTHETIC: Final = tuple(f"lcbench-like/{n}" for n in range(6))
TABLES: Final = tuple(f"table/{name}" for name in COSINE)
CHOSEN_ON: Final = (*REAL[:4], *SYNTHETIC[:3], *TABLES)  # constants were chosen on these
REPORTED: Final = (*REAL[4:], *SYNTHETIC[3:])

Curve = NDArray[np.float64]  # (EPOCHS,): the value after each epoch


@final
@dataclass(frozen=True)
class Family:
    """Curves over a space. `value` is lower or higher is better as `direction` says; `target` is within 1 % of `best`.

    `best` is the best value of any configuration at any epoch; for a synthetic family, of 4,000 drawn at random.
    """

    name: str
    space: Space
    direction: str
    curve: Callable[[Params], Curve]
    best: float
    share: float  # of configurations that reach the target

    @property
    def target(self) -> float:
        return self.best + (0.01 if self.direction == "minimize" else -0.01) * abs(self.best)


def network_space(rates: str) -> Space:
    return Space(
        {
            "optimizer": Choice(["sgd", "adam"]),
            "lr": Choice(list(RATES[rates]), ordered=True),
            "momentum": Choice([0.0, 0.9], ordered=True, when=Equals("optimizer", "sgd")),
            "hidden": Choice([8, 32, 96], ordered=True),
            "batch": Choice([16, 64], ordered=True),
            "activation": Choice(["relu", "tanh"]),
        }
    )


def configurations(space: Space) -> list[Params]:
    """Every configuration of a space of choices alone, without repeats."""
    options = [p.options if isinstance(p, Choice) else () for p in space.parameters.values()]
    found: dict[tuple[Any, ...], Params] = {}
    for values in itertools.product(*options):
        active: Params = {}
        for name, value in zip(space.names, values, strict=True):
            when = space.parameters[name].when
            if when is None or active.get(when.name) in when.values:
                active[name] = value
        found[_key(active)] = active
    return list(found.values())


@cache
def family(name: str) -> Family:
    """Return a family by name; real curves are computed at the first use, about a minute each, and then kept."""
    kind, *which = name.split("/")
    if kind == "table":
        return _table(name, which[0])
    return _synthetic(name, int(which[0])) if kind == "lcbench-like" else _real(name, kind, *which)


def available() -> list[str]:
    always = (*SYNTHETIC, *TABLES)
    return [name for name in (*REAL, *always) if name in always or have(name.partition("/")[0])]


def _table(name: str, which: str) -> Family:
    """At least 3 % of the configurations of a table reach its target: the best of 400 is a matter of luck."""
    places, curves = trained(which)
    tops = curves.max(axis=1)
    best = min(float(tops.max()), float(np.quantile(tops, 0.97)) / 0.99)
    share = float((tops >= 0.99 * best).mean())
    return Family(name, PLACES, "maximize", lambda params: curves[nearest(places, params)], best, share)


def _real(name: str, data: str, rates: str, metric: str) -> Family:
    space = network_space(rates)
    grid = configurations(space)
    path = CACHE / f"curves-{data}-{rates}-3.npy"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = _rows(data)
        np.save(path, np.array([train(params, rows) for params in grid]))
    values = np.load(path)[:, METRICS.index(metric)]
    table = {_key(params): row for params, row in zip(grid, values, strict=True)}
    flip = 1.0 if metric == "loss" else -1.0
    tops = flip * (flip * values).min(axis=1)
    best = float(flip * (flip * tops).min())
    share = float((flip * tops <= flip * best + 0.01 * best).mean())
    return Family(name, space, "minimize" if metric == "loss" else "maximize", lambda p: table[_key(p)], best, share)


def _rows(data: str) -> tuple[Any, Any, Any, Any]:
    x, y = images(data)
    order = rng(0, "rows", data).permutation(len(y))[: ROWS + HELD_OUT]
    x, y = x[order], y[order]
    if data == "fashion":
        x = x.reshape(len(x), 14, 2, 14, 2).mean(axis=(2, 4))
    flat = x.reshape(len(x), -1).astype(np.float32)
    flat = (flat - flat[:ROWS].mean(0)) / np.maximum(flat[:ROWS].std(0), np.float32(0.1))
    return flat[:ROWS], y[:ROWS], flat[ROWS:], y[ROWS:]


def train(params: Params, rows: tuple[Any, Any, Any, Any]) -> Curve:
    """Train one network with one hidden layer; return (2, epochs): held-out log loss, at most 10, and accuracy."""
    x, y, u, v = rows
    draw = rng(0, "network", params["hidden"], params["activation"])
    sizes = (x.shape[1], params["hidden"], 10)
    weights: list[Any] = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        weights += [draw.normal(0, fan_in**-0.5, (fan_in, fan_out)), np.zeros(fan_out)]
    weights = [w.astype(np.float32) for w in weights]
    first, second = ([np.zeros_like(w) for w in weights] for _ in range(2))
    hot, values, step = np.eye(10, dtype=np.float32)[y], [], 0
    with np.errstate(all="ignore"):
        for _ in range(EPOCHS):
            order = draw.permutation(len(y))
            for start in range(0, len(y), params["batch"]):
                rows_now = order[start : start + params["batch"]]
                step += 1
                _update(weights, _gradients(weights, x[rows_now], hot[rows_now], params), params, first, second, step)
            p = _forward(weights, u, params)[1]
            loss = -np.log(np.maximum(p[np.arange(len(v)), v], 1e-6)).mean()
            whole = bool(np.isfinite(loss))
            values.append((min(10.0, float(loss)), float((p.argmax(axis=1) == v).mean())) if whole else (10.0, 0.1))
    return np.array(values).T


def _forward(weights: list[Any], x: Any, params: Params) -> tuple[Any, Any]:
    z = x @ weights[0] + weights[1]
    h = np.maximum(z, 0) if params["activation"] == "relu" else np.tanh(z)
    scores = h @ weights[2] + weights[3]
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return h, e / e.sum(axis=1, keepdims=True)


def _gradients(weights: list[Any], x: Any, hot: Any, params: Params) -> list[Any]:
    h, p = _forward(weights, x, params)
    back = (p - hot) / np.float32(len(x))
    slope = (h > 0) if params["activation"] == "relu" else 1 - h * h
    inner = (back @ weights[2].T) * slope
    return [x.T @ inner, inner.sum(axis=0), h.T @ back, back.sum(axis=0)]


def _update(weights: list[Any], gradients: list[Any], params: Params, first: Any, second: Any, step: int) -> None:
    rate = np.float32(params["lr"])
    for w, g, m, s in zip(weights, gradients, first, second, strict=True):
        if params["optimizer"] == "sgd":
            m *= np.float32(params["momentum"])
            m += g
            w -= rate * m
        else:  # Kingma and Ba (2015), algorithm 1
            m += np.float32(0.1) * (g - m)
            s += np.float32(0.001) * (g * g - s)
            scale = np.float32(np.sqrt(1 - 0.999**step) / (1 - 0.9**step))
            w -= rate * scale * m / (np.sqrt(s) + np.float32(1e-7))


LCBENCH: Final = Space(
    {
        "batch_size": Int(16, 512, log=True),
        "learning_rate": Float(1e-4, 1e-1, log=True),
        "momentum": Float(0.1, 0.99),
        "weight_decay": Float(1e-5, 1e-1, log=True),
        "num_layers": Int(1, 5),
        "max_units": Int(64, 1024, log=True),
        "max_dropout": Float(0.0, 1.0),
    }
)


def _synthetic(name: str, number: int) -> Family:
    """Accuracy in percent: a power law towards an asymptote, slow where the learning rate is small, with noise."""
    draw = rng(number, "lcbench-like")
    centre = draw.uniform(0.2, 0.8, 7)
    width = draw.uniform(0.5, 1.5, 7) * np.array([1.6, 0.7, 1, 1.3, 1.6, 1.3, 1])
    frequency, phase = draw.normal(0, 3.0, (24, 7)), draw.uniform(0, 2 * np.pi, 24)
    bumps = draw.normal(0, 1.0, 24) / 24**0.5
    ceiling, floor, fall = draw.uniform(72, 96), draw.uniform(8, 40), draw.uniform(12, 30)
    slowness = draw.uniform(0.9, 1.5)

    def curve(params: Params) -> Curve:
        u, _ = LCBENCH.encode(params)
        badness = 0.25 * float((((u - centre) / width) ** 2).sum())
        wiggle = float((bumps * np.cos(frequency @ u + phase)).sum())
        end = ceiling - fall * (1 - np.exp(-0.5 * badness)) - 1.5 * abs(wiggle)
        rate = 0.5 + slowness * (0.75 * u[1] + 0.2 * u[2] - 0.15 * u[0]).clip(0.02)
        start = floor + (end - floor) * 0.5 * float(u[1])
        t = np.arange(1, EPOCHS + 1)
        decay = t**-rate
        steps = rng(number, "noise", *(int(1e6 * part) for part in u)).normal(0, 1, EPOCHS)
        noise = np.convolve(steps, [0.6, 0.3, 0.1])[:EPOCHS] * (0.1 + 0.6 * decay)
        return np.clip(end - (end - start) * decay + noise, 0.0, 100.0)

    sample = rng(number, "best").random((4000, 7))
    tops = np.array([curve(LCBENCH.decode(u)).max() for u in sample])
    best = float(tops.max())
    return Family(name, LCBENCH, "maximize", curve, best, float((tops >= 0.99 * best).mean()))


def _key(params: Params) -> tuple[Any, ...]:
    return tuple(sorted(params.items()))
