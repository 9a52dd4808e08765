"""Multi-fidelity: rules that decide how far a trial is run. Each is one file with its paper."""

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any, Final

from visutility.core.errors import InvalidSetting
from visutility.tune.fidelity.contract import AbstractStopping, Curve, Reports, Seen
from visutility.tune.fidelity.curves import CurveStopping
from visutility.tune.fidelity.halving import Asha, Hyperband
from visutility.tune.fidelity.median import MedianStopping

STOPPING: Final[dict[str, type[AbstractStopping]]] = {
    "asha": Asha,
    "curves": CurveStopping,
    "hyperband": Hyperband,
    "median": MedianStopping,
}
AUTO: Final = "auto"

__all__ = [
    "AUTO",
    "STOPPING",
    "AbstractStopping",
    "Asha",
    "Curve",
    "CurveStopping",
    "Hyperband",
    "MedianStopping",
    "Reports",
    "Seen",
    "make_stopping",
    "stopping_from_json",
]


def make_stopping(kind: str | AbstractStopping | None = AUTO, **settings: Any) -> AbstractStopping | None:
    """Return the rule of that name with these settings; "auto" is `CurveStopping()`, None stays None: always go on.

    A rule made already is returned as it is. Raises `InvalidSetting` for an unknown name or setting.
    """
    if kind is None or type(kind) in STOPPING.values():
        return kind  # type: ignore[return-value]
    name = "curves" if kind == AUTO else kind
    if not isinstance(name, str) or name not in STOPPING:
        raise InvalidSetting(
            f"stopping {kind!r:.80} is no rule", hint=f"use one of {[AUTO, *STOPPING]} or None: always go on"
        )
    known = [f.name for f in fields(STOPPING[name])]
    needed = {f.name for f in fields(STOPPING[name]) if f.default is MISSING}
    if not set(settings) <= set(known):
        raise InvalidSetting(
            f"stopping {name!r} does not take the settings {sorted(set(settings) - set(known))}",
            hint=f"it takes {known}",
        )
    if lacking := sorted(needed - set(settings)):
        raise InvalidSetting(
            f"stopping {name!r} needs more settings: {', '.join(lacking)}",
            hint=f"write stopping={STOPPING[name].__name__}({', '.join(f'{one}=…' for one in lacking)})",
        )
    return STOPPING[name](**settings)


def stopping_from_json(data: Mapping[str, Any] | None) -> AbstractStopping | None:
    """Return the rule that `AbstractStopping.to_json` wrote; None is None."""
    return None if data is None else make_stopping(data["kind"], **{k: v for k, v in data.items() if k != "kind"})
