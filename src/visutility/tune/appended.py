"""A sequence that shares its items with those it grew from, so that one more costs the same however many there are."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from operator import index
from typing import Any, SupportsIndex, TypeVar, final, overload

T = TypeVar("T")


@final
class Appended(Sequence[T]):
    """The first items of a list that only grows: equal to the tuple of them, and as immutable.

    Two that grow from the same one each have their own next item: the first shares, the second gets a copy.
    """

    __slots__ = ("_count", "_shared")

    def __init__(self, items: Iterable[T] = ()) -> None:
        self._shared = list(items)
        self._count = len(self._shared)

    def with_item(self, item: T) -> "Appended[T]":
        """Return these items and one more. O(1) along a chain of calls; safe between threads."""
        shared, count = self._shared, self._count
        if len(shared) == count:
            shared.append(item)  # another thread may append in between: then its item is the one at `count`
        if len(shared) == count or shared[count] is not item:
            shared = [*shared[:count], item]
        grown: Appended[T] = Appended.__new__(Appended)
        grown._shared, grown._count = shared, count + 1
        return grown

    @overload
    def __getitem__(self, at: SupportsIndex) -> T: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[T, ...]: ...
    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return tuple(self)[at]
        place = index(at)
        if place < 0:
            place += self._count
        if not 0 <= place < self._count:
            raise IndexError(f"place {at} of {self._count}")
        return self._shared[place]

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[T]:
        return islice(self._shared, self._count)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Appended):
            same = self._shared is other._shared and self._count == other._count
            return same or (self._count == other._count and all(a == b for a, b in zip(self, other, strict=True)))
        return tuple(self) == other if isinstance(other, tuple) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))

    def __reduce__(self) -> tuple[object, ...]:
        return Appended, (tuple(self),)
