"""Every strategy passes the conformance suite, and the suite finds what is wrong with bad ones."""

import subprocess
import sys
from dataclasses import dataclass
from importlib import import_module
from typing import ClassVar

import numpy as np
import pytest
from scipy.stats import qmc

from visutility.core.errors import InvalidSetting, InvalidSpace, StudyClosed
from visutility.core.rng import rng
from visutility.testing import strategies as suite
from visutility.testing.strategies import STRATEGY_CHECKS
from visutility.tune import STRATEGIES, AbstractStrategy, Choice, Equals, Float, Int, Past, Space, State, Study
from visutility.tune.strategies import _digital
from visutility.tune.strategies.grid import Grid
from visutility.tune.strategies.random import Random
from visutility.tune.strategies.sobol import Sobol, sobol_point

SLOW = (suite.learns_as_it_says, suite.same_in_another_process)


@pytest.mark.parametrize("name", sorted(STRATEGIES))
@pytest.mark.parametrize(
    "check", [pytest.param(c, id=c.__name__, marks=[pytest.mark.slow] * (c in SLOW)) for c in STRATEGY_CHECKS]
)
def test_conformance(name, check):
    check(STRATEGIES[name]())


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_a_strategy_is_named_as_it_is_listed(name):
    strategy = STRATEGIES[name]()
    assert strategy.name == name
    assert type(strategy)(**strategy.settings) == strategy


BAD = """
import numpy as np
from dataclasses import dataclass
from typing import ClassVar
from visutility.core.rng import rng
from visutility.tune import AbstractStrategy, Observation
from visutility.tune.strategies._fresh import fresh

@dataclass(frozen=True)
class Bad(AbstractStrategy):
    name: ClassVar[str] = "bad"
    {extra}
    def suggest(self, state, number):
        draw = rng(state.seed, self.name, number)
        unit = draw.random(state.space.dim)
        {body}
        places = [unit]
        return fresh(state, lambda: state.space.decode(places.pop() if places else draw.random(len(unit))))
"""

BAD_STRATEGIES = {
    "outside": ("stays_inside", "", "return {n: 7.5 for n in state.space.names}"),
    "numpy numbers": ("stays_inside", "", "return {k: np.array(v)[()] for k, v in state.space.decode(unit).items()}"),
    "inactive too": (
        "stays_inside",
        "",
        "p = state.space.parameters; return {n: p[n].from_unit(0.9) for n in state.space.names}",
    ),
    "forgets the seed": ("same_seed_same_suggestions", "", "unit = rng(0, number).random(state.space.dim)"),
    "draws globally": ("same_seed_same_suggestions", "", "unit = np.random.default_rng().random(state.space.dim)"),
    "keeps a diary": (
        "same_seed_same_suggestions",
        "diary = []",
        "self.diary.append(unit); unit = (unit + len(self.diary) / 7) % 1",
    ),
    "hashes texts": (
        "same_in_another_process",
        "",
        "unit = (unit + hash('text') % 997 / 997) % 1",
    ),
    "counts its calls": (
        "suggesting_is_pure",
        "calls = []",
        "self.calls.append(0); unit = (unit + len(self.calls) / 7) % 1",
    ),
    "hands out its memo": (
        "suggesting_is_pure",
        "memo = {}",
        "return self.memo.setdefault((state.seed, state.space.digest, number), state.space.decode(unit))",
    ),
    "remembers by identity": (
        "state_survives_json",
        "",
        "unit = (unit + id(state.observed[0]) % 997 / 997) % 1 if state.observed else unit",
    ),
    "needs a value": ("survives_failures", "", "min(o.value for o in state.observed) if state.observed else 0"),
    "the same until told": ("survives_failures", "", "unit = rng(state.seed, len(state.observed)).random(len(unit))"),
    "trusts the past": (
        "survives_moved_ranges",
        "",
        "[state.space.encode(p) for past in state.history for p, _ in past.trials]",
    ),
    "gives up early": (
        "ends_only_when_exhausted",
        "",
        "from visutility.core.errors import StudyClosed\n        if number > 1: raise StudyClosed('tired')",
    ),
    "asks twice": ("asks_nothing_twice", "", "return state.space.decode(unit)"),
    "a batch of one": (
        "batches_go_on_in_any_order",
        "",
        "unit = rng(state.seed, len(state.observed)).random(len(unit))",
    ),
    "remembers the longest study": (
        "earlier_states_give_what_they_gave",
        "longest = []",
        "self.longest.append(len(state.observed)); unit = (unit + max(self.longest) / 37) % 1",
    ),
    "lists the space": ("survives_any_size", "", "np.zeros(state.space.size or 1)"),
    "trusts in constraints": (
        "survives_constraints_and_objectives",
        "",
        "np.array([o.excess for o in state.observed]).reshape(len(state.observed), state.problem.constraints)",
    ),
    "random that claims to learn": ("learns_as_it_says", "learns = True", ""),
    "learns in secret": (
        "learns_as_it_says",
        "",
        "unit = (unit + 0.1 * (state.observed[-1].value > 0)) % 1 if state.observed else unit",
    ),
}


