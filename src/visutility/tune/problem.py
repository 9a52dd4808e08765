"""What a study is after, apart from its space: objectives, constraints, and what is known of them beforehand."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, final

from visutility.tune import priors as beliefs
from visutility.tune.priors import Beliefs


@final
@dataclass(frozen=True, slots=True)
class Problem:
    """What strategies know of a study's purpose. Objectives are lower-is-better by the time they see them.

    `objectives` and `constraints` count what is told of a trial. `deterministic`: the same configuration has the same
    value, so that none is worth asking twice. `noise` is the standard deviation of a value, None when it is to be
    learnt. `priors` say where good values of some parameters are believed to lie.
    """

    objectives: int = 1
    constraints: int = 0
    deterministic: bool = False
    noise: float | None = None
    priors: Beliefs = ()

    @property
    def needs(self) -> frozenset[str]:
        """What a strategy has to heed beyond one objective: "objectives", "constraints", "priors"."""
        asked = {"objectives": self.objectives > 1, "constraints": self.constraints > 0, "priors": bool(self.priors)}
        return frozenset(name for name, is_asked in asked.items() if is_asked)

    def to_json(self) -> dict[str, Any]:
        """Return plain data that `from_json` reads."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**plain, "priors": [[name, beliefs.to_json(one)] for name, one in self.priors]}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "Problem":
        """Return the problem that `to_json` wrote."""
        priors = tuple((name, beliefs.from_json(one)) for name, one in data.get("priors", ()))
        return Problem(**{**data, "priors": priors})
