"""What a check found."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong. `where` names the row or file ("audit_event 17", "model_alias digits@champion")."""

    where: str
    problem: str

    def __str__(self) -> str:
        return f"{self.where} {self.problem}"
