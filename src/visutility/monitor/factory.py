"""A detector by name: those that ship here, then those that installed packages offer."""

from dataclasses import fields
from importlib.metadata import entry_points
from typing import Any

from visutility.core.errors import InvalidSetting
from visutility.monitor.detector import AbstractDetector
from visutility.monitor.detectors import DETECTORS

ENTRY_POINTS = "visutility.detectors"


def make_detector(kind: str = "auto", /, **settings: Any) -> AbstractDetector[Any]:
    """Return the detector of that name with these settings; the others keep their defaults.

    Raises `InvalidSetting` for an unknown name or setting, or a value out of its range. An installed package adds a
    detector through an entry point of group `visutility.detectors`; it cannot replace one that ships here.
    """
    detector = (DETECTORS.get(kind) if isinstance(kind, str) else None) or _offered(kind)
    known = {field.name for field in fields(detector)}
    if unknown := sorted(set(settings) - known):
        raise InvalidSetting(f"{kind} has no setting {', '.join(unknown)}", hint=f"it has {', '.join(sorted(known))}")
    return detector(**settings)


def _offered(kind: str) -> type[AbstractDetector[Any]]:
    offers = {entry.name: entry for entry in entry_points(group=ENTRY_POINTS)}
    if not isinstance(kind, str) or kind not in offers:
        raise InvalidSetting(
            f"detector {kind!r} is unknown", hint=f"use one of {', '.join(sorted({*DETECTORS, *offers}))}"
        )
    found = offers[kind].load()
    if not (isinstance(found, type) and issubclass(found, AbstractDetector)):
        raise InvalidSetting(
            f"entry point {kind!r} of {ENTRY_POINTS} gives {found!r}",
            hint="it has to be a subclass of AbstractDetector",
        )
    return found
