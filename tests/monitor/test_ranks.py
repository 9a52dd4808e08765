"""The rank detector: its arithmetic against the definition, its promise on any values, and wrong ones that break it."""

import re
from dataclasses import replace

import numpy as np
import pytest
from runs import assert_same_in_runs_and_steps
from scipy import stats

from visutility.core.errors import InvalidSetting
from visutility.core.rng import rng
from visutility.monitor import Level, Ranks
from visutility.monitor.detectors import _tilts, ranks
from visutility.monitor.detectors._bins import EDGES, FULL, edges_of, rank_step
from visutility.monitor.detectors._tilts import CELLS, INFLATIONS, STAKES
from visutility.monitor.state import arrays

DRAWS = {
    "beta": lambda g, n: g.beta(4, 16, n),
    "normal": lambda g, n: g.standard_normal(n),
    "lognormal": lambda g, n: np.exp(2.0 * g.standard_normal(n)),
    "t3": lambda g, n: g.standard_t(3, n),
    "five levels": lambda g, n: g.integers(0, 5, n).astype(float),
    "half zero": lambda g, n: np.where(g.random(n) < 0.5, 0.0, g.random(n)),
}


def first_alarms(detector, values):
    """When each row of the values first alarms, counted from 1 after learning, and the score it stops with."""
    runs, steps = values.shape
    when, score = np.full(runs, steps - detector.learning), np.zeros(runs)
    state, alarmed = detector.init(runs), np.zeros(runs, np.bool_)
    for at, column in enumerate(np.ascontiguousarray(values.T)):
        levels, scores, _ = detector.step(state, column)
        new = (levels == Level.ALARM) & ~alarmed
        when[new], score[new] = at + 1 - detector.learning, scores[new]
        alarmed |= new
    return alarmed, when, np.where(alarmed, score, scores)


def autoregressive(rho, streams, steps, *names):
    g = rng(7, "autoregressive", *names)
    noise = g.standard_normal((steps, streams)) * np.sqrt(1.0 - rho * rho)
    values, last = np.empty((streams, steps)), g.standard_normal(streams)
    for at in range(steps):
        last = rho * last + noise[at]
        values[:, at] = last
    return values


def alarms(detector, values, *, start=0):
    """How many alarms there are before `start`, and each stream's delay after it (inf: none)."""
    said = detector.advance(detector.init(len(values)), values)
    found = [v for v in said if v.level is Level.ALARM]
    delay = np.full(len(values), np.inf)
    for v in found:
        if v.position >= start and delay[v.stream] == np.inf:
            delay[v.stream] = v.position - start + 1
    return sum(v.position < start for v in found), delay


def test_the_score_is_the_mixture_of_sums_over_starting_points():
    """Bins, urn, densities and sums as the page defines them, value by value, by brute force."""
    detector = Ranks(learning=EDGES + 4, arl=1e9)
    values = rng(0, "definition").gamma(2.0, size=EDGES + 40)
    state, _ = detector.update(detector.init(1), values)
    density = np.diff(_tilts.tables()[0, :, :-1], axis=0) * CELLS
    edges, counts, gains = np.sort(values[:EDGES]), np.ones(EDGES + 1), []
    for value in values[EDGES:]:
        mine = int((edges < value).sum())
        low, high = (counts[:at].sum() / counts.sum() * CELLS for at in (mine, mine + 1))
        covered = np.clip(np.minimum(high, np.arange(CELLS) + 1) - np.maximum(low, np.arange(CELLS)), 0, None)
        gains.append(covered @ density / covered.sum())
        counts[mine] += 1
    gains = np.array(gains[4:])
    wanted = sum(STAKES @ np.prod(gains[start:], axis=0) for start in range(len(gains)))
    assert detector.scores(state)[0] == pytest.approx(wanted, rel=1e-9)


def test_no_bet_has_a_mean_above_one():
    whole = _tilts.tables()[:, -1]
    assert whole[0] == pytest.approx(np.ones(len(STAKES) + 1), abs=1e-12)
    assert (whole <= 1.0 + 1e-12).all()
    assert STAKES.sum() == pytest.approx(2.0 / 3.0)
    assert (np.diff(_tilts.tables(), axis=1) > 0.0).all()


