from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from visutility.core.errors import EmptyWindow, InvalidData, InvalidImage, InvalidObservation
from visutility.core.rng import rng
from visutility.monitor import compare
from visutility.monitor.drift import DriftReport, EmbeddingReference, ImageReference
from visutility.monitor.drift.pixels import Scale, measure, names, statistics

FOLDER = Path(__file__).parents[2] / "data" / "fashion-mnist" / "images"
TWENTY = np.stack([np.asarray(Image.open(path)) for path in sorted(FOLDER.glob("*/*.png"))])


def photographs(g, n):
    """Bytes (n, 28, 28): the twenty garments, each time moved a little, in other light, with some noise."""
    chosen = TWENTY[g.integers(0, len(TWENTY), n)] / 255.0
    moved = [np.roll(image, step, (0, 1)) for image, step in zip(chosen, g.integers(-2, 3, (n, 2)), strict=True)]
    values = np.stack(moved) * g.uniform(0.6, 1.0, (n, 1, 1)) + 0.02 * g.standard_normal((n, 28, 28))
    return (255 * values.clip(0, 1)).round().astype(np.uint8)


def brighter(images, by):
    return (images + 255.0 * by).clip(0, 255).round().astype(np.uint8)


def project(images):
    """A stand-in for a model: (n, 24) random rectified features."""
    flat = images.reshape(len(images), -1) / 255.0
    return np.maximum(flat @ rng(0, "project").standard_normal((flat.shape[1], 24)) / 10.0, 0.0)


def soft(images):
    odds = np.exp(project(images)[:, :6])
    return odds / odds.sum(1, keepdims=True)


