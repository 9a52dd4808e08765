"""User priors at work: densities, draws, weights, and what right and wrong beliefs do to a search."""

import numpy as np
import pytest
from scipy.stats import kstest, truncnorm, wilcoxon

from visutility.core.rng import rng
from visutility.tune import Choice, Equals, Float, Int, Likely, Near, Space, Study
from visutility.tune.surrogate.beliefs import UNIFORM, Weight, believed, borne_out
from visutility.tune.surrogate.features import layout

SPACE = Space(
    {
        "opt": Choice(["sgd", "adam", "rmsprop"]),
        "momentum": Float(0, 0.99, when=Equals("opt", "sgd")),
        "lr": Float(1e-4, 1e-1, log=True),
        "layers": Int(1, 8),
        "bias": Choice([True, False]),
    }
)
PRIORS = (
    ("opt", Likely({"adam": 0.7})),
    ("momentum", Near(0.9, 0.1)),
    ("lr", Near(1e-3)),
    ("layers", Near(3, 0.3)),
    ("bias", Likely({True: 0.9})),
)
PLAN = layout(SPACE)
BELIEFS = believed(SPACE, PRIORS, PLAN)


def rows(n, seed=0):
    return SPACE.snap(rng(seed, "rows").random((n, SPACE.dim)))


def test_a_belief_is_a_density_that_averages_zero_on_a_log_scale():
    places = (np.arange(100_000) + 0.5) / 100_000
    for bell in BELIEFS.bells:
        assert bell.density(places).mean() == pytest.approx(1.0, abs=1e-3)
        plain = (bell.density(places) - UNIFORM) / (1 - UNIFORM)
        assert (plain * bell.log(places)[0]).mean() == pytest.approx(0.0, abs=2e-3)
    for table in BELIEFS.tables:
        options = (np.arange(len(table.chances)) + 0.5) / len(table.chances)
        assert np.array(table.chances) @ table.log(options) == pytest.approx(0.0, abs=1e-12)


def test_draws_follow_the_belief():
    """Each fails for a right implementation under another seed with p = 1e-3."""
    drawn = BELIEFS.drawn(rng(1, "draws").random((2000, SPACE.dim)))
    for bell in BELIEFS.bells:
        low, high = -bell.centre / bell.spread, (1 - bell.centre) / bell.spread
        expected = truncnorm(low, high, loc=bell.centre, scale=bell.spread)
        assert kstest(drawn[:, bell.column], expected.cdf).pvalue > 1e-3
    adam = (np.floor(3 * drawn[:, 0]) == 1).mean()
    assert abs(adam - 0.7) < 3.3 * (0.7 * 0.3 / 2000) ** 0.5


def test_the_mode_is_where_good_values_are_believed_to_be():
    mode = SPACE.decode(BELIEFS.mode(np.full(SPACE.dim, 0.5)))
    assert mode == {"opt": "adam", "lr": pytest.approx(1e-3), "layers": 3, "bias": True}
    assert Study(SPACE, priors=dict(PRIORS)).ask().params == mode


def test_an_inactive_parameter_neither_wins_nor_loses():
    units, mask = rows(200)
    x = PLAN.features(units, mask)
    whole = Weight(BELIEFS, PLAN, 1.0).slopes(x, mask)[0]
    rest = believed(SPACE, tuple(p for p in PRIORS if p[0] != "momentum"), PLAN)
    without = Weight(rest, PLAN, 1.0).slopes(x, mask)[0]
    inactive = ~mask[:, 1]
    assert whole[inactive] == pytest.approx(without[inactive])
    assert (whole[~inactive] != without[~inactive]).all()


def test_gradients_are_those_of_the_weight():
    units, mask = rows(20)
    weight = Weight(BELIEFS, PLAN, 0.25)
    x = PLAN.features(units, mask)
    _, slope = weight.slopes(x, mask)
    for bell in BELIEFS.bells:
        up, down = x.copy(), x.copy()
        up[:, bell.feature] += 1e-6
        down[:, bell.feature] -= 1e-6
        by_steps = (weight.slopes(up, mask)[0] - weight.slopes(down, mask)[0]) / 2e-6
        assert slope[:, bell.feature] == pytest.approx(by_steps, rel=1e-4, abs=1e-6)


def test_values_can_speak_against_a_belief_but_not_make_it_stronger():
    logs = np.arange(20.0)
    assert borne_out(logs, -logs) == 1.0
    assert borne_out(logs, logs) < 1e-4
    assert borne_out(logs[:3], logs[:3]) == 1.0  # too few to tell
    assert borne_out(np.zeros(9), np.arange(9.0)) == borne_out(np.arange(9.0), np.zeros(9)) == 1.0


def loss(params):
    """0 at adam, lr 1e-3, 3 layers; a momentum of .9 makes sgd nearly as good."""
    kind = {"adam": 0.0, "sgd": 0.1 + (params.get("momentum", 0) - 0.9) ** 2, "rmsprop": 0.5}[params["opt"]]
    return kind + np.log10(params["lr"] / 1e-3) ** 2 + 0.05 * (params["layers"] - 3) ** 2 + 0.2 * (not params["bias"])


def found(priors, seed, n):
    study = Study(SPACE, seed=seed, priors=priors)
    for _ in range(n):
        trial = study.ask()
        study.tell(trial, loss(trial.params))
    return study.best.value


NEARLY = {"opt": Likely({"adam": 0.5}), "lr": Near(2.5e-3), "layers": Near(4)}
WRONG = {"opt": Likely({"rmsprop": 0.9}), "lr": Near(1e-1), "layers": Near(8), "bias": Likely({False: 0.9})}


@pytest.mark.slow
def test_beliefs_that_are_nearly_right_help_early():
    """After three trials, 16 pairs: no effect passes with p = .01; other seeds gave p = .0005 to .0008."""
    pairs = np.array([(found(NEARLY, seed, 3), found(None, seed, 3)) for seed in range(16)])
    assert wilcoxon(pairs[:, 0], pairs[:, 1], alternative="less").pvalue < 0.01


@pytest.mark.slow
def test_wrong_beliefs_cost_little():
    """After 30 trials the median loss is within .02 of that without beliefs; a value at the wrong mode is 6."""
    wrong = np.median([found(WRONG, seed, 30) for seed in range(9)])
    none = np.median([found(None, seed, 30) for seed in range(9)])
    assert loss({"opt": "rmsprop", "lr": 1e-1, "layers": 8, "bias": False}) > 5
    assert wrong <= none + 0.02
