"""A score of a model's outputs that rises when its images go bad, learnt by making reference images bad.

A detector on the entropy of the softmax sees that a model doubts. How it doubts tells more: noise lifts classes that no
clean image of that kind looks like. The score is what a logistic regression makes of the outputs, corrupted images
against clean ones: its odds estimate the ratio of both densities (Sugiyama, Suzuki & Kanamori 2012, "Density Ratio
Estimation in Machine Learning", chapter 4), which the best test of one against the other looks at (Neyman & Pearson
1933).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, final, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import special

from visutility.core import codec
from visutility.core.errors import EmptyWindow, Invalid, InvalidData, InvalidSetting
from visutility.monitor._features import Features, OutputKind, Part, regress
from visutility.monitor.drift import kinds, pixels
from visutility.monitor.drift.embedding import checked
from visutility.monitor.drift.harmful import probabilities
from visutility.monitor.state import Floats

MILD: tuple[tuple[str, kinds.Harm, tuple[float, ...]], ...] = (  # name, what, how much
    ("brightness", kinds.brightness, (0.05, 0.1, -0.05, -0.1)),
    ("contrast", kinds.contrast, (0.9, 0.75, 0.6)),
    ("contrast about grey", kinds.grey_contrast, (0.85, 0.7)),
    ("blur", kinds.blur, (0.5, 0.75, 1.0, 1.5)),
    ("noise", kinds.noise, (0.03, 0.06, 0.1)),
    ("rotation", kinds.rotation, (4.0, 10.0, -4.0, -10.0)),
    ("failed pixels", kinds.failed_pixels, (0.01, 0.05, -0.05)),
    ("translation", kinds.translation, (0.5, -0.5)),
)
LEAST = 200  # rows of clean outputs, and of those of each corruption
FORMAT = 1
_STRETCHES = 20
_LARGEST = 2.0**53  # of pixels: whole numbers are exact up to there
_ARRAYS = ("centre", "directions", "mean", "spread", "knots")


def mild_corruptions(images: NDArray[Any], seed: int = 0) -> Iterator[tuple[str, NDArray[Any]]]:
    """Yield (name, corrupted images) for what cameras do: 25 copies of the images (n, h, w[, c]), one after the other.

    Each has the shape and type of the images, and stays in their range. Lengths are in pixels: bring large images to
    the size that the model sees first. Raises `InvalidImage`, `EmptyWindow` for none, and `InvalidData` for values that
    are not finite, beyond 2^53 or only true and false.
    """
    clean = _images(images)
    shape, scale = np.shape(images), pixels.Scale.of(clean)
    most = np.iinfo(clean.dtype) if clean.dtype.kind in "iu" else np.finfo(clean.dtype)
    for name, harm, amounts in MILD:
        for by in amounts:
            bad = np.empty(clean.shape, clean.dtype)
            for piece in pixels.pieces(clean):
                harmed = scale.undo(np.clip(harm(scale.apply(clean[piece]), by, seed), 0.0, 1.0))
                bad[piece] = np.clip(harmed.astype(np.float64), float(most.min), float(most.max))
            yield f"{name} {by:g}", bad.reshape(shape)


class _Label(msgspec.Struct, forbid_unknown_fields=True):
    """What `save` writes beside the arrays."""

    kind: OutputKind
    auc: list[tuple[str, Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]]]


@final
@dataclass(frozen=True, slots=True, eq=False)
class CorruptionScore:
    """What tells outputs on corrupted images from those on clean ones; call it on outputs for a score a row.

    `auc` says, by name of the corruption, how well: the chance that an output on a corrupted image scores above one on
    a clean one. A score of every other of twenty stretches of the rows was tried on the rest for that. .5 is not at
    all, 1 always.
    """

    features: Features
    weights: Floats  # (w,)
    auc: dict[str, float]

    @classmethod
    def learn(
        cls,
        clean: NDArray[Any],
        corrupted: Mapping[str, NDArray[Any]] | Iterable[tuple[str, NDArray[Any]]],
        *,
        kind: OutputKind = "softmax",
    ) -> "CorruptionScore":
        """Learn from outputs (n, k) on clean images and, by name, (m, k) on corrupted ones; each name counts alike.

        The images are ones that the model was not trained on; the same, in the same order, for each name. They look
        cleaner to the score than others do, so a detector's reference window has to be of other images. Images that
        resemble their neighbours (video) are to be thinned out, or `auc` promises too much. Learning again gives the
        same bytes with the same libraries and as many threads of theirs.

        Raises `InvalidSetting` for another `kind`, `InvalidData` for vectors that are not finite, no probabilities or
        of another length, and for names that are no text, and `EmptyWindow` for fewer than 200 rows, or nothing
        corrupted.
        """
        if kind not in get_args(OutputKind):
            raise InvalidSetting(f"kind {kind!r} is unknown", hint=f"choose one of {list(get_args(OutputKind))}")
        given = _by_name(corrupted)
        good = _outputs(clean, "clean", kind)
        bad = {name: _outputs(each, name, kind, good.shape[1]) for name, each in given.items()}
        features, weights = _fit(_half(good, 0), [_half(each, 0) for each in bad.values()], kind)
        unseen = features.odds(_half(good, 1), weights)
        auc = {name: _auc(unseen, features.odds(_half(each, 1), weights)) for name, each in bad.items()}
        return cls(*_fit(good, list(bad.values()), kind), auc)

    def __call__(self, outputs: NDArray[Any]) -> Floats:
        """Return the score of each row of outputs (n, k), in [0, 1]; larger looks more corrupted.

        The chance that a row is of a corrupted image, if half of all are. Raises `InvalidData`.
        """
        rows = _outputs(outputs, "outputs", self.features.kind, len(self.features.centre), least=0)
        return np.asarray(special.expit(self.features.odds(rows, self.weights)), np.float64)

    def save(self) -> bytes:
        """Return everything as bytes."""
        label = codec.dumps({"kind": self.features.kind, "auc": list(self.auc.items())}).encode()
        arrays = {name: getattr(self.features, name) for name in _ARRAYS}
        packed = {"label": np.frombuffer(label, np.uint8), "weights": self.weights, **arrays}
        return codec.pack_arrays(packed, version=FORMAT)

    @classmethod
    def load(cls, data: bytes) -> "CorruptionScore":
        """Return the score that `save` was called on. Raises `Invalid` when the bytes are not a saved score."""
        version, packed = codec.unpack_arrays(data)
        if version != FORMAT:
            raise Invalid(f"not a corruption score of format {FORMAT}, but of {version}", hint="learn it again")
        try:
            label = msgspec.convert(codec.loads(packed["label"].tobytes()), _Label)
            features = Features(label.kind, **{name: packed[name] for name in _ARRAYS}).checked()
            weights = packed["weights"]
            if weights.dtype != np.float64 or weights.shape != (features.width,) or not (np.abs(weights) < 1e9).all():
                raise ValueError(f"weights are {weights.dtype} of shape {weights.shape}")
        except (KeyError, TypeError, ValueError) as error:
            raise Invalid(f"not a corruption score: {error}", hint="pass what save returned") from None
        return cls(features, weights, dict(label.auc))


def _images(images: NDArray[Any]) -> NDArray[Any]:
    """Return images that corruptions can be done to, (n, h, w[, c])."""
    clean = pixels.shaped(images, "reference")
    if not len(clean):
        raise EmptyWindow("there are no images", hint=f"give at least {LEAST} that the model was not trained on")
    if clean.dtype.kind == "b":
        raise InvalidData("images are true and false", hint="half of the corruptions need grey: images * np.uint8(255)")
    for at, image in enumerate(clean):
        low, high = image.min(), image.max()
        if not (low >= -_LARGEST and high <= _LARGEST):  # not finite ones neither
            words = f"image {at} has values from {low} to {high}"
            raise InvalidData(
                words, hint=f"finite ones of at most {_LARGEST:g} can be corrupted: leave such images out"
            )
    return clean


def _fit(good: Floats, bad: list[Floats], kind: OutputKind) -> tuple[Features, Floats]:
    features = Features.fit(good, kind)
    parts = [Part(features.columns(good), 0.0, 0.5 / len(good))]
    parts += [Part(features.columns(each), 1.0, 0.5 / len(bad) / len(each)) for each in bad]
    return features, regress(features, parts)


def _half(rows: Floats, which: int) -> Floats:
    """Return every other of twenty stretches of the rows: neighbours, which may resemble each other, stay together."""
    some: Floats = rows[np.arange(len(rows)) * _STRETCHES // len(rows) % 2 == which]
    return some


def _by_name(corrupted: Any) -> dict[str, NDArray[Any]]:
    """Return what was given by name, as a mapping or as pairs."""
    try:
        found = dict(corrupted)
    except (TypeError, ValueError):
        raise InvalidData(
            f"corrupted is a {type(corrupted).__name__}", hint="pass outputs by name: {'noise': predict(noisy)}"
        ) from None
    if not found:
        raise EmptyWindow("there are no outputs on corrupted images", hint="mild_corruptions makes such images")
    for name in found:
        if not isinstance(name, str) or not name.isprintable():
            raise InvalidData(f"a corruption is named {name!r}", hint="name each with a text that can be printed")
    return found


def _outputs(
    values: NDArray[Any], which: str, kind: OutputKind, width: int | None = None, least: int = LEAST
) -> Floats:
    matrix = checked(values, which, least)
    if width is not None and matrix.shape[1] != width:
        raise InvalidData(f"{which} has {matrix.shape[1]} values a row, not {width}", hint="compare like with like")
    return probabilities(matrix, which) if kind == "softmax" and len(matrix) else matrix


def _auc(clean: Floats, bad: Floats) -> float:
    """Return the chance that a corrupted row scores above a clean one, ties for half (Mann & Whitney 1947)."""
    ordered = np.sort(clean)
    below = np.searchsorted(ordered, bad, "left") + np.searchsorted(ordered, bad, "right")
    return float(below.mean() / (2.0 * len(clean)))
