"""VisuTility Orchestrator: tune, train, register, watch, retrain, gate, promote and roll back vision models.

The names below load what they need when they are first used; importing this package loads nothing heavy.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from visutility.core.errors import VisuTilityError
    from visutility.core.wire import MetricsEvent
    from visutility.data import DataBatch
    from visutility.loop import Policy, Project, Recipe
    from visutility.monitor import make_detector
    from visutility.registry import Registry
    from visutility.tune import (
        AtLeast,
        AtMost,
        Choice,
        Enough,
        Equals,
        Failure,
        Float,
        Int,
        Likely,
        Near,
        Space,
        Study,
        make_strategy,
    )

__version__ = "0.1.0"  # the one in pyproject.toml, as a test sees to

__all__ = [
    "AtLeast",
    "AtMost",
    "Choice",
    "DataBatch",
    "Enough",
    "Equals",
    "Failure",
    "Float",
    "Int",
    "Likely",
    "MetricsEvent",
    "Near",
    "Policy",
    "Project",
    "Recipe",
    "Registry",
    "Space",
    "Study",
    "VisuTilityError",
    "__version__",
    "make_detector",
    "make_strategy",
]

_HOMES = {
    "AtLeast": "tune",
    "AtMost": "tune",
    "Choice": "tune",
    "DataBatch": "data",
    "Enough": "tune",
    "Equals": "tune",
    "Failure": "tune",
    "Float": "tune",
    "Int": "tune",
    "Likely": "tune",
    "MetricsEvent": "core.wire",
    "Near": "tune",
    "Policy": "loop",
    "Project": "loop",
    "Recipe": "loop",
    "Registry": "registry",
    "Space": "tune",
    "Study": "tune",
    "VisuTilityError": "core.errors",
    "make_detector": "monitor",
    "make_strategy": "tune",
}


if not TYPE_CHECKING:  # a type checker would take it for leave to use any name

    def __getattr__(name):
        """Load the module that has the name, and keep it."""
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = value = getattr(import_module(f"{__name__}.{home}"), name)
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
