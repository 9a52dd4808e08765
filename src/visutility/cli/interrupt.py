"""Ctrl-C that is never lost.

A KeyboardInterrupt can vanish: C code of other packages that asks a Python object for an attribute may drop whatever
the question raises. So the handler also sets `asked`, and what takes long looks at it.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

asked = threading.Event()


def check() -> None:
    """Raise KeyboardInterrupt if Ctrl-C was pressed during this command, heard or not."""
    if asked.is_set():
        raise KeyboardInterrupt


@contextmanager
def heard() -> Iterator[None]:
    """Within this block Ctrl-C sets `asked` and raises KeyboardInterrupt.

    Does nothing outside the main thread, nor where Ctrl-C is ignored, as shells have it for what they start with `&`.
    """
    asked.clear()
    ignored = signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    if ignored or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, _interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _interrupted(_number: int, _frame: object) -> None:
    asked.set()
    raise KeyboardInterrupt
