"""A score learnt from corrupted images tells them from clean ones, is exact when saved, and refuses what it cannot."""

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from visutility.core import codec
from visutility.core.errors import EmptyWindow, Invalid, InvalidData, InvalidImage, InvalidObservation, InvalidSetting
from visutility.core.rng import rng
from visutility.monitor import CorruptionScore, Fleet, Level, mild_corruptions

Array = NDArray[np.float64]
NAMES = ("brightness", "contrast", "contrast about grey", "blur", "noise", "rotation", "failed pixels", "translation")


def pictures(n: int, *names: str) -> Array:
    """Images (n, 12, 12) of three kinds: bright at the left, at the top, or in the middle."""
    g = rng(0, "pictures", *names)
    down, across = np.mgrid[0:12, 0:12] / 11.0
    kinds = np.stack([1.0 - across, 1.0 - down, np.exp(-8.0 * ((down - 0.5) ** 2 + (across - 0.5) ** 2))])
    return np.clip(
        0.8 * kinds[g.integers(0, 3, n)] * g.uniform(0.5, 1.0, (n, 1, 1)) + 0.05 * g.random((n, 12, 12)), 0, 1
    )


WEIGHTS = rng(0, "a model").standard_normal((144, 6)) / 6.0


def softmax(images: Array) -> Array:
    """What a fixed linear model says, (n, 6)."""
    raised = np.exp(4.0 * (images.reshape(len(images), -1) - 0.3) @ WEIGHTS)
    return np.asarray(raised / raised.sum(1, keepdims=True))


@cache
def learnt(without: str = "nothing") -> CorruptionScore:
    clean = pictures(250, "reference")
    bad = {name: softmax(each) for name, each in mild_corruptions(clean) if not name.startswith(without)}
    return CorruptionScore.learn(softmax(clean), bad)


def noisy(images: Array, by: float) -> Array:
    return np.clip(images + by * rng(1, "noise").standard_normal(images.shape), 0.0, 1.0)


def told(score: CorruptionScore, clean: Array, bad: Array) -> float:
    """The chance that a corrupted image scores above a clean one."""
    return float((score(softmax(bad))[:, None] > score(softmax(clean))).mean())


def entropy(p: Array) -> Array:
    return np.asarray(-(p * np.log(p)).sum(1))


# -- what it is for ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_it_tells_corrupted_images_it_has_never_seen_better_than_the_entropy() -> None:
    clean, other = pictures(1000, "clean"), pictures(1000, "other")
    for without in ("nothing", "noise"):
        score = learnt(without=without)
        entropies = float((entropy(softmax(noisy(other, 0.1)))[:, None] > entropy(softmax(clean))).mean())
        assert told(score, clean, noisy(other, 0.1)) > max(entropies, 0.5) + 0.1
        assert abs(told(score, clean, other) - 0.5) < 0.04


def test_auto_alarms_on_it_and_only_after_the_change() -> None:
    score, g = learnt(), rng(0, "stream")
    clean, bad = score(softmax(pictures(3000, "clean"))), score(softmax(noisy(pictures(1000, "bad"), 0.1)))
    fleet = Fleet("auto", 1)
    verdicts = fleet.update(np.concatenate([clean, bad[g.permutation(1000)]])[None])
    first = next(one.position for one in verdicts if one.level is Level.ALARM)
    assert 3000 <= first < 3200


def test_the_reported_auc_is_of_rows_it_was_not_learnt_from() -> None:
    score, clean = learnt(), pictures(400, "fresh")
    assert list(score.auc) == [name for name, _ in mild_corruptions(clean)]
    for name, bad in mild_corruptions(clean):
        assert abs(told(score, clean, bad) - score.auc[name]) < 0.1
    nothing = CorruptionScore.learn(softmax(clean), {"the same": softmax(pictures(400, "again"))})
    assert abs(nothing.auc["the same"] - 0.5) < 0.08  # on its own rows it would be about .6


def test_it_is_the_chance_of_a_corrupted_row() -> None:
    g = rng(0, "normal")
    clean, bad = g.standard_normal((20_000, 1)), g.standard_normal((20_000, 1)) + 1.0
    score = CorruptionScore.learn(clean, {"shift": bad}, kind="embedding")
    x = np.linspace(-1.5, 2.5, 21)[:, None]
    exact = 1.0 / (1.0 + np.exp(0.5 - x[:, 0]))  # the ratio of two normal densities
    np.testing.assert_allclose(score(x), exact, atol=0.03)


