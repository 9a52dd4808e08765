"""How soon `auto` sees corrupted images in what a frozen classifier says of them, by the score it is fed.

5,000 clean test images of Fashion-MNIST, then 5,000 corrupted ones, drawn with replacement; no labels. The scores:
1 - max p, the entropy of the softmax, and a `CorruptionScore`, of softmax vectors or embeddings, learnt from 1,000
other images that `mild_corruptions` makes bad, with or without the kind of corruption that comes. Medians over 300
streams of the images until the alarm; a missed change counts as infinite. What an alarm means is then asked of the 500
images after it, by the estimated loss of accuracy. At last a third as many streams with each of some classifiers of
other training seeds; and with three kinds of classifier of scikit-learn's digits, under corruptions of another
implementation, some of kinds that no score was taught.
"""

import argparse
import math
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.monitoring.images import Array, images, said
from benchmarks.monitoring.scenes import HEALTHY, learnt
from benchmarks.monitoring.watchers import fleet
from benchmarks.tuning.page import write
from visutility.core.rng import rng
from visutility.data.corruptions import corrupt
from visutility.monitor import CorruptionScore, HarmKind, estimate_performance, judge_harm, mild_corruptions

Cell = tuple[str, int]
SCORES = ("1 - max p", "entropy", "learnt: softmax", "... without its kind", "learnt: embedding")
REPORT: tuple[Cell, ...] = (("noise", 3), ("blur", 4), ("contrast", 2), ("rotation", 1))
BENIGN: tuple[Cell, ...] = (("jpeg", 1), ("jpeg", 3), ("jpeg", 5), ("noise", 1))
DEV: tuple[Cell, ...] = (("noise", 2), ("blur", 3), ("brightness", 3), ("contrast", 1), ("rotation", 2), ("jpeg", 4))
ELSEWHERE = ("gaussian-noise", "defocus", "rotation", "brightness", "motion-blur", "pixel-dropout", "occlusion")
CLASSIFIERS = ("logistic regression", "random forest", "perceptron")
PAST, JUDGED, TOLERANCE = 5000, 500, 0.05


def scored(name: str, kind: str, cell: Cell, seed: int) -> Array:
    """Scores of the test images under a corruption; `kind` is left out where the score is without it."""
    softmax, embedding, _ = said(*cell, seed)
    if name == "1 - max p":
        return np.asarray(1.0 - softmax.max(1))
    if name == "entropy":
        return entropies(softmax)
    if name == "learnt: embedding":
        return learnt(seed, embedding=True)(embedding)
    return learnt(seed, without="" if name == "learnt: softmax" else kind)(softmax)


def entropies(softmax: Array) -> Array:
    return np.asarray(-(softmax * np.log(softmax + 1e-12)).sum(1))


def drawn(cell: Cell, streams: int) -> NDArray[np.int64]:
    """Numbers of the test images that come, (healthy + past, streams)."""
    return rng(0, "corruption", *map(str, cell)).integers(0, len(images("t10k")[1]), (HEALTHY + PAST, streams))


def alarms(name: str, cell: Cell, streams: int, seed: int) -> list[float]:
    """Position from the change of each stream's first alarm in it, infinite where there is none."""
    at = drawn(cell, streams)
    clean, bad = scored(name, cell[0], ("clean", 0), seed), scored(name, cell[0], cell, seed)
    values = np.concatenate([clean[at[:HEALTHY]], bad[at[HEALTHY:]]])
    return first_alarms(values)


def first_alarms(values: Array) -> list[float]:
    """Position from the change of the first alarm in it of each stream (n, streams), infinite where there is none."""
    return [
        next((float(one - HEALTHY + 1) for one in each if one >= HEALTHY), math.inf)
        for each in fleet("auto", {}, values)
    ]


def shown(delay: float) -> str:
    return "missed" if math.isinf(delay) else f"{delay:,.0f}"


def table(scores: Sequence[str], cells: Sequence[Cell], streams: int) -> list[str]:
    """Median delays by score, the loss of accuracy, and what alarms on the learnt score mean."""
    names = [*scores, "accuracy lost", "the alarm means harm"]
    lines = ["| | " + " | ".join(names) + " |", "| --- |" + " --: |" * len(names)]
    print("\n".join(lines), flush=True)
    for cell in cells:
        found = {name: alarms(name, cell, streams, 0) for name in scores}
        lost = float((correct(cell) - correct(("clean", 0))).mean())
        harmful = means_harm(found["learnt: softmax"], cell, streams)
        row = [*(shown(float(np.median(each))) for each in found.values()), f"{-lost:.3f}", harmful]
        lines.append(f"| {cell[0]} {cell[1]} | " + " | ".join(row) + " |")
        print(lines[-1], flush=True)
    return lines


def correct(cell: Cell) -> Array:
    softmax, _, labels = said(*cell)
    return np.asarray(softmax.argmax(1) == labels, np.float64)


def means_harm(delays: Sequence[float], cell: Cell, streams: int) -> str:
    """How many of the alarms are judged harm, by the estimated accuracy of the images after each."""
    model, labels = said()[0], said()[2]
    known, bad, at = slice(0, 1000), said(*cell)[0], drawn(cell, streams)
    heard = harm = 0
    for number, delay in enumerate(delays):
        first = HEALTHY + int(delay) if math.isfinite(delay) else len(at)
        after = bad[at[first : first + JUDGED, number]]
        if len(after) < JUDGED:
            continue
        heard += 1
        estimate = estimate_performance(model[known], labels[known], after)
        harm += judge_harm(True, estimate, tolerance=TOLERANCE).kind is HarmKind.PROBABLE
    return f"{harm} of {heard}"


