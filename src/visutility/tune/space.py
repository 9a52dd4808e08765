"""The search space: named parameters with bounds, scales and conditions, and its unit cube.

The cube has one column a parameter, in the order of declaration. A condition names another parameter of the space
and may nest; a parameter whose condition does not hold is inactive: absent from the configuration, 0 and masked in
the cube. Immutable, hashable and JSON-able.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from visutility.core.codec import dumps, sha256
from visutility.core.errors import InvalidParameter, InvalidSpace
from visutility.tune.choice import Choice
from visutility.tune.conditions import Parameter, allowed_values, count, parents_first
from visutility.tune.numeric import Float, Int, stored_int
from visutility.tune.values import Equals, Params, Units, Value

__all__ = ["Choice", "Equals", "Float", "Int", "Parameter", "Params", "Space", "Units", "Value"]

Mask = NDArray[np.bool_]


@final
class Space:
    """Named parameters: `Space({"lr": Float(1e-4, 1e-1, log=True), "layers": Int(1, 8)})`.

    `parameters` in order of declaration; `names`; `dim`, how many; `size`, how many configurations there are (None:
    infinitely many); `digest`, the SHA-256 of its JSON: two spaces are equal when their digests are.
    Raises `InvalidSpace` for no parameters, a bad name, and a condition that is circular or can never hold.
    """

    __slots__ = ("_allowed", "_order", "_parameters", "digest", "dim", "names", "size")

    def __init__(self, parameters: Mapping[str, Parameter]) -> None:
        if not isinstance(parameters, Mapping):
            raise InvalidSpace(f"{parameters!r:.80} is not a mapping", hint="write Space({'name': Float(0, 1), …})")
        if not parameters:
            raise InvalidSpace(f"a space of {parameters!r} has no parameters", hint="give {'name': Float(0, 1), …}")
        for name, parameter in parameters.items():
            if not isinstance(name, str) or not name:
                raise InvalidSpace(f"parameter name {name!r} is not a text", hint="name it")
            if not isinstance(parameter, (Float, Int, Choice)):
                raise InvalidSpace(f"parameter {name!r} is {parameter!r}", hint="use Float, Int or Choice")
        found = dict(parameters)
        order = parents_first(found)
        allowed = {n: allowed_values(found, n, p.when) for n, p in found.items() if p.when is not None}
        set_ = object.__setattr__
        set_(self, "_parameters", MappingProxyType(found))
        set_(self, "_allowed", allowed)
        set_(self, "_order", order)
        set_(self, "names", tuple(found))
        set_(self, "dim", len(found))
        set_(self, "size", count(found, order, allowed))
        set_(self, "digest", sha256(dumps(self.to_json())))

    digest: str
    dim: int
    names: tuple[str, ...]
    size: int | None
    _parameters: Mapping[str, Parameter]
    _allowed: dict[str, frozenset[Value]]
    _order: tuple[str, ...]

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The parameters by name, in order of declaration; read-only."""
        return self._parameters

    @property
    def order(self) -> tuple[str, ...]:
        """The names, every parameter after the one its condition names."""
        return self._order

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Space is immutable: {name} cannot be set")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Space) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"Space({dict(self._parameters)!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return Space, (dict(self._parameters),)

    def allowed(self, name: str) -> frozenset[Value]:
        """Return the values of its parent under which `name` is active; empty when it has no condition."""
        return self._allowed.get(name, frozenset())

    def active(self, name: str, params: Mapping[str, Value]) -> bool:
        """Whether the condition of `name` holds, given the values of the parameters before it in `order`."""
        when = self._parameters[name].when
        return when is None or (when.name in params and params[when.name] in self._allowed[name])

    def validate(self, params: Mapping[str, Any]) -> Params:
        """Return the configuration as plain Python values, on the grid, in order of declaration.

        Raises `InvalidParameter`, naming the parameter, its value and the rule, for an unknown, missing, inactive
        or out-of-range one.
        """
        if not isinstance(params, Mapping):
            raise InvalidParameter(f"a configuration is a mapping, not {params!r}", hint="give {'name': value, …}")
        found: Params = {}
        for name in self._order:
            if self.active(name, found):
                if name not in params:
                    raise InvalidParameter(
                        f"parameter {name!r} is missing", hint=f"it is one of {self._parameters[name]}"
                    )
                found[name] = self._parameters[name].check(name, params[name])
        for name in params:
            if name not in self._parameters:
                raise InvalidParameter(
                    f"parameter {name!r} = {params[name]!r} is unknown", hint=f"the space has {sorted(self.names)}"
                )
            if name not in found:
                raise InvalidParameter(
                    f"parameter {name!r} = {params[name]!r} is inactive here",
                    hint=f"leave it out, or make {self._parameters[name].when} hold",
                )
        return self._declared(found)

    def encode(self, params: Mapping[str, Any]) -> tuple[Units, Mask]:
        """Return the configuration's place in the cube (d,) and which columns are active (d,); inactive ones are 0.

        Raises `InvalidParameter` as `validate` does.
        """
        checked = self.validate(params)
        unit, mask = np.zeros(self.dim), np.zeros(self.dim, dtype=bool)
        for at, name in enumerate(self.names):
            if name in checked:
                unit[at] = self._parameters[name].to_unit(checked[name])
                mask[at] = True
        return unit, mask

    def decode(self, unit: Any) -> Params:
        """Return the configuration at a place in the cube (d,): conditions resolved, values on their grids.

        `decode(encode(p)) == p` for every p that decode gave, every grid value, every bound, and every number of at
        most 12 significant digits. Raises `InvalidParameter` for a wrong shape and for what is not finite.
        """
        places = np.asarray(unit, dtype=np.float64)
        listed = places.tolist() if places.shape == (self.dim,) else [math.nan]
        if not all(map(math.isfinite, listed)):
            raise InvalidParameter(f"{unit!r} is no place in a cube of {self.dim} columns", hint="give (d,) numbers")
        place = dict(zip(self.names, listed, strict=True))
        found: Params = {}
        for name in self._order:
            if name not in self._allowed or self.active(name, found):
                found[name] = self._parameters[name].from_unit(min(max(place[name], 0.0), 1.0))
        return self._declared(found)

    def snap(self, units: Units) -> tuple[Units, Mask]:
        """Return places (n, d) moved to those of the configurations they stand for, and what is active (n, d).

        Columns of grids move to their cell, a continuum keeps its place, inactive columns become 0.
        """
        snapped = np.clip(np.asarray(units, dtype=np.float64), 0.0, 1.0)
        mask = np.ones(snapped.shape, dtype=bool)
        at = {name: column for column, name in enumerate(self.names)}
        for name in self._order:
            parameter, column = self._parameters[name], at[name]
            snapped[:, column] = parameter.snap(snapped[:, column])
            if parameter.when is not None:
                above = at[parameter.when.name]
                parent = self._parameters[parameter.when.name]
                places = [parent.to_unit(value) for value in self._allowed[name]]
                holds = (np.abs(snapped[:, above, None] - np.array(places)) < 1e-13).any(axis=1)
                mask[:, column] = mask[:, above] & holds
        snapped[~mask] = 0.0
        return snapped, mask

    def key(self, params: Params) -> tuple[Value, ...]:
        """Return the values in order of declaration, `...` for inactive ones: equal for equal configurations."""
        return tuple(params.get(name, ...) for name in self.names)  # type: ignore[arg-type]

    def adopt(self, params: Mapping[str, Any]) -> Params | None:
        """Return an earlier study's configuration moved into this space; None when they share no parameter.

        Unknown parameters are dropped, numbers are clipped into their range, and missing ones (and options that
        are gone) take the middle of theirs.
        """
        found: Params = {}
        shared = False
        for name in self._order:
            if not self.active(name, found):
                continue
            parameter = self._parameters[name]
            try:
                found[name] = parameter.adopt(name, params[name])
                shared = True
            except (KeyError, InvalidParameter):
                found[name] = parameter.from_unit(0.5)
        return self._declared(found) if shared else None

    def to_json(self) -> dict[str, Any]:
        """Return plain data that `from_json` reads."""
        return {"parameters": [[name, _parameter_to_json(p)] for name, p in self._parameters.items()]}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "Space":
        """Return the space that `to_json` wrote. Raises `InvalidSpace` for anything else."""
        try:
            return Space({name: _parameter_from_json(value) for name, value in data["parameters"]})
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, InvalidSpace):
                raise
            raise InvalidSpace(f"not a stored space: {error!r}", hint="it was cut or edited") from None

    def _declared(self, found: Params) -> Params:
        return found if self._order == self.names else {name: found[name] for name in self.names if name in found}


def _parameter_to_json(parameter: Parameter) -> dict[str, Any]:
    when = parameter.when
    condition = None if when is None else {"name": when.name, "values": list(when.values)}
    if isinstance(parameter, Choice):
        return {"kind": "choice", "options": list(parameter.options), "ordered": parameter.ordered, "when": condition}
    kind = "float" if isinstance(parameter, Float) else "int"
    bounds = {"low": parameter.low, "high": parameter.high, "log": parameter.log, "step": parameter.step}
    return {"kind": kind, **bounds, "when": condition}


def _parameter_from_json(data: Mapping[str, Any]) -> Parameter:
    stored = data["when"]
    when = None if stored is None else Equals(stored["name"], *stored["values"])
    if data["kind"] == "choice":
        return Choice(data["options"], ordered=data["ordered"], when=when)
    kinds: dict[str, Callable[..., Float | Int]] = {"float": Float, "int": stored_int}
    return kinds[data["kind"]](data["low"], data["high"], log=data["log"], step=data["step"], when=when)