@pytest.mark.parametrize("k", [2, 3, 40])
def test_any_number_of_classes(k: int) -> None:
    g = rng(0, "classes", str(k))
    clean, bad = g.dirichlet(np.full(k, 0.2), 300), g.dirichlet(np.full(k, 0.5), 300)
    score = CorruptionScore.learn(clean, {"doubt": bad})
    assert score.auc["doubt"] > 0.6
    sure = np.eye(k)  # probabilities of exactly 0 and 1
    assert np.isfinite(score(sure)).all()


def test_embeddings_with_more_columns_than_rows_and_columns_that_never_vary() -> None:
    g = rng(0, "wide")
    clean, bad = g.standard_normal((200, 300)), g.standard_normal((200, 300))
    clean[:, 0] = bad[:, 0] = 7.0
    bad[:, 1:] *= 3.0
    score = CorruptionScore.learn(clean, {"wider": bad}, kind="embedding")
    assert score.auc["wider"] > 0.9
    constant = CorruptionScore.learn(np.ones((200, 3)), {"moved": np.ones((200, 3))}, kind="embedding")
    assert constant.auc == {"moved": 0.5}
    assert np.isfinite(constant(np.array([[5.0, -5.0, 1e50]]))).all()


# -- exact ------------------------------------------------------------------------------------------------------------


def test_it_is_the_same_when_learnt_again_and_when_saved() -> None:
    one, rows = learnt(), softmax(pictures(50, "rows"))
    again = CorruptionScore.load(one.save())
    assert one.save() == learnt.__wrapped__().save() == again.save()
    np.testing.assert_array_equal(again(rows), one(rows))
    assert again.auc == one.auc


def test_the_score_of_a_row_is_the_same_in_any_batch() -> None:
    """To the bit: detectors on ranks take the last bit for order, and see changes in nothing where outputs repeat."""
    score, g = learnt(), rng(0, "cuts")
    few = softmax(pictures(4, "few"))[g.integers(0, 4, 3000)]
    for rows in (softmax(pictures(500, "rows")), few, few.astype(np.float32)):
        whole, alone = score(rows), np.concatenate([score(rows[at : at + 1]) for at in range(len(rows))])
        np.testing.assert_array_equal(whole, alone)
        np.testing.assert_array_equal(np.concatenate([score(rows[:7]), score(rows[7:]), score(rows[:0])]), whole)
    said = Fleet("auto", 1).update(np.concatenate([score(few), *(score(few[at : at + 1]) for at in range(2000))])[None])
    assert not said.alarm.any()


def test_neighbours_that_resemble_each_other_are_not_tried_on_each_other() -> None:
    g = rng(0, "video")
    scenes = np.repeat(g.standard_normal((60, 40)), 10, axis=0)  # ten frames each
    clean, bad = (scenes + 0.1 * g.standard_normal(scenes.shape) for _ in range(2))
    assert CorruptionScore.learn(clean, {"nothing": bad}, kind="embedding").auc["nothing"] < 0.6


def test_values_far_from_the_clean_ones_count_as_far() -> None:
    g = rng(0, "far")
    clean = g.standard_normal((300, 2))
    score = CorruptionScore.learn(clean, {"far": 1e59 * g.standard_normal((300, 2))}, kind="embedding")
    assert score.auc["far"] > 0.9
    assert np.isfinite(score(np.array([[1e60, -1e60], [0.0, 0.0]]))).all()


def test_a_strange_save_is_refused() -> None:
    score = learnt()
    version, packed = codec.unpack_arrays(score.save())
    with pytest.raises(Invalid, match="format 1, but of 2"):
        CorruptionScore.load(codec.pack_arrays(packed, version=2))
    for name, wrong in {
        "label": np.frombuffer(b'{"kind":"logits","auc":[]}', np.uint8),
        "weights": packed["weights"][1:],
        "knots": packed["knots"][:, 1:],
        "spread": -packed["spread"],
        "mean": packed["mean"] * np.nan,
        "directions": packed["directions"][1:],
        "centre": packed["centre"].astype(np.float32),
        "spread ": packed["spread"] * 1e-300,
    }.items():
        with pytest.raises(Invalid, match="not a corruption score"):
            CorruptionScore.load(codec.pack_arrays({**packed, name.strip(): wrong}, version=version))
    without = {name: array for name, array in packed.items() if name != "mean"}
    with pytest.raises(Invalid):
        CorruptionScore.load(codec.pack_arrays(without, version=version))
    with pytest.raises(Invalid):
        CorruptionScore.load(b"nothing")


