"""The product: recipes, policy, monitor, automatic retrainer, gate and coordinator, joined in a project."""

from visutility.loop.channel import Channel
from visutility.loop.coordinator import Configuration, Measured, TuningCoordinator
from visutility.loop.gate import Comparison, GateAnswer, Paired, gate
from visutility.loop.late_labels import LateLabels
from visutility.loop.metrics import Metrics
from visutility.loop.policy import Decision, GateRules, Policy, Situation, Watch, decide, settled
from visutility.loop.project import Project
from visutility.loop.recipe import Evaluation, Recipe, find_recipe
from visutility.loop.sklearn_recipe import SklearnRecipe, sklearn_recipe
from visutility.loop.trigger import AutoRetrainer
from visutility.loop.watch import Alarm, Decider, Monitor, Observer, Receipt

__all__ = [
    "Alarm",
    "AutoRetrainer",
    "Channel",
    "Comparison",
    "Configuration",
    "Decider",
    "Decision",
    "Evaluation",
    "GateAnswer",
    "GateRules",
    "LateLabels",
    "Measured",
    "Metrics",
    "Monitor",
    "Observer",
    "Paired",
    "Policy",
    "Project",
    "Receipt",
    "Recipe",
    "Situation",
    "SklearnRecipe",
    "TuningCoordinator",
    "Watch",
    "decide",
    "find_recipe",
    "gate",
    "settled",
    "sklearn_recipe",
]