def calm(scores: Sequence[str], values: int) -> list[str]:
    """False alarms per million clean images, 1,000 streams."""
    lines = ["| | " + " | ".join(scores) + " |", "| --- |" + " --: |" * len(scores)]
    streams = max(values // 10_000, 1)
    at = rng(0, "corruption", "clean").integers(0, len(images("t10k")[1]), (min(values, 10_000), streams))
    row = []
    for name in scores:
        score = scored(name, "noise", ("clean", 0), 0)
        row.append(f"{1e6 * sum(map(len, fleet('auto', {}, score[at]))) / at.size:.2g}")
    lines.append("| false alarms per million | " + " | ".join(row) + " |")
    print("\n".join(lines), flush=True)
    return lines


def models(seeds: int, streams: int, cells: Sequence[Cell]) -> list[str]:
    """Median delays with classifiers of other training seeds: least and largest."""
    names = [f"{kind} {severity}" for kind, severity in cells]
    lines = [f"| {seeds} other classifiers | " + " | ".join(names) + " |", "| --- |" + " --: |" * len(names)]
    print("\n".join(lines), flush=True)
    for name in SCORES:
        row = []
        for cell in cells:
            found = [float(np.median(alarms(name, cell, streams, seed))) for seed in range(1, seeds + 1)]
            row.append(f"{shown(min(found))} to {shown(max(found))}")
        lines.append(f"| {name} | " + " | ".join(row) + " |")
        print(lines[-1], flush=True)
    return lines


def digits(kinds: Sequence[str], named: Sequence[str], streams: int) -> list[str]:
    """Median delays on digits of 8 x 8 pixels at severity 1 of `visutility.data`: entropy, then the learnt score."""
    from sklearn.datasets import load_digits
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier

    found = load_digits()
    pixels, labels = found.images / 16.0, found.target
    order = rng(0, "corruption", "digits").permutation(len(labels))
    train, reference, test = order[:700], order[700:1100], order[1100:]
    models = {
        "logistic regression": LogisticRegression(C=0.3, max_iter=500),
        "random forest": RandomForestClassifier(200, random_state=0),
        "perceptron": MLPClassifier((64,), max_iter=1000, random_state=0),
    }
    lines = ["| digits | " + " | ".join(named) + " |", "| --- |" + " --: |" * len(named)]
    print("\n".join(lines), flush=True)
    cells: dict[str, list[str]] = {kind: [] for kind in kinds}
    for name in named:
        model = models[name].fit(pixels[train].reshape(len(train), -1), labels[train])

        def says(some: Array, model: Any = model) -> Array:
            return np.asarray(model.predict_proba(some.reshape(len(some), -1)))

        bad = {what: says(each) for what, each in mild_corruptions(pixels[reference])}
        score = CorruptionScore.learn(says(pixels[reference]), bad)
        for kind in kinds:
            corrupted = corrupt(pixels[test].astype(np.float32), kind, 1, seed=0).astype(np.float64)
            clean, now = says(pixels[test]), says(corrupted)
            at = rng(0, "corruption", "digits", kind).integers(0, len(test), (HEALTHY + PAST, streams))
            delays = []
            for of in (entropies, score):
                values = np.concatenate([of(clean)[at[:HEALTHY]], of(now)[at[HEALTHY:]]])
                delays.append(shown(float(np.median(first_alarms(values)))))
            lost = float((clean.argmax(1) == labels[test]).mean() - (now.argmax(1) == labels[test]).mean())
            cells[kind].append(f"{delays[0]} → {delays[1]} ({lost:.3f})")
    lines += [f"| {kind} | " + " | ".join(row) + " |" for kind, row in cells.items()]
    print("\n".join(lines[2:]), flush=True)
    return lines


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables; with --page, put them into a page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monitoring.corruption", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two scores and corruptions, 3 streams")
    parser.add_argument("--half", choices=("report", "dev"), default="report")
    parser.add_argument("--seeds", type=int, default=300, help="streams a corruption")
    parser.add_argument("--models", type=int, default=8, help="classifiers of other training seeds")
    parser.add_argument("--values", type=int, default=3_000_000, help="clean images a score")
    parser.add_argument("--page", type=Path, help="a page with <!-- corruption -->, -nulls, -models and -digits")
    given = parser.parse_args(argv)
    cells = DEV if given.half == "dev" else (*REPORT, *BENIGN)
    streams, values, others = given.seeds, given.values, given.models
    scores = SCORES
    if given.quick:
        scores, cells, streams, values, others = SCORES[1:3], cells[:2], 3, 6000, 0
    start = time.process_time()
    parts = {"corruption": partial(table, scores, cells, streams), "corruption-nulls": partial(calm, scores, values)}
    if others:
        parts["corruption-models"] = partial(models, others, max(streams // 3, 1), cells[:4])
    if not given.quick and given.half == "report":
        parts["corruption-digits"] = partial(digits, ELSEWHERE, CLASSIFIERS, max(streams // 3, 1))
    for name, part in parts.items():
        lines = part()
        print()
        if given.page:
            write(given.page, name, lines)
    print(f"{time.process_time() - start:.0f} CPU s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
