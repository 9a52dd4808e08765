"""Image drift: false-positive rate, power and time of windows of 100 images against 1,000, beside peers; names given.

Test images of Fashion-MNIST, corrupted as `images` does it and rounded to bytes, and the frozen perceptron's
embeddings. Windows are shared by all methods and drawn from images that the reference does not hold. Peers take part
where they are installed, on fewer windows; per-dimension Kolmogorov-Smirnov with Bonferroni always is.
"""

import argparse
import logging
import os
import sys
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from benchmarks.monitoring import images as source
from benchmarks.monitoring.peers import lacking, left_out
from visutility.core.rng import rng
from visutility.monitor import compare
from visutility.monitor.drift import EmbeddingReference, ImageReference

M, N, LEVEL = 1000, 100, 0.05
KINDS = ("noise", "blur", "brightness", "contrast", "rotation")  # JPEG is told apart: it harms no accuracy
FEW = 10  # windows of each cell and reference that the slow methods see
Judge = Callable[["Window"], float]


class Window:
    """Some test images under one corruption: what the model's host has of them."""

    def __init__(self, kind: str, severity: int, rows: NDArray[np.int64]) -> None:
        softmax, embedding, _ = said(kind, severity)
        self.images, self.embedding, self.softmax = pixels(kind, severity)[rows], embedding[rows], softmax[rows]


@cache
def said(kind: str, severity: int) -> Any:
    """Return what the model says, read once."""
    return source.said(kind, severity)


@cache
def pixels(kind: str, severity: int) -> NDArray[np.uint8]:
    """Return all test images under a corruption, as bytes, made once."""
    clean = source.images("t10k")[0]
    made = clean if kind == "clean" else source.corrupt(clean, kind, severity)
    return (made * 255.0).round().astype(np.uint8)


# -- methods: each learns a reference and returns p-values ------------------------------------------------------------


def ours_embedding(reference: Window) -> Judge:
    """Embeddings alone."""
    learnt = EmbeddingReference.fit(reference.embedding)
    return lambda window: compare(learnt, window.embedding, "embedding").p_value


def hotelling(reference: Window) -> Judge:
    """The plain whitened mean by the chi-square law."""
    middle, inverse = reference.embedding.mean(0), np.linalg.pinv(np.cov(reference.embedding.T))

    def judge(window: Window) -> float:
        shift = window.embedding.mean(0) - middle
        square = float(shift @ inverse @ shift) / (1 / len(window.embedding) + 1 / M)
        return float(special.chdtrc(len(middle), square))

    return judge


def per_dimension(reference: Window) -> Judge:
    """Kolmogorov-Smirnov in each dimension, asymptotic, Bonferroni."""
    ordered = np.sort(reference.embedding, axis=0)

    def judge(window: Window) -> float:
        now, most = np.sort(window.embedding, axis=0), 0.0
        for column in range(now.shape[1]):
            every = np.concatenate([ordered[:, column], now[:, column]])
            shares = [
                np.searchsorted(sample[:, column], every, side="right") / len(sample) for sample in (ordered, now)
            ]
            most = max(most, float(np.abs(shares[0] - shares[1]).max()))
        return min(1.0, now.shape[1] * float(special.kolmogorov(most * (M * N / (M + N)) ** 0.5)))

    return judge


def alibi(kind: str) -> Callable[[Window], Judge]:
    """A detector of alibi-detect as its documentation sets it up; the classifier is scikit-learn's logistic one."""

    def learn(reference: Window) -> Judge:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from alibi_detect import cd
            from sklearn.linear_model import LogisticRegression

            logging.getLogger("alibi_detect").setLevel(logging.ERROR)
            vectors = reference.embedding.astype(np.float32)
            model = LogisticRegression(max_iter=1000)
            makers: dict[str, Callable[[], Any]] = {
                "KS": lambda: cd.KSDrift(vectors, p_val=LEVEL),
                "classifier": lambda: cd.ClassifierDrift(vectors, model, backend="sklearn", p_val=LEVEL),
                "classifier, 5 folds": lambda: cd.ClassifierDrift(
                    vectors, model, backend="sklearn", p_val=LEVEL, n_folds=5
                ),
                "MMD": lambda: cd.MMDDrift(vectors, backend="pytorch", p_val=LEVEL),
            }
            made = makers[kind]()

        def judge(window: Window) -> float:
            data = made.predict(window.embedding.astype(np.float32))["data"]
            return 0.0 if data["is_drift"] else 1.0

        return judge

    return learn


ALIBI = {"KS": True, "classifier": False, "classifier, 5 folds": False, "MMD": True}  # and whether it is slow


def absent() -> dict[str, str]:
    """What each peer lacks; empty where it can run."""
    return {"alibi-detect": lacking("alibi_detect"), "alibi-detect MMD": lacking("torch")}


def methods() -> dict[str, tuple[Callable[[Window], Judge], bool]]:
    """Return each method and whether it is slow."""
    found: dict[str, tuple[Callable[[Window], Judge], bool]] = {
        "ours, embeddings": (ours_embedding, False),
        "whitened mean, chi-square": (hotelling, False),
        "KS, Bonferroni": (per_dimension, False),
    }
    lacks = absent()
    for kind, slow in ALIBI.items():
        name = f"alibi-detect {kind}"
        if not lacks["alibi-detect"] and not lacks.get(name):
            found[name] = (alibi(kind), slow)
    return found


# -- the runs ---------------------------------------------------------------------------------------------------------


def cells() -> Iterator[tuple[str, int]]:
    """Yield every corruption and severity."""
    for kind in (*KINDS, "jpeg"):
        for severity in (1, 2, 3):
            yield kind, severity


