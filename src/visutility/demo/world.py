"""The demo's world: a camera that looks at hand-written digits and, at some moment, starts to turn.

The 1,797 scans are real (the test set of the "Optical Recognition of Handwritten Digits" data of Alpaydin and Kaynak,
as shipped inside scikit-learn). Each is used once: for the first training, the reference window, the stream or the
labels. What is simulated is the camera alone, with `data.corrupt`.
"""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from visutility.core.errors import InvalidSetting, MissingExtra
from visutility.core.rng import rng
from visutility.data import DataBatch, corrupt

FIRST, REFERENCE, LABELS = 630, 150, 540  # rows; the rest is the stream
RAMP = 60  # positions over which the camera turns
SEVERITY = 3.0  # where it stays: 26 degrees
CONTROL_SEVERITY = 1.0  # JPEG quality 30, for the false-alarm control
EARLIEST, LATEST = 90, 130  # where the drift may start


@dataclass(frozen=True, slots=True)
class Seen:
    """Served images with what a person would say they show: images (n, 8, 8), labels (n,), ids (n,)."""

    batch: DataBatch
    positions: NDArray[np.int64]


class World:
    """The camera and the people who label. `drift_start` None draws it from the seed; `drift` False: it never turns."""

    def __init__(self, seed: int, *, drift: bool = True, drift_start: int | None = None) -> None:
        images, labels = _scans()
        order = rng(seed, "world").permutation(len(images))
        self._images, self._labels = images[order], labels[order]
        self._ids = [f"scan-{row:04d}" for row in order]
        self._seed = seed
        self._labelled = 0
        self.length = len(images) - FIRST - REFERENCE - LABELS
        if drift_start is not None and not 0 <= drift_start < self.length:
            raise InvalidSetting(f"drift_start is {drift_start}", hint=f"use a position below {self.length}")
        drawn = int(rng(seed, "drift").integers(EARLIEST, LATEST))
        self.drift_start: int | None = None
        if drift:
            self.drift_start = drawn if drift_start is None else drift_start
        self.control_start: int | None = None

    def first_rows(self) -> DataBatch:
        """Return the labelled rows for the first training."""
        return self._take(0, FIRST, 0.0)

    def reference_rows(self) -> DataBatch:
        """Return labelled rows of the camera as it should be, used for nothing else."""
        return self._take(FIRST, FIRST + REFERENCE, 0.0)

    def stream(self, position: int, count: int) -> Seen:
        """Return what the camera sees at these positions of the stream."""
        count = min(count, self.length - position)
        start = FIRST + REFERENCE + LABELS + position
        parts = [self._take(start + at, start + at + 1, self.severity(position + at)) for at in range(count)]
        return Seen(DataBatch.concat(parts), np.arange(position, position + count))

    def label(self, position: int, count: int, at: datetime) -> DataBatch | None:
        """Return rows people label at this time, as the camera sees them at this position; None when all are used."""
        count = min(count, LABELS - self._labelled)
        if count <= 0:
            return None
        start = FIRST + REFERENCE + self._labelled
        self._labelled += count
        return self._take(start, start + count, self.severity(position), times=[at] * count)

    def severity(self, position: int) -> float:
        """Return the severity of the rotation at a position: 0 before the drift, then a ramp, then constant."""
        if self.drift_start is None:
            return 0.0
        return SEVERITY * float(np.clip((position - self.drift_start) / RAMP, 0.0, 1.0))

    def _take(self, start: int, end: int, severity: float, times: list[datetime] | None = None) -> DataBatch:
        ids = self._ids[start:end]
        images = corrupt(self._images[start:end], "rotation", severity, seed=self._seed, ids=ids)
        if self.control_start is not None:
            images = corrupt(images, "jpeg", CONTROL_SEVERITY, seed=self._seed, ids=ids)
        return DataBatch.from_arrays(ids, images, labels=self._labels[start:end], times=times)


def _scans() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return all scans, (1797, 8, 8) in [0, 1], and their labels."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtra("the demo needs scikit-learn", hint="pip install 'visutility[demo]'") from error
    images, labels = load_digits(return_X_y=True)
    return (images.reshape(-1, 8, 8) / 16.0).astype(np.float32), labels.astype(np.int64)