def test_only_the_order_of_values_matters():
    g = rng(0, "order")
    values = np.concatenate([g.standard_normal(900), 0.8 + g.standard_normal(300)])
    detector = Ranks(arl=1e4)
    said = [detector.update(detector.init(1), each)[1] for each in (values, np.exp(values), 5.0 + values**3)]
    assert said[0].position.tolist() == said[1].position.tolist() == said[2].position.tolist() != []
    assert said[0].score.tolist() == said[1].score.tolist() == said[2].score.tolist()


def mean_gap(name, detector):
    """Mean of (1.5 score - age) at the stop over 6,000 streams, its standard error, and the mean age."""
    values = DRAWS[name](rng(1, "stopped", name), (6000, detector.learning + 300))
    _, when, score = first_alarms(detector, values)
    gap = 1.5 * score - when
    return gap.mean(), gap.std() / np.sqrt(len(gap)), when.mean()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["beta", "t3"])
def test_the_stopped_score_has_the_mean_of_its_age(name):
    """M - t is a martingale on unchanged values: E[M at the stop] = E[the stop], the score being two thirds of M. Five
    standard errors either way: a right one fails with probability 6e-7 by the normal."""
    gap, error, _ = mean_gap(name, Ranks(arl=50, learning=EDGES))
    assert abs(gap) <= 5 * error


@pytest.mark.slow
def test_winnings_a_tenth_too_high_are_caught(monkeypatch):
    """Wrong: a score that is a tenth too high, which is a threshold a tenth too low."""
    monkeypatch.setattr(ranks, "STAKES", 1.1 * STAKES)
    gap, error, _ = mean_gap("beta", Ranks(arl=50, learning=EDGES))
    assert gap > 5 * error


@pytest.mark.slow
@pytest.mark.parametrize("name", ["five levels"])
def test_ties_cost_the_theorem_little(name):
    """Values with ties are outside the theorem: the score was up to 9 % above its age with as few values as can be;
    the mean run length is above arl all the same, since a stake of two thirds leaves room."""
    gap, error, age = mean_gap(name, Ranks(arl=50, learning=EDGES))
    assert gap <= 0.12 * age + 5 * error
    assert age >= 1.2 * 50


@pytest.mark.parametrize(("promised", "keeps"), [(2000, True), (20_000, False)])
def test_promise_within_a_time(promised, keeps):
    """P(alarm within T) <= T / (1.5 arl) (Doob). A right one fails with probability at most 1e-6; one whose limit is a
    tenth of what its promise needs is caught."""
    detector = Ranks(arl=2000, learning=EDGES)
    values = DRAWS["t3"](rng(2, "within"), (3000, EDGES + 300))
    alarmed, _, _ = first_alarms(detector, values)
    assert (alarmed.sum() <= stats.binom.isf(1e-6, 3000, 300 / (1.5 * promised))) == keeps


@pytest.mark.slow
@pytest.mark.parametrize("name", DRAWS)
def test_mean_run_length(name):
    """Mean of 1,000 run lengths, cut at 15 arl, is at least 1.5 arl. Their spread is at most their mean, near enough,
    so that five standard errors below (.84 of it) has probability 3e-7 if the mean were exactly that."""
    arl, runs = 200, 1000
    values = DRAWS[name](rng(3, "length", name), (runs, EDGES + 15 * arl))
    _, when, _ = first_alarms(Ranks(arl=arl, learning=EDGES), values)
    assert when.mean() >= 1.5 * arl * (1 - 5 / np.sqrt(runs))


def test_losses_that_rise_are_seen_soon():
    """Beta losses of mean .30 and sd .11 that rise by half a sd, after 3,000 values and no reference window. The
    median over 60 streams is what the page says of half a sd, or less."""
    g = rng(4, "rise")
    values = np.concatenate([g.beta(5.1, 11.9, (60, 3000)), g.beta(6.035, 10.965, (60, 800))], axis=1)
    early, delay = alarms(Ranks(), values, start=3000)
    assert early <= 4  # more than 4 have probability 2e-6 at most: 180,000 values at 1 in 1.5e6
    assert np.median(delay) <= 150


def test_a_verdict_tells_since_when_and_how_bad():
    g = rng(5, "tells")
    detector = Ranks(direction="fall")
    state, _ = detector.update(detector.init(1), g.normal(80.0, 2.0, 2000))
    assert detector.learnt(state)["baseline_median"] == pytest.approx(80.0, abs=0.3)
    _, said = detector.update(state, g.normal(77.0, 2.0, 100))
    evidence = next(v.evidence for v in said if v.level is Level.ALARM)
    assert abs(evidence["since"] - 2000) <= 20
    assert evidence["rank_since"] > 0.8
    assert evidence["value_since"] < evidence["baseline_median"]


