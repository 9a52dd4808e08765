"""Performance without labels: the parts against brute force, the value against the truth, the interval's coverage."""

import math

import numpy as np
import pytest
from scipy import optimize, special, stats

from visutility.core.errors import EmptyWindow, InvalidObservation, InvalidSetting
from visutility.core.rng import rng
from visutility.monitor._calibration import isotonic, sharpness, tempered
from visutility.monitor._transport import label_distance, learn_mixture, transport_gain, unexplained
from visutility.monitor.estimate import estimate_performance
from visutility.monitor.harm import HarmKind, judge_harm

# -- the parts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "k", "seed"), [(60, 3, 0), (120, 4, 1), (400, 10, 2), (500, 2, 3)])
def test_transport_is_the_best_assignment(n, k, seed):
    """Against the assignment problem, each label as often as its share says."""
    g = rng(seed, "transport")
    scores = g.dirichlet(np.full(k, 0.3), n)
    counts = np.bincount(g.integers(0, k, n), minlength=k)
    labels = np.repeat(np.arange(k), counts)
    rows, columns = optimize.linear_sum_assignment(-scores[:, labels])
    best = scores[rows, labels[columns]].mean()
    found = transport_gain(scores, counts / n)
    assert best - 1e-9 <= found <= best + 5e-4


def test_transport_of_certain_scores_is_the_distance_of_the_labels_said():
    said = np.repeat(np.arange(4), [10, 20, 30, 40])
    shares = np.full(4, 0.25)
    distance = 0.5 * np.abs(np.array([0.1, 0.2, 0.3, 0.4]) - shares).sum()
    assert transport_gain(np.eye(4)[said], shares) == pytest.approx(1.0 - distance, abs=1e-3)


def test_isotonic_calibration_is_the_least_squares_rising_function():
    g = rng(0, "isotonic")
    scores = g.random(500)
    happened = g.random(500) < scores**2
    learnt = isotonic(scores, happened)
    order = np.argsort(scores)
    reference = optimize.isotonic_regression(happened[order].astype(float)).x
    assert learnt(scores[order]) == pytest.approx(reference, abs=1e-12)
    assert learnt(scores).mean() == pytest.approx(happened.mean())
    tied = isotonic(np.array([0.2, 0.2, 0.7]), np.array([True, False, True]))
    assert tied(np.array([0.0, 0.2, 0.45, 1.0])) == pytest.approx([0.5, 0.5, 0.75, 1.0])


def test_timid_scores_are_sharpened_and_bold_ones_left():
    g = rng(0, "sharpness")
    logits = 2.0 * g.standard_normal((4000, 5))
    labels = (logits + g.gumbel(size=logits.shape)).argmax(1)  # softmax(logits) is right
    timid, right, bold = (special.softmax(logits * by, axis=1) for by in (0.5, 1.0, 2.0))
    assert sharpness(timid, labels) == pytest.approx(0.5, abs=0.05)
    assert sharpness(bold, labels) == 1.0
    assert tempered(timid, 0.5) == pytest.approx(right)
    assert tempered(right, 1.0) is right


# -- worlds with known truth -----------------------------------------------------------------------------------------


