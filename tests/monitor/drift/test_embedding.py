from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from visutility.core.errors import EmptyWindow, InvalidData, InvalidObservation, InvalidSetting
from visutility.core.rng import rng
from visutility.monitor import compare
from visutility.monitor.drift import DriftReport, whitened
from visutility.monitor.drift.embedding import EmbeddingReference
from visutility.monitor.drift.whitened import Whitened


def normal(g, rows):
    return g.standard_normal((rows, 20)) @ MIX


def heavy(g, rows):
    return g.standard_t(2, (rows, 20)) @ MIX  # no variance


def sparse(g, rows):
    return np.maximum(g.standard_normal((rows, 20)) @ WIDE - 6.0, 0.0)  # d = 300, one value in ten is not 0


def wide(g, rows):
    return np.maximum(g.standard_normal((rows, 40)) @ WIDER - 3.0, 0.0)  # d = 2048, more than there are rows


def rare(g, rows):
    return (g.random((rows, 40)) < 0.02).astype(np.float32)


MIX = rng(0, "mix").standard_normal((20, 20))
WIDE = rng(0, "wide").standard_normal((20, 300))
WIDER = rng(0, "wider").standard_normal((40, 2048))
KINDS = (normal, heavy, sparse, rare)


def alarms(source, references, windows, seed, m=1000, n=100):
    """How many of the unchanged windows drifted at level .05, a reference for each of `references`."""
    found = 0
    for number in range(references):
        g = rng(seed, "null", source.__name__, number)
        learnt = EmbeddingReference.fit(source(g, m))
        found += sum(learnt.test(source(g, n).astype(float)).p_value <= 0.05 for _ in range(windows))
    return found


