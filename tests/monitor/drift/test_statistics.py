"""Every statistic against SciPy or against all permutations of a small case."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats
from scipy.stats import contingency

from visutility.monitor.drift import tests
from visutility.monitor.drift.columns import edges_of


def draw(seed):
    return np.random.default_rng(seed)


TABLES = [draw(seed).integers(1, 60, size=(2, size)) for seed, size in enumerate((2, 3, 8, 30))]


@pytest.mark.parametrize("counts", TABLES)
def test_chi_square_is_that_of_scipy_scaled(counts):
    n = counts.sum()
    wanted = stats.chi2_contingency(counts, correction=False)
    statistic, p = tests.chi_square(*counts)
    assert statistic == pytest.approx(wanted.statistic * (n - 1) / n)
    assert p == pytest.approx(stats.chi2.sf(statistic, len(counts[0]) - 1))


@pytest.mark.parametrize("counts", TABLES)
def test_effects_are_those_of_scipy(counts):
    reference, current = counts
    values = np.arange(len(reference), dtype=float)
    x, y = np.repeat(values, reference), np.repeat(values, current)
    assert tests.distance(reference, current) == pytest.approx(stats.ks_2samp(x, y, method="asymp").statistic)
    assert tests.cramers_v(reference, current) == pytest.approx(
        contingency.association(counts, method="cramer", correction=False)
    )
    above = (y[:, None] > x[None, :]).mean() - (y[:, None] < x[None, :]).mean()
    assert tests.delta(reference, current) == pytest.approx(above)
    shares = reference / reference.sum(), current / current.sum()
    assert tests.variation(reference, current) == pytest.approx(np.maximum(shares[1] - shares[0], 0).sum())


@pytest.mark.parametrize("case", [(3, 10, 8, 9), (0, 500, 7, 300), (40, 50, 60, 61), (5, 5000, 2, 40), (1, 1, 0, 1)])
def test_a_share_has_the_exact_hypergeometric_tails(case):
    ones, n, now, m = case
    law = stats.hypergeom(n + m, ones + now, m)
    wanted = min(1.0, 2.0 * min(law.cdf(now), law.sf(now - 1)))
    assert tests.share(*case).p_value == pytest.approx(wanted, rel=1e-9)


def test_the_normal_tail_takes_over_where_the_exact_one_is_long():
    case = (300_000, 1_000_000, 301_000, 1_000_000)
    law = stats.hypergeom(2_000_000, 601_000, 1_000_000)
    assert tests.share(*case).p_value == pytest.approx(2.0 * law.sf(300_999), rel=0.01)


def test_a_spike_has_binomial_tails_and_counts_all_bins():
    reference, current = np.array([50, 60, 40, 5]), np.array([20, 25, 60, 4])
    p = current.sum() / (reference + current).sum()
    total = reference + current
    tails = [min(stats.binom.cdf(x, t, p), stats.binom.sf(x - 1, t, p)) for x, t in zip(current, total, strict=True)]
    z, found = tests.spike(reference, current)
    assert found == pytest.approx(4 * 2 * min(tails))
    assert z > 0
    assert tests.spike(reference, current, too_few=False)[1] == pytest.approx(found / 2.0)


def test_a_bin_of_numbers_with_too_few_values_is_no_spike():
    reference, current = np.array([100, 100, 100, 100]), np.array([120, 120, 120, 40])
    spikes = [tested[-1] for tested in (tests.numeric(reference, current), tests.categorical(reference, current))]
    assert [one.test for one in spikes] == ["spike", "spike"]
    assert spikes[1].p_value < 1e-3 < 0.1 < spikes[0].p_value


@pytest.mark.parametrize(("size", "chosen"), [(16, 7), (18, 4)])
def test_the_linear_statistic_against_all_permutations(size, chosen):
    """z and its skewness are those of all permutations; p errs on the large side in windows as small as these."""
    scores = np.random.default_rng(size).exponential(size=size)
    every = np.array(list(combinations(range(size), chosen)))
    sums = scores[every].sum(axis=1)
    z_all = (sums - sums.mean()) / sums.std()
    for at in np.argsort(sums)[[0, len(sums) // 50, len(sums) // 4, len(sums) // 2, -len(sums) // 20, -1]]:
        current = np.zeros(size, np.int64)
        current[every[at]] = 1
        z, p = tests.linear(scores, np.ones(size, np.int64), current)
        assert z == pytest.approx(z_all[at], rel=1e-9)
        exact = min(1.0, 2.0 * min((sums <= sums[at] + 1e-12).mean(), (sums >= sums[at] - 1e-12).mean()))
        assert 0.8 * exact < p < (2.0 * exact if exact > 0.02 else 0.1)
        skewed = stats.pearson3(stats.skew(z_all))
        assert p == pytest.approx(min(1.0, 2.0 * min(skewed.sf(z), skewed.cdf(z))), rel=1e-9)


def test_the_tail_of_windows_of_different_size_is_right_where_the_normal_tail_is_not():
    """Fifty large values, of which 12 lie in a current window with a tenth of the rows: exact .0028, normal .0002."""
    total, current = np.array([10_950, 30, 20]), np.array([988, 8, 4])
    exact = 2.0 * stats.hypergeom(11_000, 50, 1000).sf(11)
    z, p = tests.linear(np.array([0.0, 1.0, 1.0]), total, current)
    assert 2.0 * stats.norm.sf(z) < exact / 10.0
    assert exact / 2.0 < p < exact * 1.1  # without the correction of a lattice: about half the last atom less


def test_no_large_value_at_all_in_the_current_window_is_no_evidence_where_they_are_rare():
    """Three large values among 3,300, none of them in a window of 300: that has probability .75."""
    z, p = tests.linear(np.array([0.0, 1.0, 2.0, 3.0]), np.array([3297, 1, 1, 1]), np.array([300, 0, 0, 0]))
    assert z < 0.0
    assert p > 0.5


def test_a_linear_statistic_that_hangs_on_a_few_values_is_left_out():
    """Five values of both signs beside 5,500 zeros: whoever gets one looks drifted to a tail of three moments."""
    reference, current = np.array([1, 1, 4996, 1, 1]), np.array([0, 0, 499, 0, 1])
    assert [one.test for one in tests.numeric(reference, current)] == ["shape", "spike"]
    assert tests.combine(tests.numeric(reference, current))[1] > 0.1
    assert not tests.is_settled(np.zeros(3), np.array([1, 2, 3]), 3)
    normal = stats.norm.ppf(np.arange(1, 500) / 500), np.ones(499, np.int64)
    assert all(tests.is_settled(*normal, m) for m in (2, 14, 50))


def test_a_handful_of_normal_values_has_the_size_of_its_location():
    """The law of a sum of normal scores is normal in the smallest windows too: 3,000 samples of 8 of 508."""
    g, total = draw(8), np.ones(508, np.int64)
    scores = stats.norm.ppf((np.arange(508) + 0.5) / 508)
    now = [np.isin(np.arange(508), g.choice(508, 8, replace=False)).astype(np.int64) for _ in range(3000)]
    p = np.array([tests.linear(scores, total, one)[1] for one in now])
    assert 0.03 < (p <= 0.05).mean() < 0.065
    assert (p <= 0.005).mean() < 0.01


def test_location_of_one_sample_cut_in_two_is_symmetric():
    counts = draw(4).integers(0, 50, (2, 40))
    forth, back = tests.numeric(*counts), tests.numeric(counts[1], counts[0])
    assert [one.test for one in forth] == ["location", "spread", "shape", "spike"]
    assert [one.p_value for one in forth[:3]] == pytest.approx([one.p_value for one in back[:3]], rel=1e-6)
    assert forth[0].statistic == pytest.approx(-back[0].statistic)


def test_the_scores_of_location_are_normal_scores_of_mid_ranks():
    counts = draw(5).integers(1, 50, (2, 40))
    total = counts.sum(axis=0)
    ranks = stats.rankdata(np.repeat(np.arange(40), total)) - 0.5
    scores = stats.norm.ppf(ranks / len(ranks))
    now = np.concatenate([np.repeat([0, 1], [x, y]) for x, y in counts.T])
    t, n, m = scores[now == 1].sum(), len(scores), counts[1].sum()
    variance = m * (n - m) / (n * (n - 1)) * ((scores - scores.mean()) ** 2).sum()
    assert tests.numeric(*counts)[0].statistic == pytest.approx((t - m * scores.mean()) / np.sqrt(variance))


def counted(reference, current):
    """The counts of two windows between edges that are the values of the first, as a sketch has them."""
    edges = edges_of(np.sort(reference))
    below = [np.searchsorted(np.sort(values), edges) for values in (reference, current)]
    return [
        np.diff(one, prepend=0, append=len(values)) for one, values in zip(below, (reference, current), strict=True)
    ]


def test_values_between_those_of_a_small_reference_have_ranks_of_their_own():
    """Location and spread are what they are of the rows themselves: 12 reference values know the ranks of all 72."""
    g = draw(9)
    reference, current = g.normal(size=12), g.normal(size=60) * 1.5 + 0.5
    z = stats.norm.ppf((stats.rankdata(np.concatenate((reference, current))) - 0.5) / 72)
    z -= z.mean()
    square = z**2 - (z**2).mean()
    square -= z * (square @ z) / (z @ z)
    found = {one.test: one.statistic for one in tests.numeric(*counted(reference, current))}
    for test, scores in (("location", z), ("spread", square)):
        assert found[test] == pytest.approx(-scores[:12].sum() / np.sqrt(12 * 60 / 71 * (scores**2).mean())), test


@pytest.mark.slow
def test_the_spread_has_its_size_where_the_reference_is_small():
    """A right one (.05 at most) fails with probability 1e-5, one of .09 passes with 5e-6."""
    g, runs, alarms = draw(10), 3000, 0
    for _ in range(runs):
        found = tests.numeric(*counted(g.normal(size=10), g.normal(size=500)))
        alarms += any(one.test == "spread" and one.p_value <= 0.05 for one in found)
    assert alarms <= stats.binom.isf(1e-5, runs, 0.05)


@pytest.mark.parametrize(
    ("change", "test"),
    [
        (lambda z: z + 0.2, "location"),
        (lambda z: z * 1.3, "spread"),
        (lambda z: np.where(np.abs(z) < 0.6, np.sign(z) * 0.6 + 0.01 * z, z), "shape"),
        (lambda z: np.where(np.arange(len(z)) % 25 == 0, 0.123, z), "spike"),
    ],
)
def test_each_kind_of_change_is_found_by_its_test(change, test):
    edges = stats.norm.ppf(np.arange(1, 256) / 256)
    reference, current = draw(6).normal(size=5000), change(draw(7).normal(size=5000))
    counts = [np.bincount(edges.searchsorted(values), minlength=256) for values in (reference, current)]
    decided, p = tests.combine(tests.numeric(*counts))
    assert decided.test == test
    assert p < 1e-6


def test_columns_with_few_values_have_fewer_tests():
    assert tests.numeric(np.array([0, 9, 0]), np.array([0, 4, 0])) == []
    assert tests.combine([]) == (("none", 0.0, 1.0), 1.0)
    alone = tests.numeric(np.array([50, 0, 50]), np.array([90, 0, 10]))
    assert [one.test for one in alone] == ["share"]
    assert tests.combine(alone)[1] == alone[0].p_value
    assert [one.test for one in tests.categorical(np.array([9, 9]), np.array([9, 9]))] == ["share"]


def test_cells_are_merged_until_they_may_expect_enough():
    old, new = tests.merged(np.array([1, 1, 9, 0, 3, 1]), np.array([0, 2, 9, 1, 0, 0]), 4.0)
    assert old.tolist() == [2, 9, 4]
    assert new.tolist() == [2, 9, 1]
    assert [len(part) for part in tests.merged(np.zeros(3, int), np.zeros(3, int), 4.0)] == [0, 0]
    assert [part.tolist() for part in tests.merged(np.array([1, 1]), np.array([0, 0]), 9.0)] == [[2], [0]]
