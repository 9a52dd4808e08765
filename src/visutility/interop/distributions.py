"""What scikit-learn's searches take as `param_distributions`, as a search space.

A list of values is a choice, a frozen SciPy distribution a number drawn through its quantiles, and our own `Float`,
`Int` and `Choice` are taken as they are. A list of such dictionaries is a choice among them: what one of them holds
is active only under it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, final

import numpy as np

from visutility.core.errors import InvalidParameter, InvalidSpace
from visutility.interop.options import Options
from visutility.tune.conditions import Parameter
from visutility.tune.space import Choice, Equals, Float, Int, Space
from visutility.tune.values import Params

TAILS: Final = 1e-3  # a distribution without bounds is searched between these quantiles
BRANCH: Final = "branch"  # which of several dictionaries


@final
class Distributions:
    """A search space and what its configurations stand for.

    `given` is a `Space`, a dictionary, or a list of dictionaries. Raises `InvalidSpace` for anything else.
    """

    def __init__(self, given: object) -> None:
        self._options = Options()
        self._names: dict[str, str] = {}  # in the space -> in the estimator; equal but for several dictionaries
        if isinstance(given, Space):
            self.space = given
        elif isinstance(given, Mapping):
            self.space = Space(self._parameters(given, "", None))
        elif isinstance(given, Sequence) and given and all(isinstance(one, Mapping) for one in given):
            self.space = self._branches(given)
        else:
            raise InvalidSpace(
                f"param_distributions {given!r:.80} is no space", hint="give a Space, a dict, or a list of dicts"
            )

    def real(self, params: Params) -> dict[str, Any]:
        """Return a configuration of the space as parameters of the estimator."""
        found = self._options.real(params)
        if not self._names:
            return found
        return {self._names[name]: value for name, value in found.items() if name in self._names}

    def labels(self, params: Mapping[str, Any]) -> Params:
        """Return parameters of the estimator as a configuration of the space: the reverse of `real` where it has one.

        Of several dictionaries it is the first that holds all these parameters with these values.
        """
        if not self._names:
            return self._options.labels(params)
        for at in range(len(self.space.parameters[BRANCH].options)):  # type: ignore[union-attr]
            prefix = f"{BRANCH} {at}: "
            found = self._options.labels({prefix + name: value for name, value in params.items()})
            try:
                return self.space.validate({BRANCH: at, **found})
            except InvalidParameter:
                continue
        return self._options.labels(params)

    def _branches(self, given: Sequence[Mapping[str, Any]]) -> Space:
        if len(given) == 1:
            return Space(self._parameters(given[0], "", None))
        found: dict[str, Parameter] = {BRANCH: Choice(range(len(given)))}
        for at, one in enumerate(given):
            prefix = f"{BRANCH} {at}: "
            found.update(self._parameters(one, prefix, Equals(BRANCH, at)))
            self._names.update({prefix + name: name for name in one})
        return Space(found)

    def _parameters(self, given: Mapping[str, Any], prefix: str, when: Equals | None) -> dict[str, Parameter]:
        return {prefix + name: self._parameter(prefix + name, value, when) for name, value in given.items()}

    def _parameter(self, name: str, given: Any, when: Equals | None) -> Parameter:
        if isinstance(given, (Float, Int, Choice)):
            if when is not None and given.when is not None:
                raise InvalidSpace(f"{name!r} has a condition inside a list of dicts", hint="use one Space instead")
            return given if when is None else _under(given, when)
        if callable(getattr(given, "rvs", None)):
            return self._drawn(name, given, when)
        if isinstance(given, Iterable) and not isinstance(given, (str, bytes, Mapping)):
            return self._options.choice(name, given, when)
        raise InvalidSpace(
            f"parameter {name!r} is {given!r:.60}", hint="give a list of values, a SciPy distribution, Float or Int"
        )

    def _drawn(self, name: str, given: Any, when: Equals | None) -> Parameter:
        """A frozen SciPy distribution: its range where it is uniform, otherwise its quantile."""
        kind = getattr(getattr(given, "dist", None), "name", "")
        if not callable(getattr(given, "ppf", None)):
            raise InvalidSpace(
                f"parameter {name!r}: {given!r:.60} draws values but has no quantiles (ppf)",
                hint="use a frozen SciPy distribution, a list of values, Float or Int",
            )
        low, high = (_number(bound) for bound in given.support())
        if low == high:
            return self._options.choice(name, [low], when)
        if kind in ("uniform", "loguniform", "reciprocal"):
            return Float(low, high, log=kind != "uniform", when=when)
        if kind == "randint":
            return Int(int(low), int(high), when=when)
        least, most = (0.0 if np.isfinite(low) else TAILS), (1.0 if np.isfinite(high) else 1.0 - TAILS)
        if hasattr(given, "pmf"):  # ppf(0) lies one below the support
            self._options.reading(
                name,
                lambda at: int(max(given.ppf(at), low)),
                lambda value: float(np.clip(given.cdf(value) - 0.5 * given.pmf(value), least, most)),
            )
        else:
            self._options.reading(
                name, lambda at: float(given.ppf(at)), lambda value: float(np.clip(given.cdf(value), least, most))
            )
        return Float(least, most, when=when)


def _under(parameter: Parameter, when: Equals) -> Parameter:
    if isinstance(parameter, Choice):
        return Choice(parameter.options, ordered=parameter.ordered, when=when)
    if isinstance(parameter, Int):
        return Int(parameter.low, parameter.high, log=parameter.log, step=parameter.step, when=when)
    return Float(parameter.low, parameter.high, log=parameter.log, step=parameter.step, when=when)


def _number(value: Any) -> float:
    return float(np.asarray(value).item())
