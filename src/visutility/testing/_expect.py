"""Assertions of the conformance suites: they hold under `python -O` too, and show what they found."""

from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import NDArray


def expect(fact: object, otherwise: object) -> None:
    """Raise `AssertionError` saying `otherwise` unless the fact is true."""
    if not fact:
        raise AssertionError(str(otherwise))


def expect_equal(found: Any, wanted: Any, what: str = "") -> None:
    """Raise `AssertionError` showing both unless they are equal."""
    if found != wanted:
        raise AssertionError(f"{what or 'the value'} is {found!r:.500}, not {wanted!r:.500}")


def refuses(kind: type[Exception], words: Sequence[str], call: Callable[..., object], *args: Any, **more: Any) -> None:
    """Raise `AssertionError` unless the call raises an error of this kind with these words in it."""
    try:
        call(*args, **more)
    except kind as error:
        for word in words:
            expect(word in str(error), f"{word!r} is not in {error}")
    else:
        raise AssertionError(f"no {kind.__name__} was raised")


def bytes_of(arrays: dict[str, NDArray[Any]]) -> int:
    """Return how many bytes these arrays take."""
    return sum(array.nbytes for array in arrays.values())
