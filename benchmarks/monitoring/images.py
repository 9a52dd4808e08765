"""A frozen classifier of Fashion-MNIST and what it says of clean and corrupted images.

The model: a perceptron with hidden layers of 128 and 32, trained on the first 30,000 training images for 14 epochs.
Corruptions have the severities of this suite, milder than those of `visutility.data.corruptions`: detection is the
point. Scores are kept in the folder of `benchmarks.tuning.memo`, so that every suite reads the same numbers. Where
Fashion-MNIST is not at hand, `--quick` runs take the twenty images of the tests, many times over.
"""

import gzip
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.tuning.memo import cache_folder
from visutility.core.rng import rng

Array = NDArray[np.float64]
PLACES = ("../shared/data/fashion-mnist", "/usr/share/dataset-fashion-mnist")
SEVERITIES = {  # severities 1 to 5
    "noise": (0.04, 0.08, 0.12, 0.18, 0.26),  # sd
    "blur": (0.4, 0.6, 0.8, 1.1, 1.5),  # Gaussian sigma in pixels
    "brightness": (0.03, 0.06, 0.10, 0.15, 0.25),  # added
    "contrast": (0.9, 0.75, 0.6, 0.45, 0.3),  # factor about the image's mean
    "rotation": (4.0, 8.0, 12.0, 18.0, 30.0),  # degrees
    "jpeg": (60.0, 40.0, 25.0, 15.0, 8.0),  # quality; our choice, the suite's source names none
}


SAMPLE = Path("tests/data/fashion-mnist/images")


def folder() -> Path | None:
    """Return where Fashion-MNIST lies: `FASHION_MNIST`, or the usual places; None when it is in neither."""
    for place in (os.environ.get("FASHION_MNIST", ""), *PLACES):
        if place and (Path(place) / "t10k-images-idx3-ubyte.gz").exists():
            return Path(place)
    return None


def images(part: str) -> tuple[Array, NDArray[np.int64]]:
    """Return images (n, 28, 28) in [0, 1] and labels (n,) of "train" or "t10k"."""
    place = folder()
    if place is None:
        return _sample(part)
    with gzip.open(place / f"{part}-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 28, 28)
    with gzip.open(place / f"{part}-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    return pixels / 255.0, labels.astype(np.int64)


def _sample(part: str, times: int = 100) -> tuple[Array, NDArray[np.int64]]:
    from PIL import Image

    paths = sorted(SAMPLE.glob("*/*.png"))
    pixels = np.stack([np.asarray(Image.open(path)) for path in paths]).astype(np.float64) / 255.0
    labels = np.unique([path.parent.name for path in paths], return_inverse=True)[1]
    many = np.tile(pixels, (times, 1, 1)) + 0.02 * rng(0, "sample", part).standard_normal((times * len(paths), 28, 28))
    return np.clip(many, 0.0, 1.0), np.tile(labels, times)


def corrupt(clean: Array, kind: str, severity: int, seed: int = 0) -> Array:
    """Return the images (n, 28, 28) with one corruption at severity 1 to 5."""
    from scipy import ndimage

    by = SEVERITIES[kind][severity - 1]
    if kind == "noise":
        return np.clip(clean + by * rng(seed, "noise", severity).standard_normal(clean.shape), 0.0, 1.0)
    if kind == "blur":
        return ndimage.gaussian_filter(clean, (0, by, by))
    if kind == "brightness":
        return np.clip(clean + by, 0.0, 1.0)
    if kind == "contrast":
        mean = clean.mean((1, 2), keepdims=True)
        return np.clip(mean + by * (clean - mean), 0.0, 1.0)
    if kind == "rotation":
        return np.clip(ndimage.rotate(clean, by, (2, 1), reshape=False, order=1), 0.0, 1.0)
    return _jpeg(clean, int(by))


def _jpeg(clean: Array, quality: int) -> Array:
    import io

    from PIL import Image

    done = np.empty_like(clean)
    for at, image in enumerate(clean):
        file = io.BytesIO()
        Image.fromarray((image * 255).round().astype(np.uint8)).save(file, "JPEG", quality=quality)
        done[at] = np.asarray(Image.open(file)) / 255.0
    return done


def kept_at(name: str) -> Path:
    """Return where a result is kept; what the sample of the tests gives is kept apart."""
    return Path(cache_folder()) / ("monitoring" if folder() else "monitoring-sample") / name


class Frozen:
    """A frozen perceptron: weights only, so that every run gives the same numbers. Every other seed trains another."""

    def __init__(self, seed: int = 0) -> None:
        path = kept_at(f"{_of(seed)}mlp.npz")
        if not path.exists():
            _train(path, seed)
        with np.load(path) as kept:
            self.weights = [kept[f"w{at}"] for at in range(3)]
            self.biases = [kept[f"b{at}"] for at in range(3)]

    def __call__(self, pixels: Array) -> tuple[Array, Array]:
        """Return softmax (n, 10) and embedding, the last hidden layer (n, 32), of images (n, 28, 28)."""
        hidden = pixels.reshape(len(pixels), -1)
        for weight, bias in zip(self.weights[:2], self.biases[:2], strict=True):
            hidden = np.maximum(hidden @ weight + bias, 0.0)
        logits = hidden @ self.weights[2] + self.biases[2]
        odds = np.exp(logits - logits.max(1, keepdims=True))
        return odds / odds.sum(1, keepdims=True), hidden


def _of(seed: int) -> str:
    return f"seed-{seed}-" if seed else ""


def _train(path: Path, seed: int) -> None:
    import warnings

    from sklearn.neural_network import MLPClassifier

    pixels, labels = images("train")
    model = MLPClassifier((128, 32), max_iter=14, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says that 14 epochs are not convergence: they are what is asked for
        model.fit(pixels.reshape(len(pixels), -1)[:30_000], labels[:30_000])
    path.parent.mkdir(parents=True, exist_ok=True)
    kept = {f"w{at}": w for at, w in enumerate(model.coefs_)} | {f"b{at}": b for at, b in enumerate(model.intercepts_)}
    np.savez(path, **kept)


def said(kind: str = "clean", severity: int = 0, seed: int = 0) -> tuple[Array, Array, NDArray[np.int64]]:
    """Return softmax (10000, 10), embedding (10000, 32) and labels of the test images under a corruption."""
    path = kept_at(f"{_of(seed)}{kind}-{severity}.npz")
    if not path.exists():
        pixels, labels = images("t10k")
        softmax, embedding = Frozen(seed)(pixels if kind == "clean" else corrupt(pixels, kind, severity))
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, softmax=softmax, embedding=embedding, labels=labels)
    with np.load(path) as kept:
        return kept["softmax"], kept["embedding"], kept["labels"]


if __name__ == "__main__":
    for name, level in [("clean", 0)] + [(kind, at) for kind in SEVERITIES for at in range(1, 6)]:
        softmax, _, labels = said(name, level)
        print(f"{name} {level}: error {(softmax.argmax(1) != labels).mean():.4f}")
