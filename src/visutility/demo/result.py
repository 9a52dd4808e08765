"""What a run of the demo measured; nothing in here is typed in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(slots=True)
class Told:
    """The demo's record, filled while it runs. Positions count served images from 0; accuracies are shares."""

    seed: int
    drift_start: int | None
    correct: list[bool] = field(default_factory=list)
    served_by: list[int] = field(default_factory=list)
    alarms: list[int] = field(default_factory=list)
    promotion: int | None = None
    control_start: int | None = None
    champion: int = 1
    first_trials: list[tuple[dict[str, Any], float]] = field(default_factory=list)
    retune_trials: list[tuple[dict[str, Any], float]] = field(default_factory=list)
    gate: Mapping[str, Any] | None = None
    reference: dict[str, float] | None = None
    old_settings: float | None = None
    control_promotions: int = 0
    refused: str | None = None
    images: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    alarm_words: str = ""
    seconds: float = 0.0

    @property
    def alarm(self) -> int | None:
        """Position of the first alarm."""
        return self.alarms[0] if self.alarms else None

    @property
    def recovered(self) -> bool:
        """Whether the loop did what the story promises: one alarm in time, the model back, nothing in the control."""
        if self.promotion is None or self.drift_start is None or self.alarm is None:
            return False
        return self.alarm >= self.drift_start and self.control_promotions == 0

    def accuracy(self, start: int | None, end: int | None) -> float | None:
        """Return the share of correct predictions at positions start to end; None without any."""
        if start is None:
            return None
        part = self.correct[start:end]
        return sum(part) / len(part) if part else None

    def gated(self, who: str, part: str) -> float | None:
        """Return the accuracy the gate measured for "champion" or "challenger" on "gate" or "old" rows."""
        metrics = None if self.gate is None else self.gate["metrics"].get(f"{part}.{who}")
        return None if metrics is None else float(metrics["accuracy"])

    def to_json(self) -> dict[str, Any]:
        """Return what `visutility demo --json` writes; docs/demo.md describes each field."""
        control = len(self.correct) if self.control_start is None else self.control_start
        promoted = self.promotion is not None
        return {
            "seed": self.seed,
            "accuracy": {
                "before": self.accuracy(0, self.drift_start if self.drift_start is not None else control),
                "drifted": self.gated("champion", "gate"),
                "promoted": self.gated("challenger", "gate") if promoted else None,
                "recovered": self.accuracy(self.promotion, control),
                "control": self.accuracy(self.control_start, None),
                "old_before": self.gated("champion", "old"),
                "old_promoted": self.gated("challenger", "old") if promoted else None,
                "promoted_with_old_settings": self.old_settings,
            },
            "events": {"drift_start": self.drift_start, "alarm": self.alarm, "promotion": self.promotion},
            "trials": {"first": len(self.first_trials), "retune": len(self.retune_trials)},
            "versions": {"champion": self.champion},
            "control": {
                "start": self.control_start,
                "promotions": self.control_promotions,
                "alarms": sum(at >= control for at in self.alarms),
            },
            "served": len(self.correct),
            "seconds": round(self.seconds, 3),
        }