class Table:
    """Alarms, windows and seconds per method and cell, and the names given per cell."""

    def __init__(self) -> None:
        self.alarms: dict[str, dict[tuple[str, int], list[bool]]] = defaultdict(lambda: defaultdict(list))
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.names: dict[tuple[str, int], Counter[str]] = defaultdict(Counter)

    def judge(self, name: str, cell: tuple[str, int], judge: Judge, window: Window) -> None:
        """Add one window."""
        start = time.process_time()
        p = judge(window)
        self.seconds[name].append(time.process_time() - start)
        self.alarms[name][cell].append(p <= LEVEL)

    def images(self, cell: tuple[str, int], reference: tuple[ImageReference, Window], window: Window) -> None:
        """Add one window of images, its name included: pixels with embeddings, and softmax vectors too."""
        learnt, old = reference
        parts: dict[str, Any]
        for name, parts in (
            ("ours, pixels + embeddings", {"embeddings": (old.embedding, window.embedding)}),
            (
                "ours, all three",
                {"embeddings": (old.embedding, window.embedding), "softmax": (old.softmax, window.softmax)},
            ),
        ):
            if name == "ours, all three" and cell[0] != "clean" and len(self.alarms[name][cell]) >= FEW:
                continue
            start = time.process_time()
            report = compare(learnt, window.images, "images", **parts)
            self.seconds[name].append(time.process_time() - start)
            self.alarms[name][cell].append(report.drifted)
            if name == "ours, pixels + embeddings":
                self.names[cell][report.named or ("none" if report.drifted else "no drift")] += 1

    def show(self) -> None:
        """Print everything."""
        print(f"{'':33}   FPR (windows)    power at severity 1 / 2 / 3    JPEG              ms (median CPU)")
        for name, found in self.alarms.items():
            nulls = found["clean", 0]
            power = [np.mean([np.mean(found[kind, at]) for kind in KINDS]) for at in (1, 2, 3)]
            jpeg = [np.mean(found["jpeg", at]) for at in (1, 2, 3)]
            print(
                f"{name:33}   {np.mean(nulls):.3f} ({len(nulls):5})     {' / '.join(f'{p:.3f}' for p in power)}"
                f"          {' / '.join(f'{p:.2f}' for p in jpeg)}   {1e3 * np.median(self.seconds[name]):7.2f}"
            )
        print()
        for name, found in self.alarms.items():
            cells = "  ".join(
                f"{kind} {' / '.join(f'{np.mean(found[kind, at]):.2f}' for at in (1, 2, 3))}" for kind in KINDS
            )
            print(f"{name:33}   {cells}")
        print("\nnames given (pixels + embeddings)")
        heads = [*KINDS, "none", "no drift"]
        print(f"{'':16}" + "".join(f"{head:>12}" for head in heads))
        for (kind, severity), names in self.names.items():
            print(f"{kind:14}{severity or '':2}" + "".join(f"{names[head]:12}" for head in heads))


def labels(rows: NDArray[np.int64], draw: np.random.Generator) -> NDArray[np.int64]:
    """Return N of the rows, of three classes only: other labels before the same camera."""
    of = said("clean", 0)[2][rows]
    some = np.flatnonzero(np.isin(of, draw.choice(10, 3, replace=False)))
    chosen: NDArray[np.int64] = rows[draw.choice(some, N, replace=len(some) < N)]
    return chosen


def run(references: int, nulls: int, windows: int, seed: int) -> Table:
    """Judge `nulls` clean windows and `windows` of each cell for each reference."""
    table = Table()
    for number in range(references):
        draw = rng(seed, "image power", number)
        order = draw.permutation(len(said("clean", 0)[2]))
        old, rest = Window("clean", 0, order[:M]), order[M:]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            judges = {name: (learn(old), slow) for name, (learn, slow) in methods().items()}
        learnt = ImageReference.fit(old.images)
        plan = [("clean", 0)] * nulls + [cell for cell in cells() for _ in range(windows)]
        few: Counter[tuple[str, int]] = Counter()
        for cell in plan:
            window = Window(*cell, draw.choice(rest, N, replace=False))
            few[cell] += 1
            for name, (judge, slow) in judges.items():
                if not slow or few[cell] <= FEW:
                    table.judge(name, cell, judge, window)
            table.images(cell, (learnt, old), window)
        for _ in range(windows):
            table.images(("other labels", 0), (learnt, old), Window("clean", 0, labels(rest, draw)))
    return table


def whole_call() -> Mapping[str, float]:
    """Return CPU milliseconds of `compare` on arrays: the reference's first time, and when it comes again."""
    order = rng(0, "image power", "call").permutation(len(said("clean", 0)[2]))
    old, now = said("clean", 0)[1][order[:M]], said("clean", 0)[1][order[M : M + N]]
    start = time.process_time()
    compare(old, now, "embedding")
    first = time.process_time() - start
    start = time.process_time()
    for _ in range(100):
        compare(old, now, "embedding")
    return {"first": 1e3 * first, "again": 10.0 * (time.process_time() - start)}


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one reference, few windows")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--references", type=int, default=10, help="references, each with 460 windows")
    given = parser.parse_args(argv)
    sizes = (1, 20, 3) if given.quick else (given.references, 100, 20)
    print(left_out(absent()), end="", flush=True)
    run(*sizes, seed=given.seed).show()
    call = whole_call()
    print(f"\ncompare on arrays (32 values wide): {call['first']:.1f} ms at first, {call['again']:.2f} ms after")
    return 0


if __name__ == "__main__":
    sys.exit(main())
