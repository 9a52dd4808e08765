"""A tiny vision problem and its recipe, for tests of the loop: quick, NumPy alone, and really learnt.

Images are 4 x 4 with one bright row; the class is that row. After the change the camera sees every image shifted by
one row, so a model of the old world is always wrong, and one that has seen both kinds needs the fourth row's noise to
tell them apart: `shifted` images are brighter.
"""

import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from visutility.core import codec
from visutility.core.rng import rng
from visutility.data import DataBatch, ParquetSource
from visutility.loop import Evaluation
from visutility.tune import Float, Int, Space

CLASSES = 3


def rows(seed: int, start: int, count: int, *, shifted: bool = False, times: Any = None) -> DataBatch:
    """Return labelled images start .. start + count of an endless supply."""
    labels = np.array([(start + at) % CLASSES for at in range(count)])
    images = np.stack([_image(seed, start + at, int(label), shifted) for at, label in enumerate(labels)])
    return DataBatch.from_arrays([f"t{start + at:06d}" for at in range(count)], images, labels=labels, times=times)


def _image(seed: int, number: int, label: int, shifted: bool) -> Any:
    image = 0.2 * rng(seed, "tiny", number).random((4, 4))
    row = (label + 1) % CLASSES if shifted else label
    image[row] += 0.4
    image[3] += 0.6 if shifted else 0.0
    return image.astype(np.float32)


@dataclass
class Tiny:
    """Nearest neighbours over pixels; `k` neighbours, pixels weighted by `power`."""

    name: str = "tiny"
    modality: str = "image"
    objective: str = "accuracy"
    direction: str = "maximize"
    format: str = "npz"
    space: Space = field(default_factory=lambda: Space({"k": Int(1, 7), "power": Float(0.5, 2.0)}))

    def fit(self, params: Any, train: DataBatch, report: Any) -> Any:
        report(1, 0.0)
        x = train.images().reshape(len(train), -1) ** params["power"]
        return {"x": x, "y": train.labels.copy(), "k": np.int64(params["k"]), "power": np.float64(params["power"])}

    def predict(self, model: Any, data: DataBatch) -> Any:
        x = data.images().reshape(len(data), -1) ** float(model["power"])
        far = ((x[:, None, :] - model["x"][None, :, :]) ** 2).sum(axis=2)
        near = np.argsort(far, axis=1, kind="stable")[:, : int(model["k"])]
        votes = np.apply_along_axis(np.bincount, 1, model["y"][near], minlength=CLASSES)
        return votes.argmax(axis=1)

    def evaluate(self, model: Any, data: DataBatch) -> Evaluation:
        wrong = (self.predict(model, data) != data.labels).astype(np.float64)
        first = np.arange(len(data)) % 2 == 0
        return Evaluation({"accuracy": float(1 - wrong.mean()), "loss": float(wrong.mean())}, wrong, {"even": first})

    def save(self, model: Any) -> bytes:
        return codec.pack_arrays({name: np.asarray(value) for name, value in model.items()}, version=1)

    def load(self, artifact: bytes) -> Any:
        return codec.unpack_arrays(artifact)[1]

    def source(self, home: Path) -> ParquetSource:
        return ParquetSource(home / "labels")


class Raises(Tiny):
    def fit(self, params: Any, train: DataBatch, report: Any) -> Any:
        raise RuntimeError("the fit went wrong")


class Hangs(Tiny):
    def fit(self, params: Any, train: DataBatch, report: Any) -> Any:
        while True:
            signal.pause()


class Eats(Tiny):
    def fit(self, params: Any, train: DataBatch, report: Any) -> Any:
        held = []
        while True:
            held.append(np.ones(8_000_000))


class Dies(Tiny):
    def fit(self, params: Any, train: DataBatch, report: Any) -> Any:
        os._exit(0)


class Flaky(Tiny):
    """Dies for odd k, so that a study has good and failed trials."""

    def fit(self, params: Any, train: DataBatch, report: Any) -> Any:
        if params["k"] % 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().fit(params, train, report)


class NaNs(Tiny):
    def evaluate(self, model: Any, data: DataBatch) -> Evaluation:
        return Evaluation({"accuracy": float("nan")}, np.zeros(len(data)))


class Lacks(Tiny):
    def evaluate(self, model: Any, data: DataBatch) -> Evaluation:
        return Evaluation({"f1": 0.5}, np.zeros(len(data)))


class Broken(Tiny):
    """Trains on labels that belong to other rows, once old rows are replayed."""

    def fit(self, params: Any, train: DataBatch, report: Any) -> Any:
        model = super().fit(params, train, report)
        return {**model, "y": np.roll(model["y"], 1)}


recipe = Tiny()
raises, hangs, eats, dies, flaky, nans, lacks, broken = (
    Raises(), Hangs(), Eats(), Dies(), Flaky(), NaNs(), Lacks(), Broken()
)  # fmt: skip


def of_smells() -> Tiny:
    """A recipe of a modality that nobody knows."""
    return Tiny(modality="smell")
