"""The gate: right answers where the answer is plain, and both of its error promises by simulation."""

import numpy as np
import pytest
from scipy.stats import binom

from visutility.core.errors import EmptyWindow, Invalid, InvalidSetting
from visutility.core.rng import rng
from visutility.loop.gate import Paired, compare, evidence, gate
from visutility.loop.policy import GateRules

RULES = GateRules()


def losses(n, rate, *names):
    return (rng(7, *names).random(n) < rate).astype(np.float64)


def paired(n, champion, challenger, *names):
    return Paired(losses(n, champion, *names, "champion"), losses(n, challenger, *names, "challenger"))


def test_a_recovered_model_passes():
    answer = gate(RULES, paired(150, 0.47, 0.04), paired(200, 0.02, 0.02, "old"))
    assert answer.answer == "pass"
    assert [c.answer for c in answer.comparisons] == ["yes", "yes"]


def test_a_challenger_that_forgot_the_old_world_is_refused_and_the_reason_says_where():
    answer = gate(RULES, paired(150, 0.47, 0.04), paired(200, 0.02, 0.30, "old"))
    assert answer.answer == "refuse"
    assert "old data" in answer.reason
    assert "fresh data" not in answer.reason


def test_a_worse_challenger_is_refused():
    assert gate(RULES, paired(150, 0.05, 0.9), None).answer == "refuse"


def test_too_few_rows_are_undecided_not_refused():
    assert gate(RULES, paired(4, 0.5, 0.1), None).answer == "undecided"


def test_equal_models_are_never_better():
    same = losses(300, 0.2)
    assert gate(RULES, Paired(same, same.copy()), None).answer == "undecided"


def test_a_large_slice_is_gated_and_a_small_one_only_reported():
    n = 400
    fresh = paired(n, 0.5, 0.05)
    bad = np.arange(n) < 120
    fresh.challenger[bad] = 1.0
    fresh.champion[bad] = 0.0
    answer = gate(RULES, fresh, None, {"night": bad, "few": np.arange(n) < 5})
    assert answer.answer == "refuse"
    assert "slice night" in answer.reason
    assert [c.name for c in answer.reported] == ["slice few"]


@pytest.mark.parametrize(("worse_by", "rows"), [(0.1, 43), (0.05, 88)])
def test_the_rows_that_docs_say_equal_models_need(worse_by, rows):
    def answer(count):
        return compare("old data", Paired(np.zeros(count), np.zeros(count)), -worse_by, 0.05).answer

    assert (answer(rows - 1), answer(rows)) == ("undecided", "yes")


def test_slices_of_old_rows_are_gated_too():
    old = paired(400, 0.02, 0.02, "old")
    night = np.arange(400) < 150
    old.challenger[night] = 1.0
    answer = gate(GateRules(worse_by=0.5), paired(150, 0.5, 0.05), old, None, {"night": night})
    assert answer.answer == "refuse"
    assert "slice night of old data" in answer.reason


def test_evidence_is_the_product_formula():
    x, bound = np.array([0.9, 0.2, 0.7]), 0.4
    bets = np.linspace(0.05, 0.95, 10) / bound
    capital = [np.mean([np.prod(1 + b * (x[:k] - bound)) for b in bets]) for k in range(1, 4)]
    assert evidence(x, bound) == pytest.approx(max(1.0, *capital))


@pytest.mark.parametrize(("gain", "question"), [(0.0, "better"), (-0.05, "not worse")])
def test_a_wrong_yes_is_as_rare_as_promised_however_often_one_looks(gain, question):
    """At the edge of each question "yes" is wrong; the running maximum looks after every row.

    2,000 streams of 300 rows at alpha .05: a right gate fails this with p < 1e-6. A gate that takes the fixed-sample
    t-test at every row says yes in about a third of the streams and fails with near certainty.
    """
    runs, rows = 2000, 300
    above = 0.0 if question == "better" else -0.05
    draw = rng(11, "edge", question)
    wrong = 0
    for _ in range(runs):
        d = draw.choice([-1.0, 0.0, 1.0], size=rows, p=[0.15 - gain / 2, 0.7, 0.15 + gain / 2])
        pair = Paired(np.maximum(d, 0.0), np.maximum(-d, 0.0))
        wrong += compare("edge", pair, above, 0.05).answer == "yes"
    assert wrong <= binom.isf(1e-6, runs, 0.05)


def test_losses_that_cannot_be_paired_are_refused():
    with pytest.raises(Invalid, match="same rows"):
        Paired(np.zeros(3), np.zeros(4))
    with pytest.raises(EmptyWindow):
        Paired(np.zeros(0), np.zeros(0))
    with pytest.raises(Invalid, match="scale them"):
        Paired(np.array([1.5]), np.array([0.0]))


@pytest.mark.parametrize(
    "wrong", [{"alpha": 0.0}, {"alpha": 0.7}, {"worse_by": 0.0}, {"better_by": 1.0}, {"slice_rows": 0}]
)
def test_rules_that_nothing_can_satisfy_are_refused(wrong):
    with pytest.raises(InvalidSetting, match=next(iter(wrong))):
        GateRules(**wrong)