def test_the_baseline_goes_back_to_before_the_change():
    """What an alarm was about does not become normal, be it dependence or level; a false one costs little."""
    g = rng(6, "back")
    detector = Ranks()
    state, _ = detector.update(detector.init(1), g.standard_normal(3000))
    after, said = detector.update(state, 1.0 + g.standard_normal(2000))
    found = said.position[said.level == Level.ALARM]
    assert len(found) >= 20
    assert max(np.diff(found)) <= 120
    assert 3000 - 256 <= detector.learnt(after)["baseline_size"] <= 3400
    assert detector.learnt(after)["inflation"] == 1.0
    assert after.seen[0] == 5000


FALLS = {
    "a step": lambda g: np.concatenate([g.standard_normal((20, 3000)), g.standard_normal((20, 3000)) - 3.0], axis=1),
    "training": lambda g: 0.2 * g.standard_normal((20, 5000)) + 4.0 * np.exp(-np.arange(5000) / 500),
    "a bad start": lambda g: np.concatenate([g.standard_normal((20, 96)) + 6.0, g.standard_normal((20, 3000))], axis=1),
}


@pytest.mark.slow
@pytest.mark.parametrize("fall", FALLS)
def test_a_rise_after_a_lasting_fall_is_seen(fall):
    """Values that got better for good, and then half as bad as they were: what was learnt before would hide it."""
    g = rng(13, "falls", fall)
    values = FALLS[fall](g)
    worse = values[:, -1500:] + 2.0
    early, delay = alarms(Ranks(), np.concatenate([values, worse], axis=1), start=values.shape[1])
    assert early == 0
    assert np.median(delay) <= {"training": 400}.get(fall, 40)
    assert np.isfinite(delay).all()


@pytest.mark.slow
def test_unchanged_values_are_not_learnt_anew():
    """One of 1e8 values at most is: 300,000 have more than one with probability 1e-5."""
    state = Ranks().init(60)
    state, _ = Ranks().update(state, rng(14, "not anew").lognormal(size=(60, 5000)))
    assert (state.count < 5000).sum() <= 1


def test_learning_anew_falls_on_the_same_value_however_it_is_cut():
    g = rng(15, "cut")
    values = np.concatenate([g.standard_normal(700), g.standard_normal(300) - 2.0, np.full(300, -9.0)])
    detector = Ranks()
    by_run, _ = detector.update(detector.init(1), values)
    by_step = detector.init(1)
    for value in values:
        by_step, _ = detector.update(by_step, [value])
    assert by_run.count[0] < 700
    for name, array in arrays(by_run).items():
        assert np.array_equal(array, arrays(by_step)[name]), name


def test_a_reference_window_is_waited_out():
    detector, g = Ranks(), rng(8, "reference")
    state = detector.init([g.standard_normal(40), g.standard_normal(300), g.standard_normal(5000)])
    assert state.hold.tolist() == [EDGES, 300, 512]
    assert state.count.tolist() == [40, 300, 5000]
    assert state.seen.tolist() == [0, 0, 0]
    said = detector.advance(state, 2.0 + g.standard_normal((3, 60)))
    assert said.alarm.tolist() == [False, True, True]


@pytest.mark.slow
def test_autocorrelated_values_do_not_cry_wolf():
    """600,000 values of each; with .5 and .8 there were 0 and 0 alarms, and 6 are the most that a rate of 1e-6 gives
    with probability above 1e-6. Bets that take them for independent alarm all the time."""
    for rho in (0.5, 0.8):
        values = autoregressive(rho, 60, 10_000, str(rho))
        found, _ = alarms(Ranks(), values, start=10_000)
        assert found <= stats.poisson.isf(1e-6, 0.6)


@pytest.mark.slow
def test_taking_dependent_values_for_independent_cries_wolf(monkeypatch):
    monkeypatch.setattr(ranks, "_SURE", 1e9)
    found, _ = alarms(Ranks(), autoregressive(0.5, 60, 10_000, "0.5"), start=10_000)
    assert found > 20 * stats.poisson.isf(1e-6, 0.6)


@pytest.mark.slow
def test_inflation_is_what_autocorrelation_makes_it():
    """Of a first-order autoregression it is (1 + rho) / (1 - rho), for ranks a little less; classes are 1.25 apart."""
    for rho, wanted in ((0.0, 1.0), (0.5, 3.0), (0.8, 9.0)):
        state = Ranks().init(40)
        Ranks().advance(state, autoregressive(rho, 40, 5_000, "inflation", str(rho)))
        assert 0.7 * wanted <= np.median(INFLATIONS[state.inflation]) <= 1.4 * wanted


