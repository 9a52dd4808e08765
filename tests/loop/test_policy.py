"""The policy: every reason to act or not to, and when a change counts as over."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from visutility.core import codec
from visutility.core.errors import Invalid, InvalidSetting
from visutility.core.rng import rng
from visutility.loop.policy import Policy, Situation, Watch, checked, decide, read_policy, settled

NOW = datetime(2026, 3, 1, tzinfo=UTC)
QUIET = Situation(NOW, None, None, 0)


def test_an_alarm_in_a_quiet_situation_runs():
    assert decide(Policy(), QUIET).kind == "run"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"active_run": "r1"}, "r1 is already at work"),
        ({"last_trigger": NOW - timedelta(seconds=3599)}, "cooling down until 2026-03-01 00:00:01"),
        ({"runs_in_period": 10}, "budget of 10 runs in 7 days"),
    ],
)
def test_each_brake_refuses_with_its_reason(change, reason):
    decision = decide(Policy(), _with(change))
    assert decision.kind == "refuse"
    assert reason in decision.reason


def _with(change):
    fields = {"now": NOW, "active_run": None, "last_trigger": None, "runs_in_period": 0}
    return Situation(**{**fields, **change})


def test_the_cooldown_ends():
    assert decide(Policy(), _with({"last_trigger": NOW - timedelta(hours=1)})).kind == "run"


def test_a_suggesting_policy_starts_nothing():
    assert decide(Policy(mode="suggest"), QUIET).kind == "suggest"


def test_a_policy_survives_its_own_json():
    policy = Policy(watches=(Watch(metric="loss", detector="rolling", settings={"window": 30}),), mode="ask", seed=3)
    assert read_policy(codec.loads(codec.dumps(policy))) == policy


@pytest.mark.parametrize(
    "wrong",
    [{"mode": "always"}, {"watches": ()}, {"trials": 0}, {"cooldown": -1.0}, {"trial_seconds": 0.0}, {"gate_rows": 0}],
)
def test_a_policy_that_cannot_work_is_refused_by_name(wrong):
    name = next(iter(wrong))
    with pytest.raises(InvalidSetting, match="watches nothing" if name == "watches" else name):
        Policy(**wrong)


def test_two_metrics_cannot_share_a_reference():
    with pytest.raises(InvalidSetting, match=r"error.*loss"):
        Policy(watches=(Watch(metric="loss"), Watch(metric="error")))


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (Policy(gate_rows=9), "gate_rows is 9"),
        (Policy(strategy="bayes"), "'bayes' is unknown"),
        (Policy(watches=(Watch(detector="magic"),)), "magic"),
        (Policy(watches=(Watch(settings={"arl": 0.5}),)), "arl"),
        (Policy(trials=2.5), "trials"),
    ],
)
def test_what_would_break_a_run_later_is_refused_now(policy, said):
    with pytest.raises(Invalid, match=said):
        checked(policy)


def test_stored_settings_that_do_not_fit_say_which():
    with pytest.raises(Invalid, match="trials"):
        read_policy({"trials": "many"})


def test_a_ramp_is_not_settled_and_a_plateau_is():
    """Errors rise from 2 % to 50 % over 60 values. 200 streams; the windows of 30 straddle the ramp, then the plateau.

    A plateau is called settled in about 95 % of looks; asking for 60 % of 200 fails by chance with p < 1e-20.
    """
    early = late = 0
    for run in range(200):
        draw = rng(3, "ramp", run)
        rate = np.concatenate([np.linspace(0.02, 0.5, 60), np.full(60, 0.5)])
        values = (draw.random(120) < rate).astype(float)
        early += settled(values[:60], 30)
        late += settled(values, 30)
    assert late >= 120
    assert early <= 100


def test_too_few_values_are_not_settled_and_zero_rows_ask_for_nothing():
    assert not settled([1.0] * 59, 30)
    assert settled([1.0] * 60, 30)
    assert settled([], 0)
