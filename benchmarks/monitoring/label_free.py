"""Accuracy estimated without labels, beside plain difference of confidences, optimal transport, ATC and NannyML's CBPE.

Images: Fashion-MNIST under five corruptions at severities 1 to 5, and JPEG, which costs no accuracy. "same":
reference and current window are the same 10,000 test images, clean and corrupted. "halves": 5,000 other images each,
over random splits; the truth of 5,000 images then has a standard deviation of .005 to .007 by itself.
Tables: two classes, four models, rows drawn with chances that depend on a feature (covariate shift).
NannyML takes part where it is installed. The constants of the estimate were chosen on other corruptions and models.
"""

import argparse
import os
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.monitoring.images import said
from visutility.core.rng import rng
from visutility.monitor import estimate_performance, judge_harm

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
KINDS = ("noise", "blur", "brightness", "contrast", "rotation")
OURS, PEER = "estimate_performance", "NannyML CBPE"


def threshold_confidence(known: Floats, labels: Ints, new: Floats) -> float:
    """ATC (Garg et al. 2022): the share of rows above the confidence that the reference's accuracy share is above."""
    wrong = float((known.argmax(1) != labels).mean())
    return float((new.max(1) >= np.quantile(known.max(1), wrong)).mean())


class Cbpe:
    """NannyML's CBPE, one chunk a window."""

    def __init__(self, known: Floats, labels: Ints) -> None:
        os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
        import nannyml

        self.classes = known.shape[1]
        two = self.classes == 2
        self.peer = nannyml.CBPE(
            problem_type="classification_binary" if two else "classification_multiclass",
            y_pred_proba="p1" if two else {at: f"p{at}" for at in range(self.classes)},
            y_pred="said",
            y_true="label",
            metrics=["accuracy"],
            chunk_number=1,
        )
        self.peer.fit(self.table(known).assign(label=labels))

    def table(self, scores: Floats) -> Any:
        import pandas

        columns = {f"p{at}": scores[:, at] for at in range(self.classes)}
        return pandas.DataFrame(columns | {"said": scores.argmax(1)})

    def __call__(self, scores: Floats) -> float:
        found = self.peer.estimate(self.table(scores)).filter(period="analysis").to_df()
        return float(found[("accuracy", "value")].iloc[0])


def estimates(known: Floats, labels: Ints, peer: Callable[[Floats], float] | None, new: Floats) -> dict[str, float]:
    """Return every method's estimate, and the ends of our interval."""
    ours = estimate_performance(known, labels, new)
    found = {OURS: ours.value, "low": ours.low, "high": ours.high, "ATC": threshold_confidence(known, labels, new)}
    accuracy = float((known.argmax(1) == labels).mean())
    found["difference of confidences"] = accuracy + float(new.max(1).mean() - known.max(1).mean())
    found["optimal transport"] = estimate_performance(known, labels, new, method="transport").value
    found["the reference's accuracy"] = accuracy
    if peer is not None:
        found[PEER] = peer(new)
    found["worse"] = ours.worse
    found["starts"] = judge_harm(True, ours).starts_retrain
    return found


def images(
    rows: Callable[[], tuple[Ints, Ints]], with_peer: bool
) -> Iterator[tuple[str, int, float, dict[str, float]]]:
    """Yield kind, severity, the true accuracy and the estimates, for one choice of reference and current rows."""
    clean, _, labels = said()
    known, new = rows()
    peer = Cbpe(clean[known], labels[known]) if with_peer else None
    for kind, severity in [("clean", 0)] + [(kind, at) for kind in (*KINDS, "jpeg") for at in range(1, 6)]:
        scores = said(kind, severity)[0][new]
        truth = float((scores.argmax(1) == labels[new]).mean())
        yield kind, severity, truth, estimates(clean[known], labels[known], peer, scores)


def summary(title: str, found: list[tuple[str, int, float, dict[str, float]]]) -> None:
    """Print mean and worst error over the 25 sets, the mean of severities 1 to 3, and our interval's coverage."""
    sets = [one for one in found if one[0] in KINDS]
    print(f"{title:28}   mean  worst  severities 1-3")
    for name in [name for name in sets[0][3] if name not in ("low", "high", "worse", "starts")]:
        errors = np.array([abs(guess[name] - truth) for _, _, truth, guess in sets])
        mild = np.array([one[1] <= 3 for one in sets])
        print(f"{name:28}  {errors.mean():.4f}  {errors.max():.3f}  {errors[mild].mean():.4f}")
    inside = np.mean([guess["low"] <= truth <= guess["high"] for _, _, truth, guess in sets])
    width = np.mean([guess["high"] - guess["low"] for _, _, _, guess in sets])
    print(f"interval at .95 covers {inside:.3f} of the sets, mean width {width:.3f}\n")