def test_counts_stand_still_when_they_are_full():
    detector = Ranks(arl=100)
    state, _ = detector.update(detector.init(1), rng(9, "full").standard_normal(600))
    state = replace(state, count=np.array([FULL - 150]), hold=np.array([0]))
    after = assert_same_in_runs_and_steps(detector, state, rng(9, "more").standard_normal(400))
    assert after.count[0] <= FULL


@pytest.mark.parametrize("glitch", [None, 0.0, 1.0])
def test_a_constant_stream_wins_nothing(glitch):
    """However long: each value has all ranks, on which no bet gains. Nor does one other value at the start count."""
    values = np.full(20_000, 0.5)
    if glitch is not None:
        values[50] = glitch
    detector = Ranks(arl=100, learning=EDGES)
    state, said = detector.update(detector.init(1), values)
    assert len(said.position[said.level == Level.ALARM]) == 0
    assert detector.scores(state)[0] < 1.0


@pytest.mark.slow
def test_a_level_that_becomes_common_is_seen_soon():
    """.1 % of values are at .7, the others at .2; then 5 % are. Ties in an order of their own would take 390 values."""
    draw = rng(10, "level").random((60, 5000))
    early, delay = alarms(Ranks(), np.where(draw < np.where(np.arange(5000) < 3000, 0.001, 0.05), 0.7, 0.2), start=3000)
    assert early == 0
    assert np.median(delay) <= 200


AWKWARD = [0.0, -0.0, 5e-324, -5e-324, np.finfo(float).tiny, -np.finfo(float).tiny, 1.0, np.nextafter(1.0, 2.0)]
AWKWARD += [np.nextafter(1.0, 0.0), np.finfo(float).max, -np.finfo(float).max, 3.0]


@pytest.mark.parametrize("repeated", [1, 2, 8])
def test_values_at_an_edge_count_the_same_either_way(repeated):
    """Edges that are there once or more often, values at, just above and just below them: in steps and in runs."""
    g = rng(11, "edges", str(repeated))
    first = np.concatenate([np.tile(AWKWARD, repeated), g.standard_normal(EDGES - repeated * len(AWKWARD))])
    later = np.concatenate(
        [g.choice(AWKWARD, 500), g.choice(first, 500), np.nextafter(first, -9), np.nextafter(first, 9)]
    )
    later = later[np.isfinite(later)]
    g.shuffle(later)
    detector = Ranks(arl=1e3, learning=EDGES)
    state, _ = detector.update(detector.init(1), first)
    assert_same_in_runs_and_steps(detector, state, later)


def test_the_rank_of_a_tied_value_covers_its_ties():
    """As counted by hand: from the number of values below to that of those not above, the new one included."""
    levels = rng(12, "levels").integers(0, 5, 600).astype(float)
    edges, below = edges_of(levels[:EDGES, None])
    for at, value in enumerate(levels[EDGES:], start=EDGES):
        low, high = rank_step(edges, below, np.array([at]), np.array([value]))
        assert low[0] == (levels[:at] < value).sum()
        assert high[0] == (levels[:at] <= value).sum() + 1


@pytest.mark.parametrize(
    "settings",
    [{"arl": 1.0}, {"arl": float("nan")}, {"learning": 95}, {"warning": 0.0}, {"warning": 1.5}, {"high": float("inf")}],
    ids=str,
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(InvalidSetting, match=re.escape(repr(next(iter(settings.values()))))):
        Ranks(**settings)


@pytest.mark.slow
def test_one_odd_value_among_the_first_does_not_pass_for_dependence():
    """Of a stream that is nearly constant all ranks are alike: that says nothing about how they hang together."""
    values = np.zeros((8, 5300))
    values[:, 10] = 0.3
    values[:, 5000:] = np.where(rng(0, "odd").random((8, 300)) < 0.2, 1.0, 0.0)
    detector = Ranks()
    state, said = detector.update(detector.init(8), values[:, :5000])
    assert len(said) == 0
    assert (state.inflation == 0).all()
    _, said = detector.update(state, values[:, 5000:])
    first = {verdict.stream: verdict.position for verdict in reversed(list(said)) if verdict.level is Level.ALARM}
    assert len(first) == 8
    assert max(first.values()) < 5100