@pytest.fixture(scope="module", autouse=True)
def few_samples():
    """Names are learnt from fewer images: they are not what is tested here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("visutility.monitor.drift.kinds.SAMPLES", 40)
        yield


@pytest.fixture(scope="module")
def reference():
    return photographs(rng(1, "reference"), 600)


@pytest.fixture(scope="module")
def current():
    return photographs(rng(1, "current"), 100)


# -- what changed and what did not -----------------------------------------------------------------------------------


def test_unchanged_images_are_no_drift(reference, current):
    report = compare(reference, current, "images")
    assert report.status == "ok"
    assert report.quality == ()
    assert report.named is None
    assert report.shifted == ()
    assert {row.name for row in report.columns} == {"pixels mean", "pixels spread", *names((0, 28, 28))}
    assert "No drift" in report.verdict


def test_brighter_images_are_drift_with_a_name_and_rows_that_say_why(reference, current):
    report = compare(reference, brighter(current, 0.06), "images")
    assert report.drifted
    assert report.named == "brightness"
    assert report.p_value < 1e-6
    rows = {row.name: row for row in report.columns}
    assert rows["brightness"].drifted
    assert rows["black share"].effect < -1.0
    change = rows["brightness"].details
    assert change["current mean"] - change["reference mean"] == pytest.approx(0.06, abs=0.03)
    assert len(report.shifted) == 16
    assert DriftReport.from_json(report.to_json()) == report


def test_all_parts_share_the_level(reference, current):
    both = {"embeddings": (project(reference), project(current)), "softmax": (soft(reference), soft(current))}
    report = compare(reference, current, "images", **both)
    assert report.status == "ok"
    assert {"embedding mean", "confidence", "predicted labels"} < {row.name for row in report.columns}
    alone = compare(reference, brighter(current, 0.03), "images")
    shared = compare(reference, brighter(current, 0.03), "images", **both)
    assert shared.p_value == pytest.approx(4 * alone.p_value)
    assert both["embeddings"][0].shape == (600, 24)


def test_embeddings_alone_can_decide(reference, current):
    moved = project(current) + 0.5
    report = compare(reference, current, "images", embeddings=(EmbeddingReference.fit(project(reference)), moved))
    assert report.drifted
    assert "embeddings" in report.verdict
    assert report.columns[2].name.startswith("embedding")


@pytest.mark.slow
def test_the_level_holds():
    """A test at .05 fails with probability 1e-4; one whose true rate is .16 passes with .05."""
    drifted, windows = 0, 0
    for number in range(8):
        g = rng(2, "null", number)
        images = photographs(g, 400)
        learnt, vectors, probabilities = ImageReference.fit(images), project(images), soft(images)
        for _ in range(25):
            now = photographs(g, 40)
            both = {"embeddings": (vectors, project(now)), "softmax": (probabilities, soft(now))}
            drifted += compare(learnt, now, "images", **both).drifted
            windows += 1
    assert drifted <= stats.binom.isf(1e-4, windows, 0.05)


def test_floats_and_bytes_say_the_same(reference, current):
    dark = brighter(current, -0.05)
    as_bytes = compare(reference, dark, "images")
    as_floats = compare(reference / 255.0, dark / 255.0, "images")
    assert np.log(as_bytes.p_value) == pytest.approx(np.log(as_floats.p_value), rel=1e-3)
    assert as_bytes.named == as_floats.named
    big = compare(reference.astype(np.float32), dark.astype(np.float32), "images")  # 0 to 255, but not whole
    assert np.log(big.p_value) == pytest.approx(np.log(as_bytes.p_value), rel=1e-3)


@pytest.mark.parametrize("kind", [np.uint16, np.int64])
def test_integers_beyond_bytes_are_seen_in_the_range_they_have(kind, reference, current):
    many, some = (images.astype(kind) * 4 for images in (reference, current))
    noisy = np.clip(some + np.round(80 * rng(9, "noise").standard_normal(some.shape)), 0, 1023).astype(kind)
    assert compare(many, some, "images").status == "ok"
    assert compare(many, noisy, "images").status == "drift"


def test_colours_that_fade_are_seen():
    g = rng(3, "colour")
    grey = photographs(g, 400)[..., None]
    coloured = (grey * np.array([1.0, 0.8, 0.6])).astype(np.uint8)
    faded = (0.5 * coloured[:100] + 0.5 * coloured[:100].mean(3, keepdims=True)).astype(np.uint8)
    report = compare(coloured[100:], faded, "images")
    rows = {row.name: row for row in report.columns}
    assert rows["saturation"].drifted
    assert rows["red share"].effect < -3.0
    assert not rows["brightness"].drifted
    assert compare(coloured[100:], coloured[:100], "images").status == "ok"


# -- broken data -----------------------------------------------------------------------------------------------------


def findings(report):
    return {finding.check: finding.severity for finding in report.quality}


@pytest.mark.parametrize(
    ("what", "harm"),
    [
        ("black", lambda images: np.zeros_like(images)),
        ("white", lambda images: np.full_like(images, 255)),
        ("constant", lambda images: np.full_like(images, 90)),
        ("duplicate", lambda images: np.repeat(images[:1], len(images), 0)),
    ],
)
@pytest.mark.parametrize("share", [0.3, 1.0])
def test_a_broken_camera_is_not_drift(reference, current, what, harm, share):
    images = current.copy()
    bad = int(share * len(images))
    images[:bad] = harm(images[:bad])
    report = compare(reference, images, "images")
    assert report.status == "data broken"
    assert findings(report)[what] == "broken"
    assert report.quality[0].share == pytest.approx(share, abs=0.02)
    assert report.named is None
    assert report.verdict.startswith("Data broken")


def test_one_black_image_is_a_warning(reference, current):
    images = current.copy()
    images[3] = 0
    report = compare(reference, images, "images")
    assert findings(report).get("black") == "warning"
    assert report.status != "data broken"


def test_black_images_that_the_reference_has_too_are_normal():
    g = rng(4, "night")
    images = photographs(g, 500)
    images[g.random(500) < 0.3] = 0
    report = compare(images[100:], images[:100], "images")
    assert report.quality == ()
    assert report.status == "ok"


def test_values_that_are_not_finite_are_broken_and_left_out(reference, current):
    images = current / 255.0
    images[5, 3, 3] = np.nan
    images[6, 0, 0] = np.inf
    report = compare(reference / 255.0, images, "images")
    assert findings(report) == {"not finite": "broken"}
    assert not report.drifted
    assert report.rows == (600, 100)
    images[:] = np.nan
    report = compare(reference / 255.0, images, "images")
    assert report.status == "data broken"
    assert report.p_value == 1.0


@pytest.mark.parametrize(
    ("what", "harm"),
    [
        ("size", lambda images: images[:, :20]),
        ("size", lambda images: np.stack([images] * 3, 3)),
        ("type", lambda images: images / 255.0),
        ("range", lambda images: images.astype(np.int64) * 256),
    ],
)
def test_another_format_is_broken_data(reference, current, what, harm):
    report = compare(reference, harm(current), "images")
    assert findings(report)[what] == "broken"
    assert report.status == "data broken"


def test_floats_in_another_range_are_broken_data(reference, current):
    assert findings(compare(reference / 255.0, current.astype(float), "images"))["range"] == "broken"
    assert findings(compare(reference.astype(float), current / 255.0, "images"))["black"] == "broken"
    noisy = current / 255.0 + 0.1 * rng(5, "noise").standard_normal(current.shape)
    assert findings(compare(reference / 255.0, noisy, "images")) == {}  # a little below 0 is noise


@pytest.mark.parametrize(
    ("first", "second", "error"),
    [
        (np.zeros((60, 28)), np.zeros((20, 28, 28)), InvalidImage),
        (np.zeros((60, 2, 28)), np.zeros((20, 2, 28)), InvalidImage),
        (np.zeros((60, 8, 8)), np.full((20, 8, 8), "x"), InvalidImage),
        (np.full((60, 8, 8), np.nan), np.zeros((20, 8, 8)), InvalidData),
        (np.zeros((49, 8, 8)), np.zeros((20, 8, 8)), EmptyWindow),
        (rng(0, "small").random((60, 8, 8)), rng(1, "small").random((9, 8, 8)), EmptyWindow),
        (rng(0, "small").random((60, 8, 8)), np.empty((0, 8, 8)), EmptyWindow),
    ],
)
def test_what_cannot_be_compared_is_refused(first, second, error):
    with pytest.raises(error):
        compare(first, second, "images")


@pytest.mark.parametrize("bad", [1, 7, 95])
def test_what_a_model_says_of_broken_images_is_broken_too_and_left_out(reference, current, bad):
    vectors, odds = project(current), soft(current)
    vectors[:bad] = odds[:bad] = np.nan
    pairs = {"embeddings": (project(reference), vectors), "softmax": (soft(reference), odds)}
    images = current / 255.0
    report = compare(reference / 255.0, images, "images", **pairs)  # the model alone broke
    assert (report.status, report.drifted) == ("data broken", False)
    assert [finding.share for finding in report.quality] == [bad / 100] * 2
    images[:bad] = np.nan
    report = compare(reference / 255.0, images, "images", **pairs)
    assert {finding.check for finding in report.quality} == {"not finite"}  # and no repeats of one another
    assert report.status == "data broken"


def test_a_report_without_drift_has_no_drifted_rows(reference, current):
    windows = reference, brighter(current, 0.005)
    report = compare(*windows, "images", level=1e-130)
    assert not report.drifted
    assert min(row.q_value for row in report.columns) < 1e-130
    assert not any(row.drifted for row in report.columns)
    assert any(row.drifted for row in compare(*windows, "images", level=0.05).columns)


def test_masked_pixels_are_refused(reference, current):
    for pair in ((np.ma.masked_less(reference, 9), current), (reference, np.ma.masked_less(current, 9))):
        with pytest.raises(InvalidObservation, match="masked"):
            compare(*pair, "images")


def test_parts_of_another_length_are_refused(reference, current):
    with pytest.raises(InvalidData, match="99 current embeddings for 100 images"):
        compare(reference, current, "images", embeddings=(project(reference), project(current)[:99]))


# -- statistics ------------------------------------------------------------------------------------------------------


def test_statistics_are_what_their_names_say():
    ramp = np.tile(np.linspace(0.1, 0.9, 16, dtype=np.float32), (16, 1))
    stripes = np.tile(np.array([0.0, 0.0, 1.0, 1.0], np.float32), (16, 4))
    diagonal = np.float32(0.5) + np.float32(0.4) * np.sin(0.8 * np.add.outer(np.arange(16), np.arange(16))).astype("f4")
    rows = [dict(zip(names((3, 16, 16)), row, strict=True)) for row in statistics(np.stack([ramp, stripes, diagonal]))]
    assert rows[0]["brightness"] == pytest.approx(0.5)
    assert rows[0]["contrast"] == pytest.approx(ramp.std())
    assert rows[0]["dark level"] == pytest.approx(np.quantile(ramp, 0.1))
    assert rows[0]["edge balance"] == pytest.approx(1.0, abs=1e-3)  # all its edges are vertical
    assert rows[0]["axis edges"] == pytest.approx(1.0, abs=1e-3)
    assert rows[1]["black share"] == rows[1]["white share"] == 0.5
    assert rows[2]["edge tilt"] == pytest.approx(1.0, abs=1e-3)  # 45 degrees
    assert rows[2]["axis edges"] == pytest.approx(-1.0, abs=1e-3)
    g = rng(6, "noise")
    flat = np.float32(0.5) + np.float32(0.1) * g.standard_normal((1, 200, 200), np.float32)
    found = dict(zip(names(flat.shape), statistics(flat)[0], strict=True))
    # Immerkaer (1996), eq. 5: sigma = (pi/2)^(1/2) mean|N * I| / 6
    assert np.sqrt(np.pi / 2) * (np.exp(found["noise"]) - 1e-3) / 6 == pytest.approx(0.1, rel=0.02)


def test_pieces_do_not_change_the_statistics(monkeypatch, current):
    whole = measure(current, Scale.of(current)).statistics
    monkeypatch.setattr("visutility.monitor.drift.pixels.CHUNK", 5000)
    assert np.array_equal(measure(current, Scale.of(current)).statistics, whole)


def test_scales():
    assert Scale.of(np.array([3, 200], np.uint8)) == Scale(0.0, 255.0, True)
    for kind in (np.uint16, np.int32, np.int64, np.uint64):
        assert Scale.of(np.array([3, 4000], kind)) == Scale(0.0, 4095.0, True)
    assert Scale.of(np.array([3, 2**64 - 1], np.uint64)) == Scale(0.0, 2.0**64, True)
    assert Scale.of(np.array([-128, 100], np.int8)) == Scale(-128.0, 127.0, True)
    assert Scale.of(np.array([-9, -3])) == Scale(-9.0, 15.0, True)
    assert Scale.of(np.array([0.0, 0.2])) == Scale(0.0, 1.0, False)
    assert Scale.of(np.array([-0.4, 0.2])) == Scale(-1.0, 1.0, False)
    assert Scale.of(np.array([-3.0, 5.0])) == Scale(-3.0, 5.0, False)
    assert Scale.of(np.array([True, False])) == Scale(0.0, 1.0, True)


@pytest.mark.parametrize(
    "images", [None, [np.zeros((4, 4)), np.zeros((5, 5))] * 30, np.zeros((60, 8, 8, 0)), np.zeros((60, 8, 8), object)]
)
def test_what_is_no_images_of_one_size_is_refused(images):
    with pytest.raises(InvalidImage):
        compare(images, images, kind="images")


@pytest.mark.parametrize("shape", [(60, 3, 28, 28), (60, 28, 28, 2), (60, 28, 28, 5)])
def test_channels_that_nothing_would_look_at_are_refused(shape, reference):
    images = rng(0, "channels").random(shape)
    with pytest.raises(InvalidImage, match="channels") as caught:
        compare(images, images, "images")
    assert "last" in caught.value.hint
    assert findings(compare(reference / 255.0, images, "images")) == {"size": "broken"}  # a camera's fault, not ours


def test_transparency_is_not_looked_at():
    g = rng(7, "alpha")
    reference, current = (g.random((n, 16, 16, 4)) for n in (100, 40))
    opaque = current.copy()
    opaque[..., 3] = 1.0
    said = compare(reference, opaque, "images")
    assert said.p_value == compare(reference, current, "images").p_value
    opaque[:20, ..., :3] = 0.0
    assert findings(compare(reference, opaque, "images"))["black"] == "broken"


@pytest.mark.parametrize("name", ["embeddings", "softmax"])
@pytest.mark.parametrize("given", [np.ones((60, 4)), (None, None), 3, (np.ones((60, 4)), None)])
def test_vectors_beside_images_come_in_pairs(name, given):
    images = photographs(rng(0, "pairs"), 60)
    with pytest.raises(InvalidData):
        compare(images, images, kind="images", **{name: given})
