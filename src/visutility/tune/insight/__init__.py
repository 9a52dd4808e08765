"""What a study has to say: which parameters matter, what is expected where, which trials are unbeaten. NumPy and SciPy.

Pure functions of a study's space and trials. Pages and pictures of them: `visutility.loop.study_page`.
"""

from visutility.tune.insight.axes import Ticks, ticks, written
from visutility.tune.insight.evidence import Evidence, Findings, HasTrials, evidence, value_of
from visutility.tune.insight.fronts import Front, front
from visutility.tune.insight.importance import METHODS, Importance, Method, by_model, by_ped_anova, importance
from visutility.tune.insight.model import Model, model_of
from visutility.tune.insight.ped_anova import ped_anova
from visutility.tune.insight.sobol_indices import Indices, sobol_indices
from visutility.tune.insight.surface import Surface, along, surface

__all__ = [
    "METHODS",
    "Evidence",
    "Findings",
    "Front",
    "HasTrials",
    "Importance",
    "Indices",
    "Method",
    "Model",
    "Surface",
    "Ticks",
    "along",
    "by_model",
    "by_ped_anova",
    "evidence",
    "front",
    "importance",
    "model_of",
    "ped_anova",
    "sobol_indices",
    "surface",
    "ticks",
    "value_of",
    "written",
]
