"""Spaces: what they refuse, and that the cube and the configurations are the same thing."""

import math
import pickle

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from visutility.core.codec import dumps, loads
from visutility.core.errors import InvalidParameter, InvalidSpace
from visutility.tune import Choice, Equals, Float, Int, Space
from visutility.tune.listing import Listing

finite = st.floats(-1e12, 1e12, allow_subnormal=False)


@st.composite
def floats(draw, when=None):
    low = draw(finite)
    high = draw(finite)
    assume(high - low > 1e-9 * max(1.0, abs(low), abs(high)))
    step = draw(st.none() | st.floats(0.001, 1.0).map(lambda share: share * (high - low)))
    return Float(low, high, step=step, when=when)


@st.composite
def log_floats(draw, when=None):
    low = draw(st.floats(1e-100, 1e100))
    high = low * draw(st.floats(1.001, 1e50))
    return Float(low, high, log=True, when=when)


@st.composite
def ints(draw, when=None):
    low, width = draw(st.integers(-(10**6), 10**6)), draw(st.integers(0, 10**6))
    return Int(low, low + width, step=draw(st.integers(1, min(width, 50) or 50)), when=when)


@st.composite
def log_ints(draw, when=None):
    low, width = draw(st.integers(1, 10**6)), draw(st.integers(0, 10**6))
    return Int(low, low + width, log=True, step=draw(st.integers(1, min(width, 9) or 9)), when=when)


option = st.text("abc", min_size=1) | st.integers(-9, 9) | st.booleans() | st.none() | st.floats(-9, 9)


@st.composite
def choices(draw, when=None):
    options = draw(st.lists(option, min_size=1, max_size=5, unique_by=lambda v: hash(v) if v == v else 0))
    assume(all(a != b for n, a in enumerate(options) for b in options[:n]))
    return Choice(options, ordered=draw(st.booleans()), when=when)


KINDS = (floats, log_floats, ints, log_ints, choices)


@st.composite
def spaces(draw, kinds=KINDS, most=6):
    """Up to `most` parameters; each may depend on any grid declared before it, so conditions nest."""
    parameters = {}
    for number in range(draw(st.integers(1, most))):
        grids = [name for name, p in parameters.items() if p.count is not None]
        when = None
        if grids and draw(st.booleans()):
            parent = draw(st.sampled_from(grids))
            count = parameters[parent].count
            picked = draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=3, unique=True))
            when = Equals(parent, *(parameters[parent].nth(index) for index in picked))
        parameters[f"p{number}"] = draw(draw(st.sampled_from(kinds))(when=when))
    order = draw(st.permutations(list(parameters)))
    return Space({name: parameters[name] for name in order})


@st.composite
def places(draw):
    space = draw(spaces())
    unit = st.floats(0, 1) | st.sampled_from([0.0, 1.0, 0.5])
    return space, np.array(draw(st.lists(unit, min_size=space.dim, max_size=space.dim)))


@given(places())
def test_a_configuration_comes_back_exactly(case):
    space, unit = case
    params = space.decode(unit)
    assert space.validate(params) == params
    encoded, mask = space.encode(params)
    assert ((encoded >= 0) & (encoded <= 1)).all()
    assert {name for name, active in zip(space.names, mask, strict=True) if active} == set(params)
    assert not encoded[~mask].any()
    again = space.decode(encoded)
    assert again == params
    assert [type(value) for value in again.values()] == [type(value) for value in params.values()]


@given(places())
def test_exactly_the_parameters_whose_conditions_hold_are_active(case):
    space, unit = case
    params = space.decode(unit)
    for name, parameter in space.parameters.items():
        when = parameter.when
        holds = when is None or (when.name in params and params[when.name] in when.values)
        assert (name in params) == holds


@given(places())
def test_snapping_many_places_agrees_with_decoding_one(case):
    space, unit = case
    snapped, mask = space.snap(np.stack([unit, unit]))
    encoded, active = space.encode(space.decode(unit))
    assert (mask == active).all()
    grid = np.array([space.parameters[name].count is not None for name in space.names])
    assert snapped[0] == pytest.approx(encoded, abs=1e-9)
    assert (snapped[0][grid] == pytest.approx(encoded[grid], abs=1e-14)) or not grid.any()
    assert (space.snap(snapped)[0] == snapped).all()


@given(places())
def test_a_space_survives_json_and_pickle(case):
    space, unit = case
    read = Space.from_json(loads(dumps(space.to_json())))
    assert read == space
    assert hash(read) == hash(space)
    assert list(read.parameters.items()) == list(space.parameters.items())
    assert pickle.loads(pickle.dumps(space)) == space
    assert read.decode(unit) == space.decode(unit)