def imported(name, tmp_path, monkeypatch, extra="", body=""):
    (tmp_path / f"{name}.py").write_text(BAD.format(extra=extra or "pass", body=body or "pass"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, name, raising=False)
    made = import_module(name).Bad()
    monkeypatch.delitem(sys.modules, name)
    return made


@pytest.mark.slow
def test_the_suite_passes_what_the_bad_ones_were_made_from(tmp_path, monkeypatch):
    for check in STRATEGY_CHECKS:
        check(imported("good_strategy", tmp_path, monkeypatch))


@pytest.mark.slow
@pytest.mark.parametrize("what", BAD_STRATEGIES)
def test_the_suite_finds_what_is_wrong(what, tmp_path, monkeypatch):
    check, extra, body = BAD_STRATEGIES[what]
    bad = imported(f"bad_{what.replace(' ', '_')}", tmp_path, monkeypatch, extra, body)
    with pytest.raises((AssertionError, ValueError, TypeError)):
        getattr(suite, check)(bad)


def ask_all(strategy, space, count, seed=0):
    state = strategy.init(space, seed)
    for number in range(count):
        params = strategy.suggest(state, number)
        state = strategy.observe(strategy.asked(state, number, params), number, params, 0.0)
    return state


FINITE = Space(
    {
        "a": Choice(["x", "y"]),
        "b": Int(1, 5, when=Equals("a", "x")),
        "c": Float(0, 1, step=0.5, when=Equals("b", 2, 3)),
    }
)


@pytest.mark.parametrize("name", ["grid", "random", "sobol"])
def test_a_finite_space_is_asked_without_repeats(name):
    assert FINITE.size == 3 + 2 * 3 + 1
    state = ask_all(STRATEGIES[name](), FINITE, FINITE.size)
    assert len({FINITE.key(o.params) for o in state.observed}) == FINITE.size


def test_a_grid_is_asked_once_and_closed():
    state = ask_all(Grid(), FINITE, 10)
    with pytest.raises(StudyClosed, match="all 10 configurations"):
        Grid().suggest(state, 10)


def test_a_grid_that_begins_with_enqueued_trials_misses_nothing():
    grid = Grid()
    state = grid.init(FINITE, 0)
    for number in range(4):  # numbers that the grid did not get to use
        params = {"a": "x", "b": 5} if number == 2 else {"a": "y"}
        state = grid.observe(grid.asked(state, number, params), number, params, 0.0)
    for number in range(4, 12):
        state = grid.asked(state, number, grid.suggest(state, number))
    assert len({FINITE.key(params) for _, params in state.pending} | {("y", ..., ...)}) == 9
    with pytest.raises(StudyClosed):
        grid.suggest(state, 12)


def test_a_grid_gives_a_continuum_its_levels():
    space = Space({"x": Float(0, 1), "lr": Float(1e-4, 1, log=True)})
    state = ask_all(Grid(levels=3), space, 9)
    assert {(o.params["x"], o.params["lr"]) for o in state.observed} == {
        (x, lr) for x in (0.0, 0.5, 1.0) for lr in (1e-4, 1e-2, 1.0)
    }


@pytest.mark.parametrize("levels", [0, -1, 2.5, True, "5"])
def test_bad_levels_are_refused(levels):
    with pytest.raises(InvalidSetting, match="levels is"):
        Grid(levels=levels)


def test_sobol_points_are_those_of_scipy():
    expected = qmc.Sobol(3, scramble=True, rng=rng(7, "sobol")).random(512)
    for index in (0, 1, 127, 128, 129, 511, 300):
        assert (sobol_point(7, 3, index) == expected[index]).all()


@pytest.mark.parametrize("dim", [1, 2, 40, 512, 600])
def test_sobol_points_of_any_width_are_those_of_scipy(dim):
    for start in (0, 1280, 2**20):
        sequence = qmc.Sobol(dim, scramble=True, rng=rng(3, "any"))
        if start:
            sequence.fast_forward(start)
        assert (_digital.sobol_points(dim, lambda: rng(3, "any"), start, 128) == sequence.random(128)).all()


def test_sobol_points_do_without_the_table(monkeypatch, tmp_path):
    expected = _digital.sobol_points(3, lambda: rng(3, "any"), 128, 128)
    monkeypatch.setattr(_digital, "Path", lambda _: tmp_path / "nowhere")
    _digital._directions.cache_clear()
    assert (_digital.sobol_points(3, lambda: rng(3, "any"), 128, 128) == expected).all()
    _digital._directions.cache_clear()


def test_asking_and_understanding_import_no_statistics():
    """`scipy.stats` takes half a second to import."""
    asks = (
        "import sys; from visutility.tune import Float, Space, Study\n"
        "from visutility.tune.insight import importance\n"
        "for name in ('sobol', 'tpe', 'cmaes', 'local', 'bayesian'):\n"
        "    study = Study(Space({'x': Float(0, 1), 'y': Float(0, 1)}), strategy=name)\n"
        "    for value in range(14): study.tell(study.ask(), value)\n"
        "assert importance(study).first\n"
        "assert 'scipy.stats' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_sobol_fills_more_evenly_than_random():
    """128 points, 2 columns, 20 seeds: the discrepancy is lower each time. Random under another name: p < 1e-6."""
    space = Space({"x": Float(0, 1), "y": Float(0, 1)})
    for seed in range(20):
        spread = [
            qmc.discrepancy(np.array([list(o.params.values()) for o in ask_all(s, space, 128, seed).observed]))
            for s in (Sobol(), Random())
        ]
        assert spread[0] < spread[1]


def test_sobol_refuses_more_columns_than_its_table_has():
    space = Space({f"x{at}": Choice([0, 1]) for at in range(21_202)})
    with pytest.raises(InvalidSpace, match="21202 parameters"):
        Sobol().suggest(Sobol().init(space, 0), 0)


def test_random_is_uniform():
    """Each of 4 options about 500 times in 2000; 5 sigma: a right one fails with p < 1e-5."""
    space = Space({"k": Choice(list("abcd")), "x": Float(0, 1)})
    state = ask_all(Random(), space, 2000)
    for option in "abcd":
        assert abs(sum(o.params["k"] == option for o in state.observed) - 500) < 5 * (2000 * 3 / 16) ** 0.5
    assert abs(np.mean([o.params["x"] for o in state.observed]) - 0.5) < 5 * (1 / 12 / 2000) ** 0.5


def test_a_state_holds_what_it_observed_as_arrays():
    space = suite.SPACES["conditional"]
    state = ask_all(Random(), space, 9)
    state = Random().asked(state, 9, Random().suggest(state, 9))
    for row, seen in enumerate(state.observed):
        unit, mask = space.encode(seen.params)
        assert (state.units[row] == unit).all()
        assert (state.masks[row] == mask).all()
    assert State.from_json(state.to_json()) == state
    assert (State.from_json(state.to_json()).units == state.units).all()
    assert [number for number, _ in state.pending] == [9]
    with pytest.raises(ValueError, match="read-only"):
        state.units[0, 0] = 0.5


def test_a_moved_state_keeps_what_still_means_something():
    old, new = Space({"x": Float(0, 1), "k": Int(1, 3)}), Space({"x": Float(0.5, 2), "z": Choice([1, 2, 3])})
    state = ask_all(Random(), old, 3)
    moved = state.with_space(new)
    assert [o.params for o in moved.observed] == [{"x": max(0.5, o.params["x"]), "z": 2} for o in state.observed]
    assert state.with_space(Space({"other": Int(1, 2)})).observed == ()


def test_past_survives_json():
    past = Past("p", FINITE, (({"a": "y"}, 1.25), ({"a": "x", "b": 1}, -3.0)))
    assert Past.from_json(past.to_json()) == past


def test_nothing_abstract_can_be_made():
    @dataclass(frozen=True)
    class Nothing(AbstractStrategy):
        name: ClassVar[str] = "nothing"

    with pytest.raises(TypeError, match="suggest"):
        Nothing()


@pytest.mark.parametrize("name", sorted(set(STRATEGIES) - {"grid"}))
def test_a_deterministic_objective_is_never_asked_twice_where_some_options_have_no_number(name):
    """An infinite space, two of whose options are one configuration each."""
    space = Space({"m": Choice(["a", "b", "c"]), "x": Float(0.0, 1.0, when=Equals("m", "a"))})
    for seed in range(3):
        study = Study(space, strategy=name, seed=seed, deterministic=True)
        asked = set()
        for _ in range(15):
            trial = study.ask()
            asked.add(space.key(trial.params))
            study.tell(trial, {"a": trial.params.get("x", 0.0) - 0.5, "b": 0.2, "c": 0.3}[trial.params["m"]])
        assert len(asked) == 15
