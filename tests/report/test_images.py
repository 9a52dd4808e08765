import base64
import io

import numpy as np
import pytest
from PIL import Image

from visutility.core.errors import InvalidImage
from visutility.core.rng import rng
from visutility.report import data_uri, png


@pytest.mark.parametrize(
    ("shape", "mode"),
    [((1, 1), "L"), ((5, 7), "L"), ((5, 7, 1), "L"), ((3, 4, 2), "LA"), ((6, 2, 3), "RGB"), ((9, 8, 4), "RGBA")],
)
def test_another_reader_sees_the_same_pixels(shape, mode):
    pixels = rng(1, "png").integers(0, 256, shape, np.uint8)
    with Image.open(io.BytesIO(png(pixels))) as image:
        image.verify()  # every checksum
    with Image.open(io.BytesIO(png(pixels))) as image:
        assert image.mode == mode
        assert np.array_equal(np.asarray(image).reshape(shape), pixels)


def test_floats_are_scaled_and_clipped():
    with Image.open(io.BytesIO(png(np.array([[0.0, 0.5, 1.0, 1.7, -3.0]])))) as image:
        assert np.asarray(image).tolist() == [[0, 128, 255, 255, 0]]


def test_the_address_holds_the_same_bytes():
    pixels = np.zeros((2, 2), np.uint8)
    head, body = data_uri(pixels).split(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(body) == png(pixels)


@pytest.mark.parametrize(
    "bad", [np.zeros(3), np.zeros((2, 2, 5)), np.zeros((0, 2)), np.zeros((2, 2), np.int64), np.full((2, 2), np.nan)]
)
def test_what_is_no_image_is_refused(bad):
    with pytest.raises(InvalidImage, match="an image has"):
        png(bad)
