"""Ctrl-C and SIGTERM that are never lost.

A KeyboardInterrupt can vanish: C code of other packages that asks a Python object for an attribute may drop whatever
the question raises. So the handler also sets `asked`, and what takes long looks at it.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGINT, signal.SIGTERM)

asked = threading.Event()
_came: list[int] = []  # the signals that came during this command


def check() -> None:
    """Raise KeyboardInterrupt if this command was asked to stop, heard or not."""
    if asked.is_set():
        raise KeyboardInterrupt


def exit_code() -> int:
    """Return what a stopped command ends with, as shells have it: 143 after SIGTERM, 130 after Ctrl-C."""
    return 128 + (_came[0] if _came else signal.SIGINT)


@contextmanager
def heard() -> Iterator[None]:
    """Within this block Ctrl-C and SIGTERM set `asked` and raise KeyboardInterrupt.

    Does nothing outside the main thread, nor for a signal that is ignored, as shells have Ctrl-C for what they start
    with `&`.
    """
    asked.clear()
    _came.clear()
    before = {}
    if threading.current_thread() is threading.main_thread():
        for one in SIGNALS:
            if signal.getsignal(one) != signal.SIG_IGN:
                before[one] = signal.signal(one, _interrupted)
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _interrupted(number: int, _frame: object) -> None:
    again = asked.is_set()
    _came.append(number)
    asked.set()
    if again and number == signal.SIGTERM:  # supervisors send it to a process and to its group: once is enough
        return
    raise KeyboardInterrupt
