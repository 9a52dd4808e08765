from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from visutility.core.rng import rng
from visutility.monitor.drift import ImageReference
from visutility.monitor.drift.kinds import sample
from visutility.monitor.drift.pixels import statistics

FOLDER = Path(__file__).parents[2] / "data" / "fashion-mnist" / "images"
TWENTY = np.stack([np.asarray(Image.open(path)) for path in sorted(FOLDER.glob("*/*.png"))]) / 255.0


def photographs(g, n, garments=20):
    """Floats (n, 28, 28): the garments, each time moved a little and in other light."""
    picked = TWENTY[g.integers(0, garments, n)]
    moved = np.stack([ndimage.shift(image, g.uniform(-2, 2, 2), order=1) for image in picked])
    return moved * g.uniform(0.6, 1.0, (n, 1, 1))


def turned(images, degrees):
    return ndimage.rotate(images, degrees, (2, 1), reshape=False, order=3)  # not as the reference is turned


def stretched(images, by):
    mean = images.mean((1, 2), keepdims=True)
    return mean + by * (images - mean)


HARMS = {
    "brightness": [lambda x, _: x + 0.1, lambda x, _: x - 0.12],
    "contrast": [lambda x, _: stretched(x, 0.6), lambda x, _: stretched(x, 1.5)],
    "blur": [lambda x, _: ndimage.gaussian_filter(x, (0, 0.8, 0.8)), lambda x, _: ndimage.uniform_filter(x, (0, 3, 3))],
    "noise": [lambda x, g: x + 0.05 * g.standard_normal(x.shape), lambda x, g: x + g.uniform(-0.2, 0.2, x.shape)],
    "rotation": [lambda x, _: turned(x, 10), lambda x, _: turned(x, -16)],
}
CASES = [(kind, harm) for kind, harms in HARMS.items() for harm in harms]


@pytest.fixture(scope="module")
def learnt():
    return ImageReference.fit(photographs(rng(1, "reference"), 500))


def name(learnt, images):
    return learnt.signatures.name(statistics(np.clip(images, 0.0, 1.0).astype(np.float32)))


@pytest.mark.parametrize(("kind", "harm"), CASES, ids=[f"{kind}{at % 2}" for at, (kind, _) in enumerate(CASES)])
def test_a_clear_kind_is_named(learnt, kind, harm):
    g = rng(2, kind)
    said = [name(learnt, harm(photographs(g, 100), g)) for _ in range(5)]
    assert said.count(kind) >= 4, said


def test_what_is_none_of_them_has_no_name(learnt):
    g = rng(3, "others")
    images = photographs(g, 100)
    assert name(learnt, images) is None
    assert name(learnt, photographs(g, 100, garments=4)) is None  # other labels, the same camera
    hidden = images.copy()
    hidden[:, 8:16, 8:16] = 0.0
    assert name(learnt, hidden) is None
    assert name(learnt, np.where(g.random(images.shape) < 0.05, 0.0, images)) is None  # dead pixels
    assert name(learnt, ndimage.shift(images, (0, 0, 0.5), order=1)) != "rotation"


def test_names_do_not_depend_on_the_order_of_images(learnt):
    images = stretched(photographs(rng(4, "order"), 60), 0.7)
    assert name(learnt, images) == name(learnt, images[::-1]) == "contrast"


def test_few_large_images_are_done_harm_to():
    assert sample(np.zeros((1000, 28, 28))).shape == (200, 28, 28)
    assert sample(np.zeros((60, 28, 20))).shape == (60, 28, 20)
    assert sample(np.broadcast_to(np.zeros((1, 1, 1, 1)), (500, 1000, 600, 3))).shape == (10, 128, 128, 3)
    rows = sample(np.arange(1000.0)[:, None, None] + np.zeros((1, 4, 4)))[:, 0, 0]
    assert rows[[0, -1]].tolist() == [0.0, 999.0]