def each(found: list[tuple[str, int, float, dict[str, float]]]) -> None:
    """Print every set of one run."""
    print("set            truth  estimate  interval         lost  estimated  starts a retrain")
    clean = found[0][2]
    for kind, severity, truth, guess in found:
        ends = f"[{guess['low']:.3f}, {guess['high']:.3f}]"
        lost, starts = f"{clean - truth:6.3f}  {guess['worse']:9.3f}", "yes" if guess["starts"] else "no"
        print(f"{kind:10} {severity}  {truth:.3f}  {guess[OURS]:8.3f}  {ends}  {lost}  {starts}")
    print()


def tables(seeds: int, rows: int) -> Iterator[tuple[str, float, dict[str, float]]]:
    """Yield model, true accuracy and estimates on tasks of two classes under covariate shift."""
    from sklearn.datasets import make_classification
    from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.naive_bayes import GaussianNB

    for seed in range(seeds):
        g = rng(seed, "label-free", "table")
        x, y = make_classification(
            10_000 + 4 * rows,
            n_features=12,
            n_informative=int(g.integers(3, 9)),
            n_redundant=2,
            n_clusters_per_class=int(g.integers(1, 4)),
            class_sep=g.uniform(0.5, 1.4),
            flip_y=g.uniform(0.0, 0.15),
            weights=[g.uniform(0.3, 0.7)],
            random_state=1000 + seed,
        )
        models = (
            LogisticRegression(max_iter=300),
            HistGradientBoostingClassifier(max_iter=60, random_state=seed),
            GaussianNB(),
            RandomForestClassifier(60, min_samples_leaf=5, random_state=seed),
        )
        model = models[seed % 4].fit(x[:10_000], y[:10_000])
        scores, name = model.predict_proba(x[10_000:]), type(model).__name__
        labels, direction = y[10_000:], g.standard_normal(12)
        peer = Cbpe(scores[:rows], labels[:rows]) if find_spec("nannyml") else None
        towards = x[10_000 + rows :] @ direction
        for strength in (0.0, 0.4, 0.9):
            chance = np.exp(strength * towards / towards.std())
            chance = np.minimum(chance, np.quantile(chance, 0.995))
            new = rows + g.choice(len(towards), rows, replace=False, p=chance / chance.sum())
            truth = float((scores[new].argmax(1) == labels[new]).mean())
            yield name, truth, estimates(scores[:rows], labels[:rows], peer, scores[new])


def cancer(splits: int) -> Iterator[tuple[str, float, dict[str, float]]]:
    """Yield the same for scikit-learn's breast cancer data: 569 rows, so that the truth itself is known to .02."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    x, y = load_breast_cancer(return_X_y=True)
    for seed in range(splits):
        g = rng(seed, "label-free", "cancer")
        order = g.permutation(len(y))
        fit, ref, pool = order[:150], order[150:360], order[360:]
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(x[fit], y[fit])
        feature = x[pool, int(g.integers(0, 30))]
        chance = np.exp(0.7 * (feature - feature.mean()) / feature.std())
        new = g.choice(pool, 120, replace=False, p=chance / chance.sum())
        scores = model.predict_proba(x)
        truth = float((scores[new].argmax(1) == y[new]).mean())
        yield "breast cancer", truth, estimates(scores[ref], y[ref], None, scores[new])


def print_tables(title: str, found: list[tuple[str, float, dict[str, float]]]) -> None:
    """Print the mean and worst error of every method."""
    print(f"{title:28}   mean  worst")
    for name in [name for name in found[0][2] if name not in ("low", "high", "worse", "starts", "optimal transport")]:
        errors = np.array([abs(guess[name] - truth) for _, truth, guess in found])
        print(f"{name:28}  {errors.mean():.4f}  {errors.max():.3f}")
    inside = np.mean([guess["low"] <= truth <= guess["high"] for _, truth, guess in found])
    print(f"interval at .95 covers {inside:.3f}")
    for model in dict.fromkeys(name for name, _, _ in found):
        ours = [abs(guess[OURS] - truth) for name, truth, guess in found if name == model]
        print(f"   {model:30} {np.mean(ours):.4f}")
    print()


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monitoring.label_free", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one split, few tasks")
    quick = parser.parse_args(argv).quick
    peer = find_spec("nannyml") is not None
    start = time.process_time()
    every = np.arange(len(said()[2]))
    same = list(images(lambda: (every, every), peer))
    each(same)
    summary("images, same", same)

    def split(seed: int) -> tuple[Ints, Ints]:
        order = rng(seed, "label-free", "halves").permutation(len(every))
        half = len(order) // 2
        return order[:half], order[half:]

    halves = [one for seed in range(1 if quick else 10) for one in images(lambda seed=seed: split(seed), False)]
    summary("images, halves", halves)
    print_tables("two classes, 20,000 rows", list(tables(4 if quick else 40, 2_000 if quick else 20_000)))
    print_tables("breast cancer, 120 rows", list(cancer(4 if quick else 100)))
    print(f"{time.process_time() - start:.0f} CPU s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
