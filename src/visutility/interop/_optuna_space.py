"""Optuna's distributions as a search space, and conditions learnt from which trials have which parameters.

Optuna's objectives suggest parameters as they run, so a study never says what its space is. Finished trials do: a
parameter that only some of them have is conditional, and its condition is the earlier choice that tells those trials
apart. Where none does, the parameter is left to independent sampling.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, final

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from visutility.core.errors import InvalidSpace
from visutility.interop.options import Options
from visutility.tune.conditions import Parameter
from visutility.tune.space import Choice, Equals, Float, Int, Space
from visutility.tune.values import Params

_SWITCHES: Final = 32  # a parameter with more values than this is never a condition


@final
@dataclass(frozen=True, slots=True)
class Known:
    """A space, the distributions it was made of, and what its options stand for."""

    space: Space
    distributions: Mapping[str, BaseDistribution]
    options: Options

    def real(self, params: Params) -> dict[str, Any]:
        """Return a configuration of the space with Optuna's values."""
        return self.options.real(params)

    def ours(self, params: Mapping[str, Any]) -> Params | None:
        """Return a trial's parameters as a configuration of the space; None when they share none.

        What the trial lacks or has outside today's ranges takes the nearest value the space allows.
        """
        labels = self.options.labels({name: value for name, value in params.items() if name in self.distributions})
        try:
            return self.space.validate(labels)
        except ValueError:
            return self.space.adopt(labels)


@final
@dataclass(slots=True)
class Sightings:
    """What was seen of a study's parameters: which trials have which, and with what distribution, newest first."""

    distributions: dict[str, BaseDistribution] = field(default_factory=dict)
    shapes: set[tuple[frozenset[str], tuple[tuple[str, Any], ...]]] = field(default_factory=set)
    changed: bool = False

    def see(self, params: Mapping[str, Any], distributions: Mapping[str, BaseDistribution]) -> None:
        """Take one finished trial into account."""
        for name, distribution in distributions.items():
            if self.distributions.get(name) != distribution:
                self.distributions[name] = distribution
                self.changed = True
        switches = tuple(sorted((name, value) for name, value in params.items() if _switch(distributions[name])))
        shape = (frozenset(params), switches)
        if shape not in self.shapes:
            self.shapes.add(shape)
            self.changed = True

    def space(self) -> Known | None:
        """Return the space of all parameters whose presence is explained; None when there is none."""
        parents: dict[str, tuple[str, tuple[Any, ...]] | None] = {}
        for name in self._by_presence():
            found = self._condition(name, parents)
            if found is not _UNEXPLAINED:
                parents[name] = found
        return known({name: self.distributions[name] for name in parents}, parents)

    def _by_presence(self) -> list[str]:
        """The names, those that most shapes have first: a parent is there whenever its child is."""
        counts = {name: sum(name in names for names, _ in self.shapes) for name in self.distributions}
        return sorted(self.distributions, key=lambda name: (-counts[name], name))

    def _condition(self, name: str, parents: Mapping[str, object]) -> Any:
        """None when every trial has `name`; else the parent and its values that tell which do, or _UNEXPLAINED."""
        if all(name in names for names, _ in self.shapes):
            return None
        for parent in parents:
            if not _switch(self.distributions[parent]):
                continue
            with_it = {dict(values)[parent] for names, values in self.shapes if name in names and parent in names}
            without = {dict(values)[parent] for names, values in self.shapes if name not in names and parent in names}
            alone = any(name in names and parent not in names for names, _ in self.shapes)
            if with_it and not alone and not with_it & without:
                return parent, tuple(sorted(with_it, key=repr))
        return _UNEXPLAINED


_UNEXPLAINED: Final[Any] = object()


def known(
    distributions: Mapping[str, BaseDistribution], parents: Mapping[str, tuple[str, tuple[Any, ...]] | None]
) -> Known | None:
    """Return the space of these distributions under these conditions; None when nothing is left to search.

    A distribution of one value, or one our space cannot hold, is left out, and so is what depends on it.
    """
    options, found = Options(), {}
    for name, distribution in distributions.items():
        parent = parents.get(name)
        when = None
        if parent is not None:
            if parent[0] not in found:
                continue
            labels = options.labels_of(parent[0], parent[1])
            when = Equals(parent[0], *labels)
        made = None if distribution.single() else _parameter(name, distribution, options, when)
        if made is not None:
            found[name] = made
    if not found:
        return None
    return Known(Space(found), {name: distributions[name] for name in found}, options)


def distributions_of(space: Space) -> dict[str, BaseDistribution]:
    """Return every parameter of a space, conditional ones included, as Optuna's distribution."""
    return {name: _distribution(parameter) for name, parameter in space.parameters.items()}


def _distribution(parameter: Parameter) -> BaseDistribution:
    if isinstance(parameter, Choice):
        return CategoricalDistribution(parameter.options)
    if isinstance(parameter, Int):
        return IntDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)
    return FloatDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)


def _parameter(name: str, distribution: BaseDistribution, options: Options, when: Equals | None) -> Parameter | None:
    try:
        if isinstance(distribution, CategoricalDistribution):
            return options.choice(name, distribution.choices, when)
        if isinstance(distribution, IntDistribution):
            return Int(distribution.low, distribution.high, log=distribution.log, step=distribution.step, when=when)
        if isinstance(distribution, FloatDistribution):
            return Float(distribution.low, distribution.high, log=distribution.log, step=distribution.step, when=when)
    except InvalidSpace:  # wider or finer than our numbers
        return None
    return None


def _switch(distribution: BaseDistribution) -> bool:
    """Whether a parameter has so few values that it may be a condition."""
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices) <= _SWITCHES and all(map(_plain, distribution.choices))
    if isinstance(distribution, IntDistribution):
        return (distribution.high - distribution.low) // distribution.step < _SWITCHES
    return False


def _plain(value: object) -> bool:
    return value is None or isinstance(value, (bool, int, float, str))
