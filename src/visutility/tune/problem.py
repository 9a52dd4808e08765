"""What a study is after, apart from its space: objectives, constraints, and what is known of them beforehand."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, final


@final
@dataclass(frozen=True, slots=True)
class Problem:
    """What strategies know of a study's purpose. Objectives are lower-is-better by the time they see them.

    `objectives` and `constraints` count what is told of a trial. `deterministic`: the same configuration has the same
    value, so that none is worth asking twice. `noise` is the standard deviation of a value, None when it is to be
    learnt.
    """

    objectives: int = 1
    constraints: int = 0
    deterministic: bool = False
    noise: float | None = None

    @property
    def needs(self) -> frozenset[str]:
        """What a strategy has to heed beyond one objective: "objectives", "constraints"."""
        asked = {"objectives": self.objectives > 1, "constraints": self.constraints > 0}
        return frozenset(name for name, is_asked in asked.items() if is_asked)

    def to_json(self) -> dict[str, Any]:
        """Return plain data that `from_json` reads."""
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "Problem":
        """Return the problem that `to_json` wrote."""
        return Problem(**data)