def most(windows):
    """Alarms of windows at a true rate of .05 are more with probability 1e-4 at most.

    Windows of one reference share its errors: counted as half as many.
    """
    return 2 * stats.binom.isf(1e-4, windows // 2, 0.05)


@pytest.mark.parametrize("source", KINDS)
def test_rows_of_the_reference_that_come_again_are_no_drift(source):
    """All of it, a part, a part with repeats, and half of a window: of 300 values a row, each was drift, p < 1e-5."""
    g = rng(0, "again", source.__name__)
    reference = source(g, 1000)
    part, drawn = g.permutation(1000)[:300], g.integers(0, 1000, 300)
    mixed = np.concatenate([reference[part[:150]], source(g, 150)])
    for current in (reference, reference[part], reference[drawn], mixed):
        assert not compare(reference, current, kind="embedding", level=0.001).drifted
    moved = reference[part] + reference.std(0)  # and it still sees what is not the same
    assert compare(reference, moved, kind="embedding", level=0.001).drifted


def test_of_many_rows_some_are_paired_and_tell_the_same(monkeypatch):
    reference = normal(rng(0, "paired"), 4000)
    every = Whitened.fit(reference, clip=0.25, least=0.01)
    monkeypatch.setattr(whitened, "PAIRED", 300)  # of 800 in a fold
    some = Whitened.fit(reference, clip=0.25, least=0.01)
    assert some.cumulants != every.cumulants
    assert some.cumulants == pytest.approx(every.cumulants, rel=0.05)
    assert some.fourth == every.fourth


@pytest.mark.parametrize("often", [2, 5, 100, 400])
@pytest.mark.parametrize("width", [8, 100])
def test_a_reference_with_repeats_is_no_drift_from_itself_or_a_part(often, width):
    """Every row so often, or one row in ten of another 400: of pairs of 100 values, each was drift, p < 1e-200."""
    g = rng(0, "repeats", str(often), str(width))
    some = g.standard_normal((400 // often, width))
    every = np.repeat(some, often, axis=0)
    mixed = np.concatenate(
        [g.standard_normal((400, width)), np.repeat(g.standard_normal((40 // min(often, 40), width)), often, axis=0)]
    )
    for reference in (every, g.permutation(every), mixed, g.permutation(mixed)):
        part = reference[g.permutation(len(reference))[: len(reference) // 3]]
        assert not compare(reference, reference, kind="embedding", level=0.001).drifted
        assert not compare(reference, part, kind="embedding", level=0.001).drifted


def drawn_anew(things, width):
    """Rows of a catalogue: fresh windows hold some that the reference has, once or more often, and some it has not."""
    all_of_them = rng(0, "catalogue", str(things)).standard_normal((things, width))
    return lambda g, rows: all_of_them[g.integers(0, things, rows)]


@pytest.mark.slow
@pytest.mark.parametrize("things", [30, 300, 1000, 5000])
def test_the_level_holds_where_rows_come_again(things):
    """Of 200 windows, 10 alarm by chance; 149 did when rows that are there once alone had their own distance."""
    source, alarms = drawn_anew(things, 64), 0
    for k in range(40):
        g = rng(k, "again and again", str(things))
        learnt = EmbeddingReference.fit(source(g, 500))
        alarms += sum(learnt.test(source(g, rows)).p_value <= 0.05 for rows in (50, 400, 400, 400, 400))
    assert alarms <= most(200)


def test_a_row_of_the_same_numbers_in_another_order_is_another_row():
    """The quick sum of the two is the same: only the name tells them apart."""
    reference = rng(0, "order").standard_normal((200, 12))
    learnt = EmbeddingReference.fit(reference)
    none = replace(learnt, known=tuple(part[:0] for part in learnt.known))
    turned = np.roll(reference[:50], 1, axis=1)
    mixed = np.concatenate([reference[50:100], turned])
    found, without = learnt.test(mixed).distances, none.test(mixed).distances
    assert np.array_equal(found[50:], without[50:])
    assert (found[:50] != without[:50]).all()


@pytest.mark.slow
@pytest.mark.parametrize("source", KINDS)
def test_the_level_holds(source):
    # a test whose true rate is .12 passes with probability 1e-4 or less; with .09 it may pass
    assert alarms(source, 30, 30, 1) <= most(900)


@pytest.mark.slow
def test_the_level_holds_with_more_dimensions_than_rows():
    assert alarms(wide, 6, 60, 2) <= most(360)


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [(50, 10), (100, 100), (200, 50), (100, 500)])
def test_the_level_holds_for_short_and_long_windows(sizes):
    assert alarms(normal, 60, 10, 3, *sizes) <= most(600)


@pytest.mark.slow
def test_a_test_that_takes_its_law_from_the_rows_it_fits_fails():
    """Against the plain law of Hotelling with a fitted covariance, the level's test has power: it is not kept."""
    found = 0
    for number in range(20):
        g = rng(4, "wrong", number)
        reference = g.standard_normal((200, 60))
        to_z = np.linalg.inv(np.cov(reference.T))
        for _ in range(15):
            shift = g.standard_normal((50, 60)).mean(0) - reference.mean(0)
            found += stats.chi2.sf(shift @ to_z @ shift / (1 / 50 + 1 / 200), 60) <= 0.05
    assert found > most(300)


def test_shifts_are_seen_and_named_by_their_rows():
    g = rng(5, "power")
    reference, same, moved, grown = normal(g, 1000), normal(g, 100), normal(g, 100) + MIX[0], 1.5 * normal(g, 100)
    assert compare(reference, same, "embedding").status == "ok"
    report = compare(reference, moved, "embedding")
    assert report.drifted
    assert report.status == "drift"
    assert report.p_value < 1e-6
    assert report.columns[0].name == "embedding mean"
    assert "mean" in report.verdict
    report = compare(reference, grown, "embedding")
    assert report.drifted
    assert report.columns[0].name == "embedding spread"
    assert sum(report.columns[0].current.shares[5:]) > 0.8  # most lie beyond the reference's median
    assert DriftReport.from_json(report.to_json()) == report


def test_the_effect_is_the_length_of_the_shift():
    """A shift of half a deviation in one of 5 directions: the estimate's own deviation is about .05."""
    g = rng(6, "effect")
    learnt = Whitened.fit(g.standard_normal((4000, 5)), clip=1.0, least=0.0)
    moved = g.standard_normal((4000, 5)) + np.array([0.5, 0, 0, 0, 0])
    assert abs(learnt.test(learnt.z(moved))[2] - 0.5) < 0.1
    assert learnt.test(learnt.z(g.standard_normal((4000, 5))))[2] < 0.15


def test_hotelling_is_the_special_case_without_clip_and_shrinkage():
    """The same statistic as scipy's numbers give, and a p-value close to the F law's, at p = 4 and m = 2000."""
    g = rng(7, "hotelling")
    reference, current = g.standard_normal((2000, 4)), 0.9 * g.standard_normal((60, 4)) + 0.2
    learnt = Whitened.fit(reference, clip=1.0, least=0.0)
    p, statistic, _ = learnt.test(learnt.z(current))
    shift = current.mean(0) - reference.mean(0)
    exact = shift @ np.linalg.inv(np.cov(reference.T, ddof=0)) @ shift / (1 / 60 + 1 / 2000)
    assert statistic == pytest.approx(exact, rel=2e-2)  # its shrinkage is p / 2m at least
    expected = stats.f.sf(exact * (2000 - 4) / (4 * (2000 - 1)), 4, 1996)
    assert abs(np.log(p / expected)) < 0.35


def test_most_shifted_samples_are_the_corrupted_ones():
    g = rng(8, "shifted")
    current = normal(g, 100)
    bad = np.arange(0, 100, 4)
    current[bad] += 6.0 * MIX[1]
    report = compare(normal(g, 1000), current, "embedding")
    assert report.drifted
    assert len(report.shifted) == 16
    assert len(set(report.shifted) & set(bad.tolist())) >= 14


def test_a_fitted_reference_gives_the_same_report_and_nothing_is_changed():
    g = rng(9, "fitted")
    reference, current = normal(g, 300).astype(np.float32), normal(g, 50).astype(np.float32)
    kept = reference.copy(), current.copy()
    report = compare(reference, current, "embedding")
    assert compare(EmbeddingReference.fit(reference), current, "embedding") == report
    assert np.array_equal(reference, kept[0])
    assert np.array_equal(current, kept[1])
    reference[:] += 10.0  # remembered by content, not by identity
    assert compare(reference, current, "embedding").p_value < 1e-9
    assert compare(kept[0], current, "embedding") == report


def test_wide_vectors_depend_on_the_seed_alone():
    g = rng(10, "seed")
    reference, current = g.standard_normal((200, 300)), g.standard_normal((50, 300))
    first = compare(reference, current, "embedding", seed=3)
    assert compare(reference, current, "embedding", seed=3) == first
    assert compare(reference, current, "embedding", seed=4).p_value != first.p_value


def test_values_that_are_not_finite_are_broken_data():
    g = rng(11, "nan")
    reference, current = normal(g, 200), normal(g, 50)
    current[7, 3], current[9] = np.nan, np.inf
    report = compare(reference, current, "embedding")
    assert report.status == "data broken"
    assert report.rows == (200, 50)
    assert report.quality[0].check == "not finite"
    assert report.quality[0].share == pytest.approx(2 / 50)
    assert not {7, 9} & set(report.shifted)


@pytest.mark.parametrize("finite", [0, 9])
def test_a_model_that_breaks_is_broken_data_however_few_vectors_are_left(finite):
    g = rng(13, "breaks")
    current = normal(g, 40)
    current[finite:] = np.nan
    report = compare(normal(g, 100), current, "embedding")
    assert (report.status, report.p_value, report.rows) == ("data broken", 1.0, (100, 40))
    assert "not compared" in report.verdict
    assert report.quality[0].share == pytest.approx(1.0 - finite / 40)
    assert DriftReport.from_json(report.to_json()) == report


def test_features_that_never_vary_are_left_out():
    g = rng(12, "constant")
    reference, current = normal(g, 300), normal(g, 60)
    reference[:, 4] = current[:, 4] = 2.5
    assert compare(reference, current, "embedding").status == "ok"
    nothing = np.ones((100, 3))
    assert compare(nothing, nothing[:20], "embedding").p_value == 1.0


@pytest.mark.parametrize(
    ("reference", "current", "error"),
    [
        (np.zeros(100), np.zeros((20, 2)), InvalidData),
        (np.zeros((100, 2)), np.zeros((20, 3)), InvalidData),
        (np.full((100, 2), "x"), np.zeros((20, 2)), InvalidData),
        (np.full((100, 2), np.nan), np.zeros((20, 2)), InvalidData),
        (np.zeros((49, 2)), np.zeros((20, 2)), EmptyWindow),
        (np.zeros((100, 2)), np.zeros((9, 2)), EmptyWindow),
    ],
)
def test_what_cannot_be_compared_is_refused(reference, current, error):
    with pytest.raises(error, match=r"window|array|values|finite"):
        compare(reference, current, "embedding")


def masked(values):
    return np.ma.masked_array(values, np.arange(values.size).reshape(values.shape) == 0)


@pytest.mark.parametrize("hide", [masked, lambda values: [masked(row) for row in values]])
def test_masked_values_are_refused_and_never_taken_for_what_the_mask_hides(hide):
    values = np.zeros((60, 4))
    for pair in ((hide(values), values), (values, hide(values))):
        with pytest.raises(InvalidObservation, match="masked"):
            compare(*pair, "embedding")
    assert compare(np.ma.masked_array(values), values, "embedding").p_value == 1.0  # nothing is masked


def test_unknown_settings_are_refused():
    with pytest.raises(InvalidSetting, match="no setting"):
        compare(np.zeros((100, 2)), np.zeros((20, 2)), "embedding", shade=3)


@pytest.mark.parametrize("values", [None, [[1.0], [1.0, 2.0]] * 40, np.ones((60, 4), object)])
def test_what_are_no_vectors_is_refused(values):
    with pytest.raises(InvalidData, match="reference"):
        compare(values, values, kind="embedding")


def test_a_report_without_drift_has_no_drifted_rows():
    g = rng(29, "agree")
    windows = g.standard_normal((200, 4)), 1.1 * g.standard_normal((100, 4)) + 0.2
    report = compare(*windows, "embedding", level=0.045)
    assert not report.drifted
    assert min(row.q_value for row in report.columns) < 0.045
    assert not any(row.drifted for row in report.columns)
    assert any(row.drifted for row in compare(*windows, "embedding", level=0.06).columns)


def test_vectors_too_small_to_compute_with_are_no_drift():
    g = rng(14, "tiny")
    for width in (4, 200):
        reference, current = g.standard_normal((100, width)), g.standard_normal((50, width))
        assert compare(1e-200 * reference, 1e-200 * current, kind="embedding").p_value == 1.0
        small, plain = (compare(by * reference, by * current, kind="embedding").p_value for by in (1e-50, 1.0))
        assert small == pytest.approx(plain, rel=1e-6)


def test_vectors_too_large_to_compute_with_are_broken_data():
    reference, current = normal(rng(0, "huge"), 100), normal(rng(1, "huge"), 50)
    current[7, 3] = -1e300
    report = compare(reference, current, kind="embedding")
    assert (report.status, report.quality[0].share) == ("data broken", 0.02)
    with pytest.raises(InvalidData, match="reference row 7 "):
        compare(current, reference, kind="embedding")