def pictures(n, seed, *, noise=1.0, fade=1.0, pull=0.0, shares=None, k=6):
    """Softmax scores and labels of a classifier that is right about clean data (noise 1, pull 0).

    `noise` hides and `fade` weakens what it sees, `pull` makes the upper half of the classes look like class 0, each
    picture by another amount: what a bright light does.
    """
    g = rng(seed, "pictures", n)
    labels = g.choice(k, n, p=shares)
    seen = 2.2 * fade * np.eye(k)[labels] + noise * g.standard_normal((n, k))
    seen[:, 0] += pull * (labels >= k // 2) * g.random(n)
    return special.softmax(2.2 * seen, axis=1), labels


def accuracy(scores, labels):
    return float((scores.argmax(1) == labels).mean())


@pytest.fixture(scope="module")
def reference():
    return pictures(6000, 0)


def test_nothing_changed(reference):
    scores, labels = pictures(6000, 1)
    found = estimate_performance(*reference, scores)
    assert abs(found.value - accuracy(scores, labels)) < 0.02  # three standard deviations
    assert found.low <= accuracy(scores, labels) <= found.high
    assert found.reference == accuracy(*reference)
    assert found.kind == "multiclass"
    assert found.rows == (6000, 6000)
    assert judge_harm(False, found).kind is HarmKind.FINE


def test_a_shift_of_the_classes_is_left_to_confidence(reference):
    shares = [0.5, 0.02, 0.2, 0.2, 0.04, 0.04]
    scores, labels = pictures(6000, 2, shares=shares)
    found = estimate_performance(*reference, scores)
    assert found.parts["weight"] == 0.0
    assert abs(found.value - accuracy(scores, labels)) < 0.03
    assert abs(found.parts["transport"] - accuracy(scores, labels)) > 0.15


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tilt", "means", "worsts"), [(1.5, (0.0146, 0.0102), (0.0915, 0.0360)), (4.0, (0.2388, 0.0095), (0.6502, 0.0344))]
)
def test_confidence_is_to_be_chosen_where_the_mix_shifts_and_the_scores_are_right(tilt, means, worsts):
    """The figures of docs/estimated-accuracy.md: six calibrated classes, rows drawn with chances that scores give."""
    errors = {"auto": [], "confidence": []}
    for window in range(40):
        g = rng(window, "mix")

        def draw(by, g=g):
            scores = g.dirichlet(np.full(6, 0.3), 8000)
            chances = np.exp(scores @ by)
            scores = scores[g.choice(8000, 2000, p=chances / chances.sum())]
            return scores, (g.random((2000, 1)) > scores.cumsum(1)[:, :-1]).sum(1)

        known, (scores, labels) = draw(np.zeros(6)), draw(g.normal(0.0, tilt, 6))
        for method, found in errors.items():
            found.append(abs(estimate_performance(*known, scores, method=method).value - accuracy(scores, labels)))
    assert [np.mean(found) for found in errors.values()] == pytest.approx(means, abs=5e-4)
    assert [max(found) for found in errors.values()] == pytest.approx(worsts, abs=5e-4)


def test_images_that_go_bad_are_left_to_transport(reference):
    scores, labels = pictures(6000, 3, fade=0.5, noise=0.7, pull=3.0)
    found = estimate_performance(*reference, scores)
    truth = accuracy(scores, labels)
    assert found.parts["weight"] == 1.0
    assert abs(found.value - truth) < 0.6 * abs(found.parts["confidence"] - truth)
    assert found.worse > 0.1
    assert judge_harm(True, found).kind is HarmKind.PROBABLE


def test_mild_noise_is_benign_and_starts_nothing(reference):
    scores, labels = pictures(6000, 4, noise=1.05)
    assert accuracy(*reference) - accuracy(scores, labels) < 0.05  # it costs little
    found = judge_harm(1e-6, estimate_performance(*reference, scores))  # though a test saw it
    assert found.kind is HarmKind.BENIGN
    assert not found.starts_retrain


def test_what_the_scores_cannot_show_is_not_seen(reference):
    """The page says so: noise that makes a model as sure as before, of wrong things, leaves its scores as they were."""
    scores, labels = pictures(6000, 5, noise=1.5)
    found = estimate_performance(*reference, scores)
    assert found.value - accuracy(scores, labels) > 0.15
    assert found.worse < 0.05


def test_the_method_can_be_chosen(reference):
    scores, _ = pictures(3000, 5, pull=1.0)
    for method in ("confidence", "transport"):
        found = estimate_performance(*reference, scores, method=method)
        assert found.value == found.parts[method]


