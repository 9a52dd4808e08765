"""How much each parameter matters, by two methods that answer two questions."""

from dataclasses import dataclass
from typing import Final, Literal, final

import numpy as np

from visutility.core.errors import InvalidSetting
from visutility.tune.insight.evidence import Array, Evidence, HasTrials, evidence
from visutility.tune.insight.model import Model, model_of
from visutility.tune.insight.ped_anova import ped_anova
from visutility.tune.insight.sobol_indices import sobol_indices

Method = Literal["ped-anova", "gp"]
METHODS: Final = ("ped-anova", "gp")
TOO_FEW: Final = 4


@final
@dataclass(frozen=True, slots=True)
class Importance:
    """What a method says. `shares` add up to 1, the greatest first; all 0 where `unknown` says why there is no answer.

    `effects` are what the shares are made from: main effects on being among the best for PED-ANOVA, total Sobol'
    indices for "gp". `first` are first-order indices ("gp" only). `skill`: how far the model can be believed ("gp").
    """

    method: str
    objective: str
    trials: int
    shares: dict[str, float]
    effects: dict[str, float]
    first: dict[str, float] | None = None
    skill: float | None = None
    unknown: str = ""


def importance(
    study: HasTrials, method: Method = "gp", *, objective: str | None = None, top: float | None = None
) -> Importance:
    """Return how much each parameter matters for an objective (None: the first).

    "gp": what the surrogate's mean varies with, over the whole space. "ped-anova": what tells the best trials (the best
    `top` of them; None: shares of .1 to .9 averaged) from the others, where the study searched. Raises `InvalidSetting`
    for an unknown method or objective.
    """
    if method not in METHODS:
        raise InvalidSetting(f"method {method!r} is unknown", hint=f"choose one of {', '.join(METHODS)}")
    seen = evidence(study, objective)
    return by_ped_anova(seen, top) if method == "ped-anova" else by_model(seen, model_of(seen))


def by_ped_anova(seen: Evidence, top: float | None = None) -> Importance:
    """Return the importance by PED-ANOVA; effects below 0, which are chance, count as none."""
    effects = np.maximum(ped_anova(seen, top=top), 0.0)
    return _answer("ped-anova", seen, effects, _why_not(seen, effects))


def by_model(seen: Evidence, model: Model | None) -> Importance:
    """Return the importance by the Sobol' indices of a model of these trials, None when there can be none."""
    if model is None:
        nothing = np.zeros(seen.space.dim)
        return _answer("gp", seen, nothing, _why_not(seen, nothing))
    found = sobol_indices(model)
    why = "" if found.total.any() else "the model's mean is the same everywhere"
    return _answer("gp", seen, found.total, why, found.first, model.skill)


def _answer(
    method: str, seen: Evidence, effects: Array, unknown: str, first: Array | None = None, skill: float | None = None
) -> Importance:
    whole = float(effects.sum()) or 1.0
    names = [seen.space.names[at] for at in np.argsort(-effects, kind="stable")]
    by_name = dict(zip(seen.space.names, effects.tolist(), strict=True))
    return Importance(
        method,
        seen.objective,
        len(seen.values),
        {name: by_name[name] / whole for name in names},
        {name: by_name[name] for name in names},
        None if first is None else dict(zip(seen.space.names, first.tolist(), strict=True)),
        skill,
        unknown,
    )


def _why_not(seen: Evidence, effects: Array) -> str:
    if len(seen.values) < TOO_FEW:
        return f"{len(seen.values)} of at least {TOO_FEW} trials have a value"
    if seen.constant:
        return "all trials have the same value"
    return "" if effects.any() else "no parameter tells the best trials from the others better than chance"
