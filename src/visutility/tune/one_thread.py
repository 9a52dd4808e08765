"""Linear algebra in one thread, so that a suggestion is the same on any machine, and cheap.

BLAS libraries split a product among threads where they think it pays, and sum in another order then: the last digits
differ with the number of cores, and from there on so do the trials. For the matrices of a tuner the threads wait for
each other longer than they work, besides.
"""

import os
import threading
from collections.abc import Callable
from functools import cache, wraps
from typing import Any, Final, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

_alone: Final = threading.RLock()  # the number of threads is the process's: who changes it gives it back

if hasattr(os, "register_at_fork"):  # a fork waits for another thread's suggestion, or its child would for ever
    os.register_at_fork(before=_alone.acquire, after_in_parent=_alone.release, after_in_child=_alone.release)


def one_thread(function: Callable[P, R]) -> Callable[P, R]:
    """Let BLAS use one thread while the function runs, and as many as before afterwards.

    Of all functions made so one runs at a time in a process; they may call each other.
    """

    @wraps(function)
    def limited(*args: P.args, **kwargs: P.kwargs) -> R:
        with _alone, _libraries().limit(limits=1, user_api="blas"):
            return function(*args, **kwargs)

    return limited


@cache
def _libraries() -> Any:
    import scipy.linalg  # noqa: F401 (so that its library is among those found)
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
