"""Learning curves of deeper networks on small tables: 400 configurations each, drawn at random and really trained.

They are like LCBench's: seven parameters, 1 to 5 layers that narrow, momentum, dropout and weight decay, and but for
one table a learning rate that falls along a cosine, so that curves cross. Accuracy on held-out rows after each of 50
epochs. A configuration has the curve of the nearest one that was trained. Kept in `build/bench-cache`.
"""

from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.tuning.retune_tasks import CACHE
from visutility.tune import Float, Params, Space

EPOCHS: Final = 50
CONFIGURATIONS: Final = 400
ROWS, HELD_OUT = 600, 1000
COSINE: Final = {"made5": True, "cancer": True, "digits": True, "noisy": False}
SPACE: Final = Space({f"p{at}": Float(0, 1) for at in range(7)})  # the places of the seven parameters

Array = NDArray[Any]


def trained(name: str) -> tuple[Array, Array]:
    """Return the places (400, 7) that were trained and their curves (400, 50): about a minute at the first use."""
    path = CACHE / f"curves-table-{name}.npz"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        draw, rows = np.random.default_rng(11), _rows(name)
        places = np.array([draw.random(7) for _ in range(CONFIGURATIONS)])
        curves = [_train(place, rows, COSINE[name], seed) for seed, place in enumerate(places)]
        np.savez(path, u=places, c=np.array(curves))
    found = np.load(path)
    return found["u"], found["c"]


def nearest(places: Array, params: Params) -> int:
    """Return which of the places is nearest to a configuration."""
    place = np.array([params[name] for name in SPACE.names])
    return int(((places - place) ** 2).sum(axis=1).argmin())


def _rows(name: str) -> tuple[Array, Array, Array, Array]:
    from sklearn import datasets

    if name == "digits":
        x, y = datasets.load_digits(return_X_y=True)
    elif name == "cancer":
        x, y = datasets.load_breast_cancer(return_X_y=True)
    elif name == "made5":
        x, y = datasets.make_classification(1600, 20, n_informative=8, n_classes=5, random_state=3)
    else:
        x, y = datasets.make_classification(
            1600, 30, n_informative=6, n_clusters_per_class=4, flip_y=0.15, random_state=5
        )
    order = np.random.default_rng(7).permutation(len(y))
    x, y = x[order], y[order]
    known = min(ROWS, len(y) * 6 // 10)
    x = ((x - x[:known].mean(0)) / np.maximum(x[:known].std(0), 0.1)).astype(np.float32)
    held_out = slice(known, known + HELD_OUT)
    return x[:known], y[:known], x[held_out], y[held_out]


def _train(place: Array, rows: tuple[Array, Array, Array, Array], cosine: bool, seed: int) -> list[float]:
    """Held-out accuracy after each epoch of a network whose settings are at these places (7,)."""
    x, y, u, v = rows
    draw, classes = np.random.default_rng(seed), int(y.max()) + 1
    batch, rate = round(16 * 32 ** place[0]), 1e-4 * 1e3 ** place[1]
    momentum, decay = np.float32(0.1 + 0.89 * place[2]), np.float32(1e-5 * 1e4 ** place[3])
    layers, units, dropout = 1 + int(place[4] * 5 * 0.9999), round(16 * 16 ** place[5]), place[6]
    shares = [at / (layers + 1) for at in range(layers)]
    inner = [max(classes, round(units * (1 - share) + classes * share)) for share in shares]
    sizes = [x.shape[1], *inner, classes]
    weights = [draw.normal(0, (2 / a) ** 0.5, (a, b)).astype(np.float32) for a, b in pairwise(sizes)]
    biases = [np.zeros(width, np.float32) for width in sizes[1:]]
    speeds, drifts = [np.zeros_like(w) for w in weights], [np.zeros_like(b) for b in biases]
    hot, found = np.eye(classes, dtype=np.float32)[y], []
    with np.errstate(all="ignore"):
        for epoch in range(EPOCHS):
            step = np.float32(rate * (0.5 * (1 + np.cos(np.pi * epoch / EPOCHS)) if cosine else 1))
            order = draw.permutation(len(y))
            for start in range(0, len(y), batch):
                now = order[start : start + batch]
                hidden, masks = [x[now]], []
                for at in range(layers):
                    h = np.maximum(hidden[-1] @ weights[at] + biases[at], 0)
                    off = dropout * (1 - at / layers) * 0.9
                    masks.append((draw.random(h.shape, dtype=np.float32) > off) / np.float32(1 - off))
                    hidden.append(h * masks[-1])
                z = hidden[-1] @ weights[-1] + biases[-1]
                e = np.exp(z - z.max(1, keepdims=True))
                back = (e / e.sum(1, keepdims=True) - hot[now]) / np.float32(len(now))
                for at in range(layers, -1, -1):
                    pull, shift = hidden[at].T @ back + decay * weights[at], back.sum(0)
                    if at:
                        back = (back @ weights[at].T) * (hidden[at] > 0) * masks[at - 1]
                    speeds[at], drifts[at] = momentum * speeds[at] + pull, momentum * drifts[at] + shift
                    weights[at] -= step * speeds[at]
                    biases[at] -= step * drifts[at]
            found.append(_accuracy(weights, biases, u, v, classes))
    return found


def _accuracy(weights: list[Array], biases: list[Array], u: Array, v: Array, classes: int) -> float:
    for w, b in zip(weights[:-1], biases[:-1], strict=True):
        u = np.maximum(u @ w + b, 0)
    z = u @ weights[-1] + biases[-1]
    return float((z.argmax(axis=1) == v).mean()) if np.isfinite(z).all() else 1.0 / classes