def test_what_class_shares_explain_is_told_from_what_they_do_not(reference):
    mixture = learn_mixture(*reference)
    moved, _ = pictures(6000, 6, shares=[0.5, 0.1, 0.1, 0.1, 0.1, 0.1])
    blurred, _ = pictures(6000, 7, noise=2.0)
    same, _ = pictures(6000, 8)
    assert unexplained(mixture, moved) < 0.2
    assert unexplained(mixture, blurred) > 0.8
    assert unexplained(mixture, same) < 0.2
    assert label_distance(reference[0], same) < 0.02
    assert label_distance(reference[0], moved) > 0.2


def test_many_classes_take_fewer_cells():
    scores, labels = pictures(3000, 0, k=40)
    found = estimate_performance(scores, labels, pictures(3000, 1, k=40)[0])
    assert abs(found.value - accuracy(*pictures(3000, 1, k=40))) < 0.04


def coins(n, seed, slope=1.0, mean=0.0):
    """A calibrated model of two classes seen through a distorted score; only the mix of the rows shifts with `mean`."""
    g = rng(seed, "coins", n)
    x = mean + slope * 1.5 * g.standard_normal(n)
    return special.expit(0.5 * x + 0.3), (g.random(n) < special.expit(x)).astype(int)


@pytest.mark.parametrize("mean", [-1.0, 0.0, 0.7])
@pytest.mark.parametrize("shape", ["one column", "two columns"])
def test_two_classes_under_covariate_shift_are_estimated_by_calibrated_confidence(mean, shape):
    known, labels = coins(20_000, 0)
    new, truth = coins(20_000, 1, mean=mean)
    wanted = float(((new >= 0.5) == truth).mean())
    if shape == "two columns":
        known, new = np.stack((1 - known, known), 1), np.stack((1 - new, new), 1)
    found = estimate_performance(known, labels, new)
    assert found.kind == "binary"
    assert abs(found.value - wanted) < 0.015  # three standard deviations; uncalibrated scores err by .03 and more
    assert found.low <= wanted <= found.high


def covered(runs, half=1.0, mean=0.0):
    inside = 0
    for seed in range(runs):
        known, labels = coins(600, 2 * seed)
        new, truth = coins(400, 2 * seed + 1, mean=mean)
        found = estimate_performance(known, labels, new)
        inside += abs(float(((new >= 0.5) == truth).mean()) - found.value) <= half * (found.high - found.low) / 2
    return inside


@pytest.mark.parametrize("mean", [0.0, 1.0])
def test_the_interval_covers_at_its_level_where_confidence_keeps_its_meaning(mean):
    """binom.ppf(1e-6, 200, .95) = 173; an interval of half the width covers about two thirds and fails."""
    limit = stats.binom.ppf(1e-6, 200, 0.95)
    assert covered(200, mean=mean) >= limit


def test_an_interval_of_half_the_width_fails_that_test():
    assert covered(200, half=0.5) < stats.binom.ppf(1e-6, 200, 0.95)


@pytest.mark.slow
@pytest.mark.parametrize("shares", [None, [0.4, 0.1, 0.1, 0.1, 0.2, 0.1], [0.5, 0.02, 0.2, 0.2, 0.04, 0.04]])
def test_the_interval_of_many_classes_covers_with_and_without_a_shift_of_the_classes(shares):
    """binom.ppf(1e-6, 120, .95) = 100: an interval that covers .7 passes with .0006."""
    inside = 0
    for seed in range(120):
        scores, labels = pictures(500, 2 * seed + 1, shares=shares)
        found = estimate_performance(*pictures(1000, 2 * seed), scores)
        inside += found.low <= accuracy(scores, labels) <= found.high
    assert inside >= stats.binom.ppf(1e-6, 120, 0.95)


def prices(n, seed, mean=0.0):
    g = rng(seed, "prices", n)
    x = mean + g.standard_normal(n)
    return x, x + (0.2 + np.abs(x)) * g.standard_normal(n)


