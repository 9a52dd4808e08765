"""The tree of errors: what the module says of it, what each one promises."""

import inspect
import pickle
import re

import pytest

from visutility.core import errors
from visutility.core.errors import VisuTilityError

ALL = sorted(
    (c for c in vars(errors).values() if inspect.isclass(c) and issubclass(c, VisuTilityError)),
    key=lambda c: c.__name__,
)
TOP = [c for c in ALL if c.__bases__[0] is VisuTilityError]


def test_the_docstring_draws_the_tree_that_is():
    drawn = re.findall(r"[├└]── (\w+)", errors.__doc__ or "")
    assert sorted(drawn) == sorted(c.__name__ for c in TOP)
    assert all(c is VisuTilityError or c in TOP or c.__bases__[0] in TOP for c in ALL), "the tree has two levels"


@pytest.mark.parametrize("kind", ALL, ids=lambda c: c.__name__)
def test_an_error_says_the_same_in_another_process(kind):
    error = kind("lr is 7", hint="choose 0 to 1")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.problem, again.hint) == (kind, "lr is 7", "choose 0 to 1")
    assert str(again) == str(error) == "lr is 7. choose 0 to 1"
    assert str(kind("lr is 7")) == "lr is 7"


@pytest.mark.parametrize("kind", ALL, ids=lambda c: c.__name__)
def test_an_error_explains_itself(kind):
    assert (kind.__doc__ or "").strip().endswith(".")
    assert kind.__doc__ != kind.__bases__[0].__doc__


def test_every_kind_of_next_move_has_its_own_exit_code():
    codes = [c.exit_code for c in (VisuTilityError, *TOP)]
    assert len(set(codes)) == len(codes)
    assert all(0 < code < 256 for code in codes)


def test_an_error_keeps_the_exit_code_of_its_kind():
    for kind in ALL:
        if kind not in TOP and kind is not VisuTilityError:
            assert kind.exit_code == kind.__bases__[0].exit_code, kind.__name__


@pytest.mark.parametrize(
    ("kind", "builtin"),
    [(errors.InvalidSpace, ValueError), (errors.ModelNotFound, LookupError), (errors.MissingExtra, ImportError)],
)
def test_code_that_knows_only_builtin_errors_catches_ours(kind, builtin):
    with pytest.raises(builtin, match="no luck"):
        raise kind("no luck")