small = (lambda when=None: st.builds(Int, st.just(1), st.integers(1, 4), when=st.just(when)), choices)


@given(spaces(small, most=5))
def test_size_counts_what_the_listing_lists(space):
    listing = Listing(space, 1)
    assume(listing.size <= 2000)
    listed = [listing.nth(index) for index in range(listing.size)]
    assert len({space.key(params) for params in listed}) == listing.size == space.size
    for params in listed:
        assert space.validate(params) == params
    rng = np.random.default_rng(0)  # every place of the cube is one that is listed
    keys = {space.key(params) for params in listed}
    assert {space.key(space.decode(unit)) for unit in rng.random((200, space.dim))} <= keys


def test_size_of_a_forest_by_hand():
    space = Space(
        {
            "a": Choice(["x", "y", "z"]),
            "b": Int(1, 4, when=Equals("a", "x", "y")),
            "c": Choice([True, False], when=Equals("b", 2)),
            "d": Int(0, 8, step=2),
        }
    )
    assert space.size == (2 * (3 + 2) + 1) * 5
    assert Space({"a": Choice([1]), "x": Float(0, 1)}).size is None
    assert Space({"x": Float(0, 1, step=0.25)}).size == 5


@pytest.mark.parametrize("parameter", [Float(-1, 1), Float(0, 3), Float(1e-5, 2e3, log=True), Float(-7e8, 1e9)])
def test_numbers_of_twelve_digits_come_back_exactly(parameter):
    space = Space({"x": parameter})
    draw = np.random.default_rng(1)
    span = math.log(parameter.high / parameter.low) if parameter.log else parameter.high - parameter.low
    for unit in draw.random(2000):
        exact = parameter.low * math.exp(unit * span) if parameter.log else parameter.low + unit * span
        decimals = 12 - math.ceil(math.log10(abs(exact) if parameter.log else span))
        given = min(max(round(exact, decimals), parameter.low), parameter.high)
        assert space.decode(space.encode({"x": given})[0]) == {"x": given}


def test_bounds_are_reached_exactly():
    for low, high in ((1 / 3, 2 / 3), (0.1, 0.7), (-1e-9, 1e300)):
        space = Space({"x": Float(low, high)})
        assert space.decode([0.0]) == {"x": low}
        assert space.decode([1.0]) == {"x": high}
        assert space.decode(space.encode({"x": high})[0]) == {"x": high}


def test_steps_give_the_numbers_people_write():
    space = Space({"x": Float(0.1, 0.9, step=0.1)})
    assert [space.decode([(k + 0.5) / 9])["x"] for k in range(9)] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert space.validate({"x": 0.1 + 0.2}) == {"x": 0.3}  # one rounding off the grid is on it


def test_the_cube_is_evenly_shared():
    """Each of k values gets 1/k of its column; 5 sigma of a binomial: a right space fails with p < 1e-5."""
    units = np.random.default_rng(2).random((4000, 3))
    space = Space({"a": Choice(list("abcd")), "b": Int(1, 4), "c": Float(0, 0.75, step=0.25)})
    drawn = [space.decode(unit) for unit in units]
    for name in space.names:
        values = [params[name] for params in drawn]
        for value in set(values):
            assert abs(values.count(value) - 1000) < 5 * math.sqrt(4000 * 0.25 * 0.75)


def test_a_log_scale_spreads_by_ratio():
    space = Space({"f": Float(1e-4, 1, log=True), "i": Int(1, 1024, log=True)})
    middle = space.decode([0.5, 0.5])
    assert middle["f"] == pytest.approx(1e-2)
    assert 20 <= middle["i"] <= 40