def test_the_error_of_a_regression_is_the_error_at_predictions_like_these():
    known, labels = prices(8000, 0)
    new, truth = prices(8000, 1, mean=0.8)
    found = estimate_performance(known, labels, new, metric="mae")
    wanted = float(np.abs(new - truth).mean())
    assert found.kind == "regression"
    assert found.metric == "mae"
    assert abs(found.value - wanted) < 0.05
    assert wanted - found.reference > 0.15
    assert found.low <= wanted <= found.high
    assert found.worse == pytest.approx(found.value - found.reference)
    assert found.worse_low < found.worse < found.worse_high
    assert 0.0 <= found.parts["beyond_reference"] < 0.1


def growing(n, seed, mean=0.0):
    g = rng(seed, "growing", n)
    x = mean + g.standard_normal(n)
    return x, x + np.exp(0.5 * x) * g.standard_normal(n)


@pytest.mark.parametrize("rows", [45, 59])
def test_a_small_reference_sees_that_predictions_moved_where_the_error_is_larger(rows):
    """binom.ppf(1e-6, 120, .9) = 91: an estimate that does not look at where predictions are covers about 5."""
    inside = 0
    for seed in range(120):
        new, truth = growing(2000, seed, mean=1.0)
        found = estimate_performance(*growing(rows, seed), new, metric="mae")
        inside += found.low <= np.abs(new - truth).mean() <= found.high
    assert inside >= stats.binom.ppf(1e-6, 120, 0.9)


def test_the_interval_of_a_regression_does_not_depend_on_the_unit():
    known, labels = prices(600, 0)
    new, _ = prices(400, 1, mean=2.0)
    in_euro, in_cent = (estimate_performance(by * known, by * labels, by * new, metric="mae") for by in (0.01, 1.0))
    assert in_euro.parts["beyond_reference"] > 0.1
    assert in_euro.model == pytest.approx(0.01 * in_cent.model)
    assert in_euro.high == pytest.approx(0.01 * in_cent.high)


# -- the contract ----------------------------------------------------------------------------------------------------


def test_the_same_call_gives_the_same_and_leaves_its_arguments(reference):
    scores, labels = reference
    current = pictures(500, 9)[0]
    copies = scores.copy(), labels.copy(), current.copy()
    one, two = (estimate_performance(scores, labels, current, seed=3) for _ in range(2))
    assert one == two
    for array, copy in zip((scores, labels, current), copies, strict=True):
        assert np.array_equal(array, copy)
    said = one.to_json()
    assert said["rows"] == [6000, 500]
    assert said["worse"] == one.worse


def test_float32_and_lists_do(reference):
    scores, labels = reference[0][:200], reference[1][:200]
    found = estimate_performance(scores.astype(np.float32), labels, scores.astype(np.float32))
    assert found.value == pytest.approx(estimate_performance(scores.tolist(), labels.tolist(), scores).value, abs=1e-4)


def test_the_level_widens_the_interval(reference):
    scores = pictures(500, 10)[0]
    widths = [
        found.high - found.low
        for found in (estimate_performance(*reference, scores, level=p) for p in (0.5, 0.9, 0.99))
    ]
    assert widths == sorted(widths)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_scores_that_are_not_finite_are_refused_with_their_position(reference, bad):
    scores, labels = reference[0][:100].copy(), reference[1][:100]
    scores[7, 2] = bad
    with pytest.raises(InvalidObservation, match=r"at \(7, 2\)"):
        estimate_performance(scores, labels, reference[0])
    with pytest.raises(InvalidObservation, match=r"current_scores has .* at \(7, 2\)"):
        estimate_performance(*reference, scores)