# -- the corruptions --------------------------------------------------------------------------------------------------


def test_mild_corruptions_keep_shape_type_and_range_and_change_something() -> None:
    for images in (
        (255 * pictures(20, "bytes")).astype(np.uint8),
        (2**31 * pictures(20, "long") - 1).astype(np.int32),
        pictures(20, "floats").astype(np.float32)[..., None],
        np.repeat((255 * pictures(20, "colour"))[..., None], 3, axis=3).astype(np.uint8),
    ):
        made = dict(mild_corruptions(images))
        assert len(made) == 25
        assert {name.rsplit(" ", 1)[0] for name in made} == set(NAMES)
        for name, bad in made.items():
            assert (bad.shape, bad.dtype) == (images.shape, images.dtype)
            assert 0 <= bad.min() <= bad.max() <= {"u": 255, "i": 2**31 - 1, "f": 1}[images.dtype.kind]
            assert np.mean(bad != images) > 0.004, name
    again = dict(mild_corruptions(images))
    assert all(np.array_equal(again[name], made[name]) for name in made)


def test_images_that_cannot_be_corrupted_are_refused() -> None:
    with pytest.raises(InvalidImage):
        next(mild_corruptions(np.zeros((4, 5))))
    for wrong in (np.nan, np.inf, 1e300):
        broken = pictures(5)
        broken[3, 0, 0] = wrong
        with pytest.raises(InvalidData, match="image 3"):
            next(mild_corruptions(broken))
    with pytest.raises(InvalidData, match="image 0"):
        next(mild_corruptions(np.full((5, 8, 8), 2**64 - 1, np.uint64)))
    with pytest.raises(InvalidData, match="true and false"):
        next(mild_corruptions(pictures(5) > 0.5))
    with pytest.raises(EmptyWindow):
        next(mild_corruptions(pictures(0)))


# -- what is refused --------------------------------------------------------------------------------------------------


def test_wrong_outputs_are_refused() -> None:
    good = softmax(pictures(300))
    with pytest.raises(InvalidSetting, match="logits"):
        CorruptionScore.learn(good, {"a": good}, kind="logits")  # type: ignore[arg-type]
    with pytest.raises(EmptyWindow, match="no outputs on corrupted"):
        CorruptionScore.learn(good, {})
    with pytest.raises(EmptyWindow, match="199"):
        CorruptionScore.learn(good[:199], {"a": good})
    with pytest.raises(EmptyWindow, match="blur 1"):
        CorruptionScore.learn(good, {"blur 1": good[:50]})
    with pytest.raises(InvalidData, match="5 values a row, not 6"):
        CorruptionScore.learn(good, {"a": good[:, :5] / good[:, :5].sum(1, keepdims=True)})
    with pytest.raises(InvalidData, match="softmax, not logits"):
        CorruptionScore.learn(good, {"a": np.log(good)})
    for strange in ([good, good], good, 5, None):
        with pytest.raises(InvalidData, match="corrupted is a"):
            CorruptionScore.learn(good, strange)  # type: ignore[arg-type]
    for name in (0, None, ("blur", 1), "\ud800", "a\nb"):
        with pytest.raises(InvalidData, match="is named"):
            CorruptionScore.learn(good, {name: good})  # type: ignore[dict-item]
    score = CorruptionScore.learn(good, ((name, softmax(noisy(pictures(300), 0.2))) for name in ("a", "b")))
    assert list(score.auc) == ["a", "b"]
    for wrong in (good[:, :3], good[0], np.full((2, 6), np.nan), 2.0 * good, [["a"] * 6]):
        with pytest.raises(InvalidData):
            score(wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidObservation):
        score(np.ma.masked_less(good, 0.1))