SPACES_REFUSED = {
    "nothing": (lambda: Space({}), "has no parameters"),
    "not a mapping": (lambda: Space([Float(0, 1)]), "is not a mapping"),
    "not a parameter": (lambda: Space({"x": (0, 1)}), "use Float, Int or Choice"),
    "name not text": (lambda: Space({3: Float(0, 1)}), "is not a text"),
    "bounds swapped": (lambda: Float(2, 1), "low is not below high"),
    "bounds equal": (lambda: Float(1, 1), "low is not below high"),
    "bound NaN": (lambda: Float(0, math.nan), "nan is not a finite number"),
    "bound infinite": (lambda: Float(-math.inf, 0), "-inf is not a finite number"),
    "bound beyond a float": (lambda: Float(0, 10**400), "is not a finite number"),
    "bound a text": (lambda: Float("0", 1), "'0' is not a finite number"),
    "bound a boolean": (lambda: Float(False, 1), "is not a finite number"),
    "range too wide": (lambda: Float(-1.7e308, 1.7e308), "too wide"),
    "log to zero": (lambda: Float(0, 1, log=True), "needs low above 0"),
    "log and step": (lambda: Float(1, 2, log=True, step=0.5), "not both"),
    "step zero": (lambda: Float(0, 1, step=0), "step is not in"),
    "step too long": (lambda: Float(0, 1, step=2), "step is not in"),
    "steps without end": (lambda: Float(0, 1, step=1e-15), "values"),
    "flag not boolean": (lambda: Float(0, 1, log="yes"), "log is 'yes'"),
    "int bounds swapped": (lambda: Int(5, 4), "low is above high"),
    "int bound a float": (lambda: Int(1, 2.5), "2.5 is not a whole number"),
    "int bound a boolean": (lambda: Int(True, 2), "is not a whole number"),
    "int log to zero": (lambda: Int(0, 9, log=True), "at least 1"),
    "int step beyond the range": (lambda: Int(0, 10, step=20), "the step leaves 0 alone"),
    "int step": (lambda: Int(0, 9, step=0), "below 1"),
    "int too large": (lambda: Int(0, 2**60), "2\\*\\*40"),
    "no options": (lambda: Choice([]), "no options"),
    "options a text": (lambda: Choice("abc"), "not a list"),
    "options a number": (lambda: Choice(3), "not a list"),
    "options equal": (lambda: Choice(["a", "b", "a"]), "equals an earlier"),
    "options one and true": (lambda: Choice([1, True]), "equals an earlier"),
    "option a list": (lambda: Choice([[1], [2]]), "is a list"),
    "option NaN": (lambda: Choice([math.nan]), "not finite"),
    "condition no condition": (lambda: Float(0, 1, when="optimizer"), "when=Equals"),
    "condition unknown": (lambda: Space({"x": Float(0, 1, when=Equals("y", 1))}), "'y', which is unknown"),
    "condition on itself": (lambda: Space({"x": Int(0, 1, when=Equals("x", 1))}), "circle: x -> x"),
    "conditions in a circle": (
        lambda: Space({"x": Int(0, 1, when=Equals("y", 1)), "y": Int(0, 1, when=Equals("x", 1))}),
        "circle: x -> y -> x",
    ),
    "condition never holds": (lambda: Space({"a": Int(0, 1), "x": Int(0, 1, when=Equals("a", 7))}), "cannot be"),
    "condition on a continuum": (lambda: Space({"a": Float(0, 1), "x": Int(0, 1, when=Equals("a", 1))}), "continuum"),
    "stored and cut": (lambda: Space.from_json({"parameters": [["x", {"kind": "float"}]]}), "not a stored space"),
}


@pytest.mark.parametrize("log", [False, True])
def test_a_stored_step_wider_than_the_range_is_read_as_one_value(log):
    """It was allowed once: a space that was stored then has the digest it had."""
    kept = {"kind": "int", "low": 1, "high": 4, "log": log, "step": 5, "when": None}
    space = Space.from_json({"parameters": [["k", kept]]})
    assert space.to_json() == {"parameters": [["k", kept]]}
    assert pickle.loads(pickle.dumps(space)) == space
    assert space.size == 1
    assert space.decode([0.9]) == space.validate({"k": 1}) == space.adopt({"k": 4}) == {"k": 1}
    assert space.decode(space.snap(np.array([[0.9]]))[0][0]) == {"k": 1}
    with pytest.raises(InvalidParameter):
        space.validate({"k": 4})
    with pytest.raises(InvalidSpace, match="not a whole number"):
        Space.from_json({"parameters": [["k", {**kept, "high": 3.5}]]})


@pytest.mark.parametrize("case", SPACES_REFUSED)
def test_malformed_spaces_are_refused(case):
    make, says = SPACES_REFUSED[case]
    with pytest.raises(InvalidSpace, match=says) as refused:
        make()
    assert refused.value.hint


SPACE = Space(
    {
        "lr": Float(1e-4, 1e-1, log=True),
        "opt": Choice(["sgd", "adam"]),
        "momentum": Float(0, 0.99, when=Equals("opt", "sgd")),
        "layers": Int(1, 9, step=2),
        "drop": Float(0, 1, step=0.25),
        "flag": Choice([1, 2]),
    }
)
GOOD = {"lr": 0.01, "opt": "adam", "layers": 3, "drop": 0.5, "flag": 1}