def test_what_does_not_fit_is_refused(reference):
    scores, labels = reference[0][:100], reference[1][:100]
    with pytest.raises(InvalidObservation, match="adds up to 1"):
        estimate_performance(scores, labels, 2.0 * scores)
    with pytest.raises(InvalidObservation, match="adds up to 1"):
        estimate_performance([-0.1] * 40, [0] * 40, [0.5])
    with pytest.raises(InvalidObservation, match="fit"):
        estimate_performance(scores, labels, scores[:, :4])
    with pytest.raises(InvalidObservation, match="fit"):
        estimate_performance(scores, labels[:50], scores)
    with pytest.raises(InvalidObservation, match="labels are 0 to 5"):
        estimate_performance(scores, labels + 1, scores)
    for wrong in (0.5, 1e300):
        with pytest.raises(InvalidObservation, match="labels are 0 to 5"):
            estimate_performance(scores, np.full(100, wrong), scores)
    with pytest.raises(InvalidObservation, match="numbers"):
        estimate_performance([["a", "b"]] * 40, [0] * 40, scores)
    with pytest.raises(InvalidObservation, match="numbers"):
        estimate_performance(scores + 0j, labels, scores)
    with pytest.raises(InvalidObservation, match="size 1e\\+200"):
        estimate_performance(scores[:, 0], labels, [1e200], metric="mae")
    with pytest.raises(InvalidObservation, match="one number a row"):
        estimate_performance(scores, labels, scores, metric="mae")
    with pytest.raises(EmptyWindow):
        estimate_performance(scores[:29], labels[:29], scores)
    with pytest.raises(EmptyWindow):
        estimate_performance(scores, labels, scores[:0])
    for wrong in ({"level": 0.0}, {"level": "0.9"}, {"level": None}, {"metric": "f1"}, {"method": "magic"}):
        with pytest.raises(InvalidSetting):
            estimate_performance(scores, labels, scores, **wrong)


def test_masked_scores_and_labels_are_refused(reference):
    scores, labels = reference[0][:100], reference[1][:100]
    hidden = np.ma.masked_greater(scores, 0.9)
    for given in ((hidden, labels, scores), (scores, np.ma.masked_equal(labels, 1), scores), (scores, labels, hidden)):
        with pytest.raises(InvalidObservation, match="masked"):
            estimate_performance(*given)


def test_one_current_row_and_one_class_are_enough(reference):
    found = estimate_performance(*reference, reference[0][:1])
    assert 0.0 <= found.low <= found.value <= found.high <= 1.0
    known, _ = coins(100, 0)
    assert estimate_performance(known, np.zeros(100), known).reference == float((known < 0.5).mean())


# -- real images -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_real_digits_under_real_corruptions():
    """Scans of digits, a small perceptron: the blend errs less than confidence, and mild corruption is benign.

    Windows of 697 images: the truth itself has a standard deviation of about .01.
    """
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    from visutility.data.corruptions import corrupt

    digits = load_digits()
    pixels, labels = digits.images / 16.0, digits.target
    model = MLPClassifier((64,), max_iter=400, random_state=0).fit(pixels[:600].reshape(600, -1), labels[:600])

    def said(images):
        return model.predict_proba(images.reshape(len(images), -1))

    known, truth, held = pixels[600:1100], labels[600:1100], labels[1100:]
    errors, by_confidence = [], []
    for kind in ("gaussian-noise", "occlusion", "pixel-dropout", "rotation", "contrast"):
        for severity in (1, 2, 3):
            scores = said(corrupt(pixels[1100:], kind, severity, seed=0).astype(float))
            found = estimate_performance(said(known), truth, scores)
            errors.append(abs(found.value - accuracy(scores, held)))
            by_confidence.append(abs(found.parts["confidence"] - accuracy(scores, held)))
    assert np.mean(errors) < 0.06
    assert np.mean(errors) < np.mean(by_confidence)
    for kind, severity in (("gaussian-noise", 0.5), ("jpeg", 1.0)):  # a test may see them; they cost nothing
        mild = said(corrupt(pixels[1100:], kind, severity, seed=0).astype(float))
        assert accuracy(said(pixels[1100:]), held) - accuracy(mild, held) < 0.02
        verdict = judge_harm(True, estimate_performance(said(known), truth, mild))
        assert verdict.kind is HarmKind.BENIGN
        assert not verdict.starts_retrain
