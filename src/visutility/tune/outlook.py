"""What further trials are expected to gain, and the rule that closes a study when that is too little."""

from dataclasses import dataclass
from typing import final

from visutility.core.errors import InvalidSetting
from visutility.tune.values import number, plain


@final
@dataclass(frozen=True, slots=True)
class Enough:
    """Closes a study when its next `trials` are expected to gain at least `gain` with a probability below `chance`.

    `gain` is in the objective's unit; None: what matters is read off the trials (`Outlook.worth`). As long as the last
    `trials` that ended, or the last third if that is more, gained as much themselves, the study stays open.
    """

    gain: float | None = None
    chance: float = 0.1
    trials: int = 10

    def __post_init__(self) -> None:
        checked_gain(self.gain)
        chance, trials = plain(self.chance), plain(self.trials)
        if isinstance(chance, bool) or not isinstance(chance, (int, float)) or not 0.0 < chance < 1.0:
            raise InvalidSetting(f"chance {self.chance!r} is no probability", hint="give one between 0 and 1")
        if isinstance(trials, bool) or not isinstance(trials, int) or not 1 <= trials <= 1000:
            raise InvalidSetting(f"trials {self.trials!r} is not a number of trials", hint="give 1 to 1000")


@final
@dataclass(frozen=True, slots=True)
class Outlook:
    """What the next `trials` trials are expected to gain over the best one, in the objective's unit.

    `gain` is the mean, `interval` holds 90 % (both from draws of the surrogate; a gain is never below 0), `next` is the
    mean of the very next trial, `left` that of all that is to be found anywhere. `chance` is the probability of a gain
    of at least `worth`: what was asked for, or else the noise of one value, at least a hundredth of the way from the
    median trial to the best. `cost` is the mean of a complete trial in `unit`. `lately` is what the last `trials` that
    ended gained, or the last third of them if that is more.
    """

    trials: int
    gain: float
    interval: tuple[float, float]
    next: float
    left: float
    worth: float
    chance: float
    lately: float
    cost: float
    unit: str

    def __str__(self) -> str:
        low, high = self.interval
        effort = f"{self.trials} trials" if self.unit == "trials" else f"{self.trials * self.cost:.3g} {self.unit}"
        return (
            f"the next {effort} are expected to gain {self.gain:.3g} (90 % between {low:.3g} and {high:.3g}); "
            f"a gain of at least {self.worth:.3g} has a probability of {self.chance:.0%}"
        )

    def closes(self, rule: Enough) -> bool:
        """Return whether the rule says that this is not worth it."""
        return self.chance < rule.chance and self.lately < self.worth


def checked_gain(gain: object) -> float | None:
    """Return the gain that matters, None to have it read off the trials. Raises `InvalidSetting`."""
    if plain(gain) is None:
        return None
    given = number(gain)
    if given is None or given <= 0:
        raise InvalidSetting(
            f"gain {gain!r} is not a number above 0", hint="give what an improvement is worth, or None"
        )
    return given
