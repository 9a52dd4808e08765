"""One call for every kind of batch drift: `compare(reference, current, kind)`."""

import inspect
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from visutility.core.errors import InvalidSetting
from visutility.monitor.drift.embedding import compare_embedding
from visutility.monitor.drift.harmful import compare_softmax
from visutility.monitor.drift.images import compare_images
from visutility.monitor.drift.report import DriftReport, check_level
from visutility.monitor.drift.table import compare_tables

# A kind is one file with one entry here: f(reference, current, *, level, seed, **settings) -> DriftReport.
KINDS: Mapping[str, Callable[..., DriftReport]] = {
    "table": compare_tables,
    "embedding": compare_embedding,
    "images": compare_images,
    "softmax": compare_softmax,
}


def compare(
    reference: Any, current: Any, kind: str = "table", *, level: float = 0.05, seed: int = 0, **settings: Any
) -> DriftReport:
    """Compare a current window with a reference window and return the verdict as a `DriftReport`.

    Without a change, `drifted` comes out true with probability `level` at most: each kind's page says under which
    assumptions. What `reference` and `current` may be, and which `settings` there are, the kind's function says
    (see `KINDS`). The same arguments give the same report: all randomness comes from `seed`.

    Raises `InvalidSetting` for an unknown kind or setting, `Invalid` for a level outside (0, 1), and what the kind
    raises for windows that it cannot compare.
    """
    if not isinstance(kind, str) or kind not in KINDS:
        raise InvalidSetting(f"unknown kind {kind!r}", hint=f"use one of {', '.join(sorted(KINDS))}")
    check_level(level)
    function = KINDS[kind]
    known = _settings_of(function)
    if strange := sorted(set(settings) - known):
        raise InvalidSetting(f"kind {kind!r} has no setting {strange[0]!r}", hint=f"it has {', '.join(sorted(known))}")
    return function(reference, current, level=level, seed=seed, **settings)


@cache
def _settings_of(function: Callable[..., DriftReport]) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters) - {"reference", "current", "level", "seed"}
