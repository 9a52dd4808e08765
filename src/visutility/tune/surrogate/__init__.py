"""The model behind `bayesian`: features of a space, bent values, a Gaussian process, and expected improvement."""

from visutility.tune.surrogate.acquisition import Improvement, log_ei, log_ei_slopes, log_h, maximise
from visutility.tune.surrogate.features import Layout, layout
from visutility.tune.surrogate.gp import Hyper, Posterior, Prior, condition, fit
from visutility.tune.surrogate.model import Seen, fitted, own_process
from visutility.tune.surrogate.warp import warped

__all__ = [
    "Hyper",
    "Improvement",
    "Layout",
    "Posterior",
    "Prior",
    "Seen",
    "condition",
    "fit",
    "fitted",
    "layout",
    "log_ei",
    "log_ei_slopes",
    "log_h",
    "maximise",
    "own_process",
    "warped",
]
