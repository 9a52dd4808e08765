"""Earlier studies, in the forms a user may hold them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeAlias, runtime_checkable

from visutility.core.errors import InvalidObservation, InvalidParameter, InvalidSetting
from visutility.tune.space import Params, Space
from visutility.tune.strategy import Past
from visutility.tune.trial import as_number, sign
from visutility.tune.values import plain


@runtime_checkable
class HasPast(Protocol):
    """Anything that can give its complete trials: a study in memory or a durable one."""

    def past(self) -> Past:
        """Return the complete trials, oldest first, lower is better."""


Earlier: TypeAlias = Past | HasPast | Iterable[tuple[Mapping[str, Any], float]]


def as_history(items: Sequence[Earlier], space: Space, direction: str) -> tuple[Past, ...]:
    """Return earlier studies, oldest first, as `Past`s.

    A list of (configuration, value) pairs is taken to be in `direction`; pairs without a finite value are left out.
    Raises `InvalidSetting` for what is no earlier study, `InvalidParameter` and `InvalidObservation` for a bad pair.
    """
    if isinstance(items, (HasPast, Past, Mapping, str)) or not isinstance(items, Iterable):
        raise InvalidSetting(f"history {items!r:.80} is not a list of studies", hint="write history=[study]")
    return tuple(_as_past(item, f"history-{at}", space, direction) for at, item in enumerate(items))


def _as_past(item: Earlier, name: str, space: Space, direction: str) -> Past:
    if isinstance(item, Past):
        return _checked(item)
    if isinstance(item, HasPast):
        return item.past()
    if isinstance(item, (Mapping, str)) or not isinstance(item, Iterable):
        raise InvalidSetting(
            f"history item {item!r:.80} is no earlier study", hint="give a Study, a Past or a list of (params, value)"
        )
    flip = sign(direction)
    pairs = (_pair(pair, name) for pair in item)
    return Past(name, space, tuple((params, flip * value) for params, value in pairs if math.isfinite(value)))


def _checked(past: Past) -> Past:
    """Return it with its trials checked as a list of pairs is; a value that is None becomes NaN."""
    trials = tuple(_pair(pair, past.name) for pair in past.trials)
    return past if trials == past.trials else replace(past, trials=trials)


def _pair(pair: object, name: str) -> tuple[Params, float]:
    if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 2:
        raise InvalidObservation(
            f"{name} holds {pair!r:.80}, not a (params, value) pair", hint="a history is a list of lists of pairs"
        )
    params, value = pair
    if not isinstance(params, Mapping) or not all(isinstance(key, str) for key in params):
        raise InvalidParameter(f"{name}: configuration {params!r:.80} is not a mapping", hint="give {'name': value}")
    number = math.nan if value is None else as_number(value, f"{name}: value")
    return {key: plain(setting) for key, setting in params.items()}, number
