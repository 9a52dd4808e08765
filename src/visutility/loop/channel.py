"""A bounded queue that can be closed: back-pressure on one side, a clean end on the other."""

import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar, final

from visutility.core.errors import Closed, InvalidSetting, QueueFull

T = TypeVar("T")


@final
class Channel(Generic[T]):
    """A queue of at most `size` items, for any number of threads.

    `put` waits while it is full, `get` while it is empty. After `close` nothing more is accepted, and `get` gives what
    was accepted before it raises `Closed`: nothing accepted is lost.
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise InvalidSetting(f"channel size is {size}", hint="use 1 or more")
        self.size = size
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._closed = False

    def put(self, item: T, timeout: float | None = None) -> None:
        """Add an item; wait while full, at most `timeout` seconds. Raises `QueueFull` or `Closed`."""
        with self._changed:
            free = self._changed.wait_for(lambda: self._closed or len(self._items) < self.size, timeout)
            if self._closed:
                raise Closed("the channel is closed", hint="open a new one")
            if not free:
                raise QueueFull(f"the channel holds {self.size} items", hint="slow down, then put it again")
            self._items.append(item)
            self._changed.notify_all()

    def get(self, timeout: float | None = None) -> T:
        """Take the oldest item; wait while empty. Raises `Closed` once closed and empty, `TimeoutError` in time."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._closed or self._items, timeout):
                raise TimeoutError(f"nothing came within {timeout} s")
            if not self._items:
                raise Closed("the channel is closed and empty", hint="nothing more will come")
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """Accept nothing more. Closing twice is fine."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether it was closed; items may still be inside."""
        with self._changed:
            return self._closed

    def __len__(self) -> int:
        with self._changed:
            return len(self._items)

    def __iter__(self) -> Iterator[T]:
        """Take items until the channel is closed and empty."""
        while True:
            try:
                yield self.get()
            except Closed:
                return