PARAMS_REFUSED = {
    "unknown": ({**GOOD, "depth": 3}, "'depth' = 3 is unknown"),
    "missing": ({k: v for k, v in GOOD.items() if k != "lr"}, "'lr' is missing"),
    "missing though active": ({**GOOD, "opt": "sgd"}, "'momentum' is missing"),
    "inactive": ({**GOOD, "momentum": 0.5}, "'momentum' = 0.5 is inactive"),
    "below": ({**GOOD, "lr": 1e-5}, r"'lr': 1e-05 is not a number in \[0.0001, 0.1\]"),
    "NaN": ({**GOOD, "lr": math.nan}, "'lr': nan"),
    "text": ({**GOOD, "lr": "0.01"}, "'lr': '0.01'"),
    "boolean": ({**GOOD, "layers": True}, "'layers': True"),
    "not whole": ({**GOOD, "layers": 3.5}, "'layers': 3.5"),
    "off the grid": ({**GOOD, "layers": 4}, "'layers': 4 is not on the grid 1, 3"),
    "off the steps": ({**GOOD, "drop": 0.3}, "'drop': 0.3 is not on the grid"),
    "no option": ({**GOOD, "opt": "lion"}, r"'opt': 'lion' is none of \['sgd', 'adam'\]"),
    "true for one": ({**GOOD, "flag": True}, "'flag': True is none of"),
    "no mapping": ([("lr", 0.01)], "is a mapping"),
}


@pytest.mark.parametrize("case", PARAMS_REFUSED)
def test_malformed_configurations_are_refused(case):
    params, says = PARAMS_REFUSED[case]
    for refuse in (SPACE.validate, SPACE.encode):
        with pytest.raises(InvalidParameter, match=says) as refused:
            refuse(params)
        assert refused.value.hint


def test_numpy_values_come_in_and_plain_ones_go_out():
    params = {k: np.asarray(v)[()] if not isinstance(v, str) else np.str_(v) for k, v in GOOD.items()}
    checked = SPACE.validate({**params, "layers": 3.0})
    assert checked == GOOD
    assert [type(value) for value in checked.values()] == [float, str, int, float, int]


@pytest.mark.parametrize("unit", [[0.5], np.full((1, 6), 0.5), np.full(6, np.nan), [0.5] * 5 + [math.inf]])
def test_places_that_are_none_are_refused(unit):
    with pytest.raises(InvalidParameter, match="no place in a cube of 6 columns"):
        SPACE.decode(unit)


@given(places(), places())
def test_adopting_gives_a_configuration_of_the_new_space_or_none(old, new):
    params = old[0].decode(old[1])
    adopted = new[0].adopt(params)
    assert adopted is None or new[0].validate(adopted) == adopted
    assert old[0].adopt(params) == params


def test_adopting_keeps_clips_drops_and_fills():
    new = Space(
        {
            "lr": Float(1e-3, 1e-2, log=True),
            "opt": Choice(["lion", "adam", "rmsprop"]),
            "layers": Int(4, 8),
            "momentum": Float(0, 1, when=Equals("opt", "adam")),
        }
    )
    assert new.adopt({"lr": 0.5, "opt": "adam", "layers": 1, "gone": 3}) == {
        "lr": 1e-2,
        "opt": "adam",
        "layers": 4,
        "momentum": 0.5,
    }
    assert new.adopt({"opt": "sgd", "lr": 2e-3}) == {
        "lr": 2e-3,
        "opt": "adam",
        "layers": 6,
        "momentum": 0.5,
    }
    assert new.adopt({"gone": 3}) is None
    assert new.adopt({}) is None


@pytest.mark.parametrize("parameter", [Float(0, 1), Float(0, 1, step=0.5), Int(1, 9)])
@pytest.mark.parametrize("value", [10**400, -(10**400), math.inf, math.nan], ids=["huge", "-huge", "inf", "nan"])
def test_what_no_float_holds_is_no_number(parameter, value):
    with pytest.raises(InvalidParameter, match="is not a finite number"):
        parameter.adopt("x", value)
    with pytest.raises(InvalidParameter):
        parameter.check("x", value)
    space = Space({"x": parameter, "y": Float(0, 1)})
    assert space.adopt({"x": value, "y": 0.25}) == {"x": parameter.from_unit(0.5), "y": 0.25}
    assert space.adopt({"x": value}) is None


def test_a_space_cannot_be_changed():
    with pytest.raises(AttributeError, match="immutable"):
        SPACE.dim = 3
    with pytest.raises(TypeError):
        SPACE.parameters["x"] = Float(0, 1)  # type: ignore[index]
    assert Space(dict(SPACE.parameters)) == SPACE
    assert Space({"lr": Float(1e-4, 1e-1)}) != Space({"lr": Float(1e-4, 1e-1, log=True)})
